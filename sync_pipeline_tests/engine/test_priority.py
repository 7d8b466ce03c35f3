"""What an entity's priority puts first is embedded and written first, across parts and entities."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from sync_pipeline.core.entity import Condition, Criterion, Entity
from sync_pipeline.core.errors import TransientError
from sync_pipeline.core.scope import Scope
from sync_pipeline.engine.lease import scope_lease
from sync_pipeline.engine.questions.due import judge_scopes
from sync_pipeline.engine.questions.plan import plan_scope
from sync_pipeline.engine.staged import RANK_COLUMN, StagedExport, dataset_name, document_schema
from sync_pipeline.engine.steps.embed import embed_scope
from sync_pipeline.engine.steps.export import export_scope
from sync_pipeline.engine.steps.priority import CHUNKS_PER_PIECE, even_bounds
from sync_pipeline.engine.steps.upsert import upsert_scope
from sync_pipeline_tests.engine.world import MATERIAL, WORK, World, counts
from sync_pipeline_tests.fakes.embedder import POISON

ACME = Scope("acme")
ACTIVE = Criterion(when=(Condition("status", ("active",)),))
BY_PRICE = Criterion(column="price", is_descending=True)


def ranked(entity: Entity, *criteria: Criterion) -> Entity:
    return replace(entity, priority=criteria)


def price_order(world: World) -> list[str]:
    """Texts of all rows, the greatest price first."""
    rows = sorted(world.source.tables["materials"], key=lambda row: -row["price"])  # type: ignore[operator]
    return [f"{row['name']} kg" for row in rows]


def piece(world: World) -> int:
    """How many documents are one piece."""
    return CHUNKS_PER_PIECE * world.options.embed_chunk_size


def furthest_from_its_turn(world: World, wanted: list[str]) -> int:
    """How many places a text was embedded away from its turn at most."""
    embedded = world.embedder.embedded[-len(wanted) :]
    assert sorted(embedded) == sorted(wanted)
    return max(abs(embedded.index(text) - place) for place, text in enumerate(wanted))


@pytest.fixture
def world() -> World:
    """Sixty rows in several parts; of two with the same length the later one costs more."""
    world = World(entities=(ranked(MATERIAL, BY_PRICE),))
    world.set_options(embed_chunk_size=1, part_rows=10, upsert_batch_size=4)
    for number in range(60):
        # Twice the length for every third, which the model would like to have first.
        name = f"cement {number}" * (2 if number % 3 == 0 else 1)
        world.put(str(number), name=name, price=number)
    return world


def test_texts_are_embedded_in_order_across_parts_and_longest_first_within_a_piece(
    world: World,
) -> None:
    report = world.run()

    assert counts(report) == {"new": 60, "embedded_texts": 60}
    assert 0 < furthest_from_its_turn(world, price_order(world)) < piece(world)
    lengths = [len(text) for text in world.embedder.embedded[: piece(world)]]
    assert lengths == sorted(lengths, reverse=True)
    assert world.is_clean()


def test_without_a_priority_parts_decide(world: World) -> None:
    world.entities = (MATERIAL,)

    world.run()

    assert furthest_from_its_turn(world, price_order(world)) > 2 * piece(world)


def test_a_run_that_dies_has_embedded_exactly_the_first(world: World) -> None:
    world.set_options(part_rows=1000)
    # Three pieces of eight.
    world.embedder.failures = {25: TransientError("the service is gone")}

    with pytest.raises(TransientError, match="the service is gone"):
        world.run()

    assert len(world.cache.vectors) == 24
    assert set(world.embedder.embedded) == set(price_order(world)[:24])
    again = world.run()
    assert (again.embedded_texts, again.cache_hits) == (36, 24)
    assert furthest_from_its_turn(world, price_order(world)) < piece(world)
    assert world.is_clean()


def test_points_are_written_in_order_so_that_the_first_are_searchable_first(world: World) -> None:
    written: list[str] = []
    sync = world.sync
    with scope_lease(sync, scope=ACME, owner="run-1") as fence:
        export = export_scope(sync, scope=ACME, run_id="run-1", fence=fence)
        staged = embed_scope(sync, export=export, fence=fence)
        for name in staged.changes:
            part = sync.staging.open_dataset(name).read(0)
            written += map(str, part.column("db_id").to_pylist())
        upsert_scope(sync, staged=staged, fence=fence)

    assert export.parts > 1
    assert written == [str(number) for number in range(59, -1, -1)]


def test_active_comes_before_historical_whatever_the_entity() -> None:
    world = World(
        entities=(
            ranked(WORK, Criterion(when=(Condition("phase", ("open",)),))),
            ranked(MATERIAL, ACTIVE, BY_PRICE),
        )
    )
    world.set_options(embed_chunk_size=1)
    world.put_many(*map(str, range(8)), table="works", phase="closed")
    world.put_many("8", "9", table="works", phase="open")
    for number in range(10, 18):
        world.put(str(number), status="active" if number < 12 else "completed", price=number)

    world.run()

    embedded = world.embedder.embedded
    assert set(embedded[:4]) == {"cement 10 kg", "cement 11 kg", "cement 8", "cement 9"}
    # Of the others those with a price come before those of which nothing is said.
    assert set(embedded[4:10]) == {f"cement {number} kg" for number in range(12, 18)}
    assert set(embedded[10:]) == {f"cement {number}" for number in range(8)}


def test_an_entity_without_a_priority_comes_after_what_meets_one() -> None:
    world = World(entities=(WORK, ranked(MATERIAL, ACTIVE)))
    world.set_options(embed_chunk_size=1)
    world.put_many(*map(str, range(10)), table="works")
    world.put_many("a", "b", "c", "d", status="active")

    world.run()

    assert set(world.embedder.embedded[:4]) == {f"cement {name} kg" for name in "abcd"}


def test_a_change_of_priority_embeds_and_writes_nothing_and_no_scope_is_due(world: World) -> None:
    world.run()
    before = world.everything()
    calls = world.embedder.calls
    world.entities = (ranked(MATERIAL, Criterion(column="updated_at"), ACTIVE),)
    for row in world.source.tables["materials"]:
        row["status"] = "active"

    is_due = judge_scopes(world.sync, scopes=[ACME])[0].is_due
    report = world.run()

    assert not is_due
    assert counts(report) == {"unchanged": 60}
    assert (world.everything(), world.embedder.calls) == (before, calls)


def test_a_column_of_the_priority_alone_is_no_change_of_a_row(world: World) -> None:
    world.entities = (ranked(MATERIAL, ACTIVE),)
    world.put_many(*map(str, range(60)), status="active")
    world.run()
    world.source.tables["materials"][0]["status"] = "completed"

    assert not judge_scopes(world.sync, scopes=[ACME])[0].is_due
    assert counts(world.run()) == {"unchanged": 60}


def test_a_saved_plan_holds_under_another_priority(world: World) -> None:
    planned = plan_scope(world.sync, scope=ACME)
    world.entities = (MATERIAL,)

    assert plan_scope(world.sync, scope=ACME).change_digest == planned.change_digest
    assert planned.texts_to_embed == 60


def test_what_changes_together_is_compared_counted_and_deleted_as_without(world: World) -> None:
    other = World(entities=(MATERIAL,), options=world.options)
    other.source.tables["materials"] = [dict(row) for row in world.source.tables["materials"]]
    reports = []
    for each in (world, other):
        each.run()
        each.put("1", name="sand")
        each.put("2", price=999)
        each.put("poison", name=POISON)
        each.put("twice", name="sand")
        each.remove("3")
        reports.append(each.run())

    assert counts(reports[0]) == counts(reports[1])
    assert world.texts("acme") == other.texts("acme")


def test_a_refused_text_costs_its_document_and_no_other(world: World) -> None:
    world.put("30", name=f"bad {POISON}")

    report = world.run()

    assert (report.new, report.failed, report.embedded_texts) == (60, 1, 59)
    assert world.ids("acme") == sorted(str(number) for number in range(60) if number != 30)


def test_an_incremental_sync_takes_what_was_touched_in_order(world: World) -> None:
    world.run()
    for number in range(20):
        world.put(str(number), name=f"sand {number:02}", price=number)

    world.run(mode="incremental")

    wanted = [f"sand {number:02} kg" for number in range(19, -1, -1)]
    assert furthest_from_its_turn(world, wanted) < piece(world)


def test_only_an_export_with_a_priority_has_ranks(world: World) -> None:
    with_ranks = staged_schema(world, "run-1")
    world.entities = (MATERIAL,)

    without = staged_schema(world, "run-2")

    assert without == document_schema(["text"])
    assert with_ranks == without.append(pa.field(RANK_COLUMN, pa.string()))


@pytest.mark.parametrize("is_ranked", [True, False], ids=["before", "afterwards"])
def test_an_export_of_before_or_after_the_setting_is_still_finished(
    world: World, *, is_ranked: bool
) -> None:
    """As where the settings change between two steps, or the program does."""
    entities = (ranked(MATERIAL, BY_PRICE),), (MATERIAL,)
    exported, embedded = entities if is_ranked else entities[::-1]
    world.entities = exported
    with scope_lease(world.sync, scope=ACME, owner="run-1") as fence:
        export = export_scope(world.sync, scope=ACME, run_id="run-1", fence=fence)
        export = StagedExport.from_dict(export.to_dict())
        world.entities = embedded
        staged = embed_scope(world.sync, export=export, fence=fence)
        upsert_scope(world.sync, staged=staged, fence=fence)

    assert len(world.ids("acme")) == 60


def test_nothing_is_left_of_what_was_laid_aside(world: World) -> None:
    sync = world.sync
    with scope_lease(sync, scope=ACME, owner="run-1") as fence:
        export = export_scope(sync, scope=ACME, run_id="run-1", fence=fence)
        staged = embed_scope(sync, export=export, fence=fence)

    assert staged.changes
    laid_aside = dataset_name("changes_by_rank", scope=ACME, run_id="run-1")
    with pytest.raises(Exception, match="there is no staged dataset"):
        sync.staging.open_dataset(laid_aside)


def test_bounds_cut_evenly() -> None:
    turns = np.array([f"{number:03}" for number in range(100)], dtype="S3")

    assert even_bounds(turns[::-1], parts=4).tolist() == [b"025", b"050", b"075"]
    assert even_bounds(turns, parts=1).tolist() == []
    assert len(even_bounds(turns[:1], parts=4)) == 3


def staged_schema(world: World, run_id: str) -> pa.Schema:
    sync = world.sync
    with scope_lease(sync, scope=ACME, owner=run_id) as fence:
        export = export_scope(sync, scope=ACME, run_id=run_id, fence=fence)
    return sync.staging.open_dataset(export.dataset).read(0).schema


def test_passages_of_long_texts_are_embedded_in_the_order_of_their_documents() -> None:
    story = replace(MATERIAL, long_views=(("text", 20),))
    world = World(entities=(ranked(story, BY_PRICE),))
    world.set_options(embed_chunk_size=1, part_rows=10)
    for number in range(30):
        name = " ".join(f"Sentence {part} of {number} says little." for part in range(8))
        world.put(str(number), name=name, price=number)

    world.run()

    passages = [text for text in world.embedder.embedded if " of " in text]
    owners = [int(text.split(" of ")[1].split()[0]) for text in passages]
    assert len(owners) > 60
    # Each text is embedded within the piece of its document.
    turns = [29 - owner for owner in owners]
    furthest = max(max(turns[:place]) - turn for place, turn in enumerate(turns) if place)
    assert furthest < piece(world)
    assert world.is_clean()
