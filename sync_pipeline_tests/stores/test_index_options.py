"""What a collection costs to keep: every option, on the real engine and towards a server.

The points make 64 groups of ten, each group close together and far from all others, so that
what a search has to find is known whatever the index. There are enough of them for the engine to
build a search graph.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
from qdrant_client import models

from sync_pipeline.core.errors import InvalidVectorError, PermanentError
from sync_pipeline.core.hashing import point_id
from sync_pipeline.core.index_options import IndexOptions
from sync_pipeline.core.point import CollectionSpec, Point, SearchQuery, SparseVector, Vector
from sync_pipeline.core.ports import VectorStore
from sync_pipeline.stores.edge.store import lease_edge_store
from sync_pipeline.stores.server.store import lease_server_store
from sync_pipeline_tests.fakes.qdrant_stub import QdrantStub, running_stub

GROUPS: Final = 64
GROUP: Final = 10
DIMENSION: Final = 4096
"""Long vectors, for the engine indexes from 10,000 KiB on."""
SPEC: Final = CollectionSpec(
    alias="options",
    model_id="groups",
    dimension=DIMENSION,
    views=("text",),
    sparse_id="bm25-none",
)
COLLECTION: Final = SPEC.collection
DEFAULT: Final = IndexOptions()
OPTIONS: Final = {
    "nothing set": DEFAULT,
    "vectors on disk": IndexOptions(vectors_on_disk=True),
    "scalar": IndexOptions(quantization="scalar"),
    "scalar without rescoring": IndexOptions(quantization="scalar", quantization_rescore=False),
    "scalar on disk": IndexOptions(
        quantization="scalar", quantization_always_ram=False, vectors_on_disk=True
    ),
    "binary": IndexOptions(quantization="binary", quantization_oversampling=4.0),
    "more links": IndexOptions(hnsw_m=32, hnsw_ef_construct=200, hnsw_ef=256),
    "graph on disk": IndexOptions(hnsw_on_disk=True),
    "all at once": IndexOptions(
        quantization="binary",
        quantization_oversampling=4.0,
        vectors_on_disk=True,
        hnsw_m=8,
        hnsw_on_disk=True,
    ),
}
each_option: Final = pytest.mark.parametrize(
    "options", [pytest.param(options, id=name) for name, options in OPTIONS.items()]
)
each_change: Final = pytest.mark.parametrize(
    "options",
    [pytest.param(options, id=name) for name, options in OPTIONS.items() if options != DEFAULT],
)


def _vectors() -> np.ndarray[Any, np.dtype[np.float32]]:
    """Shape ``(GROUPS * GROUP, DIMENSION)``; a group's rows follow each other."""
    random = np.random.default_rng(7)
    centres = random.normal(size=(GROUPS, 1, DIMENSION))
    rows = (centres + 0.2 * random.normal(size=(GROUPS, GROUP, DIMENSION))).reshape(-1, DIMENSION)
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


VECTORS: Final = _vectors()


def _point(number: int, vector: Vector) -> Point:
    document_id = f"tenant-material-{number}"
    return Point(
        point_id=point_id(document_id),
        vectors={"text": vector},
        sparse=SparseVector((number,), (1.0,)),
        payload={"document_id": document_id, "scope_key": ("global", "acme")[number % 2]},
    )


POINTS: Final = [_point(number, vector) for number, vector in enumerate(VECTORS)]


def _found(store: VectorStore, group: int, *, scope_keys: tuple[str, ...]) -> set[str]:
    """Ids of the ten points nearest to the first one of a group."""
    query = SearchQuery(
        scope_keys=scope_keys,
        vectors={"text": VECTORS[group * GROUP]},
        sparse=None,
        limit=GROUP,
    )
    return {point.point_id for _, point in store.query(COLLECTION, query)}


def _group(group: int) -> set[str]:
    return {point.point_id for point in POINTS[group * GROUP : (group + 1) * GROUP]}


def _fill(store: VectorStore) -> None:
    store.ensure_collection(SPEC)
    for start in range(0, len(POINTS), 500):
        store.upsert(COLLECTION, POINTS[start : start + 500])


@contextmanager
def _edge(folder: Path, options: IndexOptions) -> Iterator[VectorStore]:
    with lease_edge_store(folder, options=options)() as store:
        yield store


def _server(stub: QdrantStub, options: IndexOptions) -> AbstractContextManager[VectorStore]:
    return lease_server_store(stub.url, api_key=None, options=options)()


@pytest.fixture(scope="module")
def filled_stub() -> Iterator[QdrantStub]:
    with running_stub() as stub:
        with _server(stub, DEFAULT) as store:
            _fill(store)
        yield stub


def _indexed_segment(folder: Path) -> dict[str, Any]:
    """How the engine says the one segment with a search graph is built."""
    shard = folder / "collections" / COLLECTION
    configs = [
        json.loads(path.read_text())["config"]["vector_data"]["text"]
        for path in shard.glob("segments/*/segment.json")
    ]
    (built,) = [config for config in configs if config["index"]["type"] == "hnsw"]
    return dict(built)


def _expected_segment(options: IndexOptions) -> dict[str, Any]:
    quantization = {
        "none": None,
        "scalar": {"scalar": {"type": "int8", "always_ram": options.quantization_always_ram}},
        "binary": {"binary": {"always_ram": options.quantization_always_ram}},
    }[options.quantization]
    return {
        "size": DIMENSION,
        "distance": "Cosine",
        "storage_type": "Mmap" if options.vectors_on_disk else "InRamMmap",
        "index": {
            "type": "hnsw",
            "options": {
                "m": options.hnsw_m,
                "ef_construct": options.hnsw_ef_construct,
                "full_scan_threshold": 10_000,
                "max_indexing_threads": 0,
                "on_disk": options.hnsw_on_disk,
            },
        },
        "quantization_config": quantization,
    }


# --- the embedded engine ------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        pytest.param(OPTIONS[name], id=name)
        for name in ("nothing set", "scalar on disk", "more links", "all at once")
    ],
)
@pytest.mark.index
def test_what_was_written_is_found_also_after_a_reopening(
    tmp_path: Path, options: IndexOptions
) -> None:
    with _edge(tmp_path, options) as store:
        _fill(store)
        before = [_found(store, group, scope_keys=("global", "acme")) for group in (0, 30, 63)]
        assert store.optimize(COLLECTION)

    with _edge(tmp_path, options) as store:
        assert store.count(COLLECTION) == len(POINTS)
        assert store.count_by_scope(COLLECTION) == {"global": 320, "acme": 320}
        assert before == [_group(0), _group(30), _group(63)]
        for group in range(0, GROUPS, 7):
            assert _found(store, group, scope_keys=("global", "acme")) == _group(group)
            # Whoever sees half of a group finds its own half first, and nothing of the other.
            own = {point.point_id for point in POINTS[1::2]}
            found = _found(store, group, scope_keys=("acme",))
            assert found <= own
            assert found >= _group(group) & own
    assert _indexed_segment(tmp_path) == _expected_segment(options)


@pytest.mark.index
def test_an_index_takes_one_option_after_the_other_over_and_gives_all_up_again(
    tmp_path: Path,
) -> None:
    with _edge(tmp_path, DEFAULT) as store:
        _fill(store)
        store.optimize(COLLECTION)
    before = _indexed_segment(tmp_path)

    for options in [it for it in OPTIONS.values() if it != DEFAULT] + [DEFAULT]:
        with _edge(tmp_path, options) as store:
            assert store.ensure_collection(SPEC) is False
            store.upsert(COLLECTION, POINTS[:GROUP])
            store.optimize(COLLECTION)
        with _edge(tmp_path, options) as store:
            assert store.count(COLLECTION) == len(POINTS)
            assert _found(store, 0, scope_keys=("global", "acme")) == _group(0)
            assert store.optimize(COLLECTION) is False
        assert _indexed_segment(tmp_path) == _expected_segment(options)
    assert _indexed_segment(tmp_path) == before


@each_option
@pytest.mark.index
def test_a_vector_that_is_no_number_is_refused(tmp_path: Path, options: IndexOptions) -> None:
    spoiled = VECTORS[0].copy()
    spoiled[3] = np.nan

    with _edge(tmp_path, options) as store:
        store.ensure_collection(SPEC)
        with pytest.raises(InvalidVectorError, match="NaN or infinity"):
            store.upsert(COLLECTION, [POINTS[1], _point(0, spoiled)])

        assert store.count(COLLECTION) == 0


@pytest.mark.index
def test_an_index_of_an_earlier_release_stays_as_it_is(tmp_path: Path) -> None:
    with _edge(tmp_path, DEFAULT) as store:
        _fill(store)
    files = [
        tmp_path / "collections" / f"{COLLECTION}.json",
        tmp_path / "collections" / COLLECTION / "edge_config.json",
    ]
    before = [path.read_bytes() for path in files]
    assert "options" not in json.loads(before[0])

    with _edge(tmp_path, DEFAULT) as store:
        store.ensure_collection(SPEC)
        _found(store, 0, scope_keys=("acme",))

    assert [path.read_bytes() for path in files] == before


@pytest.mark.index
def test_whoever_only_searches_changes_nothing(tmp_path: Path) -> None:
    with _edge(tmp_path, OPTIONS["scalar"]) as store:
        _fill(store)
        store.optimize(COLLECTION)

    with _edge(tmp_path, DEFAULT) as store:
        assert _found(store, 0, scope_keys=("global", "acme")) == _group(0)
        assert store.optimize(COLLECTION) is False

    assert _indexed_segment(tmp_path) == _expected_segment(OPTIONS["scalar"])


@pytest.mark.index
def test_options_of_an_index_that_is_open_wait_for_its_next_opening(tmp_path: Path) -> None:
    with _edge(tmp_path, DEFAULT) as store:
        _fill(store)
        with _edge(tmp_path, OPTIONS["scalar"]) as other:
            other.ensure_collection(SPEC)
            other.optimize(COLLECTION)
        assert _indexed_segment(tmp_path)["quantization_config"] is None
        assert _found(store, 0, scope_keys=("global", "acme")) == _group(0)

    with _edge(tmp_path, OPTIONS["scalar"]) as store:
        store.optimize(COLLECTION)

    assert _indexed_segment(tmp_path) == _expected_segment(OPTIONS["scalar"])


@pytest.mark.index
def test_quantized_vectors_are_searched_and_rescoring_ranks_by_the_whole_ones(
    tmp_path: Path,
) -> None:
    quantized = IndexOptions(quantization="binary", quantization_rescore=False)
    query = SearchQuery(
        scope_keys=("global", "acme"), vectors={"text": VECTORS[0]}, sparse=None, limit=GROUP
    )
    with _edge(tmp_path, quantized) as store:
        _fill(store)
        store.optimize(COLLECTION)
    exact = {
        POINTS[number].point_id: float(VECTORS[number] @ VECTORS[0]) for number in range(GROUP)
    }

    def errors(options: IndexOptions) -> list[float]:
        with _edge(tmp_path, options) as store:
            hits = store.query(COLLECTION, query)
        return [abs(score - exact[point.point_id]) for score, point in hits]

    assert max(errors(replace(quantized, quantization_rescore=True))) < 1e-5
    assert max(errors(quantized)) > 0.01


@pytest.mark.index
def test_a_scope_of_few_vectors_is_searched_in_full_whatever_the_graph(tmp_path: Path) -> None:
    with _edge(tmp_path, IndexOptions(hnsw_m=4, hnsw_ef_construct=4, hnsw_ef=1)) as store:
        _fill(store)
        store.optimize(COLLECTION)
        found = [_found(store, group, scope_keys=("acme",)) for group in range(0, GROUPS, 7)]

    own = np.arange(1, len(POINTS), 2)
    scores = VECTORS[:: 7 * GROUP] @ VECTORS[own].T
    nearest = own[np.argsort(-scores, axis=1)[:, :GROUP]]
    assert found == [{POINTS[number].point_id for number in row} for row in nearest]


@pytest.mark.index
@pytest.mark.parametrize(
    "options",
    [
        pytest.param([], id="a list"),
        pytest.param({"hnsw_m": "many"}, id="a text for a number"),
        pytest.param({"vectors_on_disk": 1}, id="a number for true"),
    ],
)
def test_a_manifest_with_damaged_options_is_named(tmp_path: Path, options: object) -> None:
    with _edge(tmp_path, DEFAULT) as store:
        store.ensure_collection(SPEC)
    manifest = tmp_path / "collections" / f"{COLLECTION}.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "options": options}))

    with (
        _edge(tmp_path, DEFAULT) as store,
        pytest.raises(PermanentError, match="has options that are none"),
    ):
        store.count(COLLECTION)


# --- a server -----------------------------------------------------------------------------


@each_option
@pytest.mark.process
def test_a_server_is_told_each_option_once(stub: QdrantStub, options: IndexOptions) -> None:
    with _server(stub, options) as store:
        assert store.ensure_collection(SPEC) is True
        asked = stub.options.get(COLLECTION)
        with stub.counting() as heard:
            assert store.ensure_collection(SPEC) is False

    assert not any(request.startswith("PATCH") for request in heard)
    if options == DEFAULT or options.built == DEFAULT.built:
        assert asked is None
        return
    assert asked is not None
    assert asked.hnsw_config == models.HnswConfigDiff(
        m=options.hnsw_m,
        payload_m=options.hnsw_m,
        ef_construct=options.hnsw_ef_construct,
        on_disk=options.hnsw_on_disk,
    )
    assert asked.vectors == {"text": models.VectorParamsDiff(on_disk=options.vectors_on_disk)}
    match options.quantization:
        case "none":
            assert asked.quantization_config == models.Disabled.DISABLED
        case "scalar":
            assert isinstance(asked.quantization_config, models.ScalarQuantization)
            scalar = asked.quantization_config.scalar
            assert scalar.always_ram == options.quantization_always_ram
        case "binary":
            assert isinstance(asked.quantization_config, models.BinaryQuantization)
            assert asked.quantization_config.binary.always_ram


@each_change
@pytest.mark.process
def test_a_filled_collection_of_a_server_takes_options_over_and_gives_them_up(
    filled_stub: QdrantStub, options: IndexOptions
) -> None:
    for changed in (options, DEFAULT):
        filled_stub.search_params.clear()
        with _server(filled_stub, changed) as store:
            assert store.ensure_collection(SPEC) is False
            assert store.count(COLLECTION) == len(POINTS)
            assert _found(store, 0, scope_keys=("global", "acme")) == _group(0)
        # At least one: a connection that breaks makes the client ask again.
        assert filled_stub.search_params
        assert all(params == _expected_params(changed) for params in filled_stub.search_params)

        metadata = filled_stub.client.get_collection(COLLECTION).config.metadata or {}
        assert metadata["model_id"] == SPEC.model_id
        assert IndexOptions.from_built(metadata.get("index_options", {})).built == changed.built


def _expected_params(options: IndexOptions) -> models.SearchParams | None:
    quantization = models.QuantizationSearchParams(
        rescore=options.quantization_rescore,
        oversampling=options.quantization_oversampling if options.quantization_rescore else None,
    )
    if options.quantization == "none":
        return None if options.hnsw_ef is None else models.SearchParams(hnsw_ef=options.hnsw_ef)
    return models.SearchParams(hnsw_ef=options.hnsw_ef, quantization=quantization)


@pytest.mark.process
def test_words_are_searched_without_the_options_of_vectors(filled_stub: QdrantStub) -> None:
    filled_stub.search_params.clear()
    query = SearchQuery(
        scope_keys=("acme",),
        vectors={"text": VECTORS[1]},
        sparse=SparseVector((1,), (1.0,)),
        limit=GROUP,
    )

    with _server(filled_stub, OPTIONS["binary"]) as store:
        (_, best), *_ = store.query(COLLECTION, query)
        store.query_batch(COLLECTION, [query])

    assert best.point_id == POINTS[1].point_id
    assert len(filled_stub.search_params) >= 2
    assert all(
        params == _expected_params(OPTIONS["binary"]) for params in filled_stub.search_params
    )


# --- the value ----------------------------------------------------------------------------


def test_what_a_newer_release_knows_besides_is_left_out() -> None:
    assert IndexOptions.from_built({"hnsw_m": 24, "turbo": True}) == IndexOptions(hnsw_m=24)


def test_how_it_is_searched_is_not_built_into_a_collection() -> None:
    searching = IndexOptions(quantization_rescore=False, quantization_oversampling=3.0, hnsw_ef=300)

    assert searching.built == DEFAULT.built
    assert searching.oversampling is None
