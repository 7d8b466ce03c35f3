"""An incremental sync does what a full one would, for less, or becomes one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from sync_pipeline.core.changes import Operation
from sync_pipeline.core.entity import Entity
from sync_pipeline.core.errors import StoreUnavailableError, UnconfirmedSyncError
from sync_pipeline.core.hashing import point_id
from sync_pipeline.core.reports import ScopeReport
from sync_pipeline.core.scope import GLOBAL, Scope
from sync_pipeline.core.spending import Tariff
from sync_pipeline.engine.context import SyncContext
from sync_pipeline.engine.questions.due import FEW_SCOPES, judge_scopes
from sync_pipeline.engine.questions.plan import plan_scope
from sync_pipeline_tests.engine.fed import Fed
from sync_pipeline_tests.engine.world import MATERIAL, WORK, World, counts
from sync_pipeline_tests.fakes.watched import When, watch_context

ACME = Scope("acme")


@pytest.fixture
def synced(world: World) -> World:
    """Three old rows of ``acme``, synced in full; an hour has passed."""
    world.put_many("1", "2", "3")
    world.source.now += timedelta(hours=1)
    world.run()
    world.source.now += timedelta(hours=1)
    return world


def increment(world: World, sync: SyncContext | None = None) -> ScopeReport:
    return world.run(sync=sync, mode="incremental")


def work_done(report: ScopeReport) -> Mapping[str, int]:
    """What was changed; a row that is looked at again for nothing is no work."""
    return {name: count for name, count in counts(report).items() if name != "unchanged"}


def test_nothing_changed_is_nothing_read_and_nothing_written(synced: World) -> None:
    before = synced.everything()

    report = increment(synced)

    assert work_done(report) == {}
    assert synced.everything() == before


def test_changes_of_every_kind_are_noticed(synced: World) -> None:
    synced.put("1", name="sand")
    synced.put("2", price=99)
    synced.put("4")
    synced.remove("3")

    report = increment(synced)

    assert work_done(report) == {
        "new": 1,
        "changed": 1,
        "payload_changed": 1,
        "deleted": 1,
        "embedded_texts": 2,
    }
    assert synced.is_clean()


def test_only_what_changed_is_read(synced: World) -> None:
    synced.put("1", name="sand")

    report = increment(synced)

    assert report.rows == 1


def test_a_row_older_than_the_overlap_is_left_to_the_next_full_sync(synced: World) -> None:
    row = synced.put("1", name="sand")
    row["updated_at"] = synced.source.now - timedelta(days=300)

    increment(synced)
    incremental = synced.texts("acme")["1"]
    synced.run()

    assert incremental == "cement 1 kg"
    assert synced.texts("acme")["1"] == "sand kg"


def test_a_transaction_that_commits_within_the_overlap_is_not_missed(synced: World) -> None:
    increment(synced)
    row = synced.put("1", name="sand")
    row["updated_at"] = synced.source.now - timedelta(seconds=200)

    increment(synced)

    assert synced.texts("acme")["1"] == "sand kg"


def test_a_new_row_is_noticed_whatever_its_time(synced: World) -> None:
    row = synced.put("4")
    row["updated_at"] = None

    report = increment(synced)

    assert work_done(report) == {"new": 1, "embedded_texts": 1}


def test_a_row_that_moved_is_noticed_by_both_scopes(synced: World) -> None:
    synced.put("9", tenant_id="globex")
    synced.run("globex")
    synced.put("1", tenant_id="globex")

    there = synced.run("globex", mode="incremental")
    here = increment(synced)

    assert work_done(there) == {"new": 1, "cache_hits": 1}
    assert work_done(here) == {"deleted": 1}
    assert synced.ids("acme") == ["2", "3"]


def test_a_blanked_row_is_quarantined_and_deleted(synced: World) -> None:
    synced.put("1", name=None, unit=None)

    report = increment(synced)

    assert work_done(report) == {"quarantined": 1, "deleted": 1}
    assert synced.is_clean()


def test_rows_that_were_not_looked_at_stay_in_quarantine(synced: World) -> None:
    synced.put("8", name=None, unit=None)
    increment(synced)
    synced.source.now += timedelta(hours=1)
    synced.put("1", name="sand")

    increment(synced)

    assert [item.db_id for _, item in synced.quarantine.list_all()] == ["8"]


@pytest.mark.parametrize("reason", ["never synced", "no time of change", "too much touched"])
def test_it_becomes_a_full_sync_where_it_cannot_tell(synced: World, reason: str) -> None:
    sync = synced.sync
    if reason == "never synced":
        synced.scopes.entities.clear()
    elif reason == "no time of change":
        entities = (MATERIAL, replace(WORK, updated_at=None))
        sync = sync.rebound(entities=entities)
    else:
        synced.put_many("4", "5", "6")
        sync = replace(sync, options=replace(sync.options, part_rows=2))

    increment(synced, sync)

    record = synced.sync.scopes.get(scope=ACME)
    assert record is not None
    assert record.last_full_at == record.source_snapshot_at


def test_a_touched_point_that_vanished_meanwhile_is_an_error(synced: World) -> None:
    synced.put("1", name="sand")

    def lose_it(called: str, when: When) -> None:
        if called == "store.upsert" and when == "after":
            point = synced.points["tenant-material-1"]
            synced.store.delete(synced.collection, [point.point_id], scope_key="acme")

    with pytest.raises(UnconfirmedSyncError, match="scope 'acme' should have"):
        increment(synced, watch_context(synced.sync, lose_it))


# --- with the change feed ---------------------------------------------------------------


@pytest.fixture
def fed(synced: World) -> Fed:
    """The feed was there before the last full sync, and has missed nothing since."""
    return Fed.since_a_full_sync(synced)


def test_an_event_leads_to_its_row_and_is_consumed(fed: Fed) -> None:
    fed.change("1", name="sand")

    report = increment(fed.world, fed.sync)

    assert counts(report) == {"changed": 1, "embedded_texts": 1}
    assert fed.feed.events == {}
    assert fed.world.is_clean()


def test_a_deleted_row_leads_to_a_deleted_point(fed: Fed) -> None:
    fed.world.remove("2")
    fed.tell(Operation.DELETE, "2", old="acme")

    report = increment(fed.world, fed.sync)

    assert work_done(report) == {"deleted": 1}
    assert fed.world.is_clean()


def test_without_events_nothing_is_read(fed: Fed) -> None:
    report = increment(fed.world, fed.sync)

    assert work_done(report) == {}
    assert report.unchanged == 0


def test_events_of_a_run_that_failed_stay(fed: Fed) -> None:
    fed.change("1", name="sand")
    fed.world.store.fail_next("upsert", StoreUnavailableError("no answer"))

    with pytest.raises(StoreUnavailableError, match="no answer"):
        increment(fed.world, fed.sync)

    assert len(fed.feed.events) == 1


def test_an_event_during_the_run_stays_for_the_next_one(fed: Fed) -> None:
    fed.change("1", name="sand")
    again = True

    def change_again(called: str, when: When) -> None:
        nonlocal again
        if (called, when) == ("source.open_snapshot", "after") and again:
            again = False
            fed.change("1", name="gravel")

    increment(fed.world, watch_context(fed.sync, change_again))
    pending = len(fed.feed.events)
    increment(fed.world, fed.sync)

    assert pending == 1
    assert fed.world.texts("acme")["1"] == "gravel kg"
    assert fed.feed.events == {}


def test_a_truncate_leads_to_a_full_sync(fed: Fed) -> None:
    fed.world.remove("1")
    fed.tell(Operation.TRUNCATE, None)
    fed.feed.spread_truncates([ACME])

    report = increment(fed.world, fed.sync)

    assert work_done(report) == {"deleted": 1}
    assert fed.world.is_clean()


def test_where_no_entity_ever_left_events_times_decide(synced: World) -> None:
    fed = Fed(synced)
    fed.feed.remove()
    fed.world.put("1", name="sand")

    report = increment(fed.world, fed.sync)

    assert work_done(report) == {"changed": 1, "embedded_texts": 1}
    assert (report.rows, report.note) == (1, None)


def test_one_entity_without_a_feed_does_not_stop_the_others_from_using_theirs(
    synced: World,
) -> None:
    fed = Fed(synced)
    fed.feed.remove([WORK])
    synced.put("w1", table="works")
    synced.put("w2", table="works")
    synced.source.now += timedelta(hours=1)
    synced.run(sync=fed.sync)
    synced.source.now += timedelta(hours=1)
    fed.change("1", name="sand")
    synced.put("w1", table="works", name="plastering")

    report = increment(synced, fed.sync)

    assert work_done(report) == {"changed": 2, "embedded_texts": 2}
    assert (report.rows, report.note) == (2, None)
    assert synced.is_clean()


def test_a_feed_that_came_after_the_last_full_sync_is_not_relied_on(synced: World) -> None:
    synced.put("1", name="sand")
    fed = Fed(synced)

    report = increment(synced, fed.sync)

    assert work_done(report) == {"changed": 1, "embedded_texts": 1}


@pytest.mark.parametrize(
    ("what", "why"),
    [
        pytest.param(
            "lose",
            "the feed of work was replaced or switched off since the last full sync",
            id="lost",
        ),
        pytest.param("remove", "the feed of work was removed since the last full sync", id="gone"),
    ],
)
def test_a_feed_that_was_lost_leads_to_one_full_sync_that_says_so(
    fed: Fed, what: str, why: str
) -> None:
    row = fed.world.put("1", name="sand")
    row["updated_at"] = fed.world.source.now - timedelta(days=300)
    if what == "lose":
        fed.feed.lose("work")
    else:
        fed.feed.remove([WORK])

    plan = plan_scope(fed.sync, scope=ACME, mode="incremental")
    first = increment(fed.world, fed.sync)
    second = increment(fed.world, fed.sync)

    assert first.note == plan.note == f"compared in full: {why}"
    assert work_done(first) == {"changed": 1, "embedded_texts": 1}
    assert (second.note, work_done(second)) == (None, {})


def test_an_epoch_is_that_of_before_anything_was_read(fed: Fed) -> None:
    def lose(called: str, when: When) -> None:
        if (called, when) == ("source.open_snapshot", "after"):
            fed.feed.lose("material")

    fed.world.run(sync=watch_context(fed.sync, lose))

    report = increment(fed.world, fed.sync)

    assert report.note == (
        "compared in full: the feed of material was replaced or switched off since the last "
        "full sync"
    )


@pytest.mark.parametrize(
    ("entity", "why"),
    [
        pytest.param(
            replace(WORK, updated_at=None),
            "work has neither a feed since its last full sync nor a time of change",
            id="neither feed nor time",
        ),
        pytest.param(
            replace(WORK, name="service"),
            "service never had a full sync in this scope",
            id="a new entity",
        ),
    ],
)
def test_a_full_sync_instead_of_an_incremental_one_says_why(
    synced: World, entity: Entity, why: str
) -> None:
    sync = synced.sync.rebound(entities=(MATERIAL, entity))

    report = increment(synced, sync)

    assert report.note == f"compared in full: {why}"


def test_events_of_an_entity_that_the_settings_do_not_name_stay_for_who_syncs_it(
    fed: Fed,
) -> None:
    fed.change("1", name="sand")

    increment(fed.world, fed.sync.rebound(entities=(WORK,)))
    kept = len(fed.feed.events)
    increment(fed.world, fed.sync.rebound(entities=(MATERIAL,)))

    assert (kept, fed.feed.events) == (1, {})
    assert fed.world.texts("acme")["1"] == "sand kg"


# --- which scopes are due, and what a sync would do -------------------------------------


def due(world: World, **options: Any) -> dict[str, str | None]:
    sync = world.sync
    sync = replace(sync, options=replace(sync.options, **options))
    scopes = [ACME, Scope("globex")]
    return {judged.scope.key: judged.why_not for judged in judge_scopes(sync, scopes=scopes)}


@pytest.mark.parametrize("change", ["none", "row", "point", "failed"])
def test_a_scope_is_judged_alike_alone_and_among_all(world: World, change: str) -> None:
    world.put_many("1", "2")
    world.put("3", tenant_id="globex")
    world.run_all()
    if change == "row":
        world.put("1", name="changed")
    elif change == "point":
        ids = [point_id("tenant-material-1")]
        world.store.delete(world.collection, ids, scope_key="acme")
    elif change == "failed":
        world.store.refused = {"tenant-material-1"}
        world.put("1", name="refused")
        world.run()
    scopes = [GLOBAL, ACME, Scope("globex"), Scope("unknown")]

    alone = judge_scopes(world.sync, scopes=scopes)

    assert alone == judge_scopes(world.sync, scopes=scopes, are_all=True)
    assert alone == judge_scopes(world.sync, scopes=scopes * (FEW_SCOPES + 1))[: len(scopes)]
    assert [found.is_due for found in alone] == [False, change != "none", False, True]


def test_a_scope_that_was_never_synced_is_due(world: World) -> None:
    assert due(world) == {"acme": None, "globex": None}


def test_an_unchanged_scope_is_not_due(synced: World) -> None:
    synced.clock.now = synced.source.now

    assert "unchanged since the full sync of 2026-01-01" in str(due(synced)["acme"])


def test_a_scope_is_due_once_its_last_full_sync_is_old(synced: World) -> None:
    synced.clock.now = synced.source.now

    assert due(synced, full_every_seconds=60.0)["acme"] is None


def test_a_full_sync_dated_by_a_clock_that_was_set_back_since_is_not_relied_on(
    synced: World,
) -> None:
    synced.clock.now = synced.source.now - timedelta(days=3)

    assert due(synced)["acme"] is None


@pytest.mark.parametrize("change", ["row", "payload", "lost point", "failure", "settings"])
def test_a_scope_is_due_when_anything_differs(synced: World, change: str) -> None:
    if change == "row":
        synced.put("4")
    elif change == "payload":
        synced.put("1", price=99)
    elif change == "lost point":
        point = synced.points["tenant-material-1"]
        synced.store.delete(synced.collection, [point.point_id], scope_key="acme")
    elif change == "failure":
        synced.put("1", name="☠")
        synced.run()
    else:
        synced.entities = (replace(MATERIAL, payload=()), WORK)

    assert due(synced)["acme"] is None


def test_a_plan_says_exactly_what_a_sync_then_does(synced: World) -> None:
    synced.put("1", name="sand")
    synced.put("2", price=99)
    synced.put("4")
    synced.remove("3")
    before = synced.everything()

    plan = plan_scope(synced.sync, scope=ACME)
    unharmed = synced.everything() == before
    report = synced.run()

    assert unharmed
    assert (plan.new, plan.changed, plan.payload_changed) == (1, 1, 1)
    assert (plan.unchanged, plan.deletes, plan.texts_to_embed) == (0, 1, 2)
    assert (plan.estimated_seconds, plan.estimated_cost, plan.blocked_by) == (None, None, None)
    assert (report.new, report.changed, report.deleted, report.embedded_texts) == (1, 1, 1, 2)


def test_a_plan_counts_a_text_once_wherever_it_occurs(world: World) -> None:
    for number in range(9):
        world.put(f"{number}", name=("cement", "river sand")[number % 2], unit=None)
    world.set_options(part_rows=2)

    plan = plan_scope(world.sync, scope=ACME)

    assert (plan.new, plan.texts_to_embed) == (9, 2)
    assert plan.tokens == 3


def test_a_plan_with_nothing_to_do_costs_nothing(synced: World) -> None:
    synced.embedder.tariff = Tariff(Decimal(2))

    plan = plan_scope(synced.sync, scope=ACME)

    assert (plan.unchanged, plan.tokens, plan.estimated_seconds) == (3, 0, 0.0)
    assert plan.estimated_cost == 0.0


def test_a_plan_estimates_time_from_the_last_measurement_and_cost_from_the_price(
    world: World,
) -> None:
    world.put_many("1", "2")
    world.rates.record(model_id=world.embedder.model_id, texts=100, seconds=50)

    world.embedder.tariff = Tariff(Decimal(1_000_000))

    plan = plan_scope(world.sync, scope=ACME)

    assert plan.estimated_seconds == 1.0
    assert plan.estimated_cost == plan.tokens > 0


def test_a_plan_says_when_deletions_would_be_refused(synced: World) -> None:
    synced.remove("1", "2", "3")

    plan = plan_scope(synced.sync, scope=ACME)

    assert plan.deletes == 3
    assert "refused to delete 3 of 3" in str(plan.blocked_by)


def test_equal_plans_have_equal_digests_and_different_ones_do_not(synced: World) -> None:
    synced.put("1", name="sand")
    first, second = (plan_scope(synced.sync, scope=ACME) for _ in range(2))
    synced.put("2", name="sand")

    third = plan_scope(synced.sync, scope=ACME)

    assert first.change_digest == second.change_digest != third.change_digest


def test_an_embedding_of_many_texts_is_measured(world: World) -> None:
    world.put_many(*(f"{number:03}" for number in range(256)))

    world.run()

    assert world.rates.texts_per_second(model_id=world.embedder.model_id) is not None
