"""What goes between a host and its clients is data, and arrives as it was sent."""

from __future__ import annotations

import json
import math
from dataclasses import fields
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync_pipeline.core.errors import (
    CollectionMissingError,
    PermanentError,
    RejectedPointError,
    StoreLockedError,
)
from sync_pipeline.core.filters import Range
from sync_pipeline.core.fusion import Fusion
from sync_pipeline.core.point import PointDigests, SearchQuery, SparseVector, StoredPoint
from sync_pipeline.stores.edge import wire
from sync_pipeline_tests.stores.samples import SPEC, make_point

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.text(),
    st.dates(),
    st.datetimes(),
    st.decimals(allow_nan=False),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.just("$"), inner),
    max_leaves=20,
)


@given(VALUES)
def test_values_arrive_as_they_were_sent(value: object) -> None:
    assert wire.load(wire.dump(value)) == value


def same(one: Any, other: Any) -> bool:
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and np.array_equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    return bool(one == other) and type(one) is type(other)


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(
            make_point(3, text="Плита", price=12.5, notes=[1, {"$": "array"}]), id="point"
        ),
        pytest.param(SPEC, id="collection"),
        pytest.param(
            StoredPoint(point_id="x", payload={"a": 2**80, "b": None}, vectors={}), id="stored"
        ),
        pytest.param(
            PointDigests(
                point_ids=np.array([b"a", b"b"], dtype="S36"),
                contents=np.array([b"c", b"d"], dtype="S32"),
                payloads=np.array([b"", b"f"], dtype="S32"),
            ),
            id="digests",
        ),
        pytest.param(
            SearchQuery(
                scope_keys=("global", "$"),
                vectors={"$": np.array([0.1, -0.2], dtype=np.float32)},
                sparse=SparseVector((1, 2), (0.1, 1 / 3)),
                limit=3,
                equals={"$": [Decimal("12.50"), 2**80, True, None, "x", date(2026, 1, 2)]},
                ranges={"price": [Range(gte=1), Range(lt=Decimal("9.1"))]},
                excluded={"at": [datetime(2026, 1, 2, 3, tzinfo=UTC)]},
                fusion=Fusion(method="rrf", rrf_k=3, weights={"$": 2, "bm25": 3}),
            ),
            id="query",
        ),
    ],
)
def test_what_stores_take_and_give_arrives_field_by_field(value: Any) -> None:
    arrived = wire.load(wire.dump(value))

    assert type(arrived) is type(value)
    for field in fields(value):
        sent, got = getattr(value, field.name), getattr(arrived, field.name)
        assert same(sent, got), field.name


def test_numbers_without_a_value_arrive_too() -> None:
    assert math.isnan(wire.load(wire.dump(math.nan)))
    assert wire.load(wire.dump([math.inf, -math.inf])) == [math.inf, -math.inf]


def test_an_array_that_arrived_can_be_written_to() -> None:
    arrived = wire.load(wire.dump(np.zeros((2, 3), dtype=np.float32)))
    arrived[1, 2] = 1

    assert arrived.sum() == 1


@pytest.mark.parametrize(
    "error",
    [
        RejectedPointError(document_id="tenant-material-1", reason="it has a hole"),
        CollectionMissingError(collection="documents_1", store="the index"),
        StoreLockedError(path="/x", holder="process 1", waited_seconds=1.5),
        ValueError("no bound"),
    ],
    ids=lambda it: type(it).__name__,
)
def test_errors_arrive_with_their_text_and_their_facts(error: Exception) -> None:
    arrived = wire.load_error(wire.dump_error(error))

    assert type(arrived) is type(error)
    assert str(arrived) == str(error)
    assert vars(arrived) == vars(error)


def test_an_error_of_another_library_keeps_its_text_alone() -> None:
    class ForeignError(Exception):
        pass

    arrived = wire.load_error(wire.dump_error(ForeignError("out of cheese")))

    assert type(arrived) is PermanentError
    assert "out of cheese" in str(arrived)


@pytest.mark.parametrize("value", [object(), b"bytes", print, {"a": {1: object()}}])
def test_what_no_call_takes_is_not_sent(value: object) -> None:
    with pytest.raises(TypeError):
        wire.dump(value)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param({"$": "Popen", "value": {"args": "id"}}, id="another class"),
        pytest.param({"$": "__class__", "value": {}}, id="a name of Python"),
        pytest.param({"plain": 1}, id="a bare object"),
        pytest.param(
            {"$": "array", "dtype": "|O", "shape": [1], "data": "AAAAAAAAAAA="}, id="objects"
        ),
    ],
)
def test_what_is_not_of_this_form_is_refused(content: object) -> None:
    with pytest.raises(ValueError, match="nothing that is sent"):
        wire.load(json.dumps(content).encode())
