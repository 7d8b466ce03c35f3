"""What a sync leaves behind, and what it does not do."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sync_pipeline.core.cleanup import CleanupPolicy
from sync_pipeline.core.entity import Entity
from sync_pipeline.core.errors import (
    DuplicateDocumentError,
    IndexMismatchError,
    MassDeletionRefusedError,
    PermanentError,
    UnconfirmedSyncError,
)
from sync_pipeline.core.scope import Scope
from sync_pipeline.engine.staged import dataset_name
from sync_pipeline_tests.engine.world import UNGUARDED, World, counts
from sync_pipeline_tests.fakes.embedder import UNKNOWN
from sync_pipeline_tests.fakes.row_source import FakeSnapshot
from sync_pipeline_tests.fakes.watched import When, watch_context


def test_every_row_becomes_a_point_with_its_text_vector_and_payload(world: World) -> None:
    world.put("1", name="Portland  cement", unit="bag", price=7)

    report = world.run()

    point = world.points["tenant-material-1"]
    assert counts(report) == {"new": 1, "embedded_texts": 1}
    assert np.array_equal(point.vectors["text"], world.embedder.vector("Portland cement bag"))
    assert {
        name: value
        for name, value in point.payload.items()
        if name not in {"embed_hash", "payload_hash", "synced_at", "source_revision"}
    } == {
        "tenantId": "acme",
        "type": "material",
        "dbId": "1",
        "isGlobal": False,
        "scope": "tenant",
        "scope_key": "acme",
        "schema_version": 1,
        "document_id": "tenant-material-1",
        "text": "Portland cement bag",
        "price": 7,
        "unit": "bag",
    }


def test_the_same_id_in_two_tables_is_two_documents(world: World) -> None:
    world.put("1")
    world.put("1", table="works")

    world.run()

    assert sorted(world.points) == ["tenant-material-1", "tenant-work-1"]
    assert world.is_clean()


def test_a_sync_that_finds_nothing_changed_writes_nothing(world: World) -> None:
    world.put_many("1", "2", "3")
    world.put("blank", name=" ", unit=None)
    world.run()
    before = world.everything()
    calls: list[str] = []

    def listener(called: str, when: When) -> None:
        calls.append(called)

    report = world.run(sync=watch_context(world.sync, listener))

    assert world.everything() == before
    assert counts(report) == {"unchanged": 3, "quarantined": 1}
    writes = {"store.upsert", "store.write_payloads", "store.delete", "state.delete"}
    assert not writes & set(calls)
    assert not {"embedder.embed", "cache.put", "state.record_synced"} & set(calls)


def test_a_changed_text_is_embedded_and_only_that_one(world: World) -> None:
    world.put_many("1", "2")
    world.run()
    world.embedder.embedded.clear()
    world.put("1", name="sand")

    report = world.run()

    assert counts(report) == {"changed": 1, "unchanged": 1, "embedded_texts": 1}
    assert world.embedder.embedded == ["sand kg"]
    assert world.texts("acme") == {"1": "sand kg", "2": "cement 2 kg"}


def test_a_payload_change_embeds_nothing_and_keeps_the_vector(world: World) -> None:
    world.put("1", price=1)
    world.run()
    vector = world.points["tenant-material-1"].vectors["text"]
    world.put("1", price=2)

    report = world.run()

    assert counts(report) == {"payload_changed": 1}
    assert world.embedder.calls == 1
    assert world.points["tenant-material-1"].payload["price"] == 2
    assert np.array_equal(world.points["tenant-material-1"].vectors["text"], vector)


def test_a_text_is_embedded_once_for_all_rows_and_tenants(world: World) -> None:
    world.put_many("1", "2", name="cement")
    world.put("3", name="cement", tenant_id="globex")

    reports = world.run_all()

    assert world.embedder.embedded == ["cement kg"]
    assert counts(reports["acme"]) == {"new": 2, "embedded_texts": 1}
    assert counts(reports["globex"]) == {"new": 1, "cache_hits": 1}


def test_a_cache_per_scope_shares_no_text_between_tenants(world: World) -> None:
    world.set_options(shares_cache=False)
    world.put("1", name="cement")
    world.put("2", name="cement", tenant_id="globex")

    world.run_all()

    assert world.embedder.embedded == ["cement kg", "cement kg"]
    assert len(world.cache.vectors) == 2


def test_a_text_that_comes_back_is_not_embedded_again(world: World) -> None:
    world.put("1", name="cement")
    world.run()
    world.put("1", name="sand")
    world.run()
    world.put("1", name="cement")

    report = world.run()

    assert counts(report) == {"changed": 1, "cache_hits": 1}
    assert world.texts("acme") == {"1": "cement kg"}


def test_a_row_that_is_gone_is_deleted_and_only_in_its_scope(world: World) -> None:
    world.put_many("1", "2", "3")
    world.put_many("7", "8", tenant_id="globex")
    world.run_all()
    world.remove("2", "8")

    report = world.run("acme")

    assert counts(report) == {"unchanged": 2, "deleted": 1}
    assert world.ids("acme") == ["1", "3"]
    assert world.ids("globex") == ["7", "8"]
    assert world.recorded("acme") == ["tenant-material-1", "tenant-material-3"]


def test_a_row_whose_text_became_blank_is_quarantined_and_leaves_the_index(world: World) -> None:
    world.put_many("1", "2")
    world.run()
    world.put("1", name="", unit=" ")

    report = world.run()

    assert counts(report) == {"unchanged": 1, "deleted": 1, "quarantined": 1}
    assert world.ids("acme") == ["2"]
    assert [item.db_id for _, item in world.quarantine.list_all()] == ["1"]


def test_a_mended_row_leaves_the_quarantine_and_becomes_searchable(world: World) -> None:
    world.put("1", name="", unit=None)
    world.run()
    world.put("1", name="cement")

    report = world.run()

    assert counts(report) == {"new": 1, "embedded_texts": 1}
    assert world.quarantine.list_all() == []
    assert world.found("acme") == ["tenant-material-1"]


def test_a_refused_mass_deletion_leaves_new_and_changed_documents_in_place(world: World) -> None:
    world.put_many(*(f"{number:02}" for number in range(30)))
    world.run()
    world.remove(*(f"{number:02}" for number in range(25)))
    world.put("29", name="sand")
    world.put("new")

    with pytest.raises(MassDeletionRefusedError, match="refused to delete 25 of 31 points"):
        world.run()

    assert len(world.ids("acme")) == 31
    assert world.texts("acme")["29"] == "sand kg"
    assert world.texts("acme")["new"] == "cement new kg"


def test_an_allowed_mass_deletion_deletes_after_it_was_refused(world: World) -> None:
    world.put_many(*(f"{number:02}" for number in range(30)))
    world.run()
    world.remove(*(f"{number:02}" for number in range(25)))
    with pytest.raises(MassDeletionRefusedError, match="25 of 30"):
        world.run()
    world.set_options(cleanup=UNGUARDED)

    report = world.run()

    assert counts(report) == {"unchanged": 5, "deleted": 25}
    assert world.is_clean()


def test_the_last_points_of_a_small_scope_are_guarded_too(world: World) -> None:
    world.put_many("1", "2")
    world.run()
    world.remove("1", "2")

    with pytest.raises(MassDeletionRefusedError, match="2 of 2 points in scope 'acme'"):
        world.run()

    assert world.ids("acme") == ["1", "2"]


def test_deletions_are_cut_into_batches(world: World) -> None:
    world.set_options(delete_batch_size=2, cleanup=CleanupPolicy(max_deleted_fraction=1))
    world.put_many("1", "2", "3", "4", "5")
    world.run()
    world.remove("1", "2", "3", "4", "5")
    deletes = []

    def listener(called: str, when: When) -> None:
        if called == "store.delete" and when == "after":
            deletes.append(len(world.points))

    world.run(sync=watch_context(world.sync, listener))

    assert deletes == [3, 1, 0]


def test_two_rows_with_one_id_are_noticed_though_the_source_did_not(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeSnapshot, "find_doubled", lambda *_args, **_kwargs: {})
    world.source.tables["materials"].append(dict(world.put("1")))

    with pytest.raises(DuplicateDocumentError, match="nothing was written"):
        world.run()

    assert world.points == {}


def test_a_text_shared_by_a_new_and_a_changed_document_is_embedded_once(world: World) -> None:
    world.put("1")
    world.run()
    world.put_many("1", "2", name="sand")

    report = world.run()

    assert counts(report) == {"new": 1, "changed": 1, "embedded_texts": 1}


def test_vectors_of_another_model_never_reach_the_same_collection(world: World) -> None:
    world.put("1")
    world.run()
    before = world.everything()["points"]
    world.use_model("another-model")

    world.run()

    assert len(world.store.list_collections()) == 2
    world.use_model("fake-embedder")
    assert world.everything()["points"] == before


def test_an_index_of_unknown_origin_is_refused_all_the_same(world: World) -> None:
    world.put("1")
    world.run()
    world.generations.records.clear()
    world.embedder.model_id = "another-model"

    with pytest.raises(IndexMismatchError, match="was built with other settings"):
        world.run()


def test_success_is_measured_and_a_point_that_vanished_meanwhile_is_an_error(world: World) -> None:
    world.put_many("1", "2")

    def lose_a_point(called: str, when: When) -> None:
        if called == "store.upsert" and when == "after":
            point = world.points["tenant-material-1"]
            world.store.delete(world.collection, [point.point_id], scope_key="acme")

    with pytest.raises(UnconfirmedSyncError, match=r"should have 2 points .* holds 1"):
        world.run(sync=watch_context(world.sync, lose_a_point))

    assert world.sync.scopes.get(scope=Scope("acme")) is None


def test_a_scope_of_many_parts_is_the_same_as_of_one(world: World) -> None:
    world.set_options(part_rows=3, upsert_batch_size=2, embed_chunk_size=2, cleanup=UNGUARDED)
    names = [f"{number:02}" for number in range(20)]
    world.put_many(*names)

    first = world.run()
    world.remove(*names[:15])
    second = world.run()

    assert counts(first) == {"new": 20, "embedded_texts": 20}
    assert counts(second) == {"unchanged": 5, "deleted": 15}
    assert world.ids("acme") == names[15:]
    assert world.is_clean()


def test_what_a_run_staged_is_gone_after_it(world: World) -> None:
    world.put("1")
    name = dataset_name("exported_documents", scope=Scope("acme"), run_id="the-run")

    world.run(run_id="the-run")

    with pytest.raises(PermanentError, match="there is no staged dataset"):
        world.staging.open_dataset(name)


def test_a_truncated_text_is_counted(world: World) -> None:
    world.embedder.max_characters = 5
    world.put("1", name="a long name")
    truncated: list[int] = []

    class Progress:
        def advance(self, step: str, *, done: int, total: int | None) -> None:
            if step == "embed":
                truncated.append(done)

    world.run(sync=replace(world.sync, progress=Progress()))

    assert truncated == [1]


def test_texts_that_the_model_does_not_know_are_counted_per_view_when_they_are_embedded(
    world: World,
) -> None:
    world.put("1", name=UNKNOWN)
    world.put("2", name="known")

    first, second = world.run(), world.run()

    assert first.unknown["text"]["texts"] == 2
    assert first.unknown["text"]["unknown_texts"] == 1
    assert first.unknown["text"]["unknown_tokens"] == 1
    assert second.unknown == {}


def test_progress_counts_up_to_the_total(world: World) -> None:
    world.set_options(upsert_batch_size=2)
    world.put_many("1", "2", "3")
    told: list[tuple[str, int, int | None]] = []

    class Progress:
        def advance(self, step: str, *, done: int, total: int | None) -> None:
            told.append((step, done, total))

    world.run(sync=replace(world.sync, progress=Progress()))

    assert told == [
        ("export", 3, 3),
        ("compare", 1, 1),
        ("embed", 3, 3),
        ("upsert", 2, 3),
        ("upsert", 3, 3),
    ]


TWO_VIEWS = Entity(
    name="tool",
    table="materials",
    views=(("title", ("name",)), ("body", ("unit",))),
    payload=(("price", "price"),),
)


@pytest.fixture
def two_views() -> World:
    """Documents with a title and a body, a vector for each."""
    return World(entities=(TWO_VIEWS,))


def test_each_view_has_its_own_vector(two_views: World) -> None:
    two_views.put("1", name="saw", unit="cuts wood")

    two_views.run()

    vectors = two_views.points["tenant-tool-1"].vectors
    assert np.array_equal(vectors["title"], two_views.embedder.vector("saw"))
    assert np.array_equal(vectors["body"], two_views.embedder.vector("cuts wood"))


def test_a_changed_view_embeds_only_its_own_text(two_views: World) -> None:
    two_views.put("1", name="saw", unit="cuts wood")
    two_views.run()
    two_views.put("1", unit="cuts metal")

    report = two_views.run()

    assert counts(report) == {"changed": 1, "embedded_texts": 1, "cache_hits": 1}
    assert two_views.embedder.embedded == ["cuts wood", "saw", "cuts metal"]
    assert two_views.is_clean("acme")


def test_a_view_without_text_has_no_vector_and_the_others_do(two_views: World) -> None:
    two_views.put("1", name="saw", unit=None)

    two_views.run()

    assert list(two_views.points["tenant-tool-1"].vectors) == ["title"]
    assert two_views.is_clean("acme")


def test_a_search_of_one_view_does_not_look_at_the_other(two_views: World) -> None:
    two_views.put("1", name="saw", unit=None)
    two_views.put("2", name=None, unit="saw")

    two_views.run()

    assert two_views.found("acme", "saw", views=("title",))[0] == "tenant-tool-1"
    assert two_views.found("acme", "saw", views=("body",))[0] == "tenant-tool-2"


def test_an_entity_without_a_view_of_another_is_synced_beside_it() -> None:
    title_only = replace(TWO_VIEWS, name="label", table="works", views=(("title", ("name",)),))
    world = World(entities=(TWO_VIEWS, title_only))
    world.put("1", name="saw", unit="cuts wood")
    world.put("1", name="blade", table="works")

    world.run()

    assert sorted(world.points["tenant-tool-1"].vectors) == ["body", "title"]
    assert sorted(world.points["tenant-label-1"].vectors) == ["title"]
    assert world.is_clean()
