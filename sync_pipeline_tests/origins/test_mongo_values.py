"""Texts of ids, plain values and what comes after an ``_id``: pure, on no server."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import bson
import pytest
from bson import DBRef, ObjectId
from bson.binary import Binary
from bson.code import Code
from bson.datetime_ms import DatetimeMS
from bson.decimal128 import Decimal128
from bson.int64 import Int64
from bson.max_key import MaxKey
from bson.min_key import MinKey
from bson.regex import Regex
from bson.timestamp import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from sync_pipeline.core.landing.records import record_key
from sync_pipeline.origins.mongodb.codec import CODEC, from_json, to_json
from sync_pipeline.origins.mongodb.identity import candidates, key_text
from sync_pipeline.origins.mongodb.keyset import after
from sync_pipeline.origins.mongodb.values import plain, plain_record
from sync_pipeline_tests.origins.mongo_data import EXACT
from sync_pipeline_tests.origins.mongo_order import matches, order_key, type_name
from sync_pipeline_tests.origins.mongo_site import TOOLS

OID: Final = ObjectId("65f000000000000000000001")

_texts = st.one_of(
    st.text(st.characters(codec="utf-8"), max_size=8),
    st.sampled_from(["7", "true", "null", str(OID), '"', '"a"', " a", "{}", '{"a": 1}', "1e5"]),
    st.builds(str, st.uuids()),
)
_numbers = st.one_of(
    st.integers(-(2**63), 2**63 - 1),
    st.integers(-5, 5),
    st.floats(),
    st.decimals(allow_nan=True, places=2, min_value=-(10**30), max_value=10**30).map(
        lambda number: Decimal128(str(number))
    ),
    st.sampled_from([Decimal128("1E+6000"), Decimal128("-1E-6000"), Decimal128("NaN")]),
)
_plain_ids = st.one_of(
    st.none(),
    st.booleans(),
    _numbers,
    _texts,
    st.binary(max_size=6),
    st.binary(max_size=6).map(lambda data: Binary(data, 0x80)),
    st.binary(min_size=12, max_size=12).map(ObjectId),
    st.uuids(),
    st.datetimes(
        min_value=datetime(1, 1, 2),  # noqa: DTZ001 - hypothesis adds the zone
        max_value=datetime(9999, 12, 30),  # noqa: DTZ001
        timezones=st.just(UTC),
    ),
    st.integers(-(2**62), 2**62).map(DatetimeMS),
    st.builds(Timestamp, st.integers(0, 2**31), st.integers(0, 100)),
    st.sampled_from([MinKey(), MaxKey(), Code("f()"), Code("f()", {"a": 1})]),
)
ids = st.one_of(
    _plain_ids,
    st.dictionaries(
        st.text(st.characters(exclude_characters="\0$", codec="utf-8"), max_size=4),
        _plain_ids,
        max_size=3,
    ),
)


def as_it_comes(value: Any) -> Any:
    """The value as the adapter has it from a server."""
    return bson.decode(bson.encode({"_id": value}, codec_options=CODEC), CODEC)["_id"]


def on_the_server(value: Any) -> Any:
    """The value as a server has it that was given it by the adapter."""
    return bson.decode(bson.encode({"_id": value}, codec_options=CODEC), EXACT)["_id"]


@given(ids)
def test_a_document_is_found_again_by_the_text_of_its_id(value: Any) -> None:
    value = as_it_comes(value)

    found = [order_key(on_the_server(it)) for it in candidates(key_text(value))]

    assert order_key(on_the_server(value)) in found


@given(st.one_of(ids.map(key_text), st.text(max_size=30)))
def test_a_question_never_asks_for_a_document_of_another_text(text: str) -> None:
    for value in candidates(text):
        assert key_text(as_it_comes(value)) == text


@given(ids)
def test_core_calls_a_document_by_the_same_text(value: Any) -> None:
    value = as_it_comes(value)
    text = key_text(value)

    if len(text) <= 512:
        assert record_key(TOOLS, plain_record({"_id": value})) == text


@given(ids)
def test_a_position_keeps_the_exact_type_of_an_id(value: Any) -> None:
    value = as_it_comes(value)

    again = from_json(json.loads(json.dumps(to_json(value))))

    assert type_name(on_the_server(again)) == type_name(on_the_server(value))
    assert order_key(on_the_server(again)) == order_key(on_the_server(value))


@given(st.lists(ids, min_size=1, max_size=8))
def test_after_an_id_comes_exactly_what_the_server_sorts_behind_it(values: list[Any]) -> None:
    exact = sorted((on_the_server(as_it_comes(value)) for value in values), key=order_key)
    last = as_it_comes(values[0])
    query = bson.decode(bson.encode(after(last, is_begun=True), codec_options=CODEC), EXACT)

    found = [order_key(value) for value in exact if matches({"_id": value}, query)]

    behind = [order_key(it) for it in exact if order_key(it) > order_key(on_the_server(last))]
    assert found == behind


def test_one_question_by_greater_than_ends_within_a_type() -> None:
    # What the adapter must not rely on; the stub has it as MongoDB does.
    assert matches({"_id": 8}, {"_id": {"$gt": 7}})
    assert not matches({"_id": "a"}, {"_id": {"$gt": 7}})


@pytest.mark.parametrize(
    ("value", "text"),
    [
        pytest.param(OID, "65f000000000000000000001", id="ObjectId"),
        pytest.param(7, "7", id="number"),
        pytest.param(7.0, "7", id="number with a point"),
        pytest.param(Decimal128("7.00"), "7", id="exact number"),
        pytest.param(0.1, "0.1", id="fraction"),
        pytest.param(Int64(2**62), str(2**62), id="long number"),
        pytest.param("a-1", "a-1", id="text"),
        pytest.param(" a", '" a"', id="text with a space before it"),
        pytest.param("", '""', id="empty text"),
        pytest.param("a\0", r'"a\u0000"', id="text with NUL"),
        pytest.param(True, "true", id="true"),
        pytest.param(None, "null", id="null"),
        pytest.param(
            UUID("12345678-1234-5678-1234-567812345678"),
            "12345678-1234-5678-1234-567812345678",
            id="UUID",
        ),
        pytest.param(
            datetime(2026, 5, 1, tzinfo=UTC), "2026-05-01T00:00:00+00:00", id="time"
        ),
        pytest.param({"a": 1, "b": OID}, f'{{"a": 1, "b": {{"$oid": "{OID}"}}}}', id="object"),
    ],
)  # fmt: skip
def test_an_id_has_a_text(value: Any, text: str) -> None:
    assert key_text(value) == text


@pytest.mark.parametrize("text", ["1e999999999", "-1e-999999999", "1" * 500, "{" * 500])
def test_odd_texts_cost_no_time(text: str) -> None:
    assert text in candidates(text)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param(Decimal128("NaN"), "NaN", id="exact NaN"),
        pytest.param(Decimal128("sNaN"), "NaN", id="signalling NaN"),
        pytest.param(Decimal128("0.10"), "0.10", id="exact number"),
        pytest.param(Int64(5), "5", id="long"),
    ],
)
def test_numbers_become_numbers(value: Any, expected: str) -> None:
    found = plain(value)

    assert type(found) in (int, Decimal)
    assert str(found) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param(DatetimeMS(253_402_300_800_000), "+10000-01-01T00:00:00+00:00", id="after"),
        pytest.param(DatetimeMS(-62_135_596_800_001), "+00000-12-31T23:59:59.999000+00:00",
                     id="before"),
        pytest.param(DatetimeMS(2**63 - 1), "+292278994-08-17T07:12:55.807000+00:00", id="last"),
        pytest.param(Regex("^a$"), "/^a$/", id="pattern"),
        pytest.param(Code("f()"), "f()", id="code"),
        pytest.param(Timestamp(60, 1), "1970-01-01T00:01:00+00:00", id="timestamp"),
        pytest.param(DBRef("tools", OID), {"$ref": "tools", "$id": str(OID)}, id="reference"),
        pytest.param(MinKey(), "MinKey", id="smallest"),
        pytest.param([b"a", Binary(b"b", 5)], [b"a", b"b"], id="binary data"),
        pytest.param({"a": [None, True, 1.5, "x"]}, {"a": [None, True, 1.5, "x"]}, id="plain"),
    ],
)  # fmt: skip
def test_what_json_has_no_place_for_becomes_a_text(value: Any, expected: Any) -> None:
    assert plain(value) == expected
