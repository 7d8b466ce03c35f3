"""A run that is stopped, cut off or overtaken leaves nothing that the next one cannot finish."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sync_pipeline.core.errors import (
    IncompleteExportError,
    ScopeBusyError,
    SourceUnavailableError,
    StoppedError,
    SupersededError,
)
from sync_pipeline.core.reports import Counts, ScopeReport
from sync_pipeline.core.scope import Scope
from sync_pipeline.engine.lease import before_write, scope_lease
from sync_pipeline.engine.stopping import counted
from sync_pipeline_tests.engine.steps import SteppedRun
from sync_pipeline_tests.engine.world import UNGUARDED, World, counts
from sync_pipeline_tests.fakes.embedder import POISON
from sync_pipeline_tests.fakes.row_source import FakeSnapshot
from sync_pipeline_tests.fakes.watched import When, watch_context

SMALL_BATCHES = {
    "upsert_batch_size": 2,
    "delete_batch_size": 2,
    "embed_chunk_size": 2,
    "cleanup": UNGUARDED,
}


def prepare(world: World) -> None:
    """A scope with something of every kind to do."""
    world.set_options(**SMALL_BATCHES)
    world.put_many(*(f"{number}" for number in range(8)))
    world.run()
    world.put_many("0", "1", "2", name="sand")
    world.put("3", price=99)
    world.remove("5", "6", "7")
    world.put_many("8", "9")
    world.put("blank", name=None, unit=None)


def stop_after(world: World, checks: int) -> tuple[ScopeReport, int]:
    """Run, asked to stop at the check of that number; how often it looked."""
    asked = 0

    def should_stop() -> bool:
        nonlocal asked
        asked += 1
        return asked == checks

    return world.run(sync=replace(world.sync, should_stop=should_stop)), asked


def test_a_stop_after_any_batch_leaves_the_rest_to_the_next_run() -> None:
    planned = World()
    prepare(planned)
    _, looks = stop_after(planned, 0)
    assert looks >= 8

    for checks in range(1, looks + 1):
        world = World()
        prepare(world)

        stopped, _ = stop_after(world, checks)
        world.run()

        assert (stopped.status, stopped.stopped_reason) == ("failed", "asked to stop")
        assert "stopped in scope 'acme' after the batch in flight" in str(stopped.error)

        assert world.is_clean()
        assert world.texts("acme") == planned.texts("acme")
        assert len(world.embedder.embedded) == len(set(world.embedder.embedded))


def held(world: World) -> tuple[dict[str, str], dict[str, object], int]:
    """Texts and prices in the index, and how many vectors the cache has."""
    prices = {key: point.payload.get("price") for key, point in world.points.items()}
    return world.texts("acme"), prices, len(world.cache.vectors)


def test_wherever_a_run_is_stopped_its_counts_are_what_index_and_cache_hold() -> None:
    planned = World()
    prepare(planned)
    finished, looks = stop_after(planned, 0)
    assert finished.stopped_reason is None

    steps = set()
    for checks in range(1, looks + 1):
        world = World()
        prepare(world)
        texts, prices, vectors = held(world)

        report, _ = stop_after(world, checks)

        texts_now, prices_now, vectors_now = held(world)
        written = {key for key, text in texts_now.items() if texts.get(key) != text}
        repriced = {key for key in prices if prices_now.get(key, prices[key]) != prices[key]}
        assert report.points_written == len(written)
        assert report.payloads_written == len(repriced)
        assert report.points_deleted == report.deleted == len(texts.keys() - texts_now.keys())
        assert report.embedded_texts == vectors_now - vectors
        assert report.rows == finished.rows
        steps.add((report.new > 0, report.embedded_texts > 0, written != set(), report.deleted > 0))

    nothing, compared, embedded, upserted, deleted = (
        (False, False, False, False),
        (True, False, False, False),
        (True, True, False, False),
        (True, True, True, False),
        (True, True, True, True),
    )
    assert steps == {nothing, compared, embedded, upserted, deleted}


def test_a_stop_in_the_middle_of_an_export_counts_the_rows_that_were_read(world: World) -> None:
    world.put_many("1", "2", "3")
    world.put("blank", name=None, unit=None)
    world.put("4", table="works")

    report, _ = stop_after(world, 1)

    assert (report.rows, report.documents, report.quarantined) == (4, 3, 1)
    assert (report.new, report.embedded_texts, world.points) == (0, 0, {})


def test_a_run_that_is_not_stopped_has_written_what_it_found(world: World) -> None:
    prepare(world)

    report = world.run()

    assert report.stopped_reason is None
    assert (report.new, report.changed, report.payload_changed, report.stale) == (2, 3, 1, 3)
    assert (report.points_written, report.payloads_written) == (5, 1)
    assert (report.points_deleted, report.deleted, report.indexed) == (3, 3, 10)


def test_a_stop_tells_the_documents_that_failed_before_it(world: World) -> None:
    world.set_options(**SMALL_BATCHES)
    world.put_many("1", "2", "3")
    world.put("4", name=POISON)
    stopping = replace(world.sync, should_stop=lambda: len(world.points) >= 2)

    report = world.run(sync=stopping)

    assert report.stopped_reason == "asked to stop"
    assert (report.new, report.failed, report.points_written) == (4, 1, 2)
    assert (report.embedded_texts, len(world.cache.vectors)) == (3, 3)


def test_a_stop_in_a_step_that_started_over_counts_what_was_done_anew(world: World) -> None:
    world.put_many("1", "2")
    slow = SteppedRun(world.sync, scope_key="acme", run_id="slow")
    slow.step()
    slow.step()
    world.put("3")
    world.run(run_id="between")
    world.put_many("4", "5")
    stopped = SteppedRun(
        replace(world.sync, should_stop=lambda: True), scope_key="acme", run_id="slow"
    )
    stopped.export, stopped.staged = slow.export, slow.staged

    with pytest.raises(StoppedError, match="after the batch in flight") as raised:
        stopped.step()

    assert raised.value.counts == Counts(rows=5, documents=5)


def test_the_place_of_the_stop_knows_best_what_was_done() -> None:
    with (
        pytest.raises(StoppedError, match="now") as raised,
        counted(lambda: Counts(rows=1)),
        counted(lambda: Counts(rows=2)),
    ):
        raise StoppedError("now")

    assert raised.value.counts == Counts(rows=2)


def test_a_stop_gives_the_lease_back(world: World) -> None:
    world.put("1")

    stopped, _ = stop_after(world, 1)

    assert "run the same command again" in str(stopped.error)
    assert counts(world.run()) == {"new": 1, "embedded_texts": 1}


def test_a_connection_lost_in_the_middle_of_a_scan_deletes_nothing(world: World) -> None:
    world.put_many("1", "2", "3")
    world.run()
    world.remove("1")
    world.source.lost_after_rows = 1

    with pytest.raises(SourceUnavailableError, match="lost after 0 rows"):
        world.run()

    assert world.ids("acme") == ["1", "2", "3"]


def test_an_export_that_ends_early_without_an_error_deletes_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.put_many("1", "2", "3")
    world.run()
    monkeypatch.setattr(FakeSnapshot, "iter_rows", lambda *_args, **_kwargs: iter([]))

    with pytest.raises(IncompleteExportError, match="read 0 rows where its snapshot holds 3"):
        world.run()

    assert world.ids("acme") == ["1", "2", "3"]


def test_a_scope_that_another_run_is_writing_is_busy(world: World) -> None:
    world.put("1")

    with (
        scope_lease(world.sync, scope=Scope("acme"), owner="other"),
        pytest.raises(ScopeBusyError, match="'acme' is being written by other"),
    ):
        world.run()

    assert world.points == {}


def test_scopes_are_leased_one_by_one(world: World) -> None:
    world.put("1", tenant_id="globex")

    with scope_lease(world.sync, scope=Scope("acme"), owner="other"):
        report = world.run("globex")

    assert counts(report) == {"new": 1, "embedded_texts": 1}


def test_a_run_whose_lease_was_taken_stops_before_its_next_write(world: World) -> None:
    world.set_options(upsert_batch_size=1)
    world.put_many("1", "2", "3")
    writes = 0

    def overtake(called: str, when: When) -> None:
        nonlocal writes
        if (called, when) == ("store.upsert", "after"):
            writes += 1
            if writes == 1:
                world.clock.advance(seconds=61)
                world.remove("3")
                world.run(run_id="younger")

    with pytest.raises(SupersededError, match=r"its lease went from older to younger"):
        world.run(sync=watch_context(world.sync, overtake), run_id="older")

    assert writes == 1
    assert world.ids("acme") == ["1", "2"]
    assert world.is_clean()


def test_a_lease_that_expired_without_a_successor_is_simply_renewed(world: World) -> None:
    with scope_lease(world.sync, scope=Scope("acme"), owner="slow") as fence:
        world.clock.advance(seconds=600)

        before_write(world.sync, fence)

        with pytest.raises(ScopeBusyError, match="written by slow"):
            world.run()


@pytest.mark.parametrize("steps", [1, 2, 3], ids=["exported", "embedded", "upserted"])
def test_a_run_that_another_one_overtook_between_two_steps_starts_over(
    world: World, steps: int
) -> None:
    world.put_many("1", "2", "3")
    world.run()
    world.put("4")
    slow = SteppedRun(world.sync, scope_key="acme", run_id="slow")
    for _ in range(steps):
        slow.step()
    world.put("5")
    world.remove("2")
    world.run(run_id="between")

    report = slow.finish()

    assert report.deleted == 0
    assert world.ids("acme") == ["1", "3", "4", "5"]
    assert world.is_clean()


@pytest.mark.parametrize("steps", [1, 2, 3], ids=["exported", "embedded", "upserted"])
def test_a_step_executed_again_by_another_run_makes_its_own_change_set(
    world: World, steps: int
) -> None:
    world.put_many("1", "2")
    first = SteppedRun(world.sync, scope_key="acme", run_id="first")
    for _ in range(steps):
        first.step()
    world.put("3")
    second = SteppedRun(world.sync, scope_key="acme", run_id="second")
    second.export, second.staged, second.applied = first.export, first.staged, first.applied

    second.finish()

    assert world.ids("acme") == ["1", "2", "3"]
    assert world.is_clean()


def test_a_run_taken_step_by_step_is_the_same_as_at_once(world: World) -> None:
    world.put_many("1", "2")

    report = SteppedRun(world.sync, scope_key="acme", run_id="run").finish()

    assert report.indexed == 2
    assert world.is_clean()
