from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from sync_pipeline.core.errors import InvalidVectorError
from sync_pipeline.core.payload import combine_hashes
from sync_pipeline.core.point import CollectionSpec, SearchQuery, SparseVector, check_vectors

SPEC = CollectionSpec(
    alias="documents", model_id="m1", dimension=2, views=("text",), sparse_id="bm25"
)
UNIT = np.array([[1.0, 0.0], [0.6, 0.8]], dtype=np.float32)


def test_the_collection_is_named_after_what_it_holds() -> None:
    other = CollectionSpec(
        alias="documents", model_id="m2", dimension=2, views=("text",), sparse_id="bm25"
    )

    assert SPEC.collection.startswith("documents_")
    assert SPEC.collection != other.collection
    assert "m1" in SPEC.describe()


def test_normalised_vectors_pass() -> None:
    check_vectors(UNIT, dimension=2, origin="the model")


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        pytest.param(UNIT[:, :1], r"shape \(2, 1\), expected \(n, 2\)", id="wrong dimension"),
        pytest.param(UNIT[0], r"shape \(2,\)", id="not a matrix"),
        pytest.param(UNIT * np.float32(np.nan), "2 of 2 vectors with NaN", id="NaN"),
        pytest.param(UNIT * np.float32(0), "2 of 2 vectors that are not of length 1", id="zero"),
        pytest.param(UNIT * np.float32(2), "longest 2.000", id="not normalised"),
    ],
)
def test_a_vector_that_would_spoil_the_collection_is_refused(
    vectors: NDArray[np.float32], message: str
) -> None:
    with pytest.raises(InvalidVectorError, match=message):
        check_vectors(vectors, dimension=2, origin="the model")


def test_a_single_view_is_compared_by_its_own_hash() -> None:
    assert combine_hashes({"text": "abc"}) == "abc"


def test_hashes_of_several_views_do_not_depend_on_their_order() -> None:
    assert combine_hashes({"a": "1", "b": "2"}) == combine_hashes({"b": "2", "a": "1"})
    assert combine_hashes({"a": "1", "b": "2"}) != combine_hashes({"a": "2", "b": "1"})


def test_a_search_without_a_scope_cannot_exist() -> None:
    with pytest.raises(ValueError, match="at least one scope key"):
        SearchQuery(scope_keys=(), vectors={"text": UNIT[0]}, sparse=None, limit=1)


def test_a_search_for_nothing_cannot_exist() -> None:
    with pytest.raises(ValueError, match="a vector or BM25"):
        SearchQuery(scope_keys=("global",), vectors={}, sparse=None, limit=1)


def test_a_search_by_words_alone_is_fine() -> None:
    query = SearchQuery(
        scope_keys=("global",), vectors={}, sparse=SparseVector((1,), (1.0,)), limit=1
    )

    assert query.limit == 1
