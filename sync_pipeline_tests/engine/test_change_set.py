"""A change set flows part by part: compared, embedded anywhere and in any order, sealed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from sync_pipeline.core.errors import ModelChangedError, PlanOutdatedError, TransientError
from sync_pipeline.core.reports import Counts
from sync_pipeline.core.scope import Scope
from sync_pipeline.engine.context import CheckedModels, SyncContext
from sync_pipeline.engine.lease import scope_lease
from sync_pipeline.engine.staged import (
    EmbeddedTexts,
    MissingTexts,
    StagedComparison,
)
from sync_pipeline.engine.steps.change_set import compare_scope, seal_changes
from sync_pipeline.engine.steps.cleanup import clean_scope
from sync_pipeline.engine.steps.embed import embed_part
from sync_pipeline.engine.steps.export import export_scope
from sync_pipeline.engine.steps.upsert import upsert_scope
from sync_pipeline_tests.engine.world import World
from sync_pipeline_tests.fakes.embedder import POISON, DriftingEmbedder, FakeEmbedder

ACME = Scope("acme")


@pytest.fixture
def world() -> World:
    """Forty documents in several parts; every fifth says the same."""
    world = World()
    world.set_options(part_rows=10, part_texts=7)
    for number in range(40):
        name = "the same" if number % 5 == 0 else f"cement {number}"
        world.put(str(number), name=name)
    return world


def compared(world: World, *, planned: str | None = None) -> StagedComparison:
    """Export and compare, as one worker does; the manifest is read back, as another one does."""
    sync = world.sync
    with scope_lease(sync, scope=ACME, owner="run-1") as fence:
        export = export_scope(sync, scope=ACME, run_id="run-1", fence=fence)
        comparison = compare_scope(sync, export=export, fence=fence, planned=planned)
    return StagedComparison.from_dict(comparison.to_dict())


def embedded(sync: SyncContext, comparison: StagedComparison, part: MissingTexts) -> EmbeddedTexts:
    """Embed one part, as any worker does."""
    done = embed_part(
        sync,
        part,
        scope=ACME,
        run_id=comparison.run_id,
        so_far=comparison.counts,
        total=comparison.missing_texts,
    )
    return EmbeddedTexts.from_dict(done.to_dict())


def worker(world: World) -> tuple[SyncContext, FakeEmbedder]:
    """Another process: a model of its own, and the same databases and files."""
    embedder = FakeEmbedder()
    return world.sync.rebound(embedder=embedder), embedder


def finish(world: World, comparison: StagedComparison, parts: list[EmbeddedTexts]) -> Counts:
    """Seal, write and clean up."""
    sync = world.sync
    with scope_lease(sync, scope=ACME, owner="run-1") as fence:
        staged = seal_changes(sync, comparison=comparison, embedded=parts)
        applied = upsert_scope(sync, staged=staged, fence=fence)
        return clean_scope(sync, applied=applied, fence=fence)


def test_comparing_embeds_nothing_and_names_each_missing_text_once(world: World) -> None:
    comparison = compared(world)

    assert world.embedder.embedded == []
    assert [part.texts for part in comparison.missing] == [7, 7, 7, 7, 5]
    texts = [
        str(text)
        for part in comparison.missing
        for text in world.staging.open_dataset(part.dataset).read(0).column("text").to_pylist()
    ]
    assert len(set(texts)) == len(texts) == comparison.missing_texts == 33
    # Forty texts in all, as if each part found what an earlier one had to have embedded.
    assert comparison.counts.texts - comparison.counts.cache_hits == 33


def test_each_part_has_a_dataset_of_its_own(world: World) -> None:
    comparison = compared(world)

    rows = [world.staging.open_dataset(name).read(0).num_rows for name in comparison.changes]
    assert len(rows) > 3
    assert sum(rows) == comparison.changes_rows == 40


def test_parts_embedded_by_several_workers_at_once_give_what_one_gives(world: World) -> None:
    comparison = compared(world)
    workers = [worker(world) for _ in range(3)]

    with ThreadPoolExecutor(3) as pool:
        done = list(
            pool.map(
                lambda numbered: embedded(workers[numbered[0] % 3][0], comparison, numbered[1]),
                enumerate(comparison.missing),
            )
        )
    report = finish(world, comparison, done)

    texts = [text for _, embedder in workers for text in embedder.embedded]
    assert len(texts) == len(set(texts)) == 33
    assert world.embedder.embedded == []
    assert (report.new, report.embedded_texts, report.points_written) == (40, 33, 40)
    assert world.is_clean()


def test_a_part_takes_no_lease_and_does_what_is_left_where_it_was_cut_off(world: World) -> None:
    world.set_options(embed_chunk_size=2)
    comparison = compared(world)
    part = comparison.missing[0]
    sync, embedder = worker(world)
    embedder.failures = {3: TransientError("the worker is lost")}
    with (
        scope_lease(world.sync, scope=ACME, owner="another-run"),
        pytest.raises(TransientError),
    ):
        embedded(sync, comparison, part)

    again, second = worker(world)
    done = embedded(again, comparison, part)

    assert len(embedder.embedded) == 4
    assert len(second.embedded) == part.texts - 4
    assert done.counts == Counts(
        embedded_texts=3, cache_hits=4, embedded_tokens=done.counts.embedded_tokens
    )


def test_texts_that_a_worker_finds_refused_are_blamed_when_the_set_is_sealed(world: World) -> None:
    world.put("40", name=f"bad {POISON}")
    comparison = compared(world)
    sync, _ = worker(world)
    done = [embedded(sync, comparison, part) for part in comparison.missing]

    # Twice: whoever sealed it was killed before that was known.
    seal_changes(world.sync, comparison=comparison, embedded=done)
    report = finish(world, comparison, done)

    assert (report.new, report.failed, report.points_written) == (41, 1, 40)
    assert len(world.ids("acme")) == 40
    assert [failed.db_id for failed in world.sync.state.list_failed(scope=ACME)] == ["40"]


def test_a_scope_without_changes_has_no_part(world: World) -> None:
    world.run()

    comparison = compared(world)

    assert (comparison.missing, comparison.changes, comparison.stale) == ([], [], [])
    assert finish(world, comparison, []).unchanged == 40


def test_a_plan_that_is_out_of_date_is_refused_before_anything_is_embedded(world: World) -> None:
    with pytest.raises(PlanOutdatedError):
        compared(world, planned="another digest")

    assert world.embedder.calls == 0


def test_a_worker_whose_model_is_another_one_embeds_nothing(world: World) -> None:
    comparison = compared(world)
    first, _ = worker(world)
    embedded(first, comparison, comparison.missing[0])
    drifted = DriftingEmbedder()
    drifted.drift()
    second = replace(world.sync.rebound(embedder=drifted), checked_models=CheckedModels())

    with pytest.raises(ModelChangedError, match="its recorded canary vectors"):
        embedded(second, comparison, comparison.missing[1])

    assert drifted.embedded == []
    assert len(world.cache.vectors) == 7


def test_seconds_of_all_workers_are_added(world: World) -> None:
    comparison = compared(world)
    sync, _ = worker(world)
    done = [replace(embedded(sync, comparison, part), seconds=10.0) for part in comparison.missing]

    staged = seal_changes(world.sync, comparison=comparison, embedded=done)

    assert staged.seconds.embed >= 50.0 + comparison.seconds.embed
