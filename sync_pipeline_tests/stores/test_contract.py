"""What ``core.ports.VectorStore`` promises, asked of every adapter and of the fake."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest

from sync_pipeline.core.errors import (
    CollectionMissingError,
    ConfigurationError,
    InvalidVectorError,
    NewerPayloadError,
    PermanentError,
    RejectedPointError,
    SyncPipelineError,
)
from sync_pipeline.core.fusion import Fusion, FusionMethod
from sync_pipeline.core.hashing import digest, point_id
from sync_pipeline.core.payload import PAYLOAD_SCHEMA_VERSION, combine_hashes
from sync_pipeline.core.point import Point, SearchQuery, SparseVector, Vector
from sync_pipeline.core.ports import VectorStore
from sync_pipeline.core.views import ViewSpec
from sync_pipeline_tests.stores.samples import (
    COLLECTION,
    DIMENSION,
    SPEC,
    digest_ids,
    found_ids,
    ids_of,
    make_point,
    search,
    stored,
    vector,
)

# The in-memory client says so once per process.
pytestmark = pytest.mark.filterwarnings("ignore:Payload indexes have no effect:UserWarning")

OTHER = replace(SPEC, model_id="another-model")
MISSING = "documents_000000000000"


# --- collections and aliases ------------------------------------------------------------


def test_an_engine_says_what_it_is(empty_store: VectorStore) -> None:
    assert empty_store.check_engine()


def test_a_store_says_where_a_collection_lies(
    store: VectorStore, request: pytest.FixtureRequest
) -> None:
    if request.node.callspec.params["empty_store"] == "memory":
        pytest.skip("the client in memory knows of no nodes")

    assert store.check_layout(COLLECTION)


def test_where_a_missing_collection_lies_nobody_says(empty_store: VectorStore) -> None:
    if not empty_store.capabilities.has_layout:
        pytest.skip("what lies in one place is there or not")

    with pytest.raises(CollectionMissingError, match=MISSING):
        empty_store.check_layout(MISSING)


def test_a_collection_is_made_once(empty_store: VectorStore) -> None:
    first = empty_store.ensure_collection(SPEC)
    second = empty_store.ensure_collection(SPEC)

    assert (first, second) == (True, False)
    assert COLLECTION in empty_store.list_collections()


def test_making_a_collection_again_keeps_its_points(store: VectorStore) -> None:
    store.upsert(COLLECTION, [make_point(1)])

    store.ensure_collection(SPEC)

    assert store.count(COLLECTION) == 1


def test_making_a_collection_touches_no_alias(store: VectorStore, alias: str) -> None:
    assert store.alias_target(alias) is None


def test_an_alias_moves_in_one_step(store: VectorStore, alias: str) -> None:
    store.ensure_collection(OTHER)

    store.set_alias(alias, collection=COLLECTION)
    store.set_alias(alias, collection=OTHER.collection)

    assert store.alias_target(alias) == OTHER.collection


def test_an_alias_of_a_missing_collection_is_refused_and_stays(
    store: VectorStore, alias: str
) -> None:
    store.set_alias(alias, collection=COLLECTION)

    with pytest.raises(CollectionMissingError, match=MISSING):
        store.set_alias(alias, collection=MISSING)

    assert store.alias_target(alias) == COLLECTION


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("../escape", id="parent folder"),
        pytest.param("a/b", id="path"),
        pytest.param("", id="empty"),
        pytest.param(".hidden", id="leading dot"),
    ],
)
def test_a_name_that_could_leave_its_place_is_refused(empty_store: VectorStore, name: str) -> None:
    with pytest.raises(ConfigurationError, match=r"index\.alias"):
        empty_store.ensure_collection(replace(SPEC, alias=name))


def test_dropping_removes_the_points_and_the_alias(store: VectorStore, alias: str) -> None:
    store.upsert(COLLECTION, [make_point(1)])
    store.set_alias(alias, collection=COLLECTION)

    store.drop_collection(COLLECTION)

    assert COLLECTION not in store.list_collections()
    assert store.alias_target(alias) is None
    assert store.count(COLLECTION) == 0


def test_a_dropped_collection_can_be_made_again(store: VectorStore) -> None:
    store.upsert(COLLECTION, [make_point(1)])
    store.drop_collection(COLLECTION)

    assert store.ensure_collection(SPEC) is True
    assert store.count(COLLECTION) == 0


def test_dropping_twice_is_not_an_error(store: VectorStore) -> None:
    store.drop_collection(COLLECTION)
    store.drop_collection(COLLECTION)

    assert COLLECTION not in store.list_collections()


# --- a missing collection ---------------------------------------------------------------


def test_a_missing_collection_has_no_points(empty_store: VectorStore) -> None:
    ids = [make_point(1).point_id]

    assert empty_store.count(MISSING) == 0
    assert empty_store.count(MISSING, scope_key="acme") == 0
    assert empty_store.count_by_scope(MISSING) == {}
    assert empty_store.retrieve(MISSING, ids) == []
    assert list(empty_store.iter_digests(MISSING, scope_key="acme", views=SPEC.views)) == []
    assert empty_store.optimize(MISSING) is False
    empty_store.delete(MISSING, ids, scope_key="acme")


def test_writing_to_a_missing_collection_is_an_error(empty_store: VectorStore) -> None:
    point = make_point(1)

    with pytest.raises(CollectionMissingError, match=MISSING):
        empty_store.upsert(MISSING, [point])
    with pytest.raises(CollectionMissingError, match=MISSING):
        empty_store.write_payloads(MISSING, [(point.point_id, point.payload)])


def test_searching_a_missing_collection_is_an_error(empty_store: VectorStore) -> None:
    with pytest.raises(CollectionMissingError, match=MISSING):
        empty_store.query(MISSING, search())


# --- upsert -----------------------------------------------------------------------------


def test_a_point_is_read_back_as_it_was_written(store: VectorStore) -> None:
    point = make_point(1, price=12.5, count=3, tags=["a", "б"], is_new=True, nothing=None)

    store.upsert(COLLECTION, [point])

    read = stored(store, point)[point.point_id]
    assert read.payload == point.payload
    np.testing.assert_allclose(read.vectors["text"], vector(1), atol=1e-6)


def test_writing_the_same_twice_is_the_same_as_once(store: VectorStore) -> None:
    points = [make_point(number) for number in range(3)]

    store.upsert(COLLECTION, points)
    store.upsert(COLLECTION, points)

    assert store.count(COLLECTION) == 3


def test_a_point_is_overwritten_whole(store: VectorStore) -> None:
    store.upsert(COLLECTION, [make_point(1, color="red")])
    changed = make_point(1, scope_key="globex", vectors={"text": vector(50)})

    store.upsert(COLLECTION, [changed])

    read = stored(store, changed)[changed.point_id]
    assert read.payload == changed.payload
    np.testing.assert_allclose(read.vectors["text"], vector(50), atol=1e-6)


def test_writing_nothing_is_not_an_error(store: VectorStore) -> None:
    store.upsert(COLLECTION, [])
    store.write_payloads(COLLECTION, [])
    store.delete(COLLECTION, [], scope_key="acme")

    assert store.count(COLLECTION) == 0


def test_a_point_may_lack_a_view(empty_store: VectorStore) -> None:
    spec = replace(SPEC, views=("name", "description"))
    empty_store.ensure_collection(spec)
    point = make_point(1, vectors={"name": vector(1)})

    empty_store.upsert(spec.collection, [point])

    (read,) = empty_store.retrieve(spec.collection, [point.point_id], with_vectors=True)
    assert list(read.vectors) == ["name"]


def _with_vector(values: list[float]) -> Point:
    return make_point(2, vectors={"text": np.array(values, dtype=np.float32)})


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        pytest.param(lambda: _with_vector([float("nan")] * DIMENSION), "NaN or infinity", id="NaN"),
        pytest.param(
            lambda: _with_vector([float("inf")] * DIMENSION), "NaN or infinity", id="infinity"
        ),
        pytest.param(lambda: _with_vector([0.0] * DIMENSION), "not of length 1", id="zero"),
        pytest.param(lambda: _with_vector([5.0] * DIMENSION), "not of length 1", id="too long"),
        pytest.param(lambda: _with_vector([1.0]), r"expected \(n, 8\)", id="wrong dimension"),
        pytest.param(
            lambda: make_point(2, vectors={"title": vector(2)}), "no view title", id="unknown view"
        ),
        pytest.param(
            lambda: make_point(2, words={1: float("nan")}), "are not finite", id="NaN weight"
        ),
        pytest.param(
            lambda: replace(make_point(2), sparse=SparseVector((1, 1), (1.0, 2.0))),
            "name an index twice",
            id="a term twice",
        ),
        pytest.param(
            lambda: replace(make_point(2), sparse=SparseVector((1, 2), (1.0,))),
            "2 indices and 1 values",
            id="weights missing",
        ),
        pytest.param(
            lambda: make_point(2, words={2**32: 1.0}), "beyond 32 bits", id="term beyond 32 bits"
        ),
    ],
)
def test_a_batch_with_a_bad_vector_is_refused_and_nothing_written(
    store: VectorStore, bad: Callable[[], Point], message: str
) -> None:
    batch = [make_point(1), bad(), make_point(3)]

    with pytest.raises(InvalidVectorError, match=message):
        store.upsert(COLLECTION, batch)

    assert store.count(COLLECTION) == 0


BAD_PAYLOADS = [
    pytest.param({"price": float("nan")}, "payload price is nan", id="NaN"),
    pytest.param({"sizes": [1, float("inf")]}, "payload sizes is inf", id="nested infinity"),
    pytest.param({"number": 2**70}, "payload number is beyond 64 bits", id="beyond 64 bits"),
    pytest.param({"text": "\ud800"}, "lone surrogate", id="lone surrogate"),
    pytest.param({"when": object()}, "is not JSON", id="not JSON"),
]


@pytest.mark.parametrize(("fields", "message"), BAD_PAYLOADS)
def test_a_payload_that_cannot_be_held_is_refused_and_nothing_written(
    store: VectorStore, fields: Mapping[str, object], message: str
) -> None:
    bad = make_point(2)
    bad = replace(bad, payload={**bad.payload, **fields})

    with pytest.raises(RejectedPointError, match=message) as caught:
        store.upsert(COLLECTION, [make_point(1), bad])

    assert caught.value.document_id == "tenant-material-2"
    assert store.count(COLLECTION) == 0


@pytest.mark.parametrize(("fields", "message"), BAD_PAYLOADS)
def test_a_bad_payload_write_is_refused_and_nothing_written(
    store: VectorStore, fields: Mapping[str, object], message: str
) -> None:
    points = [make_point(1), make_point(2)]
    store.upsert(COLLECTION, points)
    writes = [
        (points[0].point_id, {**points[0].payload, "color": "red"}),
        (points[1].point_id, {**points[1].payload, **fields}),
    ]

    with pytest.raises(RejectedPointError, match=message):
        store.write_payloads(COLLECTION, writes)

    assert stored(store, points[0])[points[0].point_id].payload == points[0].payload


@pytest.mark.parametrize(
    "spelling",
    [
        pytest.param(str.upper, id="upper case"),
        pytest.param(lambda one: one.replace("-", ""), id="without hyphens"),
        pytest.param(lambda one: f"urn:uuid:{one}", id="URN"),
        pytest.param(lambda one: f"{one}\n", id="with a line break"),
        pytest.param(lambda _: "1", id="number"),
    ],
)
def test_a_point_id_has_one_spelling(store: VectorStore, spelling: Callable[[str], str]) -> None:
    point = make_point(1)
    bad = spelling(point.point_id)

    with pytest.raises(RejectedPointError, match="not a canonical UUID"):
        store.upsert(COLLECTION, [replace(point, point_id=bad)])
    with pytest.raises(PermanentError, match="not a canonical UUID"):
        store.retrieve(COLLECTION, [bad])
    with pytest.raises(PermanentError, match="not a canonical UUID"):
        store.delete(COLLECTION, [bad], scope_key="acme")
    with pytest.raises(PermanentError, match="not a canonical UUID"):
        digest_ids(store, start=bad)


def test_no_message_carries_a_documents_text(store: VectorStore) -> None:
    secret = "совершенно секретный текст"
    bad = make_point(1, note=secret, price=float("nan"))

    with pytest.raises(SyncPipelineError) as caught:
        store.upsert(COLLECTION, [bad])

    assert secret not in str(caught.value)


# --- payload writes ---------------------------------------------------------------------


def test_a_payload_write_keeps_the_vector(store: VectorStore) -> None:
    point = make_point(1, color="red", size=3)
    store.upsert(COLLECTION, [point])
    payload = {**make_point(1).payload, "color": "blue"}

    store.write_payloads(COLLECTION, [(point.point_id, payload)])

    read = stored(store, point)[point.point_id]
    assert read.payload == payload
    np.testing.assert_allclose(read.vectors["text"], vector(1), atol=1e-6)
    assert found_ids(store, search(seed=None, words={101: 1.0})) == [point.point_id]


def test_a_payload_write_makes_no_point_and_the_others_are_written(store: VectorStore) -> None:
    present, absent = make_point(1), make_point(2)
    store.upsert(COLLECTION, [present])
    changed = {**present.payload, "color": "blue"}

    store.write_payloads(
        COLLECTION, [(absent.point_id, absent.payload), (present.point_id, changed)]
    )

    assert {key: point.payload for key, point in stored(store, present, absent).items()} == {
        present.point_id: changed
    }


def test_a_payload_write_moves_a_point_to_another_scope(store: VectorStore) -> None:
    point = make_point(1, scope_key="acme")
    store.upsert(COLLECTION, [point])

    store.write_payloads(COLLECTION, [(point.point_id, {**point.payload, "scope_key": "globex"})])

    assert store.count_by_scope(COLLECTION) == {"globex": 1}
    assert digest_ids(store, scope_key="acme") == []


# --- source revisions -------------------------------------------------------------------

OLD, NEW = 1_790_000_000_000_000, 1_790_000_000_000_001


def test_an_older_revision_overwrites_nothing(store: VectorStore) -> None:
    newer = make_point(1, revision=NEW, color="new")
    older = make_point(1, revision=OLD, color="old", vectors={"text": vector(90)})
    store.upsert(COLLECTION, [newer])

    store.upsert(COLLECTION, [older])
    store.write_payloads(COLLECTION, [(older.point_id, older.payload)])

    read = stored(store, newer)[newer.point_id]
    assert read.payload == newer.payload
    np.testing.assert_allclose(read.vectors["text"], vector(1), atol=1e-6)


def test_an_older_revision_is_decided_point_by_point(store: VectorStore) -> None:
    store.upsert(COLLECTION, [make_point(1, revision=NEW, color="new")])

    store.upsert(COLLECTION, [make_point(number, revision=OLD, color="old") for number in (1, 2)])

    colors = {
        key: point.payload["color"]
        for key, point in stored(store, *map(make_point, (1, 2))).items()
    }
    assert colors == {make_point(1).point_id: "new", make_point(2).point_id: "old"}


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param(OLD, NEW, id="newer over older"),
        pytest.param(NEW, NEW, id="the same revision again"),
        pytest.param(None, OLD, id="over a point without revision"),
        pytest.param(NEW, None, id="a write without revision"),
    ],
)
def test_everything_else_is_overwritten(
    store: VectorStore, first: int | None, second: int | None
) -> None:
    by_upsert, by_payload = make_point(1, revision=first), make_point(2, revision=first)
    store.upsert(COLLECTION, [by_upsert, by_payload])
    changed = [make_point(number, revision=second, color="changed") for number in (1, 2)]

    store.upsert(COLLECTION, changed[:1])
    store.write_payloads(COLLECTION, [(changed[1].point_id, changed[1].payload)])

    read = stored(store, *changed)
    assert [read[point.point_id].payload for point in changed] == [p.payload for p in changed]


def test_one_batch_may_carry_several_revisions(store: VectorStore) -> None:
    store.upsert(COLLECTION, [make_point(1, revision=5), make_point(2, revision=5)])

    store.upsert(
        COLLECTION,
        [make_point(1, revision=4, color="no"), make_point(2, revision=6, color="yes")],
    )

    read = stored(store, make_point(1), make_point(2))
    assert "color" not in read[make_point(1).point_id].payload
    assert read[make_point(2).point_id].payload["color"] == "yes"


# --- delete -----------------------------------------------------------------------------


def test_deleting_twice_is_not_an_error(store: VectorStore) -> None:
    points = [make_point(1), make_point(2)]
    store.upsert(COLLECTION, points)

    store.delete(COLLECTION, [points[0].point_id], scope_key="acme")
    store.delete(COLLECTION, [points[0].point_id], scope_key="acme")

    assert list(stored(store, *points)) == [points[1].point_id]


def test_a_point_that_moved_to_another_scope_is_not_deleted(store: VectorStore) -> None:
    moved, stale = make_point(1, scope_key="globex"), make_point(2, scope_key="acme")
    store.upsert(COLLECTION, [moved, stale])

    store.delete(COLLECTION, ids_of([moved, stale]), scope_key="acme")

    assert list(stored(store, moved, stale)) == [moved.point_id]


def test_a_point_that_was_written_later_is_not_deleted(store: VectorStore) -> None:
    older, same, newer = (make_point(number, revision=number) for number in (4, 5, 6))
    bare = make_point(7)
    store.upsert(COLLECTION, [older, same, newer, bare])

    store.delete(COLLECTION, ids_of([older, same, newer, bare]), scope_key="acme", up_to_revision=5)

    assert list(stored(store, older, same, newer, bare)) == [newer.point_id]


def test_revisions_are_compared_to_the_microsecond(store: VectorStore) -> None:
    now = 1_795_262_522_000_001
    points = [make_point(0, revision=now), make_point(1, revision=now + 1)]
    store.upsert(COLLECTION, points)

    store.delete(COLLECTION, ids_of(points), scope_key="acme", up_to_revision=now)

    assert list(stored(store, *points)) == [points[1].point_id]


def test_without_a_revision_whatever_was_written_last_is_deleted(store: VectorStore) -> None:
    point = make_point(1, revision=6)
    store.upsert(COLLECTION, [point])

    store.delete(COLLECTION, [point.point_id], scope_key="acme")

    assert stored(store, point) == {}


def test_an_old_revision_deletes_no_point_of_another_scope(store: VectorStore) -> None:
    point = make_point(1, scope_key="globex", revision=4)
    store.upsert(COLLECTION, [point])

    store.delete(COLLECTION, [point.point_id], scope_key="acme", up_to_revision=5)

    assert list(stored(store, point)) == [point.point_id]


def test_a_deleted_point_is_found_by_nothing(store: VectorStore) -> None:
    point = make_point(1)
    store.upsert(COLLECTION, [point])

    store.delete(COLLECTION, [point.point_id], scope_key="acme")

    assert found_ids(store, search(words={1: 1.0})) == []
    assert digest_ids(store) == []
    assert store.count_by_scope(COLLECTION) == {}


# --- digests ----------------------------------------------------------------------------


def test_digests_come_in_ascending_order_over_several_pages(store: VectorStore) -> None:
    points = [make_point(number) for number in range(1200)]
    others = [make_point(number, scope_key="globex") for number in range(1200, 1300)]
    store.upsert(COLLECTION, points[:600])
    store.upsert(COLLECTION, points[600:] + others)

    read = digest_ids(store, batch_size=500)

    assert read == ids_of(points)


@pytest.mark.parametrize("batch_size", [pytest.param(3, id="pages"), pytest.param(50, id="page")])
def test_a_range_includes_its_start_and_excludes_its_stop(
    store: VectorStore, batch_size: int
) -> None:
    points = [make_point(number) for number in range(20)]
    store.upsert(COLLECTION, points)
    ids = ids_of(points)

    assert digest_ids(store, start=ids[5], stop=ids[12], batch_size=batch_size) == ids[5:12]
    assert digest_ids(store, stop=ids[12], batch_size=batch_size) == ids[:12]
    assert digest_ids(store, start=ids[5], batch_size=batch_size) == ids[5:]
    assert digest_ids(store, start=ids[5], stop=ids[5], batch_size=batch_size) == []


def test_ranges_cut_between_ids_lose_nothing(store: VectorStore) -> None:
    points = [make_point(number) for number in range(50)]
    store.upsert(COLLECTION, points)
    edges = [f"{edge}0000000-0000-0000-0000-000000000000" for edge in "48c"]

    parts = [
        digest_ids(store, start=start, stop=stop, batch_size=7)
        for start, stop in zip([None, *edges], [*edges, None], strict=True)
    ]

    assert [one for part in parts for one in part] == ids_of(points)


def test_digests_carry_the_hashes(store: VectorStore) -> None:
    point = make_point(1)
    store.upsert(COLLECTION, [point])

    (batch,) = store.iter_digests(COLLECTION, scope_key="acme", views=SPEC.views)

    assert batch.point_ids.tolist() == [point.point_id.encode()]
    assert batch.contents.tolist() == [digest("text", "1").encode()]
    assert batch.payloads.tolist() == [digest("payload", "1").encode()]
    assert (batch.point_ids.dtype, batch.contents.dtype) == (np.dtype("S36"), np.dtype("S32"))


@pytest.mark.parametrize(
    "read",
    [
        pytest.param(lambda store, point: store.retrieve(COLLECTION, [point.point_id]), id="by id"),
        pytest.param(lambda store, _: store.query(COLLECTION, search()), id="search"),
        pytest.param(lambda store, _: digest_ids(store), id="digests"),
    ],
)
def test_what_a_newer_program_wrote_is_not_read(
    store: VectorStore, read: Callable[[VectorStore, Point], object]
) -> None:
    known = [make_point(number, schema_version=PAYLOAD_SCHEMA_VERSION) for number in (1, 2)]
    newer = make_point(3, schema_version=PAYLOAD_SCHEMA_VERSION + 1)
    store.upsert(COLLECTION, [*known, newer])

    with pytest.raises(NewerPayloadError, match=r"1 of \d points .* version 2, .* up to 1"):
        read(store, newer)
    assert store.count(COLLECTION) == 3
    assert len(stored(store, *known)) == 2


def test_hashes_of_several_views_are_combined(store: VectorStore) -> None:
    hashes = {"name": digest("a"), "description": digest("b")}
    store.upsert(
        COLLECTION,
        [make_point(1, embed_hash=hashes), make_point(2, embed_hash={"name": digest("a")})],
    )

    (batch,) = store.iter_digests(COLLECTION, scope_key="acme", views=("description", "name"))

    contents = dict(zip(batch.point_ids.tolist(), batch.contents.tolist(), strict=True))
    assert contents == {
        make_point(1).point_id.encode(): combine_hashes(hashes).encode(),
        make_point(2).point_id.encode(): digest("a").encode(),
    }


def test_a_point_without_hashes_has_empty_digests(store: VectorStore) -> None:
    point = replace(make_point(1), payload={"scope_key": "acme"})
    store.upsert(COLLECTION, [point])

    (batch,) = store.iter_digests(COLLECTION, scope_key="acme", views=SPEC.views)

    assert (batch.contents.tolist(), batch.payloads.tolist()) == ([b""], [b""])


# --- counting and reading ---------------------------------------------------------------


def test_points_are_counted_by_scope(store: VectorStore) -> None:
    keys = ["global", "acme", "тенант 7", "123"]
    points = [make_point(number, scope_key=keys[number % 4]) for number in range(10)]
    store.upsert(COLLECTION, points)

    assert store.count(COLLECTION) == 10
    assert store.count(COLLECTION, scope_key="тенант 7") == 2
    assert store.count(COLLECTION, scope_key="nobody") == 0
    assert store.count_by_scope(COLLECTION) == {"global": 3, "acme": 3, "тенант 7": 2, "123": 2}


def test_every_scope_is_counted_however_many(store: VectorStore) -> None:
    points = [make_point(number, scope_key=f"t{number}") for number in range(300)]
    store.upsert(COLLECTION, points)

    assert store.count_by_scope(COLLECTION) == {f"t{number}": 1 for number in range(300)}


def of_entities(*, number: int = 12) -> list[Point]:
    """Points of two scopes, each with more works than materials and one point of nothing."""
    names = ["material", "work", "work"]
    keys = ["acme", "acme", "globex"]
    points = [
        make_point(place, scope_key=keys[place % 3], type=names[place // 3 % 3])
        for place in range(number)
    ]
    return [*points, make_point(1000)]


def test_points_are_counted_by_entity(store: VectorStore) -> None:
    store.upsert(COLLECTION, of_entities())

    assert store.count_by_entity(COLLECTION) == {"material": 6, "work": 6, "": 1}
    assert store.count_by_entity(COLLECTION, scope_key="globex") == {"material": 2, "work": 2}
    assert store.count_by_entity(COLLECTION, scope_key="nobody") == {}
    assert store.count_by_entity(MISSING) == {}


def test_points_of_one_entity_are_counted_by_scope(store: VectorStore) -> None:
    store.upsert(COLLECTION, of_entities())

    assert store.count_by_scope(COLLECTION, entity_type="work") == {"acme": 4, "globex": 2}
    assert store.count_by_scope(COLLECTION, entity_type="lamp") == {}


def test_only_points_of_the_entities_asked_for_are_scrolled(store: VectorStore) -> None:
    points = of_entities()
    store.upsert(COLLECTION, points)
    works = [
        point
        for point in points
        if (point.payload["scope_key"], point.payload.get("type")) == ("acme", "work")
    ]

    found = digest_ids(store, entity_types=["work"], batch_size=2)

    assert found == ids_of(works)
    assert digest_ids(store, entity_types=["work"], start=found[1], stop=found[3]) == found[1:3]
    both = [point for point in points if point.payload["scope_key"] == "acme"][:-1]
    assert digest_ids(store, entity_types=["work", "material"]) == ids_of(both)
    assert digest_ids(store, entity_types=[]) == []
    assert digest_ids(store, entity_types=["lamp"]) == []


def test_counts_by_entity_follow_what_is_written_and_deleted(store: VectorStore) -> None:
    points = of_entities()
    store.upsert(COLLECTION, points)
    gone = [point for point in points if point.payload.get("type") == "material"]

    for key in ("acme", "globex"):
        store.delete(COLLECTION, ids_of(gone), scope_key=key)
    store.write_payloads(COLLECTION, [(points[-1].point_id, {**points[-1].payload, "type": "w"})])

    assert store.count_by_entity(COLLECTION) == {"work": 6, "w": 1}


def test_missing_points_are_left_out(store: VectorStore) -> None:
    present, absent = make_point(1), make_point(2)
    store.upsert(COLLECTION, [present])

    read = store.retrieve(COLLECTION, [absent.point_id, present.point_id])

    assert [point.point_id for point in read] == [present.point_id]
    assert read[0].vectors == {}
    assert store.retrieve(COLLECTION, []) == []


def test_unicode_comes_back_unchanged(store: VectorStore) -> None:
    texts = ["Штукатурка гипсовая", "příčka", "👷‍♀️ 石膏", 'quote " and \\ and \x01', "a\u202eb"]
    point = make_point(1, scope_key="клиент", texts=texts, nested={"ключ": {"ё": [None, 1.5]}})
    store.upsert(COLLECTION, [point])

    assert stored(store, point)[point.point_id].payload == point.payload
    assert digest_ids(store, scope_key="клиент") == [point.point_id]


# --- search -----------------------------------------------------------------------------


def test_meaning_ranks_the_nearest_first_by_cosine(store: VectorStore) -> None:
    store.upsert(COLLECTION, [make_point(number) for number in (0, 40, 80)])

    found = store.query(COLLECTION, search(seed=1))

    assert [point.point_id for _, point in found] == [
        make_point(number).point_id for number in (0, 40, 80)
    ]
    expected = [float(vector(1) @ vector(number)) for number in (0, 40, 80)]
    assert [score for score, _ in found] == pytest.approx(expected, abs=1e-5)
    assert found[0][1].payload == make_point(0).payload


def test_words_find_only_what_has_them(store: VectorStore) -> None:
    store.upsert(COLLECTION, [make_point(1, words={7: 1.0}), make_point(2, words={8: 1.0})])

    assert found_ids(store, search(seed=None, words={7: 1.0})) == [make_point(1).point_id]


def test_a_rare_word_counts_more_than_a_frequent_one(store: VectorStore) -> None:
    store.upsert(COLLECTION, [make_point(number, words={7: 1.0}) for number in range(9)])
    store.upsert(COLLECTION, [make_point(9, words={8: 1.0})])

    assert found_ids(store, search(seed=None, words={7: 1.0, 8: 1.0}))[0] == make_point(9).point_id


def test_how_rare_a_word_is_does_not_depend_on_other_tenants(store: VectorStore) -> None:
    store.upsert(COLLECTION, [make_point(1, words={7: 1.0}), make_point(2, words={8: 1.0})])
    query = search(seed=None, words={7: 1.0})
    before = store.query(COLLECTION, query)

    store.upsert(
        COLLECTION,
        [make_point(number, scope_key="globex", words={7: 1.0}) for number in range(10, 40)],
    )

    assert store.query(COLLECTION, query)[0][0] == pytest.approx(before[0][0], rel=1e-4)


def scores_of(store: VectorStore, query: SearchQuery) -> dict[str, float]:
    return {point.point_id: score for score, point in store.query(COLLECTION, query)}


def three_points() -> tuple[Point, Point, Point]:
    """One near to the query 0, one that has the word 7 too, and one with that word alone."""
    return (
        make_point(0, words={5: 1.0}),
        make_point(10, words={7: 1.0}),
        make_point(200, words={7: 9.0}),
    )


def test_several_rankings_are_fused_by_rank(store: VectorStore) -> None:
    by_meaning, by_both, by_words = three_points()
    store.upsert(COLLECTION, [by_meaning, by_both, by_words])

    found = store.query(
        COLLECTION, search(seed=0, words={7: 1.0}, fusion=Fusion(method="rrf", rrf_k=2))
    )

    scores = {point.point_id: score for score, point in found}
    assert scores == pytest.approx(
        {
            by_both.point_id: 1 / 3 + 1 / 3,
            by_words.point_id: 1 / 4 + 1 / 2,
            by_meaning.point_id: 1 / 2,
        },
        abs=1e-5,
    )
    assert [point.point_id for _, point in found] == [
        by_words.point_id,
        by_both.point_id,
        by_meaning.point_id,
    ]


@pytest.mark.parametrize(
    ("fusion", "expected"),
    [
        pytest.param(
            Fusion(method="rrf", rrf_k=60),
            [1 / 61 + 1 / 61, 1 / 62 + 1 / 60, 1 / 60],
            id="another constant",
        ),
        pytest.param(
            Fusion(method="rrf", rrf_k=2, weights={"bm25": 2}),
            [1 / 3 + 2 / 3, 1 / 4 + 2 / 2, 1 / 2],
            id="words count twice",
        ),
        pytest.param(
            Fusion(method="rrf", rrf_k=2, weights={"text": 3}),
            [3 / 3 + 1 / 3, 3 / 4 + 1 / 2, 3 / 2],
            id="meaning counts three times",
        ),
    ],
)
def test_constant_and_weights_of_rank_fusion_count(
    store: VectorStore, fusion: Fusion, expected: list[float]
) -> None:
    by_meaning, by_both, by_words = three_points()
    store.upsert(COLLECTION, [by_meaning, by_both, by_words])

    scores = scores_of(store, search(seed=0, words={7: 1.0}, fusion=fusion))

    ids = [point.point_id for point in (by_both, by_words, by_meaning)]
    assert scores == pytest.approx(dict(zip(ids, expected, strict=True)), abs=1e-5)


@pytest.mark.parametrize("weights", [{}, {"bm25": 2}, {"text": 3, "bm25": 2}], ids=str)
def test_score_fusion_adds_scores_by_their_distribution(
    store: VectorStore, weights: Mapping[str, int]
) -> None:
    store.upsert(COLLECTION, three_points())
    by_meaning = scores_of(store, search(seed=0))
    by_words = scores_of(store, search(seed=None, words={7: 1.0}))

    fused = scores_of(
        store, search(seed=0, words={7: 1.0}, fusion=Fusion(method="dbsf", weights=weights))
    )

    expected = dict.fromkeys(by_meaning, 0.0)
    for name, scores in (("text", by_meaning), ("bm25", by_words)):
        mean, deviation = statistics.mean(scores.values()), statistics.stdev(scores.values())
        for one, score in scores.items():
            share = (score - mean + 3 * deviation) / (6 * deviation)
            expected[one] += weights.get(name, 1) * share
    assert fused == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("method", ["rrf", "dbsf"])
def test_a_ranking_of_one_or_none_can_be_fused(store: VectorStore, method: FusionMethod) -> None:
    only = make_point(0, words={7: 1.0})
    store.upsert(COLLECTION, [only])
    fusion = Fusion(method=method)

    found = found_ids(store, search(seed=0, words={7: 1.0}, fusion=fusion))
    without_words = found_ids(store, search(seed=0, words={8: 1.0}, fusion=fusion))

    assert found == without_words == [only.point_id]


def test_more_candidates_find_what_no_ranking_has_near_its_top(store: VectorStore) -> None:
    by_meaning = [make_point(n, words={5: 1.0}) for n in range(5)]
    sixth_in_both = make_point(50, words={7: 1.0})
    by_words = [make_point(100 + n, vectors={}, words={7: 9.0 - n}) for n in range(5)]
    store.upsert(COLLECTION, [*by_meaning, sixth_in_both, *by_words])

    def best(candidates: int) -> list[str]:
        fusion = Fusion(method="rrf", rrf_k=60, candidates=candidates)
        return found_ids(store, search(limit=1, words={7: 1.0}, fusion=fusion))

    assert best(6) == [sixth_in_both.point_id]
    assert best(5) != [sixth_in_both.point_id]


def test_a_search_sees_its_scopes_and_no_other(store: VectorStore) -> None:
    keys = ["acme", "globex", "global", "acme2", "ACME", "acme "]
    # The same text in every scope: the nearest neighbours belong to somebody else.
    points = [
        make_point(number, scope_key=key, vectors={"text": vector(0)}, words={7: 1.0})
        for number, key in enumerate(keys * 5)
    ]
    store.upsert(COLLECTION, points)
    visible = [point for point in points if point.payload["scope_key"] in {"acme", "global"}]

    for query in (
        search(scope_keys=("global", "acme"), limit=100),
        search(scope_keys=("global", "acme"), limit=100, words={7: 1.0}),
        search(scope_keys=("global", "acme"), limit=100, seed=None, words={7: 1.0}),
    ):
        assert sorted(found_ids(store, query)) == ids_of(visible)


def test_a_batch_of_searches_answers_each_as_if_it_were_alone(store: VectorStore) -> None:
    keys = ["acme", "globex", "global"] * 4
    store.upsert(COLLECTION, [make_point(n, scope_key=key) for n, key in enumerate(keys)])
    queries = [
        search(scope_keys=("acme",)),
        search(seed=None, words={}),
        search(scope_keys=("globex", "global"), limit=3, words={1: 1.0}),
        search(scope_keys=("initech",)),
    ]

    answers = store.query_batch(COLLECTION, queries)

    assert answers == [store.query(COLLECTION, query) for query in queries]
    assert [len(answer) for answer in answers] == [4, 0, 3, 0]
    assert store.query_batch(COLLECTION, []) == []


def completed(store: VectorStore, typed: str, *, keys: Sequence[str] = ("acme",)) -> list[str]:
    points = store.complete(
        COLLECTION, typed, scope_keys=keys, entity_types=["material"], limit=100
    )
    return sorted(point.text for point in points)


def test_words_are_completed_within_the_scopes_and_entities(
    store: VectorStore, request: pytest.FixtureRequest
) -> None:
    if request.node.callspec.params["empty_store"] == "memory":
        pytest.skip("qdrant-client's local mode compares whole words; the stub knows beginnings")
    texts = ["Gypsum plaster 30 kg", "Плита гипсовая", "plastic pipe", "Cement"]
    points = [
        make_point(number, scope_key=key, text=text, type=kind)
        for number, (text, key, kind) in enumerate(
            [
                *((text, "acme", "material") for text in texts),
                ("plaster of globex", "globex", "material"),
                ("plaster works", "acme", "work"),
                ("plaster for all", "global", "material"),
            ]
        )
    ]
    store.upsert(COLLECTION, points)
    store.index_texts(COLLECTION)
    store.index_texts(COLLECTION)

    assert completed(store, "plas") == ["Gypsum plaster 30 kg", "plastic pipe"]
    assert completed(store, "PLASTER gy") == ["Gypsum plaster 30 kg"]
    assert completed(store, "гипс") == ["Плита гипсовая"]
    assert completed(store, "aster") == []
    assert completed(store, "plaster", keys=("global", "globex")) == [
        "plaster for all",
        "plaster of globex",
    ]
    store.upsert(COLLECTION, [make_point(99, text="plaster, new", type="material")])
    assert "plaster, new" in completed(store, "pl")


def test_completing_in_a_missing_collection_finds_nothing(empty_store: VectorStore) -> None:
    empty_store.index_texts(COLLECTION)

    assert completed(empty_store, "plas") == []


def test_one_tenants_points_do_not_push_out_anothers(store: VectorStore) -> None:
    mine = make_point(0, scope_key="acme", vectors={"text": vector(300)}, words={7: 0.1})
    theirs = [
        make_point(number, scope_key="globex", vectors={"text": vector(0)}, words={7: 9.0})
        for number in range(1, 501)
    ]
    store.upsert(COLLECTION, [mine, *theirs])

    found = found_ids(store, search(scope_keys=("acme",), limit=1, words={7: 1.0}))

    assert found == [mine.point_id]


def test_limit_bounds_the_hits(store: VectorStore) -> None:
    store.upsert(COLLECTION, [make_point(number) for number in range(30)])

    assert len(found_ids(store, search(limit=7))) == 7
    assert len(found_ids(store, search(limit=7, words={1: 1.0}))) == 7


def test_a_search_for_stop_words_alone_finds_nothing(store: VectorStore) -> None:
    store.upsert(COLLECTION, [make_point(1)])

    assert found_ids(store, search(seed=None, words={})) == []
    assert found_ids(store, search(seed=1, words={})) == [make_point(1).point_id]


def test_one_view_of_several_can_be_searched(empty_store: VectorStore) -> None:
    spec = replace(SPEC, views=("name", "description"))
    empty_store.ensure_collection(spec)
    point = make_point(1, vectors={"name": vector(0), "description": vector(100)})
    empty_store.upsert(spec.collection, [point])

    ((by_name, _),) = empty_store.query(
        spec.collection, replace(search(), vectors={"name": vector(0)})
    )
    ((by_both, _),) = empty_store.query(
        spec.collection,
        replace(search(), vectors={"name": vector(0), "description": vector(0)}),
    )

    assert by_name == pytest.approx(1, abs=1e-5)
    assert by_both == pytest.approx(1 / 2 + 1 / 2, abs=1e-5)


@pytest.mark.parametrize("method", ["rrf", "dbsf"])
def test_views_count_by_their_weights(empty_store: VectorStore, method: FusionMethod) -> None:
    spec = replace(SPEC, views=("name", "description"))
    empty_store.ensure_collection(spec)
    by_name = make_point(1, vectors={"name": vector(0), "description": vector(300)})
    by_description = make_point(2, vectors={"name": vector(300), "description": vector(0)})
    empty_store.upsert(spec.collection, [by_name, by_description])
    views = {"name": vector(0), "description": vector(0)}

    def best(**weights: int) -> str:
        query = replace(search(fusion=Fusion(method=method, weights=weights)), vectors=views)
        return empty_store.query(spec.collection, query)[0][1].point_id

    assert best(name=3) == by_name.point_id
    assert best(description=3) == by_description.point_id


# --- several vectors per point, and views of other models -------------------------------

PASSAGES = replace(
    SPEC,
    views=("text", "story", "title"),
    special=(
        ViewSpec(name="story", model_id="hashing-8", dimension=DIMENSION, passage_tokens=100),
        ViewSpec(name="title", model_id="another-model", dimension=4),
    ),
)


def passages(*seeds: int) -> Vector:
    return np.stack([vector(seed) for seed in seeds])


def story(number: int, *seeds: int) -> Point:
    return make_point(number, vectors={"text": vector(number), "story": passages(*seeds)})


def stories(query: int) -> SearchQuery:
    return replace(search(), vectors={"story": vector(query)})


@pytest.fixture
def long_store(empty_store: VectorStore) -> VectorStore:
    empty_store.ensure_collection(PASSAGES)
    return empty_store


def test_a_long_text_is_found_by_its_nearest_passage(long_store: VectorStore) -> None:
    ending, other = story(1, 300, 600, 900), story(2, 200)
    long_store.upsert(PASSAGES.collection, [ending, other])

    hits = long_store.query(PASSAGES.collection, stories(900))

    nearest = max(float(vector(900) @ row) for row in ending.vectors["story"])
    assert [point.point_id for _, point in hits] == [ending.point_id, other.point_id]
    assert hits[0][0] == pytest.approx(nearest, abs=1e-3)


def test_all_passages_are_read_back_in_their_order(long_store: VectorStore) -> None:
    point = story(1, 5, 3, 4)
    long_store.upsert(PASSAGES.collection, [point])

    [read] = long_store.retrieve(PASSAGES.collection, [point.point_id], with_vectors=True)

    assert read.vectors["story"].shape == (3, DIMENSION)
    assert np.allclose(read.vectors["story"], passages(5, 3, 4), atol=1e-3)
    assert read.vectors["text"].shape == (DIMENSION,)


@pytest.mark.parametrize(
    "now", [pytest.param((1,), id="shorter"), pytest.param((1, 2, 3, 4, 5), id="longer")]
)
def test_of_a_text_that_changed_no_passage_is_left(
    long_store: VectorStore, now: tuple[int, ...]
) -> None:
    long_store.upsert(PASSAGES.collection, [story(1, 1, 300, 600)])

    long_store.upsert(PASSAGES.collection, [story(1, *now)])

    [read] = long_store.retrieve(PASSAGES.collection, [story(1, 1).point_id], with_vectors=True)
    [(score, _)] = long_store.query(PASSAGES.collection, stories(600))
    assert len(read.vectors["story"]) == len(now)
    assert score == pytest.approx(max(float(vector(600) @ vector(seed)) for seed in now), abs=1e-3)


def test_every_passage_counts_after_optimizing(long_store: VectorStore) -> None:
    long_store.upsert(PASSAGES.collection, [story(number, number, 500) for number in range(200)])
    long_store.upsert(PASSAGES.collection, [story(7, 7, 900)])

    long_store.optimize(PASSAGES.collection)

    [(_, first), *_] = long_store.query(PASSAGES.collection, stories(900))
    assert first.point_id == story(7, 7).point_id


def test_views_of_two_models_are_searched_each_by_its_own_length(long_store: VectorStore) -> None:
    title = np.array([0, 0, 0, 1], dtype=np.float32)
    point = make_point(1, vectors={"text": vector(1), "title": title})
    long_store.upsert(PASSAGES.collection, [point, story(2, 2)])

    hits = long_store.query(PASSAGES.collection, replace(search(), vectors={"title": title}))
    both = replace(search(seed=1), vectors={"text": vector(1), "title": title})

    assert [(round(score, 3), hit.point_id) for score, hit in hits] == [(1.0, point.point_id)]
    assert long_store.query(PASSAGES.collection, both)[0][1].point_id == point.point_id


@pytest.mark.parametrize(
    "vectors",
    [
        pytest.param({"story": vector(1)}, id="one vector for passages"),
        pytest.param({"text": passages(1, 2)}, id="passages for one vector"),
        pytest.param({"story": passages(1, 2)[:0]}, id="no passage"),
        pytest.param({"story": passages(1, 2)[:, :4]}, id="short passages"),
        pytest.param({"story": passages(1, 2) * 2}, id="not normalised"),
        pytest.param({"title": vector(1)}, id="length of another view"),
        pytest.param(
            {"story": np.tile(vector(1), (2**20 // DIMENSION + 1, 1))}, id="too many passages"
        ),
    ],
)
def test_what_a_view_does_not_hold_is_refused(
    long_store: VectorStore, vectors: Mapping[str, Vector]
) -> None:
    with pytest.raises(InvalidVectorError):
        long_store.upsert(PASSAGES.collection, [make_point(1), make_point(2, vectors=vectors)])

    assert long_store.count(PASSAGES.collection) == 0


def test_a_search_has_one_vector_per_view(long_store: VectorStore) -> None:
    with pytest.raises(InvalidVectorError):
        long_store.query(PASSAGES.collection, replace(search(), vectors={"story": passages(1, 2)}))


def test_a_search_with_a_bad_vector_is_refused(store: VectorStore) -> None:
    with pytest.raises(InvalidVectorError, match=r"expected \(n, 8\)"):
        store.query(COLLECTION, replace(search(), vectors={"text": np.ones(3, dtype=np.float32)}))
    with pytest.raises(InvalidVectorError, match="no view title"):
        store.query(COLLECTION, replace(search(), vectors={"title": vector(0)}))


# --- filters of the caller --------------------------------------------------------------

FIELDS: list[Mapping[str, object]] = [
    {"unit": "кг", "count": 1, "is_new": True, "tags": ["a", "b"]},
    {"unit": "шт", "count": 2, "is_new": False, "tags": ["b"]},
    {"unit": "1", "count": 0, "is_new": 1, "tags": []},
    {"unit": "True", "count": 3, "is_new": None, "tags": "a"},
    {},
]


@pytest.mark.parametrize(
    ("equals", "expected"),
    [
        pytest.param({"unit": ["кг"]}, [0], id="text"),
        pytest.param({"unit": ["кг", "шт", "т"]}, [0, 1], id="any of several texts"),
        pytest.param({"count": [1]}, [0], id="number"),
        pytest.param({"count": [0, 3, 9]}, [2, 3], id="any of several numbers"),
        pytest.param({"is_new": [True]}, [0], id="true is not 1"),
        pytest.param({"is_new": [False]}, [1], id="false is not 0, null or absent"),
        pytest.param({"is_new": [True, False]}, [0, 1], id="either boolean"),
        pytest.param({"is_new": [1]}, [2], id="1 is not true"),
        pytest.param({"unit": [1]}, [], id="a number is not its text"),
        pytest.param({"count": [True]}, [], id="a boolean is no number"),
        pytest.param({"unit": ["кг", 1, True]}, [0], id="values of several types"),
        pytest.param({"tags": ["a"]}, [0, 3], id="one element of a list"),
        pytest.param({"unit": ["кг", "шт"], "count": [2]}, [1], id="and between fields"),
        pytest.param({"unit": []}, [], id="no value accepted"),
        pytest.param({"absent": ["x"]}, [], id="unknown field"),
    ],
)
@pytest.mark.parametrize(
    "words", [pytest.param(None, id="one ranking"), pytest.param({1: 1.0}, id="fused")]
)
def test_a_filter_accepts_values_of_its_type(
    store: VectorStore,
    equals: Mapping[str, list[str | int | bool]],
    expected: list[int],
    words: Mapping[int, float] | None,
) -> None:
    points = [
        replace(make_point(number), payload={**make_point(number).payload, **fields})
        for number, fields in enumerate(FIELDS)
    ]
    store.upsert(COLLECTION, points)

    found = found_ids(store, search(limit=20, equals=equals, words=words))

    assert sorted(found) == ids_of(points[number] for number in expected)


def test_a_filter_on_the_scope_key_cannot_widen_the_scope(store: VectorStore) -> None:
    store.upsert(COLLECTION, [make_point(1, scope_key="acme"), make_point(2, scope_key="globex")])

    found = found_ids(
        store, search(scope_keys=("acme",), words={1: 1.0}, equals={"scope_key": ["globex"]})
    )

    assert found == []


def test_optimizing_changes_no_result(store: VectorStore) -> None:
    store.upsert(COLLECTION, [make_point(number) for number in range(50)])
    # One ranking alone: fusing two of them gives equal scores, whose order no engine promises.
    before = found_ids(store, search())

    store.optimize(COLLECTION)

    assert found_ids(store, search()) == before
    assert point_id("tenant-material-1") == make_point(1).point_id
