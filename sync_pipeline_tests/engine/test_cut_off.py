"""A run that was cut off while it wrote, or wrote late: the next sync takes nothing for granted."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from sync_pipeline.core.errors import (
    MassDeletionRefusedError,
    StoreUnavailableError,
    SupersededError,
)
from sync_pipeline.core.hashing import point_id
from sync_pipeline.core.scope import Scope
from sync_pipeline.engine.context import SyncContext
from sync_pipeline.engine.lease import before_write
from sync_pipeline.engine.questions.due import judge_scopes
from sync_pipeline.engine.questions.plan import plan_scope
from sync_pipeline_tests.engine.steps import SteppedRun
from sync_pipeline_tests.engine.world import World
from sync_pipeline_tests.fakes.watched import When, watch_context

ACME = Scope("acme")
CUT_OFF = "compared in full: a run was cut off while it wrote material, work"


class Killed(BaseException):
    """Ends a run as a kill does: nothing handles it."""


@pytest.fixture
def synced(world: World) -> World:
    """Three rows of ``acme``, synced in full a day ago."""
    world.put_many("1", "2", "3")
    world.run()
    pass_a_day(world)
    return world


def pass_a_day(world: World) -> None:
    world.source.now += timedelta(days=1)


def killed_after(world: World, call: str) -> SyncContext:
    def listen(called: str, when: When) -> None:
        if (called, when) == (call, "after"):
            raise Killed

    return watch_context(world.sync, listen)


def disturbed(world: World, call: str, happen: Callable[[], object]) -> SyncContext:
    """A context in which something happens once, before a call."""
    waiting = [happen]

    def listen(called: str, when: When) -> None:
        if (called, when) == (call, "before") and waiting:
            waiting.pop()()

    return watch_context(world.sync, listen)


def cut_off(world: World, *, after: str = "store.upsert") -> None:
    with pytest.raises(Killed):
        world.run(sync=killed_after(world, after), mode="incremental")
    world.clock.advance(seconds=3600)
    pass_a_day(world)


def noted(world: World) -> set[int | None]:
    known = world.sync.scopes.list_entities(scopes=[ACME])
    return {entity.writing_token for entity in known}


def is_due(world: World) -> bool:
    world.clock.now = max(world.clock.now, world.source.now)
    (judged,) = judge_scopes(world.sync, scopes=[ACME])
    return judged.is_due


def test_a_point_that_nobody_recorded_goes_although_its_row_went_before(synced: World) -> None:
    synced.put("4")
    cut_off(synced)
    synced.remove("4")
    pass_a_day(synced)
    orphans = set(synced.ids("acme")) - {"1", "2", "3"}

    report = synced.run(mode="incremental")

    assert (orphans, synced.ids("acme")) == ({"4"}, ["1", "2", "3"])
    assert report.note == CUT_OFF
    assert synced.is_clean()


def test_a_scope_whose_run_was_cut_off_is_due_though_its_rows_are_as_they_were(
    synced: World,
) -> None:
    before = synced.put("1")["name"]
    synced.run()
    seems_due = is_due(synced)
    synced.put("1", name="sand")
    cut_off(synced)
    synced.put("1", name=before)
    held = synced.texts("acme")["1"]

    was_due = is_due(synced)
    synced.run()

    assert (held, seems_due, was_due) == ("sand kg", False, True)
    assert synced.texts("acme")["1"] == f"{before} kg"
    assert not is_due(synced)


def test_a_deletion_that_was_cut_off_counts_too(synced: World) -> None:
    synced.remove("1")
    cut_off(synced, after="store.delete")

    report = synced.run(mode="incremental")

    assert report.note == CUT_OFF
    assert synced.is_clean()


@pytest.mark.parametrize("mode", ["full", "incremental"])
def test_a_run_that_succeeded_leaves_no_doubt(synced: World, mode: str) -> None:
    synced.put("1", name="sand")
    synced.remove("2")

    synced.run(mode="full" if mode == "full" else "incremental")
    after = synced.run(mode="incremental")

    assert noted(synced) == {None}
    assert after.note is None


def test_a_run_that_writes_nothing_notes_nothing(synced: World) -> None:
    calls: list[str] = []
    sync = watch_context(synced.sync, lambda called, _: calls.append(called))

    synced.run(sync=sync, mode="incremental")

    assert "scopes.note_writing" not in calls
    assert "scopes.record_success" in calls


def test_a_plan_takes_no_note_over(synced: World) -> None:
    synced.put("4")
    cut_off(synced)
    before = noted(synced)

    plan = plan_scope(synced.sync, scope=ACME, mode="incremental")

    assert plan.note == CUT_OFF
    assert noted(synced) == before


def changed_back(world: World) -> Callable[[], None]:
    """One row is another one, and becomes what it was while a run sleeps past its lease."""
    before = world.put("1")["name"]
    world.run()
    world.put("1", name="sand")

    def oversleep() -> None:
        world.clock.advance(seconds=3600)
        world.put("1", name=before)
        world.run(mode="incremental")

    return oversleep


def test_a_late_write_over_a_row_that_changed_back_is_found(synced: World) -> None:
    """A run sleeps past its lease; meanwhile the row is as it was, and another run content."""
    oversleep = changed_back(synced)
    before = synced.texts("acme")["1"]

    with pytest.raises(SupersededError):
        synced.run(sync=disturbed(synced, "store.upsert", oversleep), mode="incremental")
    pass_a_day(synced)
    late, was_due = synced.texts("acme")["1"], is_due(synced)

    report = synced.run(mode="incremental")

    assert (late, was_due, report.note) == ("sand kg", True, CUT_OFF)
    assert synced.texts("acme")["1"] == before
    assert noted(synced) == {None}


def test_a_late_write_is_found_though_its_run_ends_with_another_error(synced: World) -> None:
    oversleep = [changed_back(synced)]

    def listen(called: str, when: When) -> None:
        if called == "store.upsert" and when == "before" and oversleep:
            oversleep.pop()()
        elif called == "store.upsert":
            raise StoreUnavailableError("the write was not confirmed")

    with pytest.raises(StoreUnavailableError):
        synced.run(sync=watch_context(synced.sync, listen), mode="incremental")
    pass_a_day(synced)
    late = synced.texts("acme")["1"]

    report = synced.run(mode="incremental")

    assert (late, report.note) == ("sand kg", CUT_OFF)
    assert synced.is_clean()


def test_a_late_write_is_found_by_the_step_that_wrote_it(synced: World) -> None:
    """The run may end between two steps."""
    oversleep = changed_back(synced)
    run = SteppedRun(
        disturbed(synced, "store.upsert", oversleep), scope_key="acme", run_id="sleeper"
    )
    run.step()
    run.step()

    with pytest.raises(SupersededError):
        run.step()
    pass_a_day(synced)

    assert None not in noted(synced)
    assert synced.run(mode="incremental").note == CUT_OFF
    assert synced.is_clean()


def test_a_refused_deletion_of_a_run_that_wrote_nothing_leaves_no_note(synced: World) -> None:
    for name in ("1", "2", "3"):
        synced.remove(name)

    with pytest.raises(MassDeletionRefusedError):
        synced.run()

    assert noted(synced) == {None}


@pytest.mark.parametrize(
    "call",
    [
        pytest.param("store.upsert", id="before the overtaking run writes"),
        pytest.param("scopes.record_success", id="before it records its success"),
    ],
)
def test_a_run_does_not_vouch_for_what_another_wrote_after_it_had_compared(
    synced: World, call: str
) -> None:
    fence = synced.leases.acquire(scope=ACME, owner="sleeper", ttl_seconds=60)
    synced.clock.advance(seconds=3600)
    synced.put("2", name="gravel")

    def wake_up() -> None:
        (known,) = synced.store.retrieve(synced.collection, [point_id("tenant-material-1")])
        late = {**known.payload, "text": "of long ago", "payload_hash": "0" * 32}
        synced.store.write_payloads(synced.collection, [(known.point_id, late)])
        with pytest.raises(SupersededError):
            before_write(synced.sync, fence)

    report = synced.run(sync=disturbed(synced, call, wake_up))
    late, was_clean = synced.texts("acme")["1"], synced.is_clean()
    following = synced.run(mode="incremental")

    assert (report.status, late, was_clean) == ("success", "of long ago", False)
    assert following.note == CUT_OFF
    assert synced.is_clean()
