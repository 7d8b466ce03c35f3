"""Cases numeric-filter and attribute-json: what a search shows can be asked for.

Scenario S64, from the columns of a real PostgreSQL to the words of a command line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import pytest
from sqlalchemy import Engine

from sync_pipeline.cli.filters import parse_filters
from sync_pipeline.core.errors import ConfigurationError
from sync_pipeline.core.scope import Scope
from sync_pipeline.engine.questions.search import SearchRequest, search
from sync_pipeline.settings import Settings
from sync_pipeline_tests.reliability.site import Site

Find = Callable[..., list[str]]

SETTINGS: Final = Settings.model_validate(
    {
        "entities": [
            {
                "name": "part",
                "table": "parts",
                "id": "part_id",
                "tenant": "dept_id",
                "views": {"text": ["descr"]},
                "payload": {
                    "groupId": "group_id",
                    "ean": "ean",
                    "weight": "weight",
                    "inStock": "in_stock",
                    "artNo": "art_no",
                    "price": "price",
                    "sold": "sold",
                    "madeAt": "made_at",
                    "seenAt": "seen_at",
                    "tags": "tags",
                    "sizes": "sizes",
                    "attributes": "attributes",
                },
            }
        ]
    }
)
PARTS: Final = """
CREATE TABLE parts (
    part_id numeric(10,0) PRIMARY KEY, dept_id numeric(10,0) NOT NULL, is_global boolean,
    descr text NOT NULL, group_id numeric NOT NULL, ean numeric(20,0), weight numeric(8,2),
    in_stock boolean, art_no text, price double precision, sold date, made_at timestamptz,
    seen_at timestamp, tags text[], sizes numeric[], attributes jsonb
)
"""
ROWS: Final = """
INSERT INTO parts VALUES
 (1, 10, false, 'Hex bolt M8', 42, 9007199254740993, 12.50, true, '00042', 0.1,
  '2026-01-02', '2026-01-02 03:04:05+00', '2026-01-02 03:04:05', '{a,b}', '{1.5,2}',
  '{"imei": 356938035643809, "made": "2026-01-02", "a.b": {"c[0]": 1}, "": 2}'),
 (2, 10, false, 'Hex nut M8', 43, 12345678901234567890, 12.00, false, '42', 100,
  'infinity', '2026-01-02 12:00:00+00', '2026-01-03', '{b c}', '{}',
  '{"imei": "356938035643809", "made": null}'),
 (3, 10, false, 'Washer M8', 42.5, NULL, NULL, true, 'x=1', NULL,
  '0044-03-15 BC', NULL, NULL, NULL, NULL, '["x"]'),
 (4, 20, false, 'Somebody else''s bolt M8', 42, 9007199254740993, 12.50, true, '00042', 0.1,
  '2026-01-02', '2026-01-02 03:04:05+00', '2026-01-02 03:04:05', '{a,b}', '{1.5,2}',
  '{"imei": 356938035643809}')
"""


@pytest.fixture
def find(engine: Engine, tmp_path: Path) -> Iterator[Find]:
    """Search as department 10 with the filters of a command line; the row ids found."""
    (part,) = SETTINGS.core_entities
    site = Site(engine, tmp_path, entity=part)
    site.sql(PARTS, ROWS)
    for key in ("10", "20"):
        assert site.run(key).status == "success"

    def find(*words: str) -> list[str]:
        wanted = parse_filters(words)
        request = SearchRequest(
            text="M8",
            filters=wanted.equals,
            ranges=wanted.ranges,
            excluded=wanted.excluded,
        )
        hits = search(site.sync, scope=Scope("10"), request=request).hits
        return sorted(str(hit.payload["dbId"]) for hit in hits)

    with site.store():
        yield find


EVERY: Final = ["1", "2", "3"]
EXPECTED: Final[list[tuple[str, Sequence[str]]]] = [
    ("groupId=42", ["1"]),
    ("groupId=42.0", ["1"]),
    ("groupId=42.5", ["3"]),
    ("groupId>42", ["2", "3"]),
    ("weight=12", ["2"]),
    ("weight=12.5", ["1"]),
    ("weight=12.50", ["1"]),
    ("weight>=12 weight<12.5", ["2"]),
    ("weight>=12 weight<=12.5", ["1", "2"]),
    ("weight=null", ["3"]),
    ("weight!=12.5", ["2", "3"]),
    ("price=0.1", ["1"]),
    ("price>=100", ["2"]),
    ("price<100", ["1"]),
    ("inStock=true", ["1", "3"]),
    ("inStock=false", ["2"]),
    ("inStock!=true", ["2"]),
    ("artNo=00042", ["1"]),
    ("artNo=42", ["2"]),
    ("artNo=x=1", ["3"]),
    ("artNo=00042 artNo=42", ["1", "2"]),
    ("ean=null", ["3"]),
    ("sold=2026-01-02", ["1"]),
    ("sold>=2026-01-01", ["1"]),
    ("sold<2026-01-02", []),
    ("sold=infinity", ["2"]),
    ("sold=0044-03-15 BC", ["3"]),
    ("madeAt=2026-01-02", ["1", "2"]),
    ("madeAt=2026-01-02T03:04:05Z", ["1"]),
    ("madeAt=2026-01-02T06:04:05+03:00", ["1"]),
    ("madeAt>=2026-01-01", ["1", "2"]),
    ("madeAt<2026-01-02T10:00:00Z", ["1"]),
    ("madeAt<=2026-01-02", ["1", "2"]),
    ("madeAt>2026-01-02", []),
    ("seenAt=2026-01-02T03:04:05", ["1"]),
    ("seenAt>2026-01-02", ["2"]),
    ("tags=b", ["1"]),
    ("tags=b c", ["2"]),
    ("tags[0]=a", ["1"]),
    ("tags=null", ["3"]),
    ("sizes=2", ["1"]),
    ("sizes>1 sizes<2", ["1"]),
    ("sizes=null", ["2", "3"]),
    ("attributes.imei=356938035643809", ["1", "2"]),
    ("attributes.imei>=356938035643809", ["1"]),
    ("attributes.made<2026-02-01", ["1"]),
    ("attributes.made=null", ["2", "3"]),
    ('attributes."a.b"."c[0]"=1', ["1"]),
    ('attributes.""=2', ["1"]),
    ("attributes=x", ["3"]),
]


def test_s64_what_a_payload_shows_is_found_equal_or_in_a_range(find: Find) -> None:
    assert find() == EVERY
    found = {words: find(*_split(words)) for words, _ in EXPECTED}

    assert found == dict(EXPECTED)


def test_s64_a_number_of_many_digits_is_found_and_no_other(find: Find) -> None:

    assert find("ean=9007199254740993") == ["1"]
    assert find("ean=9007199254740992") == []
    assert find("ean>=9007199254740993") == ["1"]
    assert find("ean>9007199254740993") == []
    assert find("ean=12345678901234567890") == ["2"]
    assert find("ean=12345678901234567891") == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        pytest.param("nosuch=1", r"cannot filter on nosuch; .* are artNo, attributes", id="field"),
        pytest.param("nosuch.a>1", "cannot filter on nosuch", id="path"),
        pytest.param("tenantId=20", "cannot filter on tenantId", id="the owner"),
        pytest.param('"scope_key"!=10', "cannot filter on scope_key", id="the scope, quoted"),
        pytest.param("artNo>=42", "no range of numbers can find anything by artNo", id="text"),
        pytest.param("weight>2026-01-01", "no range of dates can", id="dates of a number"),
        pytest.param("artNo>=a=b", "'a=b' is no bound of a range", id="range of texts"),
        pytest.param('attributes={"imei": 1}', "a whole JSON object", id="object"),
        pytest.param("attributes.a..b=1", "is no path", id="no path"),
    ],
)
def test_s64_what_cannot_be_asked_is_an_error(find: Find, words: str, message: str) -> None:
    with pytest.raises((ConfigurationError, ValueError), match=message):
        find(words)


def _split(words: str) -> list[str]:
    """Filters of one field, parted by a blank before its name."""
    name = words[: min(words.find(sign) for sign in "=<>!" if sign in words)]
    return [f"{name}{rest}" for rest in f" {words}".split(f" {name}")[1:]]
