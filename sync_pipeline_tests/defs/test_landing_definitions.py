"""What Dagster sees of landings, and who asks for their runs, and when."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import dagster as dg
import pytest
from sqlalchemy import Engine

from sync_pipeline.core.environment import NamedEnvironment
from sync_pipeline.core.errors import RateLimitedError, SourceUnavailableError
from sync_pipeline.core.landing.spec import Landing
from sync_pipeline.core.ports import LandingRecord
from sync_pipeline.database.landing import PostgresLandings
from sync_pipeline.definitions import build_definitions
from sync_pipeline.defs.landing_names import FRESH
from sync_pipeline.engine.context import SyncContext
from sync_pipeline.settings import Settings
from sync_pipeline_tests.defs.test_location import describe
from sync_pipeline_tests.engine.world import World
from sync_pipeline_tests.fakes.origin import FakeOrigin
from sync_pipeline_tests.landing.installed import landed, landing_settings
from sync_pipeline_tests.landing.site import LandingSite, products

pytestmark = pytest.mark.dagster

SNAPSHOT: Final = Path(__file__).with_name("definitions_with_landings.json")
"""To renew it: ``python -m sync_pipeline_tests.defs.test_landing_definitions``; then read it."""
JOB: Final = "land_products_job"
NIGHT: Final = datetime(2026, 1, 2, 1, tzinfo=UTC)

EVERY_KIND: Final = Settings.model_validate(
    {
        "schedule": {"timezone": "Europe/Prague"},
        "connections": {
            "erp": {"kind": "rest", "base_url": "https://erp.example.com/api"},
            "directory": {
                "kind": "mongodb",
                "url": "mongodb://localhost:27017",
                "database": "directory",
            },
        },
        "landings": [
            {
                "name": "products",
                "connection": "erp",
                "request": {"path": "products"},
                "pages": {"by": "page"},
                "incremental": {"param": "since", "field": "changed"},
                "id": "id",
                "owner": {"global": True},
                "columns": {"name": "name"},
                "schedule": {"full": "0 1 * * *", "incremental": "*/15 * * * *"},
            },
            {
                "name": "tools",
                "connection": "directory",
                "collection": "tools",
                "follow": "change_stream",
                "id": "id",
                "owner": {"global": True},
                "columns": {"name": "name"},
                "schedule": {"full": "0 2 * * *"},
            },
            {
                "name": "works",
                "from": "raw.works",
                "id": "id",
                "owner": {"tenant": "acme"},
                "columns": {"name": "name"},
            },
        ],
    }
)


def seen(settings: Settings) -> dict[str, object]:
    """What the landings of these settings add or change."""
    everything, before = (
        describe(build_definitions(settings=settings)),
        describe(build_definitions(settings=Settings(schedule=settings.schedule))),
    )
    return {
        kind: {name: it for name, it in found.items() if before[kind].get(name) != it}
        for kind, found in everything.items()
        # Checks are told by their names there, which all landings share.
        if kind not in {"checks", "resources"}
    }


def rendered() -> str:
    return json.dumps(seen(EVERY_KIND), indent=2, ensure_ascii=False) + "\n"


def test_what_dagster_sees_of_landings_is_what_the_snapshot_says() -> None:
    assert rendered() == SNAPSHOT.read_text(encoding="utf-8")


def test_every_landed_asset_has_its_check() -> None:
    graph = build_definitions(settings=EVERY_KIND).resolve_asset_graph()

    checked = {it.asset_key.path[-1] for it in graph.asset_check_keys if it.name == FRESH}
    assert checked == {"landed_products", "landed_tools", "landed_works"}


def test_landings_of_one_connection_share_its_pool() -> None:
    definitions = build_definitions(settings=EVERY_KIND)
    pools = {
        name: definitions.get_assets_def(f"landed_{name}").op.pool
        for name in ("products", "tools", "works")
    }

    assert pools == {
        "products": "landing_erp",
        "tools": "landing_directory",
        "works": "landing_works",
    }


def test_a_landed_asset_has_the_columns_of_its_table() -> None:
    definitions = build_definitions(settings=landing_settings())

    (spec,) = definitions.get_assets_def("landed_products").specs

    schema = spec.metadata["dagster/column_schema"]
    assert spec.metadata["dagster/table_name"] == "landing.products"
    assert {"id", "updated_at", "name"} <= {column.name for column in schema.columns}
    assert {column.name: column.type for column in schema.columns}["price"] == "numeric"


def test_runs_of_landings_are_tagged_with_their_environment() -> None:
    settings = EVERY_KIND.located(NamedEnvironment(name="prod"))
    repository = build_definitions(settings=settings).get_repository_def()

    tags = {
        name: repository.get_job(name).run_tags["sync_pipeline/environment"]
        for name in (JOB, "land_tools_job", "land_works_job")
    }

    assert set(tags.values()) == {"prod"}


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    """One with files: schedules and sensors open their own from its reference."""
    with dg.instance_for_test() as instance:
        yield instance


@pytest.fixture
def site(engine: Engine) -> LandingSite:
    return LandingSite(engine, FakeOrigin.of(*products(25)))


@pytest.fixture
def sync(world: World, site: LandingSite) -> SyncContext:
    return landed(world.sync, site)


def scheduled() -> Settings:
    """A landing with a full schedule; tables have no incremental one."""
    return EVERY_KIND.model_copy(update={"landings": EVERY_KIND.landings[:1]})


def evaluate(
    sync: SyncContext, instance: dg.DagsterInstance, *, mode: str = "full"
) -> dg.RunRequest | str:
    """What one tick of a schedule asks for, or why nothing."""
    repository = build_definitions(settings=scheduled(), sync=sync).get_repository_def()
    schedule = repository.get_schedule_def(f"land_products_{mode}_schedule")
    with dg.build_schedule_context(
        instance=instance,
        scheduled_execution_time=NIGHT,
        repository_def=repository,
        resources={"sync": sync},
    ) as context:
        tick = schedule.evaluate_tick(context)
    if tick.skip_message:
        return tick.skip_message
    (request,) = tick.run_requests or []
    return request


def sense(
    sync: SyncContext,
    instance: dg.DagsterInstance,
    *,
    sensor: str = "deferred_landings_sensor",
    cursor: str | None = None,
) -> dg.SensorResult | dg.SkipReason:
    repository = build_definitions(settings=scheduled(), sync=sync).get_repository_def()
    with dg.build_sensor_context(
        instance=instance, resources={"sync": sync}, cursor=cursor, repository_def=repository
    ) as context:
        found = repository.get_sensor_def(sensor)(context)
    assert isinstance(found, dg.SensorResult | dg.SkipReason)
    return found


def mode_of(request: dg.RunRequest) -> object:
    return request.run_config["ops"]["landed_products"]["config"]["mode"]


def defer(site: LandingSite, *, seconds: float = 3600, page: int = 2) -> None:
    """Land as far as a page, where the origin asks to be left alone."""

    def refuse(number: int) -> None:
        if number == page:
            raise RateLimitedError("asked to wait", retry_after_seconds=seconds)

    site.origin.before_page = refuse
    with pytest.raises(RateLimitedError, match="asked to wait"):
        site.land()


def pass_time(site: LandingSite) -> None:
    """Let the time be over for which the origin asked to be left alone."""
    site.sql("UPDATE sync_pipeline.landing_cursor SET not_before = not_before - interval '2 h'")


def under_way(sync: SyncContext, instance: dg.DagsterInstance, *, mode: str) -> None:
    """A run of the job that has not ended."""
    job = build_definitions(settings=scheduled(), sync=sync).resolve_job_def(JOB)
    config = {"ops": {"landed_products": {"config": {"mode": mode}}}}
    instance.create_run_for_job(job, run_config=config, status=dg.DagsterRunStatus.STARTED)


@pytest.mark.parametrize("mode", ["full", "incremental"])
def test_a_schedule_asks_for_its_mode_once_per_tick(
    sync: SyncContext, instance: dg.DagsterInstance, mode: str
) -> None:
    requests = [evaluate(sync, instance, mode=mode) for _ in range(2)]

    keys = {request.run_key for request in requests if isinstance(request, dg.RunRequest)}
    assert keys == {f"products/{mode}@2026-01-02T01:00:00+00:00"}
    assert all(isinstance(it, dg.RunRequest) and mode_of(it) == mode for it in requests)


@pytest.mark.parametrize(
    ("running", "mode", "is_asked"),
    [
        pytest.param("full", "full", False, id="no full pass beside a full one"),
        pytest.param("full", "incremental", False, id="no changes beside a full pass"),
        pytest.param("incremental", "incremental", False, id="no changes beside changes"),
        pytest.param("incremental", "full", True, id="a full pass waits for changes"),
    ],
)
def test_what_is_under_way_is_not_asked_for_again(
    sync: SyncContext, instance: dg.DagsterInstance, running: str, mode: str, *, is_asked: bool
) -> None:
    under_way(sync, instance, mode=running)

    found = evaluate(sync, instance, mode=mode)

    assert isinstance(found, dg.RunRequest) is is_asked
    assert is_asked or found == "products is being landed"


def test_an_origin_that_asked_to_be_left_alone_is(
    site: LandingSite, sync: SyncContext, instance: dg.DagsterInstance
) -> None:
    defer(site)

    during = evaluate(sync, instance)
    pass_time(site)
    after = evaluate(sync, instance)

    assert isinstance(during, str)
    assert during.startswith("the origin asked to be left alone until")
    assert isinstance(after, dg.RunRequest)


def test_a_deferred_landing_is_started_again_once_when_its_time_has_come(
    site: LandingSite, sync: SyncContext, instance: dg.DagsterInstance
) -> None:
    at_first = sense(sync, instance)
    defer(site)
    during = sense(sync, instance)
    pass_time(site)
    results = [sense(sync, instance) for _ in range(2)]

    for skipped in (at_first, during):
        assert isinstance(skipped, dg.SkipReason)
    requests = [it for found in results for it in (getattr(found, "run_requests", None) or [])]
    assert {it.run_key for it in requests} == {f"products/full@{not_before(site)}"}
    assert [(it.job_name, mode_of(it)) for it in requests] == [(JOB, "full")] * 2


def not_before(site: LandingSite) -> str:
    until = site.record().not_before
    assert until is not None
    return until.isoformat()


def test_a_deferred_landing_that_runs_already_is_left_alone(
    site: LandingSite, sync: SyncContext, instance: dg.DagsterInstance
) -> None:
    defer(site)
    pass_time(site)
    under_way(sync, instance, mode="full")

    assert isinstance(sense(sync, instance), dg.SkipReason)


@pytest.mark.parametrize(
    ("hours", "mode"),
    [
        pytest.param(2, "incremental", id="changes where the last full pass is young"),
        pytest.param(30, "full", id="everything where a full pass may have been missed"),
    ],
)
def test_deferred_changes_go_on_as_changes_unless_a_full_pass_is_due(
    site: LandingSite, sync: SyncContext, instance: dg.DagsterInstance, hours: int, mode: str
) -> None:
    site.origin.traits = replace(site.origin.traits, tells_changes=True)
    site.land()
    sync = replace(sync, now=lambda: datetime.now(tz=UTC) + timedelta(hours=hours))
    assert sync.landings is not None
    sync.landings.store.note_failure("products", "asked to wait", retry_after_seconds=-1)

    found = sense(sync, instance)

    assert isinstance(found, dg.SensorResult)
    assert [mode_of(it) for it in found.run_requests or []] == [mode]


class Away(PostgresLandings):
    """The database is away."""

    def get(self, landing: Landing) -> LandingRecord:
        raise SourceUnavailableError(f"{landing.name} cannot be looked up")


@pytest.mark.parametrize("sensor", ["deferred_landings_sensor", "landing_freshness_sensor"])
def test_a_database_that_is_away_makes_no_red_tick(
    site: LandingSite, sync: SyncContext, instance: dg.DagsterInstance, sensor: str
) -> None:
    assert sync.landings is not None
    away = replace(sync, landings=replace(sync.landings, store=Away(site.engine)))

    found = sense(away, instance, sensor=sensor)

    assert isinstance(found, dg.SkipReason)
    assert "cannot be read now: products cannot be looked up" in str(found.skip_message)


def test_that_nothing_lands_for_long_is_told_by_the_check_without_a_run(
    site: LandingSite, sync: SyncContext, instance: dg.DagsterInstance
) -> None:
    never = freshness(sync, instance)
    site.land()
    fresh = freshness(sync, instance, cursor=never.cursor)
    same = freshness(sync, instance, cursor=fresh.cursor)
    later = replace(sync, now=lambda: datetime.now(tz=UTC) + timedelta(hours=49))
    old = freshness(later, instance, cursor=same.cursor)

    told = [
        [it.passed for it in found.asset_events if isinstance(it, dg.AssetCheckEvaluation)]
        for found in (never, fresh, same, old)
    ]
    assert told == [[False], [True], [], [False]]
    (event,) = old.asset_events
    assert isinstance(event, dg.AssetCheckEvaluation)
    assert event.asset_key == dg.AssetKey("landed_products")
    assert "began 49.0 h ago; 48 h are allowed" in str(event.description)
    instance.report_runless_asset_event(event)


def freshness(
    sync: SyncContext, instance: dg.DagsterInstance, *, cursor: str | None = None
) -> dg.SensorResult:
    found = sense(sync, instance, sensor="landing_freshness_sensor", cursor=cursor)
    assert isinstance(found, dg.SensorResult)
    return found


if __name__ == "__main__":
    SNAPSHOT.write_text(rendered(), encoding="utf-8")
