"""What one settings file does not name is nobody's business of its syncs, removals and checks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sync_pipeline.core.changes import Operation
from sync_pipeline.core.entity import Entity
from sync_pipeline.core.errors import (
    ConfigurationError,
    MassDeletionRefusedError,
    StoppedError,
    StoreUnavailableError,
)
from sync_pipeline.core.reports import SyncMode
from sync_pipeline.core.scope import GLOBAL, Scope
from sync_pipeline.engine.context import SyncContext
from sync_pipeline.engine.lease import scope_lease
from sync_pipeline.engine.questions.checks import check_scope
from sync_pipeline.engine.questions.due import judge_scopes
from sync_pipeline.engine.questions.entities import entity_reports, left_entities
from sync_pipeline.engine.questions.plan import plan_scope
from sync_pipeline.engine.questions.search import SearchRequest, search
from sync_pipeline.engine.questions.status import coverage, scope_statuses
from sync_pipeline.engine.questions.verify import verify_scope
from sync_pipeline.engine.removal.entities import remove_entity
from sync_pipeline.engine.removal.maintenance import VanishedPolicy, remove_vanished, sweep_orphans
from sync_pipeline_tests.engine.world import MATERIAL, UNGUARDED, WORK, World, counts
from sync_pipeline_tests.fakes.feed import FakeChangeFeed
from sync_pipeline_tests.fakes.watched import When, watch_context

ACME, GLOBEX = Scope("acme"), Scope("globex")
AT_ONCE = VanishedPolicy(grace=timedelta(0), max_removed_fraction=1)


@pytest.fixture
def both(world: World) -> World:
    """Three materials and five works of ``acme``, one work of ``globex``, all in step."""
    world.put_many("1", "2", "3")
    world.put_many("1", "2", "3", "4", "5", table="works")
    world.put("9", table="works", tenant_id="globex")
    world.run_all()
    return world


def only(world: World, *entities: Entity, **changes: Any) -> SyncContext:
    """The context of settings that name these entities alone."""
    return replace(world.sync.rebound(entities=entities), **changes)


def of(world: World, *entity_types: str) -> dict[str, object]:
    """All that is kept of these entities."""
    return {
        "points": {
            key: dict(point.payload)
            for key, point in world.points.items()
            if point.payload["type"] in entity_types
        },
        "records": {
            key: known
            for key, known in world.state.documents.items()
            if known.entity_type in entity_types
        },
        "scopes": {
            key: known for key, known in world.scopes.entities.items() if key[2] in entity_types
        },
        "quarantine": [
            found for found in world.quarantine.list_all() if found[1].entity_type in entity_types
        ],
    }


# --- syncs ------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["full", "incremental"])
def test_a_sync_leaves_what_its_settings_do_not_name(both: World, mode: SyncMode) -> None:
    before = of(both, "work")
    both.remove("1")
    both.put("2", name="sand")
    both.put("4")

    report = both.run(sync=only(both, MATERIAL), mode=mode)

    assert (report.new, report.changed, report.deleted) == (1, 1, 1)
    assert of(both, "work") == before
    assert both.is_clean()


def test_an_entity_that_comes_back_needs_nothing(both: World) -> None:
    both.run(sync=only(both, MATERIAL))

    report = both.run()

    assert counts(report) == {"unchanged": 8}


def test_a_scope_is_due_by_its_own_entities_alone(both: World) -> None:
    both.put("1", table="works", name="plastering")

    judged = [judge_scopes(only(both, entity), scopes=[ACME])[0] for entity in (MATERIAL, WORK)]

    assert [found.is_due for found in judged] == [False, True]


def test_a_failed_document_of_another_entity_is_not_looked_at_again(both: World) -> None:
    both.put("1", table="works", name="☠")
    both.run()
    both.sync.state.retry_now()
    before = of(both, "work")

    both.run(sync=only(both, MATERIAL), mode="incremental")

    assert of(both, "work") == before


def test_a_document_that_moved_is_left_to_be_counted_by_who_syncs_it(both: World) -> None:
    both.put("9", table="works", tenant_id="acme")
    both.run("acme")

    both.run("globex", sync=only(both, MATERIAL))
    report = both.run("globex", sync=only(both, WORK))

    assert report.deleted == 1


# --- the guard --------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["full", "incremental"])
def test_s72_an_entity_without_rows_is_not_emptied_and_the_plan_says_so(
    both: World, mode: SyncMode
) -> None:
    both.remove("1", "2", "3")
    before = both.ids("acme")
    plan = plan_scope(both.sync, scope=ACME, mode=mode)

    with pytest.raises(MassDeletionRefusedError, match="3 of 3 of entity 'material'") as refused:
        both.run(mode=mode)

    assert plan.blocked_by == str(refused.value)
    assert (refused.value.entity_type, refused.value.total) == ("material", 3)
    assert both.ids("acme") == before


def test_s72_rows_that_all_became_unusable_empty_no_entity(both: World) -> None:
    both.put_many("1", "2", "3", name=None, unit=None)

    with pytest.raises(MassDeletionRefusedError, match="3 of 3 of entity 'material'"):
        both.run()


def test_s72_an_approval_names_all_that_goes_from_the_scope(both: World) -> None:
    both.remove("1", "2", "3")
    both.remove("1", table="works")
    policy = replace(both.options.cleanup, approved_deletions=4)
    both.set_options(cleanup=policy)

    report = both.run()

    assert report.deleted == 4
    assert both.is_clean()


def test_an_entity_that_is_replaced_by_other_rows_is_not_an_emptied_one(both: World) -> None:
    both.remove("1", "2", "3")
    both.put("4")

    report = both.run()

    assert (report.new, report.deleted) == (1, 3)


def test_a_retry_after_a_crash_in_the_middle_of_deleting_judges_the_same(both: World) -> None:
    both.set_options(cleanup=replace(both.options.cleanup, approved_deletions=3))
    both.set_options(delete_batch_size=1)
    both.remove("1", "2", "3")

    def stop(called: str, when: When) -> None:
        if (called, when) == ("store.delete", "after"):
            raise StoreUnavailableError("gone")

    with pytest.raises(StoreUnavailableError):
        both.run(sync=watch_context(both.sync, stop), run_id="again")
    left = len([key for key in both.points if "material" in key])
    both.set_options(cleanup=UNGUARDED)
    both.run(run_id="again")

    assert left == 2
    assert both.is_clean()


# --- what people see --------------------------------------------------------------------


def test_a_search_finds_only_documents_of_the_settings(both: World) -> None:
    def types(sync: SyncContext, **request: Any) -> set[object]:
        wanted = SearchRequest(text="cement", limit=100, **request)
        return {hit.payload["type"] for hit in search(sync, scope=ACME, request=wanted).hits}

    assert types(both.sync) == {"material", "work"}
    assert types(only(both, MATERIAL)) == {"material"}
    assert types(both.sync, entity_type="work") == {"work"}
    with pytest.raises(ConfigurationError, match="no entity 'work'; the configured ones are mat"):
        types(only(both, MATERIAL), entity_type="work")


def test_a_search_is_in_sync_to_the_oldest_snapshot_of_what_it_shows(both: World) -> None:
    def in_sync_to(sync: SyncContext) -> object:
        return search(sync, scope=ACME, request=SearchRequest(text="cement")).in_sync_to

    both.run("global")
    old = in_sync_to(only(both, WORK))
    both.run("global", sync=only(both, MATERIAL))
    both.run(sync=only(both, MATERIAL))

    assert in_sync_to(only(both, WORK)) == in_sync_to(both.sync) == old
    assert in_sync_to(only(both, MATERIAL)) > old  # type: ignore[operator]  # times
    assert in_sync_to(only(both, MATERIAL, replace(WORK, name="new"))) is None


def test_too_many_of_one_entity_do_not_make_up_for_too_few_of_another(both: World) -> None:
    both.remove("1")
    both.put("6", table="works")

    status = next(one for one in scope_statuses(both.sync) if one.scope_key == "acme")

    assert (status.source_rows, status.points) == (8, 8)
    assert (status.surplus, status.pending, status.coverage) == (1, 1, 0.7777)
    assert [(one.entity_type, one.surplus, one.pending) for one in status.entities] == [
        ("material", 1, 0),
        ("work", 0, 1),
    ]


@pytest.mark.parametrize(
    ("points", "wanted", "expected"),
    [
        pytest.param(2, 2, 1.0, id="equal"),
        pytest.param(3, 2, 0.6666, id="one too many"),
        pytest.param(1, 2, 0.5, id="one too few"),
        pytest.param(0, 0, 1.0, id="nothing of nothing"),
        pytest.param(5, 0, 0.0, id="only what is gone"),
        pytest.param(1_000_001, 1_000_000, 0.9999, id="one in a million too many"),
        pytest.param(999_999, 1_000_000, 0.9999, id="one in a million too few"),
    ],
)
def test_coverage_is_full_only_where_numbers_are_equal(
    points: int, wanted: int, expected: float
) -> None:
    assert coverage(points={"work": points}, possible={"work": wanted}) == expected


def test_what_the_settings_do_not_name_is_listed_with_what_is_left_of_it(both: World) -> None:
    sync = only(both, MATERIAL)

    reports = {found.entity_type: found for found in entity_reports(sync)}

    assert left_entities(sync) == {"work": 6}
    assert (reports["material"].source_rows, reports["material"].points) == (3, 3)
    assert (reports["work"].source_rows, reports["work"].in_settings) == (None, False)
    assert (reports["work"].points, reports["work"].documents) == (6, 6)


def test_verify_compares_only_what_the_settings_name(both: World) -> None:
    found = verify_scope(only(both, MATERIAL), scope=ACME)

    assert found.is_clean
    assert (found.source_documents, found.points, found.state_documents) == (3, 3, 3)


def test_checks_pass_beside_documents_of_other_settings(both: World) -> None:
    both.run(sync=only(both, MATERIAL))

    results = check_scope(only(both, MATERIAL), scope=ACME, seed="s")

    assert [found.claim for found in results if not found.passed] == []


# --- maintenance ------------------------------------------------------------------------


def tidy(world: World, sync: SyncContext) -> Sequence[str]:
    rows = sync.source.count_by_scope(sync.entities)
    owner = world.new_run_id()
    return remove_vanished(sync, rows=rows, owner=owner, policy=AT_ONCE).removed


def test_a_tenant_of_other_settings_has_not_vanished(both: World) -> None:
    before = of(both, "work")

    removed = tidy(both, only(both, MATERIAL))
    swept = sweep_orphans(only(both, MATERIAL), owner="run", policy=AT_ONCE)

    assert (list(removed), swept.orphaned) == ([], 0)
    assert of(both, "work") == before


def test_a_vanished_tenant_is_removed_as_far_as_the_settings_name_its_entities(
    both: World,
) -> None:
    both.put("7", tenant_id="globex")
    both.run("globex")
    both.remove("7")
    before = of(both, "work")

    removed = tidy(both, only(both, MATERIAL))

    assert list(removed) == ["globex"]
    assert of(both, "work") == before
    assert "tenant-material-7" not in both.points


def test_the_mark_of_one_settings_file_is_not_taken_away_by_another(both: World) -> None:
    both.put("7", tenant_id="globex")
    both.run("globex")
    both.remove("7")
    sync = only(both, MATERIAL)
    rows = sync.source.count_by_scope(sync.entities)
    week = VanishedPolicy(grace=timedelta(days=7))
    remove_vanished(sync, rows=rows, owner="run", policy=week)
    both.clock.advance(seconds=7 * 86_400)

    tidy(both, only(both, WORK))

    assert remove_vanished(sync, rows=rows, owner="run", policy=week).removed == ("globex",)


# --- removing an entity -----------------------------------------------------------------


def test_an_entity_that_left_is_removed_altogether_and_nothing_else(both: World) -> None:
    both.put("8", table="works", name=None)
    both.run()
    feed = FakeChangeFeed()
    feed.install([MATERIAL, WORK])
    feed.record(Operation.UPDATE, entity_type="work", db_id="1", old="acme", new="acme")
    feed.record(Operation.TRUNCATE, entity_type="work")
    feed.record(Operation.UPDATE, entity_type="material", db_id="1", old="acme", new="acme")
    before, vectors = of(both, "material"), dict(both.cache.vectors)

    removal = remove_entity(only(both, MATERIAL, feed=feed), entity_type="work", owner="me")

    assert (removal.points, removal.records, removal.quarantined) == (6, 6, 1)
    assert (removal.left, removal.busy) == (0, ())
    assert all(not found for found in of(both, "work").values())
    assert [event.entity_type for event in feed.events.values()] == ["material"]
    assert of(both, "material") == before
    assert both.cache.vectors.keys() == vectors.keys()
    with pytest.raises(ConfigurationError, match="nothing is left of an entity 'work'"):
        remove_entity(only(both, MATERIAL, feed=feed), entity_type="work", owner="me")


def test_an_entity_of_the_settings_is_not_removed(both: World) -> None:
    before = both.everything()

    with pytest.raises(ConfigurationError, match="the settings name entity 'work'"):
        remove_entity(both.sync, entity_type="work", owner="me")

    assert both.everything() == before


def test_a_scope_that_is_being_written_is_left_and_told(both: World) -> None:
    sync = only(both, MATERIAL)

    with scope_lease(sync, scope=ACME, owner="another run"):
        removal = remove_entity(sync, entity_type="work", owner="me")
    again = remove_entity(sync, entity_type="work", owner="me")

    assert (removal.busy, removal.points, removal.left) == (("acme",), 1, 5)
    assert (again.busy, again.points, again.left) == ((), 5, 0)


@pytest.mark.parametrize(
    "place",
    [
        pytest.param("store.delete", id="after the points"),
        pytest.param("state.delete", id="after the records"),
        pytest.param("quarantine.release", id="after the quarantine"),
    ],
)
def test_a_removal_that_was_cut_short_is_finished_by_the_next_one(both: World, place: str) -> None:
    both.set_options(delete_batch_size=2)
    sync = only(both, MATERIAL)

    def stop(called: str, when: When) -> None:
        if (called, when) == (place, "after"):
            raise StoppedError("now")

    with pytest.raises(StoppedError):
        remove_entity(watch_context(sync, stop), entity_type="work", owner="me")
    removal = remove_entity(sync, entity_type="work", owner="me")

    assert removal.left == 0
    assert all(not found for found in of(both, "work").values())


# --- whatever the settings --------------------------------------------------------------

NAMES = ("beam", "lamp", "tile", "wire")
ENTITIES = {name: replace(WORK, name=name, table=f"{name}s") for name in NAMES}
chosen = st.sets(st.sampled_from(NAMES), min_size=1)
changes = st.lists(
    st.tuples(
        st.sampled_from(NAMES),
        st.sampled_from(["1", "2", "3"]),
        st.sampled_from(["acme", "globex", None]),
        st.sampled_from(["cement", "sand", None, "gone"]),
    ),
    max_size=12,
)


@pytest.mark.slow
@settings(deadline=None, max_examples=60)
@given(
    first=chosen,
    second=chosen,
    before=changes,
    after=changes,
    mode=st.sampled_from(["full", "incremental"]),
)
def test_s65_syncing_with_one_settings_file_changes_nothing_of_another(
    first: set[str], second: set[str], before: list[Any], after: list[Any], mode: SyncMode
) -> None:
    world = World(entities=tuple(ENTITIES.values()))
    world.set_options(cleanup=UNGUARDED)
    ours = only(world, *(ENTITIES[name] for name in sorted(first)))
    theirs = only(world, *(ENTITIES[name] for name in sorted(second)))
    others = sorted(second - first)
    apply(world, before)
    for key in ("global", "acme", "globex"):
        world.run(key, sync=theirs)
    kept = of(world, *others)

    apply(world, after)
    for key in ("global", "acme", "globex"):
        world.run(key, sync=ours, mode=mode)
        tidy(world, ours)
    for scope in (GLOBAL, ACME, GLOBEX):
        assert verify_scope(ours, scope=scope).is_clean

    assert of(world, *others) == kept


def apply(world: World, wanted: list[Any]) -> None:
    for name, row_id, tenant, text in wanted:
        table = ENTITIES[name].table
        if text == "gone":
            world.remove(row_id, table=table)
        else:
            owner = {"tenant_id": tenant, "is_global": tenant is None}
            world.put(row_id, table=table, name=text, unit=None, **owner)


def test_a_lost_index_spares_what_is_recorded_of_an_entity_that_left(both: World) -> None:
    def records_of_works() -> list[object]:
        known = both.sync.scopes.list_entities()
        return [record for record in known if record.entity_type == "work"]

    before = records_of_works()
    both.store.drop_collection(both.collection)

    both.run("acme", sync=only(both, MATERIAL))

    assert before != []
    assert records_of_works() == before
