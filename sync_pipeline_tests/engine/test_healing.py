"""Whatever the index or the record has lost, the next full sync puts back, and says how much."""

from __future__ import annotations

import copy
from datetime import timedelta

import pytest

from sync_pipeline.core.point import Point
from sync_pipeline_tests.engine.world import World, counts


@pytest.fixture
def synced(world: World) -> World:
    """Three documents of ``acme``, all in step."""
    world.put_many("1", "2", "3")
    world.run()
    return world


def drop_points(world: World, *document_ids: str) -> None:
    points = [world.points[name].point_id for name in document_ids]
    world.store.delete(world.collection, points, scope_key="acme")


def test_one_lost_point_is_written_again_without_embedding(synced: World) -> None:
    drop_points(synced, "tenant-material-2")

    report = synced.run()

    assert counts(report) == {"new": 1, "unchanged": 2, "cache_hits": 1}
    assert synced.is_clean()


def test_a_lost_index_is_rebuilt_from_the_cache(synced: World) -> None:
    synced.store.drop_collection(synced.collection)

    report = synced.run()

    assert counts(report) == {"new": 3, "cache_hits": 3}
    assert synced.is_clean()
    assert len(synced.found("acme")) == 3


def test_a_lost_alias_is_set_again(synced: World) -> None:
    synced.store._aliases.clear()

    report = synced.run()

    assert counts(report) == {"unchanged": 3}
    assert len(synced.found("acme")) == 3


def test_a_lost_record_is_mended_without_writing_the_index(synced: World) -> None:
    before = synced.everything()["points"]
    synced.state.documents.clear()

    report = synced.run()

    assert counts(report) == {"unchanged": 3, "repaired": 3}
    assert synced.everything()["points"] == before
    assert synced.is_clean()


def test_a_record_of_a_document_that_never_was_is_forgotten(synced: World) -> None:
    synced.put("4")
    synced.run()
    drop_points(synced, "tenant-material-4")
    synced.remove("4")

    report = synced.run()

    assert counts(report) == {"unchanged": 3, "repaired": 1}
    assert len(synced.recorded("acme")) == 3


def test_an_older_index_put_back_is_brought_up_to_date(synced: World) -> None:
    older = copy.deepcopy(synced.store._collections)
    synced.put("1", name="sand")
    synced.put("4")
    synced.remove("3")
    synced.run()
    synced.store._collections = older

    report = synced.run()

    assert counts(report) == {"new": 1, "changed": 1, "unchanged": 1, "deleted": 1, "cache_hits": 2}
    assert synced.texts("acme") == {"1": "sand kg", "2": "cement 2 kg", "4": "cement 4 kg"}
    assert synced.is_clean()


def test_a_point_with_another_text_than_its_row_is_overwritten(synced: World) -> None:
    held = synced.store._collections[synced.collection].points
    spoiled = held[synced.points["tenant-material-1"].point_id]
    payload = {**spoiled.payload, "text": "spoiled", "embed_hash": {"text": "other"}}
    held[spoiled.point_id] = Point(
        point_id=spoiled.point_id, vectors=spoiled.vectors, sparse=spoiled.sparse, payload=payload
    )

    report = synced.run()

    assert counts(report) == {"changed": 1, "unchanged": 2, "cache_hits": 1}
    assert synced.texts("acme")["1"] == "cement 1 kg"


def test_a_lost_cache_costs_no_embedding_while_nothing_changes(synced: World) -> None:
    synced.cache.vectors.clear()

    report = synced.run()

    assert counts(report) == {"unchanged": 3}


def test_a_source_whose_clock_was_set_back_is_still_followed(synced: World) -> None:
    synced.source.now -= timedelta(hours=1)
    synced.put("1", name="sand")

    report = synced.run()

    assert counts(report) == {"changed": 1, "unchanged": 2, "embedded_texts": 1}
    assert synced.texts("acme")["1"] == "sand kg"


def test_a_source_whose_clock_was_set_back_is_read_in_full(synced: World) -> None:
    synced.source.now -= timedelta(hours=1)
    synced.put("1", name="sand")

    report = synced.run(mode="incremental")

    assert report.rows == 3
    assert synced.texts("acme")["1"] == "sand kg"


def test_a_source_whose_clock_ran_ahead_for_a_while_is_still_followed(synced: World) -> None:
    synced.source.now += timedelta(days=400)
    synced.put("1", name="gravel")
    synced.run()
    synced.source.now -= timedelta(days=400)
    synced.put("1", name="sand")
    synced.run()
    synced.put("1", name="clay")

    synced.run()

    assert synced.texts("acme")["1"] == "clay kg"
    assert synced.is_clean()
