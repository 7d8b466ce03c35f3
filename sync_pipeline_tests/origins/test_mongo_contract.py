"""What ``core.ports.RecordOrigin`` promises, asked of the MongoDB origin on a stub and on a server.

The same questions of both: where the stub behaves otherwise than MongoDB does, the real one says
so.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import pytest
from bson import ObjectId
from bson.binary import Binary
from bson.code import Code
from bson.datetime_ms import DatetimeMS
from bson.decimal128 import Decimal128
from bson.int64 import Int64
from bson.max_key import MaxKey
from bson.min_key import MinKey
from bson.regex import Regex
from bson.timestamp import Timestamp

from sync_pipeline.core.errors import OriginConfigurationError, StoppedError
from sync_pipeline.core.landing.passes import Order
from sync_pipeline.core.ports import ChangeHints
from sync_pipeline.core.waiting import stoppable
from sync_pipeline_tests.origins.mongo_site import (
    DEPLOYMENTS,
    TOOLS,
    MongoSite,
    Written,
    ids_of,
    open_site,
    pages_of,
)

pytestmark = pytest.mark.process

OID: Final = ObjectId("65f000000000000000000001")
A_UUID: Final = UUID("12345678-1234-5678-1234-567812345678")
QUIET: Final = 0.3

IN_ORDER: Final[tuple[Any, ...]] = (
    MinKey(),
    None,
    float("nan"),
    float("-inf"),
    Decimal128("-5"),
    -1,
    0.5,
    7,
    Int64(2**40),
    1e300,
    Decimal128("1E+400"),
    "",
    "7",
    "a",
    "b ",
    {"a": 1},
    {"a": 1, "b": "x"},
    {"b": 0},
    Binary(b"ab"),
    b"abc",
    Binary(b"abc", 5),
    A_UUID,
    OID,
    ObjectId("65f000000000000000000002"),
    False,
    True,
    DatetimeMS(-(10**15)),
    datetime(2026, 5, 1, 12, 30, 0, 123_000, tzinfo=UTC),
    DatetimeMS(10**15),
    Timestamp(5, 1),
    Timestamp(5, 2),
    Code("f()"),
    Code("f()", {"a": 1}),
    MaxKey(),
)
"""An ``_id`` of every type that can be one, as MongoDB sorts them."""


@pytest.fixture(params=DEPLOYMENTS)
def site(request: pytest.FixtureRequest) -> Iterator[MongoSite]:
    with open_site(request.param) as opened:
        yield opened


@pytest.fixture
def tools(site: MongoSite) -> Written:
    return site.collection("tools")


def numbered(*numbers: int) -> list[dict[str, Any]]:
    return [{"_id": number, "name": f"tool {number}"} for number in numbers]


# --- pages ------------------------------------------------------------------------------


def test_it_reads_by_key_to_an_end_that_is_stated(site: MongoSite) -> None:
    traits = site.origin(follows=False).traits

    assert traits.order is Order.KEY
    assert traits.signals_end
    assert traits.resumes
    assert traits.looks_up
    assert not traits.tells_changes
    assert not traits.follows


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 6, 7])
def test_every_document_comes_once_and_the_last_page_says_that_it_is(
    site: MongoSite, tools: Written, count: int
) -> None:
    tools.create()
    if count:
        tools.insert(*numbered(*range(count)))

    pages = pages_of(site.origin(page_size=3))

    assert ids_of(pages) == [str(number) for number in range(count)]
    assert [page.is_last for page in pages] == [False] * (len(pages) - 1) + [True]
    assert all(page.requests >= 1 for page in pages)


@pytest.mark.parametrize("page_size", [1, 2, 3, 50])
def test_documents_come_in_one_order_whatever_type_their_id_has(
    site: MongoSite, tools: Written, page_size: int
) -> None:
    tools.insert(*[{"_id": key, "name": str(n)} for n, key in reversed([*enumerate(IN_ORDER)])])

    pages = pages_of(site.origin(page_size=page_size))

    records = [record for page in pages for record in page.records]
    assert [record["name"] for record in records] == [str(n) for n in range(len(IN_ORDER))]  # type: ignore[index]  # documents


def test_another_origin_goes_on_after_any_page(site: MongoSite, tools: Written) -> None:
    tools.insert(*[{"_id": key, "name": str(n)} for n, key in enumerate(IN_ORDER)])
    pages = pages_of(site.origin(page_size=4))

    for number, page in enumerate(pages):
        rest = pages_of(site.origin(page_size=4), page.resume)
        assert ids_of(rest) == ids_of(pages[number + 1 :])


def test_what_comes_and_goes_behind_and_before_the_scan_hides_nothing(
    site: MongoSite, tools: Written
) -> None:
    tools.insert(*numbered(*range(10, 30)))
    pages = site.origin(page_size=5).pages(since=None, start=None)

    first = next(pages)
    tools.delete(10, 14, 15, 20)
    tools.insert(*numbered(1, 13_000))
    found = ids_of([first, *pages])

    alive = {str(n) for n in range(10, 30)} - {"10", "14", "15", "20"}
    assert alive <= set(found)
    assert len(found) == len(set(found))
    assert "13000" in found


def test_documents_become_plain_values(site: MongoSite, tools: Written) -> None:
    tools.insert(
        {
            "_id": OID,
            "name": "drill",
            "price": Decimal128("12.50"),
            "weight": 1.5,
            "parts": Int64(2**40),
            "made": datetime(2026, 5, 1, 12, 30, tzinfo=UTC),
            "far": DatetimeMS(253_402_300_800_000),
            "owner": ObjectId("65f000000000000000000009"),
            "code": A_UUID,
            "image": b"\x00\x01",
            "none": None,
            "is_sold": True,
            "tags": [{"name": "a", "ref": OID}],
            "pattern": Regex("^a"),
            "stamp": Timestamp(0, 1),
        }
    )

    [record] = pages_of(site.origin())[0].records

    assert record == {
        "_id": str(OID),
        "name": "drill",
        "price": Decimal("12.50"),
        "weight": 1.5,
        "parts": 2**40,
        "made": datetime(2026, 5, 1, 12, 30, tzinfo=UTC),
        "far": "+10000-01-01T00:00:00+00:00",
        "owner": "65f000000000000000000009",
        "code": str(A_UUID),
        "image": b"\x00\x01",
        "none": None,
        "is_sold": True,
        "tags": [{"name": "a", "ref": str(OID)}],
        "pattern": "/^a/",
        "stamp": "1970-01-01T00:00:00+00:00",
    }


def test_after_the_first_page_only_mapped_fields_are_fetched(
    site: MongoSite, tools: Written
) -> None:
    tools.insert(*[{"_id": n, "name": "a", "other": "b"} for n in range(4)])

    first, second = pages_of(site.origin(page_size=3))

    assert first.records[0] == {"_id": "0", "name": "a", "other": "b"}
    assert second.records[0] == {"_id": "3", "name": "a"}


def test_a_missing_collection_is_no_empty_one(site: MongoSite) -> None:
    site.collection("clients").insert({"_id": 1})
    site.collection("orders").insert({"_id": 1})

    with pytest.raises(OriginConfigurationError, match=r"no collection 'tools'.* clients, orders"):
        pages_of(site.origin())


def test_a_missing_database_is_no_empty_one(site: MongoSite) -> None:
    with pytest.raises(OriginConfigurationError, match=r"'nowhere'.* has no collection .* none"):
        pages_of(site.origin(database="nowhere"))


def test_a_collection_that_is_dropped_meanwhile_does_not_end_the_pass(
    site: MongoSite, tools: Written
) -> None:
    tools.insert(*numbered(*range(10)))
    site.collection("clients").insert({"_id": 1})
    pages = site.origin().pages(since=None, start=None)
    next(pages)

    tools.drop()

    with pytest.raises(OriginConfigurationError, match="has no collection 'tools'"):
        list(pages)


def test_a_collection_that_is_replaced_meanwhile_is_read_from_its_beginning(
    site: MongoSite, tools: Written
) -> None:
    tools.insert(*numbered(*range(10, 20)))
    pages = site.origin().pages(since=None, start=None)
    first = next(pages)

    site.collection("new_tools").insert(*numbered(*range(20)))
    site.collection("new_tools").rename("tools")
    rest = list(pages)

    assert {str(n) for n in range(20)} <= set(ids_of([first, *rest]))
    assert [page.is_last for page in rest].count(True) == 1
    assert rest[-1].is_last


def test_another_origin_notices_that_the_collection_was_replaced(
    site: MongoSite, tools: Written
) -> None:
    tools.insert(*numbered(*range(10, 20)))
    resume = next(site.origin().pages(since=None, start=None)).resume
    tools.drop()
    tools.insert(*numbered(*range(20)))

    assert ids_of(pages_of(site.origin(), resume)) == [str(n) for n in range(20)]


# --- single documents -------------------------------------------------------------------


def test_every_document_is_found_by_the_text_of_its_id(site: MongoSite, tools: Written) -> None:
    tools.insert(*[{"_id": key, "name": str(n)} for n, key in enumerate(IN_ORDER)])
    origin = site.origin(page_size=100)
    [page] = pages_of(origin)

    found = {it.key: it.record for it in origin.look_up(ids_of([page]))}

    # 7 and "7" are one record, and of the two the later one counts.
    expected = {record["_id"]: record for record in page.records}  # type: ignore[index]  # documents
    assert found == expected
    assert len(found) == len(IN_ORDER) - 1


def test_what_is_not_there_is_said_to_be_gone(site: MongoSite, tools: Written) -> None:
    tools.insert({"_id": OID}, {"_id": 7, "name": "seven"})
    keys = ["65f0000000000000000000ff", "7", "8", str(OID), "x", " 7", '{"$gt": ""}', '{"a": 1}']

    found = list(site.origin().look_up(keys))

    assert [it.key for it in found] == keys
    assert {it.key for it in found if it.record is not None} == {"7", str(OID)}


def test_nothing_is_gone_because_its_collection_is(site: MongoSite, tools: Written) -> None:
    tools.insert({"_id": 1})
    origin = site.origin()
    assert [it.record for it in origin.look_up(["1"])] == [{"_id": "1"}]
    tools.drop()

    with pytest.raises(OriginConfigurationError, match="has no collection 'tools'"):
        list(origin.look_up(["1"]))


def test_more_documents_than_one_question_takes_are_looked_up(
    site: MongoSite, tools: Written
) -> None:
    tools.insert(*numbered(*range(250)))

    found = list(site.origin().look_up([str(n) for n in range(260)]))

    assert [it.record is None for it in found] == [n >= 250 for n in range(260)]


# --- changes ----------------------------------------------------------------------------


def changed(stream: Iterator[ChangeHints], count: int) -> set[str]:
    """So many keys, in however many hints they come."""
    keys: set[str] = set()
    for hints in itertools.islice(stream, 20):
        assert hints.needs_full_pass is None
        keys |= hints.keys
        if len(keys) >= count:
            break
    return keys


def test_the_first_hints_say_from_where_on_changes_are_told(
    site: MongoSite, tools: Written
) -> None:
    tools.insert({"_id": 1})

    with site.origin().follow(None, wait_seconds=QUIET) as stream:
        first = next(stream)
        quiet = next(stream)

    assert (first.keys, first.needs_full_pass) == (frozenset(), None)
    assert first.token
    assert quiet.keys == frozenset()


def test_every_kind_of_change_is_told_by_its_key_alone(site: MongoSite, tools: Written) -> None:
    tools.insert(*numbered(1, 2, 3), {"_id": OID})

    with site.origin().follow(None, wait_seconds=QUIET) as stream:
        next(stream)
        tools.insert({"_id": "new"})
        tools.update(1, {"name": "other"})
        tools.replace(2, {"name": "another"})
        tools.delete(3, OID)

        assert changed(stream, 5) == {"new", "1", "2", "3", str(OID)}


def test_changes_of_another_collection_are_not_told(site: MongoSite, tools: Written) -> None:
    tools.insert({"_id": 1})

    with site.origin().follow(None, wait_seconds=QUIET) as stream:
        next(stream)
        site.collection("clients").insert({"_id": 2})
        tools.insert({"_id": 3})

        assert changed(stream, 1) == {"3"}


def test_another_origin_follows_from_a_token(site: MongoSite, tools: Written) -> None:
    tools.insert({"_id": 1})
    with site.origin().follow(None, wait_seconds=QUIET) as stream:
        token = next(stream).token
    tools.insert(*numbered(2, 3))

    with site.origin().follow(token, wait_seconds=QUIET) as stream:
        assert changed(stream, 2) == {"2", "3"}
        behind = next(stream).token
    with site.origin().follow(behind, wait_seconds=QUIET) as stream:
        assert next(stream).keys == frozenset()


def test_a_token_lies_behind_the_changes_that_came_with_it(site: MongoSite, tools: Written) -> None:
    tools.insert({"_id": 0})
    with site.origin().follow(None, wait_seconds=QUIET) as stream:
        token = next(stream).token
    tools.insert(*numbered(*range(1, 700)))

    keys: list[str] = []
    while True:
        with site.origin().follow(token, wait_seconds=QUIET) as stream:
            hints = next(stream)
        if not hints.keys:
            break
        assert len(hints.keys) <= 500
        keys += hints.keys
        token = hints.token

    assert sorted(map(int, keys)) == list(range(1, 700))


def test_the_token_of_a_quiet_collection_moves_with_the_deployment(
    site: MongoSite, tools: Written
) -> None:
    tools.insert({"_id": 1})
    with site.origin().follow(None, wait_seconds=QUIET) as stream:
        first = next(stream)
        site.collection("clients").insert({"_id": 2})
        later = next(stream)

    assert later.keys == frozenset()
    assert later.token["resume"]["_data"] > first.token["resume"]["_data"]


@pytest.mark.parametrize("how", ["drop", "rename", "renamed to"])
def test_what_ends_a_collection_asks_for_a_full_pass_and_following_goes_on(
    site: MongoSite, tools: Written, how: str
) -> None:
    tools.insert({"_id": 1})
    site.collection("other").insert({"_id": 2})
    with site.origin().follow(None, wait_seconds=QUIET) as stream:
        before = next(stream)
        match how:
            case "drop":
                tools.drop()
            case "rename":
                tools.rename("old_tools")
            case _:
                site.collection("other").rename("tools")
        ended = next(hints for hints in stream if hints.needs_full_pass)
        site.collection("tools").insert({"_id": 3})
        assert changed(stream, 1) == {"3"}

    assert ended.needs_full_pass is not None
    assert "the collection was" in ended.needs_full_pass
    assert ended.token["resume"]["_data"] > before.token["resume"]["_data"]
    with site.origin().follow(ended.token, wait_seconds=QUIET) as stream:
        assert changed(stream, 1) == {"3"}


def test_a_drop_that_nobody_heard_is_heard_from_the_old_token(
    site: MongoSite, tools: Written
) -> None:
    tools.insert({"_id": 1})
    with site.origin().follow(None, wait_seconds=QUIET) as stream:
        token = next(stream).token
    tools.drop()

    with site.origin().follow(token, wait_seconds=QUIET) as stream:
        hints = next(stream)

    assert hints.needs_full_pass is not None


def test_a_token_that_is_none_asks_for_a_full_pass(site: MongoSite, tools: Written) -> None:
    tools.insert({"_id": 1})
    token = {"resume": {"_data": "no token at all"}}

    with site.origin().follow(token, wait_seconds=QUIET) as stream:
        hints = next(stream)
        tools.insert({"_id": 2})
        assert changed(stream, 1) == {"2"}

    assert hints.needs_full_pass is not None


def test_a_document_that_is_read_after_a_hint_is_as_new_as_the_hint(
    site: MongoSite, tools: Written
) -> None:
    tools.insert({"_id": 1, "name": "old"})
    origin = site.origin()

    with origin.follow(None, wait_seconds=QUIET) as stream:
        next(stream)
        tools.update(1, {"name": "new"})
        keys = changed(stream, 1)
        [sighting] = origin.look_up(sorted(keys))

    assert sighting.record == {"_id": "1", "name": "new"}


def test_following_stops_when_asked_to(site: MongoSite, tools: Written) -> None:
    tools.insert({"_id": 1})
    asked = itertools.count()

    with (
        site.origin().follow(None, wait_seconds=60) as stream,
        stoppable(lambda: next(asked) > 4),
        pytest.raises(StoppedError, match="stopped"),
    ):
        list(stream)


# --- for people -------------------------------------------------------------------------


def test_it_says_what_is_there(site: MongoSite, tools: Written) -> None:
    tools.insert(
        {"_id": 1, "name": "drill", "price": 5, "colour": "red"},
        {"_id": 2, "name": "saw", "price": "12,50"},
    )

    told = "\n".join(site.origin().examine(TOOLS))

    assert "replica set" in told
    assert "about 2 documents" in told
    assert "price" in told
    assert "12,50" in told
    assert "colour" in told
    assert "change stream can be read" in told


def test_closing_twice_is_no_error(site: MongoSite, tools: Written) -> None:
    tools.insert({"_id": 1})
    origin = site.origin()
    pages_of(origin)

    origin.close()
    origin.close()
