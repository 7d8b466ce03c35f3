"""How everything stands as far as it is recorded, in numbers and words."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from sync_pipeline.core.ports import (
    EntitySnapshot,
    EntityTrouble,
    GenerationRecord,
    RecordedScope,
    ScopePage,
    ScopeTotals,
    SyncRun,
    ViewTrouble,
)
from sync_pipeline.core.remedy import ApproveDeletions, RollBackIndex, SwitchIndex, SyncScopes
from sync_pipeline.core.scope import GLOBAL, Scope
from sync_pipeline.operations.filling import generation_actions
from sync_pipeline.operations.overview import (
    BadgeState,
    age_in_words,
    failed_runs,
    health_percent,
    problems_in_words,
    recorded_status,
    view_badge,
    worker_state,
)
from sync_pipeline_tests.cli.installed import CommandLine

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)


def scope(**changes: object) -> RecordedScope:
    values: dict[str, object] = {
        "scope_key": "acme",
        "entities": 1,
        "rows": 3,
        "documents": 3,
        "failed": 0,
        "quarantined": 0,
        "snapshot_at": NOW,
        "in_sync_to": NOW,
        "last_success_at": NOW,
        "last_full_at": NOW,
        "vanished_at": None,
        "is_running": False,
        "is_cut_off": False,
    }
    return RecordedScope(**(values | changes))  # type: ignore[arg-type]


def snapshot(**changes: object) -> EntitySnapshot:
    values: dict[str, object] = {
        "scope_key": "acme",
        "entity_type": "material",
        "rows": 3,
        "documents": 3,
        "quarantined": 0,
        "failed": 0,
        "digest": None,
        "feed_epoch": None,
        "source_snapshot_at": NOW,
        "last_success_at": NOW,
        "last_full_at": NOW,
        "vanished_at": None,
        "writing_token": None,
    }
    return EntitySnapshot(**(values | changes))  # type: ignore[arg-type]


def trouble(
    *, failed: int = 0, quarantined: int = 0, views: Sequence[str | None] = (None,)
) -> EntityTrouble:
    error = "the store refuses it"
    return EntityTrouble(
        scope_key="acme",
        entity_type="material",
        failed=failed,
        quarantined=quarantined,
        error_code="RejectedPointError" if failed else None,
        error=error if failed else None,
        by_view={view: ViewTrouble(failed=failed, error=error) for view in views if failed},
    )


def run_of(scope_key: str, minute: int, *, status: str = "success") -> SyncRun:
    return SyncRun(
        run_id=f"run-{scope_key}-{minute}",
        scope_key=scope_key,
        mode="full",
        status=status,  # type: ignore[arg-type]
        started_at=NOW,
        finished_at=NOW + timedelta(minutes=minute),
    )


@pytest.mark.parametrize(
    ("synced", "possible", "percent"),
    [
        pytest.param(0, 0, 100.0, id="nothing there, nothing missing"),
        pytest.param(3, 3, 100.0, id="all"),
        pytest.param(1_999_999, 2_000_000, 99.9, id="one of two million missing is not 100"),
        pytest.param(2, 3, 66.6, id="rounded down"),
    ],
)
def test_health_is_100_only_where_nothing_is_missing(
    synced: int, possible: int, percent: float
) -> None:
    assert health_percent(ScopeTotals(synced=synced, possible=possible)) == percent


def test_nothing_wrong_is_no_sentence() -> None:
    assert problems_in_words(ScopeTotals(scopes=2, possible=4, synced=4, running=1)) == []


def test_what_is_wrong_is_said_in_words_the_worst_first() -> None:
    totals = ScopeTotals(
        possible=2_000,
        synced=1_990,
        blocked=1,
        failed=3,
        failed_scopes=2,
        cut_off=1,
        never_synced=2,
        quarantined=1,
    )

    assert problems_in_words(totals) == [
        "1 deletion waits for approval",
        "3 documents failed in 2 scopes",
        "1 scope had a run that was cut off",
        "2 scopes not synced in full yet",
        "7 documents wait for the next sync",
        "1 row cannot become a document",
    ]


@pytest.mark.parametrize(
    ("of", "recorded", "wrong", "state"),
    [
        pytest.param(scope(), snapshot(), None, BadgeState.SYNCED, id="in step"),
        pytest.param(scope(), None, None, BadgeState.PENDING, id="never synced"),
        pytest.param(scope(), snapshot(), trouble(failed=1), BadgeState.FAILED, id="one failed"),
        pytest.param(scope(), snapshot(rows=4), None, BadgeState.PENDING, id="a row is missing"),
        pytest.param(
            scope(),
            snapshot(rows=4),
            trouble(quarantined=1),
            BadgeState.SYNCED,
            id="the missing row is quarantined",
        ),
        pytest.param(scope(), snapshot(writing_token=7), None, BadgeState.PENDING, id="cut off"),
        pytest.param(
            scope(is_running=True),
            snapshot(writing_token=7),
            None,
            BadgeState.SYNCED,
            id="being written now",
        ),
        pytest.param(scope(), snapshot(vanished_at=NOW), None, BadgeState.STALE, id="rows gone"),
        pytest.param(
            scope(blocked_deletions=4), snapshot(), None, BadgeState.STALE, id="deletion blocked"
        ),
    ],
)
def test_a_view_has_the_worst_that_holds(
    of: RecordedScope, recorded: EntitySnapshot | None, wrong: EntityTrouble | None, state: str
) -> None:
    badge = view_badge("material", view="text", scope=of, snapshot=recorded, trouble=wrong)

    assert badge.state == state
    assert badge.error == (wrong.error if wrong else None)


def test_an_error_of_one_view_is_shown_at_that_view_and_lets_the_others_wait() -> None:
    wrong = trouble(failed=2, views=["title"])
    title, text = (
        view_badge("material", view=view, scope=scope(), snapshot=snapshot(), trouble=wrong)
        for view in ("title", "text")
    )

    assert (title.state, title.failed, title.error) == (BadgeState.FAILED, 2, wrong.error)
    assert (text.state, text.failed, text.error) == (BadgeState.PENDING, 0, None)
    assert title.documents == text.documents == snapshot().documents - 2


def test_an_error_of_whole_documents_counts_for_every_view() -> None:
    wrong = trouble(failed=1, views=["title", None])

    badges = [
        view_badge("material", view=view, scope=scope(), snapshot=snapshot(), trouble=wrong)
        for view in ("title", "text")
    ]

    assert [(it.state, it.failed) for it in badges] == [
        (BadgeState.FAILED, 2),
        (BadgeState.FAILED, 1),
    ]


@pytest.mark.parametrize(
    ("age", "words"),
    [
        pytest.param(timedelta(seconds=-5), "just now", id="a clock that is behind"),
        pytest.param(timedelta(seconds=59), "just now", id="seconds"),
        pytest.param(timedelta(seconds=60), "1 minute ago", id="a minute"),
        pytest.param(timedelta(hours=3, minutes=59), "3 hours ago", id="hours, rounded down"),
        pytest.param(timedelta(days=2), "2 days ago", id="days"),
    ],
)
def test_ages_are_told_roughly(age: timedelta, words: str) -> None:
    assert age_in_words(NOW - age, now=NOW) == words
    assert age_in_words(None, now=NOW) == "never"


def test_the_worker_is_known_by_the_last_run() -> None:
    state = worker_state(ScopeTotals(running=1), [run_of("acme", 2, status="failed")])

    assert (state.is_running, state.last_run_failed) == (True, True)
    assert state.last_run_at == NOW + timedelta(minutes=2)


def test_without_a_recorded_run_the_last_success_stands_for_it() -> None:
    state = worker_state(ScopeTotals(last_success_at=NOW), [])

    assert (state.last_run_at, state.last_run_failed) == (NOW, False)


def test_a_tenant_sees_its_own_scope_and_the_global_one_only(run: CommandLine) -> None:
    run("sync", "all")
    for number, key in enumerate(("global", "acme", "globex")):
        run.sync.runs.record(run_of(key, number))

    seen = recorded_status(run.sync, page=ScopePage(), visible=[GLOBAL, Scope("acme")])
    everything = recorded_status(run.sync, page=ScopePage())

    assert {line.scope.scope_key for line in seen.lines} == {"global", "acme"}
    assert (seen.matching, seen.totals.scopes, seen.totals.rows) == (2, 2, 4)
    assert [it.scope_key for it in seen.runs] == ["acme", "global"]
    assert [it.scope_key for it in everything.runs] == ["globex", "acme", "global"]


def test_a_page_has_a_badge_per_entity_and_view(run: CommandLine) -> None:
    run.store.refused.add("tenant-material-a1")
    run("sync", "all")

    status = recorded_status(run.sync, page=ScopePage(limit=1))

    (line,) = status.lines
    assert (line.scope.scope_key, status.matching, status.health_percent) == ("acme", 3, 83.3)
    assert [(it.entity_type, it.view, it.state) for it in line.badges] == [
        ("material", "text", BadgeState.FAILED),
        ("work", "text", BadgeState.SYNCED),
    ]
    assert line.badges[0].error is not None


def run(scope_key: str, status: str, *, minute: int, **changes: object) -> SyncRun:
    values: dict[str, object] = {
        "run_id": f"{scope_key}-{minute}",
        "scope_key": scope_key,
        "mode": "full",
        "status": status,
        "started_at": NOW,
        "finished_at": NOW + timedelta(minutes=minute),
    }
    return SyncRun(**(values | changes))  # type: ignore[arg-type]


def test_a_failure_that_a_later_run_made_up_for_is_none() -> None:
    refused = {"error": "MassDeletionRefusedError", "total": 40}
    runs = [
        run("globex", "skipped", minute=5),
        run("globex", "failed", minute=4, facts=refused),
        run("acme", "success", minute=3),
        run("initech", "failed", minute=2),
        run("acme", "failed", minute=1),
        run("globex", "success", minute=0),
    ]

    found = failed_runs(runs)

    assert [(it.run.run_id, it.actions) for it in found] == [
        ("globex-4", (ApproveDeletions(scope_key="globex", deletions=40),)),
        ("initech-2", (SyncScopes(scope_key="initech", force=True),)),
    ]


def generation(collection: str, *, served: int | None, retired: int | None) -> GenerationRecord:
    def moment(minute: int | None) -> datetime | None:
        return None if minute is None else NOW + timedelta(minutes=minute)

    return GenerationRecord(
        collection=collection,
        alias="documents",
        model_id="m",
        views=("text",),
        sparse_id="s",
        description="",
        recipe=None,
        created_at=NOW,
        served_at=moment(served),
        retired_at=moment(retired),
        refusal=None,
    )


def test_a_generation_can_serve_where_it_is_the_last_before_or_that_of_the_settings() -> None:
    oldest = generation("oldest", served=0, retired=1)
    older = generation("older", served=1, retired=2)
    now = generation("now", served=2, retired=None)
    new = generation("new", served=None, retired=None)

    filling = generation_actions([oldest, older, now, new], target="now", wanted="new")
    settled = generation_actions([oldest, older, now], target="now", wanted="now")
    gone_back = generation_actions([oldest, older, now], target="oldest", wanted="older")
    unmade = generation_actions([now], target="now", wanted="new")

    assert filling == {"older": RollBackIndex(), "new": SwitchIndex()}
    assert settled == {"older": RollBackIndex()}
    assert gone_back == {"older": SwitchIndex()}
    assert unmade == {}
    assert generation_actions([new], target=None, wanted="new") == {}
