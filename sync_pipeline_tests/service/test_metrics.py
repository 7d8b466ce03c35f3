"""What monitoring is told: true, bounded, cheap, and of nobody's words."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from sync_pipeline.core.changes import Operation, PendingChanges
from sync_pipeline.core.errors import SourceUnavailableError, StoreLockedError
from sync_pipeline.core.ports import RecordedScope, ScopeTotals, SyncRun
from sync_pipeline.core.reports import Counts, StepSeconds
from sync_pipeline.core.scope import GLOBAL
from sync_pipeline.core.spending import Tariff
from sync_pipeline.embedding.hashing import HashingEmbedder
from sync_pipeline.engine.context import SyncContext
from sync_pipeline.engine.embedders import PricedEmbedder
from sync_pipeline.engine.steps.sync import sync_scope
from sync_pipeline.operations.monitoring import (
    Watched,
    furthest_behind,
    oldest_unsynced_seconds,
    watch,
)
from sync_pipeline.service.metrics import MEANINGS, Metrics, Records
from sync_pipeline.service.timing import PARTS, note, timed_lease, timed_search
from sync_pipeline_tests.cli.installed import CommandLine, row
from sync_pipeline_tests.fakes.feed import FakeChangeFeed
from sync_pipeline_tests.service.served import Served, serving

TOP = Path(__file__).parents[2]
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
RULES = TOP / "deploy/prometheus/alerts.yml"
DASHBOARD = TOP / "deploy/grafana/dashboard.json"


def scraped(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


class Scrape:
    """The samples of one scrape."""

    def __init__(self, text: str) -> None:
        self.samples = scraped(text)

    def __call__(self, name: str, **labels: str) -> float | None:
        return self.samples.get((name, frozenset(labels.items())))

    def labels(self, name: str, label: str) -> set[str]:
        return {dict(labels)[label] for each, labels in self.samples if each == name}


def scrape(served: Served) -> Scrape:
    answer = served.client.get("/metrics", headers=served.headers("worker", None))
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")
    return Scrape(answer.text)


def recorded(key: str = "acme", **changes: Any) -> RecordedScope:
    synced_at = changes.get("in_sync_to", NOW - timedelta(hours=2))
    values: dict[str, Any] = {
        "scope_key": key,
        "snapshot_at": synced_at,
        "entities": 2,
        "rows": 10,
        "documents": 10,
        "failed": 0,
        "quarantined": 0,
        "in_sync_to": synced_at,
        "last_success_at": NOW - timedelta(hours=2),
        "last_full_at": NOW - timedelta(hours=2),
        "vanished_at": None,
        "is_running": False,
        "is_cut_off": False,
    }
    return RecordedScope(**(values | changes))


def run_of(number: int, **changes: Any) -> SyncRun:
    values: dict[str, Any] = {
        "run_id": f"run-{number}",
        "scope_key": "acme",
        "mode": "full",
        "status": "success",
        "started_at": NOW,
        "finished_at": NOW,
        "counts": Counts(embedded_texts=7, embedded_tokens=250_000, cache_hits=3),
        "seconds": StepSeconds(export=1.0, embed=20.0),
    }
    return SyncRun(**(values | changes))


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Served]:
    """A service for one test."""
    with serving(tmp_path) as service:
        yield service


def test_what_is_recorded_is_told_by_scope_entity_view_and_status(served: Served) -> None:
    metrics = scrape(served)
    globex = {"scope": "globex", "entity": "material", "view": "text"}

    assert metrics("sync_pipeline_documents", **globex, status="synced") == 2
    assert metrics("sync_pipeline_documents", **globex, status="quarantined") == 1
    assert metrics("sync_pipeline_documents", **globex, status="failed") == 0
    assert metrics("sync_pipeline_all_documents", status="synced") == 6
    assert metrics("sync_pipeline_scopes") == 3
    assert metrics("sync_pipeline_all_quarantined") == 1
    assert metrics("sync_pipeline_scope_oldest_unsynced_seconds", scope="acme") == 0
    assert (metrics("sync_pipeline_records_up"), metrics("sync_pipeline_ready")) == (1, 1)
    assert (metrics("sync_pipeline_last_success_timestamp_seconds") or 0) > 0


def test_metrics_are_for_operators_unless_the_settings_say_otherwise(
    served: Served, tmp_path: Path
) -> None:
    assert served.client.get("/metrics").status_code == 401
    assert served.client.get("/metrics", headers=served.headers()).status_code == 403
    with serving(tmp_path, metrics="everybody") as open_to_all:
        assert open_to_all.client.get("/metrics").status_code == 200


def test_requests_are_counted_by_the_template_of_their_route(own: Served) -> None:
    own.search("cladding")
    own.client.get("/nowhere/secret-words")
    own.client.request("BREW", "/api/search")
    own.client.post("/mcp", json={})

    metrics = scrape(own)

    def counted(method: str, route: str, status: str) -> float | None:
        labels = {"method": method, "route": route, "status": status}
        return metrics("sync_pipeline_requests_total", **labels)

    assert counted("POST", "/api/search", "200") == 1
    assert counted("GET", "other", "404") == 1
    assert counted("other", "/api/search", "405") == 1
    assert counted("POST", "/mcp", "401") == 1
    assert not any(
        "secret" in route for route in metrics.labels("sync_pipeline_requests_total", "route")
    )


def test_each_search_is_counted_once_in_every_part(own: Served) -> None:
    own.search("cladding")
    own.client.post("/api/search/batch", json={"searches": [{"query": "a"}]}, headers=own.headers())

    metrics = scrape(own)

    for part in PARTS:
        assert metrics("sync_pipeline_search_seconds_count", part=part) == 2


def test_operators_alone_are_told_where_the_time_went(own: Served) -> None:
    def timing(role: str) -> str | None:
        answer = own.client.post(
            "/api/search", json={"query": f"tiles {role}"}, headers=own.headers(role)
        )
        return answer.headers.get("server-timing")

    assert timing("tenant") is None
    told = timing("worker") or ""
    assert re.findall(r"(\w+);dur=[0-9.]+", told) == list(PARTS)


def test_refusals_are_counted_by_reason(tmp_path: Path) -> None:
    with serving(tmp_path, requests_per_minute=1) as served:
        for _ in range(3):
            served.client.post("/api/search", json={"query": "x"}, headers=served.headers())
        metrics = scrape(served)

    assert metrics("sync_pipeline_busy_total", reason="caller") == 2


def test_the_parts_of_a_search_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([10.0, 12.0])
    monkeypatch.setattr("sync_pipeline.service.timing.time.perf_counter", lambda: next(clock))

    with timed_search() as spent:
        note("waiting", 0.25)
        note("index", 0.5)
        note("index", 0.25)
    note("index", 99)

    assert spent.seconds == {"waiting": 0.25, "embedding": 0.0, "index": 0.75, "rest": 1.0}
    assert spent.server_timing() == (
        "waiting;dur=250.00, embedding;dur=0.00, index;dur=750.00, rest;dur=1000.00"
    )


def test_an_index_that_is_in_use_is_counted_and_one_that_fails_later_is_not() -> None:
    busy: list[str] = []

    def locked() -> Any:
        raise StoreLockedError(path="index", holder="a sync", waited_seconds=1)

    with (
        pytest.raises(StoreLockedError, match="in use"),
        timed_lease(locked, on_busy=lambda: busy.append("index"))(),
    ):
        pass

    store = CommandLine(Path()).store
    with (
        pytest.raises(SourceUnavailableError, match="gone"),
        timed_lease(store.lease, on_busy=lambda: busy.append("later"))(),
    ):
        raise SourceUnavailableError("gone")

    assert busy == ["index"]


@pytest.mark.parametrize(
    ("scope", "pending_hours", "expected_hours"),
    [
        pytest.param(recorded(), None, 0, id="nothing waits"),
        pytest.param(recorded(failed=1), None, 2, id="a document failed"),
        pytest.param(recorded(is_cut_off=True), None, 2, id="a run was cut off"),
        pytest.param(recorded(documents=9), None, 2, id="a document is missing"),
        pytest.param(recorded(quarantined=1, documents=9), None, 0, id="a row is quarantined"),
        pytest.param(recorded(), 1, 1, id="a change waits in the feed"),
        pytest.param(recorded(failed=1), 1, 2, id="both"),
        pytest.param(recorded(in_sync_to=None), None, None, id="never synced"),
        pytest.param(recorded(in_sync_to=None), 1, 1, id="never synced, and a change waits"),
    ],
)
def test_how_long_a_change_has_been_waiting(
    scope: RecordedScope, pending_hours: float | None, expected_hours: float | None
) -> None:
    pending = None
    if pending_hours is not None:
        oldest_at = NOW - timedelta(hours=pending_hours)
        pending = PendingChanges(events=1, oldest_at=oldest_at, has_truncate=False)

    waited = oldest_unsynced_seconds(scope, pending, now=NOW)

    assert waited == (None if expected_hours is None else expected_hours * 3600)


def test_the_furthest_behind_come_first_and_those_never_synced_before_them() -> None:
    waits = {"a": 5.0, "b": None, "c": 9.0, "d": 5.0}
    scopes = [recorded(key) for key in "dcba"]

    chosen = furthest_behind(scopes, waits=waits, limit=3)

    assert [scope.scope_key for scope in chosen] == ["b", "c", "a"]


def test_of_too_many_scopes_the_worst_are_listed_and_the_totals_count_all(
    tmp_path: Path,
) -> None:
    run = CommandLine(tmp_path)
    rows = [row(f"r{n}", f"text {n}", tenant=f"tenant-{n:02}") for n in range(30)]
    run.source.tables["materials"] += [*rows, row("bad", None, tenant="tenant-07")]
    assert run("sync", "all").exit_code == 0

    every, some = watch(run.sync), watch(run.sync, most=20, worst=5)

    assert len(every.lines) == every.totals.scopes == some.totals.scopes == 33
    assert {line.scope.scope_key for line in some.lines} == {"globex", "tenant-07"}


def test_changes_of_a_tenant_that_was_never_synced_are_waited_for_too(tmp_path: Path) -> None:
    run = CommandLine(tmp_path)
    assert run("sync", "all").exit_code == 0
    feed = FakeChangeFeed()
    feed.install(run.sync.entities)
    feed.record(Operation.INSERT, entity_type="work", db_id="n1", new="newcomer")
    feed.record(Operation.UPDATE, entity_type="work", db_id="a2", old="acme", new="acme")
    later = feed.now + timedelta(minutes=5)

    watched = watch(replace(run.sync, feed=feed, now=lambda: later))

    assert watched.waits == {"newcomer": 301, "acme": 300, "global": 0, "globex": 0}
    assert watched.longest_wait_seconds == 301


def test_a_generation_that_is_being_filled_shows_how_far_it_is(tmp_path: Path) -> None:
    run = CommandLine(tmp_path)
    assert run("sync", "all").exit_code == 0
    changed = run.sync.rebound(embedder=HashingEmbedder(dimension=32))
    sync_scope(changed, scope=GLOBAL, run_id="first")

    watched = watch(changed)

    serving, filling = watched.generations
    in_global = changed.scopes.get(scope=GLOBAL)
    assert in_global is not None
    assert (serving.role, serving.collection) == ("serving", run.sync.spec.collection)
    assert (filling.role, filling.collection) == ("filling", changed.spec.collection)
    assert filling.documents == in_global.documents
    assert filling.share == in_global.documents / serving.documents < 1


def test_records_are_read_again_only_when_they_are_old_and_reading_them_was_worth_it() -> None:
    read: list[float] = []
    now = 100.0

    def expensive() -> Watched:
        nonlocal now
        read.append(now)
        now += 2
        return Watched(totals=ScopeTotals(), lines=(), waits={}, runs=())

    records = Records(expensive, clock=lambda: now)
    for moment in (100.0, 103.0, 121.0, 122.5):
        now = max(now, moment)
        list(records.collect())

    assert read == [100.0, 122.5]


def test_without_records_the_rest_is_told(own: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    def unavailable(**_: Any) -> Any:
        raise SourceUnavailableError("connection refused")

    monkeypatch.setattr(own.run.sync.overview, "sum_up", unavailable)
    metrics = scrape(own)

    assert metrics("sync_pipeline_records_up") == 0
    assert metrics("sync_pipeline_scopes") is None
    assert metrics("sync_pipeline_ready") == 1


def test_each_run_is_counted_once_and_none_of_the_past(tmp_path: Path) -> None:
    run = CommandLine(tmp_path)
    metrics = Metrics(run.sync)

    def count(*numbers: int) -> None:
        metrics._runs.count([run_of(number) for number in numbers])

    count(2, 1)
    count(4, 3, 2)
    count(4, 3)
    value = metrics.registry.get_sample_value

    assert value("sync_pipeline_runs_total", {"status": "success", "mode": "full"}) == 2
    assert value("sync_pipeline_embedded_texts_total") == 14
    assert value("sync_pipeline_cache_hits_total") == 6
    assert value("sync_pipeline_embedded_tokens_total") == 500_000
    assert value("sync_pipeline_embedding_cost_total") is None
    assert value("sync_pipeline_run_step_seconds_sum", {"step": "embed"}) == 40


def test_tokens_cost_what_the_settings_say(tmp_path: Path) -> None:
    metrics = Metrics(priced(CommandLine(tmp_path).sync))

    metrics._runs.count([])
    metrics._runs.count([run_of(1), run_of(2)])

    assert metrics.registry.get_sample_value("sync_pipeline_embedding_cost_total") == 1.0


def test_no_text_of_a_document_or_query_is_told(own: Served) -> None:
    own.search("charred larch")
    text = own.client.get("/metrics", headers=own.headers("admin")).text

    assert "larch" not in text


def priced(sync: SyncContext) -> SyncContext:
    """The same where a million tokens cost two."""
    return sync.rebound(embedder=PricedEmbedder(sync.models.main, tariff=Tariff(Decimal(2))))


def exposed_families() -> set[str]:
    metrics = Metrics(priced(CommandLine(Path()).sync))
    return {family.name for family in metrics.registry.collect()}


def exposed_names() -> set[str]:
    """Names of samples, as rules and panels spell them."""
    metrics = Metrics(priced(CommandLine(Path()).sync))
    names: set[str] = set()
    for family in metrics.registry.collect():
        suffixes = {
            "counter": ["_total"],
            "histogram": ["_bucket", "_sum", "_count"],
        }.get(family.type, [""])
        names |= {family.name + suffix for suffix in suffixes}
    return names


def named_in(expression: str) -> set[str]:
    return set(re.findall(r"\bsync_pipeline_\w+", expression))


def test_every_family_has_a_meaning_and_is_exposed() -> None:
    ours = {name for name in exposed_families() if name.startswith("sync_pipeline_")}

    assert ours == set(MEANINGS)


def test_the_table_of_the_documents_is_that_of_the_code() -> None:
    page = (TOP / "docs/monitoring.md").read_text(encoding="utf-8")

    rows = re.findall(r"^\| `(sync_pipeline_\w+)` \| (.+) \|$", page, flags=re.MULTILINE)
    assert dict(rows) == MEANINGS


def test_the_rules_name_only_metrics_that_there_are() -> None:
    rules = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"][0]["rules"]
    names = set().union(*(named_in(rule["expr"]) for rule in rules))

    assert names
    assert names <= exposed_names()


def test_the_dashboard_loads_and_names_only_metrics_that_there_are() -> None:
    dashboard = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    panels = dashboard["panels"]
    expressions = [target["expr"] for panel in panels for target in panel["targets"]]

    assert len({panel["id"] for panel in panels}) == len(panels) >= 15
    assert [it["name"] for it in dashboard["templating"]["list"]] == ["datasource", "instance"]
    assert all(panel["datasource"]["uid"] == "${datasource}" for panel in panels)
    assert all(named_in(expression) for expression in expressions)
    assert set().union(*map(named_in, expressions)) <= exposed_names()


def test_no_two_panels_of_the_dashboard_overlap() -> None:
    cells: set[tuple[int, int]] = set()
    for panel in json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]:
        place = panel["gridPos"]
        own = {
            (place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])
        }
        assert not own & cells
        assert max(x for x, _ in own) < 24
        cells |= own


@pytest.mark.process
@pytest.mark.skipif(
    shutil.which("promtool") is None,
    reason="promtool is missing: apt-get install prometheus",
)
@pytest.mark.parametrize(
    "words",
    [
        pytest.param(("check", "rules", "alerts.yml"), id="they load"),
        pytest.param(("test", "rules", "alerts_test.yml"), id="they fire where they have to"),
    ],
)
def test_the_alert_rules(words: tuple[str, ...]) -> None:
    done = subprocess.run(
        [str(shutil.which("promtool")), *words],
        cwd=RULES.parent,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_tested() -> None:
    rules = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"][0]["rules"]
    tests = yaml.safe_load(RULES.with_name("alerts_test.yml").read_text(encoding="utf-8"))["tests"]
    firing = {
        case["alertname"]
        for test in tests
        for case in test["alert_rule_test"]
        if case["exp_alerts"]
    }

    assert firing == {rule["alert"] for rule in rules}
