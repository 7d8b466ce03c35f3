"""Many small tenants: a run each against groups, and one night of ten thousand.

Both ways are run by Dagster's own daemon with the settings that are shipped, one after the other
on the same machine: a new database and index each, tenants of five rows, the hashing embedder,
embedded PostgreSQL and Edge. ``make scale-tenants``; results are kept under
``results/acceptance``.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import dagster as dg
import psycopg
import sqlalchemy as sa
from rich.console import Console
from rich.markup import escape

from benchmarks.acceptance.ending import tell
from benchmarks.home import REPOSITORY, Home, Server, require
from benchmarks.machine import machine_facts, package_versions
from benchmarks.results import Figure, Limit, Outcome, Results
from sync_pipeline.core.hashing import point_id
from sync_pipeline.core.point import Point, SparseVector
from sync_pipeline.core.ports import EntityResult
from sync_pipeline.core.scope import GLOBAL, GLOBAL_KEY, Scope
from sync_pipeline.database.urls import driver_url
from sync_pipeline.definitions import build_definitions
from sync_pipeline.defs.partitions import PARTITIONS_NAME
from sync_pipeline.defs.requests import advance_requests
from sync_pipeline.defs.schedules import NIGHTLY
from sync_pipeline.engine.context import SyncContext
from sync_pipeline.engine.lease import scope_lease
from sync_pipeline.engine.questions.due import judge_scopes
from sync_pipeline.engine.steps.sync import sync_scope
from sync_pipeline.hosting.instance import (
    HOME_VARIABLE,
    URL_VARIABLE,
    open_instance,
    prepare_instance,
)
from sync_pipeline.sample.schema import create_source_tables
from sync_pipeline.settings import load_settings
from sync_pipeline.wiring import Installation, open_installation

TITLE: Final = "Many small tenants: groups against a run each, and a night of ten thousand"

ROWS: Final = 5
"""Of each tenant."""
SINGLE: Final = 60
GROUPED: Final = 300
NIGHT: Final = 10_000
CHANGED_EVERY: Final = 10

GROUPS_OFF: Final = {"SYNC_PIPELINE__SCHEDULE__GROUP_ROWS": "0"}
DEADLINE_SECONDS: Final = 3_600.0
POLL_SECONDS: Final = 0.5

_FILL: Final = """
INSERT INTO materials (tenant_id, is_global, name, category, supplier, unit, price)
SELECT 'tenant-' || lpad(tenant::text, 5, '0'), false, 'cement type ' || tenant || '.' || row,
       'binders', 'supplier ' || tenant %% 50, 'kg', 10 + row
FROM generate_series(1, %s) tenant, generate_series(1, %s) row
"""
_CHANGE: Final = """
UPDATE materials SET price = price + 1, updated_at = now()
WHERE substr(tenant_id, 8)::int %% %s = 0
"""
_TABLES: Final = (
    "event_logs", "runs", "run_tags", "asset_keys", "asset_event_tags", "dynamic_partitions",
)  # fmt: skip
"""Those of Dagster's that grow with runs and partitions."""
_COUNTED: Final = """
SELECT (SELECT count(*) FROM dagster.event_logs), (SELECT count(*) FROM dagster.runs)
"""
_ENDED: Final = """
SELECT count(*) FILTER (WHERE status = 'SUCCESS'), count(*) FILTER (WHERE status = 'FAILURE'),
       extract(epoch FROM min(create_timestamp AT TIME ZONE 'UTC'))::float8, max(end_time)
FROM dagster.runs WHERE id > %s
"""
_OPEN: Final = """
SELECT count(*) FROM dagster.runs WHERE status NOT IN ('SUCCESS', 'FAILURE', 'CANCELED')
"""
_LAST_RUN: Final = "SELECT coalesce(max(id), 0) FROM dagster.runs"
_SYNCED: Final = """
SELECT count(DISTINCT scope_key) FROM sync_pipeline.sync_run
WHERE status = 'success' AND finished_at >= %s
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """One round of syncs of all tenants."""

    tenants: int
    seconds: float
    """From the first run that was asked for to the end of the last."""
    runs: int
    events: int
    size_bytes: int
    """By which Dagster's tables of runs and events grew, indexes included; see ``_weigh``."""

    @property
    def per_minute(self) -> float:
        """Tenants synced in a minute."""
        return self.tenants / self.seconds * 60


@dataclass(slots=True)
class Site:
    """An installation whose runs a daemon makes."""

    home: Home
    installation: Installation
    environment: dict[str, str]
    """Of the daemon."""

    @property
    def sync(self) -> SyncContext:
        """Its ports, in this process."""
        return self.installation.sync

    def one(self, query: str, *values: object) -> tuple[float, ...]:
        """The only row of a query."""
        with psycopg.connect(self.home.database_url, autocommit=True) as connection:
            found = connection.execute(query, values).fetchone()  # type: ignore[arg-type]  # ours
        assert found is not None
        return tuple(found)

    def run(self, statement: str, *values: object) -> int:
        """Change rows; how many."""
        with psycopg.connect(self.home.database_url, autocommit=True) as connection:
            return connection.execute(statement, values).rowcount  # type: ignore[arg-type]  # ours

    @contextmanager
    def daemon(self) -> Iterator[None]:
        """Dagster's daemon, with its code server."""
        log = (self.home.folder / "daemon.log").open("ab")
        program = Path(sys.executable).with_name("dagster-daemon")
        with (
            log,
            subprocess.Popen(
                [program, "run", "-m", "sync_pipeline.definitions"],
                cwd=self.home.folder,
                env=self.environment,
                stdout=log,
                stderr=log,
                process_group=0,
            ) as child,
        ):
            try:
                yield
            finally:
                child.send_signal(signal.SIGINT)
                try:
                    child.wait(timeout=60)
                finally:
                    # What it started is in its group; nothing of it may outlive the measurement.
                    with suppress(ProcessLookupError):
                        os.killpg(child.pid, signal.SIGKILL)

    def measure(
        self, ask: Callable[[], object], *, tenants: int, limit_seconds: float = DEADLINE_SECONDS
    ) -> Phase:
        """Ask for syncs, have them run, and say what they cost.

        Args:
            ask: Called once the daemon is started.
            tenants: How many are waited for.
            limit_seconds: After this what was done until then counts, by the time it took.
        """
        size = self._weigh()
        events, runs = self.one(_COUNTED)
        (last,) = self.one(_LAST_RUN)
        since = datetime.now(UTC)
        with self.daemon():
            ask()
            synced = self._wait(tenants, since=since, limit_seconds=limit_seconds)
            now = time.time()
            good, failed, first, end = self.one(_ENDED, last)
        after_size = self._weigh()
        after_events, after_runs = self.one(_COUNTED)
        require(not failed, "every run succeeds")
        require(good == after_runs - runs or synced < tenants, "every run has ended")
        return Phase(
            tenants=synced,
            seconds=(now if synced < tenants else end) - first,
            runs=int(after_runs - runs),
            events=int(after_events - events),
            size_bytes=int(after_size - size),
        )

    def _weigh(self) -> int:
        """Bytes of the tables and their indexes, without the pages that are kept in reserve."""
        for name in _TABLES:
            self.run(f"VACUUM FULL dagster.{name}")
        sizes = (self.one(f"SELECT pg_total_relation_size('dagster.{name}')") for name in _TABLES)
        return int(sum(size for (size,) in sizes))

    def _wait(self, tenants: int, *, since: datetime, limit_seconds: float) -> int:
        """Wait until so many are synced and no run is open; how many are."""
        deadline = time.monotonic() + limit_seconds
        synced = 0
        while time.monotonic() < deadline:
            synced = int(self.one(_SYNCED, since)[0])
            (open_runs,) = self.one(_OPEN)
            if synced >= tenants and not open_runs:
                break
            time.sleep(POLL_SECONDS)
        require(synced, "tenants are synced")
        return synced


def make_site(server: Server, folder: Path, *, tenants: int, **settings: str) -> Site:
    """An installation with so many tenants, of which nothing is synced."""
    url = server.create()
    home = Home(folder=folder, database_url=url, provider="hashing", settings=settings)
    folder.mkdir(parents=True)
    engine = sa.create_engine(driver_url(url, "psycopg"))
    create_source_tables(engine)
    engine.dispose()
    installation = open_installation(load_settings(env=home.environment))
    variables = prepare_instance(installation, environment=home.environment)
    environment = {**home.environment, **variables, "PYTHONPATH": str(REPOSITORY)}
    site = Site(home, installation, environment)
    site.run(_FILL, tenants, ROWS)
    site.run("VACUUM ANALYZE materials")
    with open_instance(installation, environment=environment) as instance:
        # Global has no rows, and no run of its own in what is measured.
        instance.add_dynamic_partitions(PARTITIONS_NAME, [GLOBAL_KEY])
    return site


def tenants_of(site: Site) -> list[Scope]:
    """Every tenant of the source."""
    scopes = site.sync.source.list_scopes(site.sync.entities)
    return [scope for scope in scopes if not scope.is_global]


def first_and_changed(
    site: Site, *, tenants: int, say: Callable[[str], None]
) -> tuple[Phase, Phase]:
    """The first sync of all tenants, asked for by ``new_scope_sensor``, and one after a change."""
    first = site.measure(lambda: None, tenants=tenants)
    say(f"first: {first}")
    site.run(_CHANGE, 1)
    keys = [scope.key for scope in tenants_of(site)]
    changed = site.measure(
        lambda: site.sync.requests.add(requested_by="benchmark", scope_keys=keys), tenants=tenants
    )
    say(f"changed: {changed}")
    return first, changed


@dataclass(frozen=True, slots=True, kw_only=True)
class Night:
    """A night of many tenants of which some have changed."""

    tenants: int
    changed: int
    judging_seconds: float
    """Of all tenants: digests of source, records and index compared."""
    tick_seconds: float
    """Of the schedule, judging included, until everything is asked for."""
    groups: int
    asking_seconds: float
    """Of ``sync_request_sensor``, until every group is known."""
    running: Phase


def pretend_synced(sync: SyncContext, *, tenants: Sequence[Scope], changing: set[str]) -> None:
    """Have index and record say what a sync of every tenant would have; it would take an hour.

    Those that are to change get no points: they are synced from nothing, which costs more.
    """
    digests = sync.source.digest_by_scope(sync.entities)
    points: list[Point] = []
    for scope in tenants:
        found = digests.get(scope.key, {})
        results = []
        for entity in sync.entities:
            rows = found[entity.name].rows if entity.name in found else 0
            if scope.key not in changing:
                points += [_bare_point(scope.key, entity.name, row) for row in range(rows)]
            results.append(
                EntityResult(
                    entity_type=entity.name,
                    rows=rows,
                    documents=rows,
                    quarantined=0,
                    failed=0,
                    digest=sync.entity_digest(entity, found.get(entity.name)),
                )
            )
        with scope_lease(sync, scope=scope, owner="benchmark") as fence:
            sync.scopes.record_success(
                fence, entities=results, snapshot_at=datetime.now(UTC), is_full=True
            )
    with sync.store() as store:
        for first in range(0, len(points), 1_000):
            store.upsert(sync.spec.collection, points[first : first + 1_000])


def _bare_point(scope_key: str, entity_type: str, number: int) -> Point:
    return Point(
        point_id=point_id(f"{scope_key}-{entity_type}-{number}"),
        vectors={},
        sparse=SparseVector((), ()),
        payload={"scope_key": scope_key, "type": entity_type},
    )


def measure_night(
    site: Site, *, tenants: int, limit_seconds: float, say: Callable[[str], None]
) -> Night:
    """Judge, ask for and run one night."""
    sync = site.sync
    scopes = tenants_of(site)
    changing = {scope.key for scope in scopes if int(scope.key[7:]) % CHANGED_EVERY == 0}
    # Makes collection and alias.
    sync_scope(sync, scope=next(it for it in scopes if it.key in changing), run_id="benchmark")
    pretend_synced(sync, tenants=[*scopes, GLOBAL], changing=changing)
    site.run(_CHANGE, CHANGED_EVERY)
    say(f"{tenants} tenants, {len(changing)} of them changed")
    began = time.perf_counter()
    judged = judge_scopes(sync, scopes=[GLOBAL, *scopes], are_all=True)
    judging = time.perf_counter() - began
    due = {it.scope.key for it in judged if it.is_due}
    require(due == changing, f"the changed tenants are due, and no others ({len(due)})")
    # A schedule opens an instance of its own, by the environment of this process.
    os.environ.update({name: site.environment[name] for name in (HOME_VARIABLE, URL_VARIABLE)})
    with open_instance(site.installation, environment=site.environment) as instance:
        repository = build_definitions(sync=sync).get_repository_def()
        schedule = repository.get_schedule_def(NIGHTLY)
        began = time.perf_counter()
        with dg.build_schedule_context(
            instance=instance,
            scheduled_execution_time=datetime.now(UTC),
            repository_def=repository,
            resources={"sync": sync},
        ) as context:
            schedule.evaluate_tick(context)
        tick = time.perf_counter() - began
        began = time.perf_counter()
        _, groups = advance_requests(instance, sync)
        asking = time.perf_counter() - began
        instance.add_dynamic_partitions(PARTITIONS_NAME, [scope.key for scope in scopes])
    say(f"judged in {judging:.1f} s, tick {tick:.1f} s, {len(groups)} groups in {asking:.1f} s")
    running = site.measure(lambda: None, tenants=len(changing), limit_seconds=limit_seconds)
    say(f"night: {running}")
    return Night(
        tenants=tenants,
        changed=len(changing),
        judging_seconds=judging,
        tick_seconds=tick,
        groups=len(groups),
        asking_seconds=asking,
        running=running,
    )


def figures_of(
    single: tuple[Phase, Phase], grouped: tuple[Phase, Phase], night: Night
) -> tuple[Figure, ...]:
    """Everything as figures, with the limits of the issue."""
    ratios = [many.per_minute / one.per_minute for one, many in zip(single, grouped, strict=True)]
    first, changed = grouped
    faster = Limit(value=5, reason="at least 5 times a run each", is_minimum=True)
    whole = night.changed / night.running.per_minute * 60
    return (
        _figure("single/tenants", "tenants with a run each", "tenants", single[0].tenants),
        _figure("grouped/tenants", "tenants in groups", "tenants", first.tenants),
        *_phases("single", "a run each", single),
        *_phases("grouped", "groups", grouped),
        _figure("faster/first", "first sync: groups to a run each", "times", ratios[0], faster),
        _figure("faster/changed", "changed: groups to a run each", "times", ratios[1], faster),
        _figure(
            "events/first",
            "events per tenant in groups, first sync",
            "events",
            first.events / first.tenants,
            Limit(value=4.5, reason="one per asset, see decision 0019, and those of the run"),
        ),
        _figure(
            "events/changed",
            "events per tenant in groups, later syncs",
            "events",
            changed.events / changed.tenants,
            Limit(value=3, reason="at most 3 events per tenant"),
        ),
        *(
            _figure(
                f"bytes/{name}",
                f"Dagster's database per tenant in groups, {label}",
                "KB",
                phase.size_bytes / phase.tenants / 1_000,
                Limit(value=10, reason="at most 10 KB per tenant"),
            )
            for name, label, phase in (
                ("first", "first sync", first), ("changed", "later syncs", changed),
            )
        ),
        _figure("night/tenants", "tenants of the night", "tenants", night.tenants),
        _figure("night/changed", "of which changed", "tenants", night.changed),
        _figure("night/judging", "judging all of them", "s", night.judging_seconds),
        _figure(
            "night/tick",
            "tick of the schedule, judging included",
            "s",
            night.tick_seconds,
            Limit(value=60, reason="a tick may take 60 s"),
        ),
        _figure("night/groups", "groups", "runs", night.groups),
        _figure("night/asking", "cutting and asking for all groups", "s", night.asking_seconds),
        _figure("night/ran", "tenants run", "tenants", night.running.tenants),
        _figure("night/running", "running them", "s", night.running.seconds),
        _figure("night/whole", "running all changed ones, at that rate", "s", whole),
    )  # fmt: skip


def _phases(key: str, label: str, phases: tuple[Phase, Phase]) -> Iterator[Figure]:
    for name, phase in zip(("first", "changed"), phases, strict=True):
        about = f"{label}, {'first sync' if name == 'first' else 'one row of each changed'}"
        yield _figure(f"{key}/{name}/per-minute", about, "tenants/min", phase.per_minute)
        yield _figure(f"{key}/{name}/runs", about, "runs", phase.runs)
        yield _figure(f"{key}/{name}/events", about, "events/tenant", phase.events / phase.tenants)
        yield _figure(
            f"{key}/{name}/bytes", about, "KB/tenant", phase.size_bytes / phase.tenants / 1_000
        )


def _figure(key: str, label: str, unit: str, value: float, limit: Limit | None = None) -> Figure:
    return Figure(key=key, label=label, unit=unit, samples=(round(value, 3),), limit=limit)


def main(arguments: Sequence[str]) -> int:
    options = _parse(arguments)
    console = Console()
    results = Results(
        suite="many-tenants",
        date=datetime.now(UTC).date().isoformat(),
        scale=1.0,
        machine=machine_facts(),
        versions=package_versions(),
    )
    folder = Path(tempfile.mkdtemp(prefix="spt-", dir=options.work))
    server = Server(folder)
    began = time.monotonic()

    def say(text: str) -> None:
        console.print(f"[dim]{escape(text)}[/]", highlight=False)

    def site(name: str, tenants: int, **settings: str) -> Site:
        return make_site(server, folder / name, tenants=tenants, **settings)

    try:
        grouped = first_and_changed(
            site("grouped", options.grouped), tenants=options.grouped, say=say
        )
        single = first_and_changed(
            site("single", options.single, **GROUPS_OFF), tenants=options.single, say=say
        )
        night = measure_night(
            site("night", options.night),
            tenants=options.night,
            limit_seconds=options.night_seconds,
            say=say,
        )
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
    outcome = Outcome(
        name="many_tenants",
        title=TITLE,
        figures=figures_of(single, grouped, night),
        notes=(
            f"Tenants of {ROWS} rows; the hashing embedder; at most 4 runs at a time.",
            (
                "Of the night the tenants that did not change were recorded as synced, not synced; "
                "those that changed were synced from nothing, which costs more than a change."
            ),
        ),
        seconds=round(time.monotonic() - began, 1),
    )
    is_whole = (options.grouped, options.night) == (GROUPED, NIGHT)
    return tell(console, outcome, results=results, out=options.out, is_whole=is_whole)


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=TITLE)
    parser.add_argument("--single", type=int, default=SINGLE, help="tenants with a run each")
    parser.add_argument("--grouped", type=int, default=GROUPED, help="tenants in groups")
    parser.add_argument("--night", type=int, default=NIGHT, help="tenants of the night")
    parser.add_argument(
        "--night-seconds",
        type=float,
        default=DEADLINE_SECONDS,
        help="how long the night's runs may take; the rest is estimated at their rate",
    )
    parser.add_argument("--out", type=Path, help="folder of the results file")
    parser.add_argument("--work", type=Path, help="folder for the database and the index")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
