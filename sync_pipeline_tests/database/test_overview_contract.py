"""What every ``Overview`` promises: all scopes at a glance, paged, filtered and sorted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

import pytest
from sqlalchemy import Engine

from sync_pipeline.core.document import Reason, Rejection
from sync_pipeline.core.landing.bounds import LandedUntil, in_sync_to
from sync_pipeline.core.ports import (
    EntityResult,
    Fence,
    IndexState,
    Overview,
    Quarantine,
    RecordedScope,
    ScopeLeases,
    ScopeOrder,
    ScopePage,
    ScopeStates,
    ScopeTotals,
    SyncRun,
    SyncRuns,
    ViewTrouble,
)
from sync_pipeline.core.scope import GLOBAL, Scope
from sync_pipeline.database.overview import PostgresOverview
from sync_pipeline_tests.database.documents import (
    ACME,
    COLLECTION,
    GLOBEX,
    LATER,
    MODEL,
    NOON,
    failure,
    row,
)
from sync_pipeline_tests.database.test_sync_runs_contract import run
from sync_pipeline_tests.fakes.landing_records import landed_until
from sync_pipeline_tests.fakes.overview import FakeOverview
from sync_pipeline_tests.fakes.state import (
    FakeIndexState,
    FakeQuarantine,
    FakeScopeLeases,
    FakeScopeStates,
    FakeSyncRuns,
)

BOTH: Final = ("material", "work")
INITECH: Final = Scope("initech")
EARLIER: Final = NOON - timedelta(days=1)


@pytest.fixture
def overview(  # noqa: PLR0917 - fixtures
    engine_or_fake: Engine | None,
    state: IndexState,
    scopes: ScopeStates,
    leases: ScopeLeases,
    quarantine: Quarantine,
    runs: SyncRuns,
) -> Overview:
    if engine_or_fake is not None:
        return PostgresOverview(engine_or_fake, collection=COLLECTION)
    assert isinstance(state, FakeIndexState)
    assert isinstance(scopes, FakeScopeStates)
    assert isinstance(quarantine, FakeQuarantine)
    assert isinstance(leases, FakeScopeLeases)
    assert isinstance(runs, FakeSyncRuns)
    return FakeOverview(state=state, scopes=scopes, leases=leases, quarantine=quarantine, runs=runs)


def succeed(
    scopes: ScopeStates,
    scope: Scope,
    *,
    rows: int = 3,
    documents: int | None = None,
    snapshot_at: datetime = NOON,
    entity_types: Sequence[str] = BOTH,
) -> None:
    """Record ``rows`` rows per entity."""
    scopes.record_success(
        Fence(scope.key, "run-1", 1),
        entities=[
            EntityResult(
                entity_type=name,
                rows=rows,
                documents=rows if documents is None else documents,
                quarantined=0,
                failed=0,
            )
            for name in entity_types
        ],
        snapshot_at=snapshot_at,
        is_full=True,
    )


def listed(overview: Overview, page: ScopePage | None = None) -> list[RecordedScope]:
    found, _ = overview.list_scopes(entity_types=BOTH, page=page or ScopePage())
    return found


def keys(overview: Overview, page: ScopePage) -> list[str]:
    return [scope.scope_key for scope in listed(overview, page)]


def quarantined(entity_type: str = "material", db_id: str = "7", *, rows: int = 1) -> Rejection:
    rejection = Rejection(
        entity_type=entity_type, db_id=db_id, reason=Reason.EMPTY_TEXT, detail="empty"
    )
    return replace(rejection, rows=rows)


def test_nothing_recorded_is_an_empty_page(overview: Overview) -> None:
    answer = overview.list_scopes(entity_types=BOTH, page=ScopePage())

    assert answer == ([], 0)
    assert overview.sum_up(entity_types=BOTH, scope_keys=None) == ScopeTotals()


def test_a_scope_is_the_sum_of_its_entities_as_old_as_the_one_furthest_behind(
    overview: Overview, scopes: ScopeStates
) -> None:
    succeed(scopes, ACME, rows=3, entity_types=["material"], snapshot_at=LATER)
    succeed(scopes, ACME, rows=4, entity_types=["work"], snapshot_at=NOON)

    (scope,) = listed(overview)

    assert (scope.scope_key, scope.entities, scope.rows, scope.documents) == ("acme", 2, 7, 7)
    assert (scope.in_sync_to, scope.last_full_at) == (NOON, NOON)
    assert (scope.coverage, scope.severity) == (1.0, 0)
    assert isinstance(scope.rows, int)


def test_a_scope_with_an_entity_that_was_never_synced_is_not_in_step(
    overview: Overview, scopes: ScopeStates
) -> None:
    succeed(scopes, ACME, entity_types=["material"])

    (scope,) = listed(overview)

    assert (scope.entities, scope.in_sync_to, scope.last_full_at) == (1, None, None)
    assert scope.last_success_at is not None
    assert scope.severity == 2


def test_what_fails_now_counts_whatever_the_last_success_recorded(
    overview: Overview, scopes: ScopeStates, state: IndexState
) -> None:
    succeed(scopes, ACME, rows=4)
    state.record_failed(scope=ACME, failures=[failure(1), failure(2)])

    (scope,) = listed(overview)

    assert (scope.failed, scope.synced, scope.possible) == (2, 6, 8)
    assert (scope.coverage, scope.severity) == (0.75, 3)


def test_what_is_recorded_of_entities_that_left_the_settings_does_not_count(
    overview: Overview, scopes: ScopeStates, state: IndexState, quarantine: Quarantine
) -> None:
    succeed(scopes, ACME, rows=4)
    succeed(scopes, GLOBEX, rows=4, entity_types=["gone"])
    state.record_failed(scope=GLOBEX, failures=[replace(failure(1), entity_type="gone")])
    quarantine.replace(scope=GLOBEX, rejections=[quarantined("gone")], entity_types=["gone"])

    assert [scope.scope_key for scope in listed(overview)] == ["acme"]


def test_rows_that_cannot_become_documents_are_not_missing(
    overview: Overview, scopes: ScopeStates, quarantine: Quarantine
) -> None:
    succeed(scopes, ACME, rows=3, documents=2, entity_types=["material"])
    succeed(scopes, ACME, rows=0, entity_types=["work"])
    quarantine.replace(scope=ACME, rejections=[quarantined()], entity_types=BOTH)

    (scope,) = listed(overview)

    assert (scope.quarantined, scope.possible, scope.synced) == (1, 2, 2)
    assert (scope.coverage, scope.severity) == (1.0, 1)


def test_a_run_that_was_cut_off_shows_once_its_lease_is_over(
    overview: Overview, scopes: ScopeStates, leases: ScopeLeases
) -> None:
    succeed(scopes, ACME)
    fence = leases.acquire(scope=ACME, owner="run-2", ttl_seconds=60)
    scopes.note_writing(fence, entity_types=BOTH, over_others=True)

    (while_running,) = listed(overview)
    leases.release(fence)
    (afterwards,) = listed(overview)

    assert (while_running.is_running, while_running.is_cut_off) == (True, False)
    assert (afterwards.is_running, afterwards.is_cut_off) == (False, True)
    assert afterwards.severity == 3


def test_a_first_run_shows_before_anything_is_recorded(
    overview: Overview, leases: ScopeLeases
) -> None:
    leases.acquire(scope=ACME, owner="run-1", ttl_seconds=60)

    (scope,) = listed(overview)

    assert (scope.scope_key, scope.is_running, scope.rows) == ("acme", True, 0)


def test_a_scope_without_rows_any_more_is_marked(overview: Overview, scopes: ScopeStates) -> None:
    succeed(scopes, ACME)
    scopes.mark_vanished(scope_keys=["acme"], entity_types=BOTH)

    (scope,) = listed(overview)

    assert scope.vanished_at is not None
    assert scope.severity == 1


def refused(number: int, *, deletions: int) -> SyncRun:
    facts: dict[str, str | int | float] = {
        "error": "MassDeletionRefusedError",
        "total": deletions,
        "total_indexed": 50,
    }
    return replace(run(number), status="failed", facts=facts)


def test_a_refused_deletion_waits_until_a_run_succeeds(
    overview: Overview, scopes: ScopeStates, runs: SyncRuns
) -> None:
    succeed(scopes, ACME)
    succeed(scopes, GLOBEX)
    runs.record(refused(1, deletions=40))
    runs.record(refused(2, deletions=41))
    runs.record(replace(run(3), status="failed"))

    (waiting,) = listed(overview, ScopePage(only_blocked=True))
    totals = overview.sum_up(entity_types=BOTH, scope_keys=None)
    runs.record(run(4))

    assert (waiting.scope_key, waiting.blocked_deletions, waiting.blocked_of) == ("acme", 41, 50)
    assert (waiting.blocked_at, waiting.severity) == (run(2).finished_at, 4)
    assert totals.blocked == 1
    assert listed(overview, ScopePage(only_blocked=True)) == []


@pytest.fixture
def several(
    overview: Overview, scopes: ScopeStates, state: IndexState, quarantine: Quarantine
) -> Overview:
    """``global`` is fine, ``acme`` has a quarantined row, ``globex`` fails, ``initech`` is new."""
    succeed(scopes, GLOBAL, rows=9, snapshot_at=LATER)
    succeed(scopes, ACME, rows=5)
    succeed(scopes, GLOBEX, rows=2)
    succeed(scopes, INITECH, rows=1, entity_types=["work"])
    state.record_failed(scope=GLOBEX, failures=[failure(1)])
    quarantine.replace(scope=ACME, rejections=[quarantined(rows=2)], entity_types=BOTH)
    return overview


@pytest.mark.parametrize(
    ("order", "descending"),
    [
        pytest.param(ScopeOrder.PROBLEMS, "globex initech acme global", id="problems"),
        pytest.param(ScopeOrder.SCOPE, "initech globex global acme", id="key"),
        pytest.param(ScopeOrder.ROWS, "global acme globex initech", id="rows"),
        pytest.param(ScopeOrder.FAILED, "globex acme global initech", id="failed"),
        pytest.param(ScopeOrder.QUARANTINED, "acme global globex initech", id="quarantined"),
        pytest.param(ScopeOrder.IN_SYNC_TO, "global acme globex initech", id="freshness"),
        pytest.param(ScopeOrder.COVERAGE, "acme global initech globex", id="coverage"),
    ],
)
def test_pages_are_sorted_by_what_is_asked_for(
    several: Overview, order: ScopeOrder, descending: str
) -> None:
    assert keys(several, ScopePage(order=order)) == descending.split()


def test_ascending_puts_times_that_are_not_known_first(several: Overview) -> None:
    page = ScopePage(order=ScopeOrder.IN_SYNC_TO, is_descending=False)

    assert keys(several, page) == ["initech", "acme", "globex", "global"]


@pytest.mark.parametrize(
    ("landed", "descending"),
    [
        pytest.param(
            [landed_until(EARLIER, "global")],
            "acme globex global initech",
            id="one scope's rows landed before others were synced",
        ),
        pytest.param([landed_until(NOON)], "acme global globex initech", id="any rows"),
        pytest.param(
            [landed_until(None, "acme")],
            "global globex acme initech",
            id="a landing that was never complete",
        ),
        pytest.param(
            [landed_until(NOON), landed_until(EARLIER, "acme")],
            "global globex acme initech",
            id="several landings",
        ),
    ],
)
def test_nothing_is_sorted_as_newer_than_what_had_landed(
    several: Overview, landed: list[LandedUntil], descending: str
) -> None:
    page = ScopePage(order=ScopeOrder.IN_SYNC_TO)

    found, _ = several.list_scopes(entity_types=BOTH, page=page, landed=landed)

    assert [scope.scope_key for scope in found] == descending.split()
    assert [scope.in_sync_to for scope in found] == [
        in_sync_to(scope.snapshot_at, scope_key=scope.scope_key, landed=landed) for scope in found
    ]


def test_what_had_landed_is_no_problem_of_scopes(several: Overview) -> None:
    landed = [landed_until(None)]
    page = ScopePage(order=ScopeOrder.SCOPE)

    found, _ = several.list_scopes(entity_types=BOTH, page=page, landed=landed)
    totals = several.sum_up(entity_types=BOTH, scope_keys=None, landed=landed)

    assert [scope.severity for scope in found] == [
        scope.severity for scope in listed(several, page)
    ]
    assert {scope.in_sync_to for scope in found} == {None}
    assert (totals.in_sync_to, totals.never_synced) == (None, 1)


def test_totals_are_bounded_by_what_had_landed(several: Overview) -> None:
    landed = [landed_until(EARLIER, "global")]

    totals = several.sum_up(entity_types=BOTH, scope_keys=None, landed=landed)

    assert totals.in_sync_to == EARLIER


def test_pages_follow_one_another_and_know_how_many_there_are(several: Overview) -> None:
    page = ScopePage(order=ScopeOrder.SCOPE, is_descending=False, limit=3)
    first, total = several.list_scopes(entity_types=BOTH, page=page)
    second = listed(several, replace(page, offset=3))

    assert [scope.scope_key for scope in (*first, *second)] == [
        "acme",
        "global",
        "globex",
        "initech",
    ]
    assert total == 4


def test_behind_the_last_page_it_is_still_known_how_many_there_are(several: Overview) -> None:
    page = ScopePage(offset=100)

    assert several.list_scopes(entity_types=BOTH, page=page) == ([], 4)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("GLOB", ["globex", "global"], id="any case"),
        pytest.param("%", [], id="a percent sign is itself"),
        pytest.param("_", [], id="an underscore is itself"),
        pytest.param("\0", [], id="what no database can hold"),
    ],
)
def test_a_filter_is_a_part_of_the_key(several: Overview, text: str, expected: list[str]) -> None:
    assert keys(several, ScopePage(containing=text)) == expected


def test_only_scopes_with_problems(several: Overview) -> None:
    assert keys(several, ScopePage(only_problems=True)) == ["globex", "initech", "acme"]


def test_only_scopes_that_the_caller_may_see(several: Overview) -> None:
    own = ["acme", "global"]

    assert keys(several, ScopePage(scope_keys=own)) == own
    totals = several.sum_up(entity_types=BOTH, scope_keys=own)
    assert (totals.scopes, totals.rows, totals.failed) == (2, 28, 0)


def test_totals_are_those_of_all_pages(several: Overview) -> None:
    totals = several.sum_up(entity_types=BOTH, scope_keys=None)

    assert totals == ScopeTotals(
        scopes=4,
        rows=33,
        possible=31,
        synced=30,
        failed=1,
        failed_scopes=1,
        quarantined=2,
        never_synced=1,
        in_sync_to=NOON,
        last_success_at=totals.last_success_at,
    )
    assert totals.last_success_at is not None


def test_troubles_name_the_latest_error_of_each_entity(
    overview: Overview, state: IndexState, quarantine: Quarantine
) -> None:
    state.record_failed(scope=ACME, failures=[failure(1, "first")])
    state.record_failed(scope=ACME, failures=[failure(2, "second")])
    state.record_failed(scope=GLOBEX, failures=[failure(3, "foreign")])
    quarantine.replace(scope=ACME, rejections=[quarantined("work", rows=2)], entity_types=BOTH)

    material, work = overview.list_troubles(entity_types=BOTH, scope_keys=["acme"])

    assert (material.entity_type, material.failed, material.quarantined) == ("material", 2, 0)
    assert (material.error_code, material.error) == ("RejectedPointError", "second")
    assert (work.entity_type, work.failed, work.quarantined, work.error) == ("work", 0, 2, None)
    assert material.by_view == {None: ViewTrouble(failed=2, error="second")}
    assert work.by_view == {}


def test_troubles_are_told_by_the_view_that_they_are_about(
    overview: Overview, state: IndexState
) -> None:
    for number, error, views in (
        (1, "both", ["title", "text"]),
        (2, "title alone", ["title"]),
        (3, "all of it", []),
        (4, "mended", ["title"]),
    ):
        failures = [failure(number, error, views=views)]
        state.record_failed(scope=ACME, failures=failures)
    state.record_synced(scope=ACME, rows=[row(4)], snapshot_at=NOON, vector_version=MODEL)

    (material,) = overview.list_troubles(entity_types=BOTH, scope_keys=["acme"])

    assert material.failed == 3
    assert material.by_view == {
        "text": ViewTrouble(failed=1, error="both"),
        "title": ViewTrouble(failed=2, error="title alone"),
        None: ViewTrouble(failed=1, error="all of it"),
    }
