"""What a model or the index refuses is charged to the documents concerned and to no other."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sync_pipeline.core.errors import (
    InvalidVectorError,
    ModelUnavailableError,
    OutOfSpaceError,
    PermanentError,
    RateLimitedError,
    RejectedPointError,
    StoreUnavailableError,
    TooManyQuarantinedError,
    TransientError,
)
from sync_pipeline_tests.engine.world import MATERIAL, World, counts
from sync_pipeline_tests.fakes.embedder import (
    Spoil,
    not_normalised,
    not_numbers,
    one_short,
)
from sync_pipeline_tests.fakes.watched import When, watch_context

FORTY = tuple(f"{number:02}" for number in range(40))


def test_a_refused_text_fails_exactly_its_documents(world: World) -> None:
    world.put_many(*FORTY)
    world.put("11", name="☠")
    world.put("22", name="☠")

    report = world.run()

    assert counts(report) == {"new": 40, "embedded_texts": 38, "failed": 2}
    assert world.ids("acme") == sorted(set(FORTY) - {"11", "22"})
    failed = world.record_of("tenant-material-11")
    assert failed is not None
    assert (failed.status, failed.error_code) == ("failed", "PermanentError")


TWO_VIEWS = replace(MATERIAL, views=(("title", ("name",)), ("measure", ("unit",))))


def test_a_refused_text_costs_its_view_and_no_other() -> None:
    world = World(entities=(TWO_VIEWS,))
    world.put("1", name="☠ poison", unit="bag")
    world.put("2", name="cement", unit="bag")

    report = world.run()

    failed = world.record_of("tenant-material-1")
    assert counts(report) == {"new": 2, "embedded_texts": 2, "failed": 1}
    assert failed is not None
    assert (failed.status, failed.failed_views) == ("failed", ["title"])
    assert failed.embed_hashes.keys() == {"measure"}
    assert world.points["tenant-material-1"].vectors.keys() == {"measure"}
    assert sorted(world.found("acme", "bag", views=("measure",), mode="dense")) == [
        "tenant-material-1",
        "tenant-material-2",
    ]
    assert world.found("acme", "poison", views=("title",), mode="dense") == ["tenant-material-2"]


def test_a_refused_view_is_tried_again_and_its_failure_forgotten() -> None:
    world = World(entities=(TWO_VIEWS,))
    world.put("1", name="☠ poison", unit="bag")
    world.run()
    asked = world.embedder.calls
    again = world.run()
    tried = world.embedder.calls - asked
    world.put("1", name="sand", unit="bag")

    mended = world.run()

    record = world.record_of("tenant-material-1")
    assert (counts(again)["failed"], tried) == (1, 1)
    assert counts(mended) == {"changed": 1, "embedded_texts": 1, "cache_hits": 1}
    assert record is not None
    assert (record.status, list(record.failed_views)) == ("synced", [])
    assert world.points["tenant-material-1"].vectors.keys() == {"title", "measure"}
    assert world.is_clean()


def test_a_document_of_which_every_text_is_refused_is_not_written() -> None:
    world = World(entities=(TWO_VIEWS,))
    world.put("1", name="☠ poison", unit="☠ bag")
    world.put("2", name="cement", unit="bag")

    world.run()

    failed = world.record_of("tenant-material-1")
    assert failed is not None
    assert failed.failed_views == ["measure", "title"]
    assert list(world.points) == ["tenant-material-2"]


def test_a_view_whose_new_text_is_refused_loses_the_vector_of_its_old_one() -> None:
    world = World(entities=(TWO_VIEWS,))
    world.put("1", name="cement", unit="bag")
    world.run()
    world.put("1", name="☠ poison", unit="bag")

    world.run()

    assert world.points["tenant-material-1"].vectors.keys() == {"measure"}
    assert world.texts("acme") == {"1": "☠ poison bag"}


def test_a_document_whose_new_text_is_refused_keeps_its_old_point(world: World) -> None:
    world.put_many("1", "2")
    world.run()
    world.put("1", name="☠")

    report = world.run()

    assert counts(report) == {"changed": 1, "unchanged": 1, "failed": 1}
    assert world.texts("acme") == {"1": "cement 1 kg", "2": "cement 2 kg"}


def test_a_payload_change_of_a_document_with_a_refused_text_waits_for_the_text(
    world: World,
) -> None:
    world.put("1")
    world.run()
    world.put("1", name="☠", price=99)

    world.run()

    assert world.points["tenant-material-1"].payload["price"] == 10


def test_a_mended_text_is_synced_and_its_failure_forgotten(world: World) -> None:
    world.put_many("1", "2")
    world.put("1", name="☠")
    world.run()
    world.put("1", name="sand")

    report = world.run()

    assert counts(report) == {"new": 1, "unchanged": 1, "embedded_texts": 1}
    assert world.recorded("acme") == ["tenant-material-1", "tenant-material-2"]
    assert world.is_clean()


def test_a_text_that_was_changed_back_needs_only_its_record_mended(world: World) -> None:
    world.put_many("1", "2")
    world.run()
    world.put("1", name="☠")
    world.run()
    world.put("1", name="cement 1")

    report = world.run()

    assert counts(report) == {"unchanged": 2, "repaired": 1}
    assert world.is_clean()


def test_a_model_that_refuses_every_text_blames_nobody_and_writes_nothing(world: World) -> None:
    world.put_many(*FORTY)
    world.embedder.poison = "cement"

    with pytest.raises(PermanentError, match="the model refuses"):
        world.run()

    assert world.points == {}
    assert world.state.documents == {}


@pytest.mark.parametrize(
    ("spoil", "error", "message"),
    [
        pytest.param(not_numbers, InvalidVectorError, "NaN or infinity", id="not a number"),
        pytest.param(not_normalised, InvalidVectorError, "not of length 1", id="not normalised"),
        pytest.param(one_short, PermanentError, "0 vectors for 1 texts", id="one vector short"),
    ],
)
def test_wrong_vectors_are_never_written(
    world: World, spoil: Spoil, error: type[Exception], message: str
) -> None:
    world.put_many(*FORTY)
    world.embedder.spoil = spoil

    with pytest.raises(error, match=message):
        world.run()

    assert world.points == {}


def test_a_batch_too_large_for_memory_is_halved_and_nobody_is_blamed(world: World) -> None:
    world.put_many(*FORTY)
    world.embedder.max_texts_in_memory = 3

    report = world.run()

    assert counts(report) == {"new": 40, "embedded_texts": 40}


def test_a_text_too_large_for_memory_fails_its_document(world: World) -> None:
    world.put("1")
    world.embedder.max_texts_in_memory = 0

    report = world.run()

    assert counts(report) == {"new": 1, "failed": 1}
    failed = world.record_of("tenant-material-1")
    assert failed is not None
    assert failed.error == "this item alone needs more memory than there is"


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(RateLimitedError("wait"), id="rate limit"),
        pytest.param(TransientError("later"), id="outage"),
        pytest.param(ModelUnavailableError(model="m", reason="gone"), id="no model"),
    ],
)
def test_an_outage_of_the_model_charges_no_document(world: World, error: Exception) -> None:
    world.put_many("1", "2")
    world.embedder.failures[1] = error

    with pytest.raises(type(error), match=str(error)[:4]):
        world.run()

    assert world.state.documents == {}


def test_what_was_embedded_before_an_outage_is_not_embedded_again(world: World) -> None:
    world.set_options(embed_chunk_size=10)
    world.put_many(*FORTY)
    world.embedder.failures[4] = TransientError("later")
    with pytest.raises(TransientError, match="later"):
        world.run()

    report = world.run()

    assert counts(report) == {"new": 40, "embedded_texts": 10, "cache_hits": 30}
    assert len(world.embedder.embedded) == 40


def refuse(world: World, *row_ids: str) -> None:
    """Make the index refuse points of these rows."""
    upsert = world.store.upsert

    def refusing(collection: str, points: list) -> None:  # type: ignore[type-arg]  # of points
        bad = [p for p in points if p.payload["dbId"] in row_ids]
        if len(points) == 1 and bad:
            name = str(bad[0].payload["document_id"])
            raise RejectedPointError(document_id=name, reason="too odd")
        if bad:
            raise PermanentError("the batch is refused")
        upsert(collection, points)

    world.store.upsert = refusing  # type: ignore[method-assign,assignment]  # a fault


def test_a_refused_point_fails_alone(world: World) -> None:
    world.put_many(*FORTY)
    refuse(world, "07", "31")

    report = world.run()

    assert counts(report) == {"new": 40, "embedded_texts": 40, "failed": 2}
    assert world.ids("acme") == sorted(set(FORTY) - {"07", "31"})
    failed = world.record_of("tenant-material-07")
    assert failed is not None
    assert failed.error == "the index refuses document 'tenant-material-07': too odd"


def test_a_refused_payload_fails_alone(world: World) -> None:
    world.put_many("1", "2", "3", price=1)
    world.run()
    world.put_many("1", "2", "3", price=2)
    error = RejectedPointError(document_id="tenant-material-1", reason="too odd")
    for _ in range(3):
        world.store.fail_next("write_payloads", error)

    report = world.run()

    prices = [point.payload["price"] for point in world.points.values()]
    assert counts(report) == {"payload_changed": 3, "failed": 1}
    assert sorted(map(str, prices)) == ["1", "2", "2"]


def test_a_full_disk_ends_the_run_at_once_and_blames_nobody(world: World) -> None:
    world.put_many("1", "2")
    world.store.fail_next("upsert", OutOfSpaceError("the disk is full"))

    with pytest.raises(OutOfSpaceError, match="the disk is full"):
        world.run()

    assert world.state.documents == {}


def test_a_write_that_was_not_confirmed_is_not_recorded_and_repeated_by_the_next_run(
    world: World,
) -> None:
    world.put_many("1", "2")
    error = StoreUnavailableError("no answer")
    world.store.fail_next("upsert", error, is_applied=True)
    with pytest.raises(StoreUnavailableError, match="no answer"):
        world.run()
    assert world.state.documents == {}

    report = world.run()

    assert counts(report) == {"unchanged": 2, "repaired": 2}
    assert world.is_clean()


def test_a_vector_that_left_the_cache_is_embedded_again_by_the_next_run(world: World) -> None:
    world.put_many("1", "2")

    def purge(called: str, when: When) -> None:
        if called == "cache.put" and when == "after":
            world.cache.vectors.clear()

    with pytest.raises(TransientError, match="2 of 2 vectors have left the embedding cache"):
        world.run(sync=watch_context(world.sync, purge))

    report = world.run()

    assert counts(report) == {"new": 2, "embedded_texts": 2}


def test_more_unusable_rows_than_accepted_fail_the_scope_before_the_index_is_touched(
    world: World,
) -> None:
    world.set_options(max_quarantined_fraction=0.2)
    world.put_many("1", "2", "3")
    world.run()
    world.put("1", name=" ", unit=None)

    with pytest.raises(TooManyQuarantinedError, match="1 of 3 rows of scope 'acme'"):
        world.run()

    assert world.ids("acme") == ["1", "2", "3"]
    assert len(world.quarantine.list_all()) == 1


def test_as_many_unusable_rows_as_accepted_are_only_named(world: World) -> None:
    world.set_options(max_quarantined_fraction=0.5)
    world.put("1")
    world.put("2", name=None, unit=None)

    report = world.run()

    assert counts(report) == {"new": 1, "quarantined": 1, "embedded_texts": 1}
