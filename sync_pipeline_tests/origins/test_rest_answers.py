"""What answers of a REST system are read as."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import httpx
import pytest

from sync_pipeline.core.errors import OriginConfigurationError
from sync_pipeline.core.landing.origin_options import ByLink, RestRequest
from sync_pipeline.origins.rest.answers import (
    Listing,
    ListReader,
    Unreadable,
    next_link,
    read_json,
)
from sync_pipeline.origins.rest.transport import Answer
from sync_pipeline_tests.origins.rest_support import LANDING, request_of


def _answer(body: bytes, content_type: str = "application/json") -> Answer:
    return Answer(status=200, headers=httpx.Headers({"content-type": content_type}), body=body)


def _listing(document: object, request: RestRequest | None = None, **headers: str) -> Listing:
    reader = ListReader(LANDING, request or request_of(total=None))
    return reader.listing(document, httpx.Headers(headers), told="GET https://erp/x")


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        ('{"a": "kůň"}'.encode(), "application/json"),
        ('{"a": "kůň"}'.encode("utf-8-sig"), "application/json; charset=utf-8"),
        ('{"a": "kůň"}'.encode("utf-16"), "application/json"),
        ('{"a": "kůň"}'.encode("windows-1250"), 'text/json; charset="windows-1250"'),
        ('{"a": "kůň"}'.encode(), "application/json; charset=no-such-thing"),
        ('{"a": "kůň"}'.encode(), "application/json; charset=base64"),
    ],
    ids=["utf-8", "with a mark", "utf-16", "windows-1250", "unknown", "no letters"],
)
def test_letters_are_read_as_the_answer_says(body: bytes, content_type: str) -> None:
    assert read_json(_answer(body, content_type)) == {"a": "kůň"}


def test_cyrillic_letters_of_windows_are_read() -> None:
    answer = _answer('["Дрель"]'.encode("windows-1251"), "application/json;charset=windows-1251")

    assert read_json(answer) == ["Дрель"]


def test_numbers_stay_exact_and_what_is_none_is_unusable() -> None:
    read = read_json(_answer(b'{"a": 12.10, "b": 7, "a": 0.1, "c": 1e99999999999999999999}'))
    assert isinstance(read, dict)

    assert (read["a"], read["b"]) == (Decimal("0.1"), 7)
    assert read["c"].is_nan()
    none = read_json(_answer(b"[NaN, Infinity, -Infinity]"))
    assert isinstance(none, list)
    assert all(it.is_nan() for it in none)


@pytest.mark.parametrize(
    ("body", "content_type", "told"),
    [
        (b"  <html>", "application/json", "HTML or XML"),
        (b"{}", "text/html", "HTML or XML"),
        (b'{"a": ', "application/json", "no whole JSON in 6 bytes"),
        (b"", "application/json", "no whole JSON in 0 bytes"),
        (b'{"a": "\xe9"}', "application/json", "another encoding"),
        (b"[" * 100_000, "application/json", "no whole JSON"),
        (b"1" * 5_000, "application/json", "no whole JSON"),
    ],
    ids=["markup", "says html", "cut", "nothing", "letters", "too deep", "endless number"],
)
def test_what_is_no_json_is_told_without_its_text(
    body: bytes, content_type: str, told: str
) -> None:
    with pytest.raises(Unreadable, match=told):
        read_json(_answer(body, content_type))


def test_the_answer_itself_may_be_the_list_and_null_an_empty_one() -> None:
    request = request_of(records=(), total=None)

    assert _listing([{"ID": 7}], request).records == [{"ID": 7}]
    assert _listing({"data": None}).records == []


def test_records_are_told_apart_by_id_and_without_one_by_what_is_in_them() -> None:
    keys = _listing({"data": [{"ID": 7}, {"ID": "7"}, {"a": 1}, {"a": 1}, {"a": 2}, "text"]}).keys

    assert keys[:2] == ("7", "7")
    assert keys[2] == keys[3] != keys[4] != keys[5]


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ({"items": [], "x": 1}, "no list at `data`; at its top there is an object with items, x"),
        ({"data": {"rows": []}}, "no list at `data`; at `data` there is an object with rows"),
        ({"data": "text"}, "at `data` there is a text"),
        ([1, 2], "at its top there is a list of 2"),
        ({}, "an empty object"),
        (True, "true or false"),
        (7, "a number"),
        (None, "null"),
    ],
)
def test_where_no_records_are_it_is_told_what_is_there(document: object, told: str) -> None:
    with pytest.raises(OriginConfigurationError, match=told):
        _listing(document)


def test_of_many_keys_some_are_named() -> None:
    with pytest.raises(OriginConfigurationError, match=r"k00, .*, k19, \.\.\.\."):
        _listing({f"k{number:02}": 1 for number in range(40)})


@pytest.mark.parametrize("total", [3, "3", Decimal("3.0"), " 3 "])
def test_a_total_is_read_however_it_is_written(total: object) -> None:
    assert _listing({"data": [], "n": total}, request_of(total=("n",))).total == 3


@pytest.mark.parametrize(
    ("total", "told"),
    [
        ("many", "no number of records at `n`, but 'many'"),
        (True, "but True"),
        (-1, "but -1"),
        (Decimal("2.5"), "but Decimal"),
        (None, "but None"),
        ({"all": 3}, "no number at `n`; at `n` there is an object with all"),
    ],
)
def test_a_total_that_is_no_number_is_told(total: object, told: str) -> None:
    with pytest.raises(OriginConfigurationError, match=told):
        _listing({"data": [], "n": total}, request_of(total=("n",)))


def test_a_total_that_is_missing_is_told_with_the_keys_that_are_there() -> None:
    with pytest.raises(OriginConfigurationError, match="an object with count, data"):
        _listing({"data": [], "count": 3}, request_of(total=("n",)))


def test_a_total_may_stand_in_a_header() -> None:
    request = request_of(total=None, total_header="X-Total-Count")

    assert _listing({"data": []}, request, **{"x-total-count": "7"}).total == 7
    with pytest.raises(OriginConfigurationError, match="header 'X-Total-Count', but nothing"):
        _listing({"data": []}, request)


@pytest.mark.parametrize(
    ("header", "target"),
    [
        ('<https://a/x?page=2>; rel="next"', "https://a/x?page=2"),
        ("<?page=2>; rel=next", "?page=2"),
        ('<a>; rel="prev", <b>; title="x, y"; rel="last next"', "b"),
        ("<a,b;c>; REL = NEXT", "a,b;c"),
        ('<a>; rel="nextish"', None),
        ('<a>; rel="prev"', None),
        ("", None),
        ("nonsense", None),
    ],
)
def test_the_next_page_is_found_in_a_header(header: str, target: str | None) -> None:
    assert next_link(header) == target


@pytest.mark.parametrize(
    ("value", "link"),
    [("/x", "/x"), (17, "17"), (None, None), ("", None), (False, None), ([], None)],
)
def test_a_link_in_the_body_is_a_text_or_a_number(value: object, link: str | None) -> None:
    request = request_of(ByLink(next=("next",)), total=None)

    assert _listing({"data": [], "next": value}, request).following == link


def test_names_and_values_become_an_object_beside_other_fields() -> None:
    request = request_of(total=None, pairs=("columns",))
    pairs = [{"name": "ID", "value": 7}, {"name": "a"}, {"value": 3}, "text"]

    assert _listing({"data": [{"columns": pairs, "k": 1}]}, request).records == [
        {"k": 1, "ID": 7, "a": None}
    ]


def test_names_and_values_may_be_the_record_itself_and_have_other_keys() -> None:
    request = replace(request_of(total=None), pairs=(), pair_name="Key", pair_value="Val")

    records = _listing({"data": [[{"Key": "ID", "Val": 7}], 5, {"x": 1}]}, request).records

    assert records == [{"ID": 7}, 5, {"x": 1}]
