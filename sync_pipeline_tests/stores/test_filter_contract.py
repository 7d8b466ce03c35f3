"""What filters find, asked of every store with the same values.

The stores "memory" and "stub" are qdrant-client's local mode, which compares whole
numbers with a range as Python does; Edge and a server make a float64 of them first.
The conditions are made so that both answer alike.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Final

import pytest

from sync_pipeline.cli.filters import parse_filters
from sync_pipeline.core.filters import Filters, FilterValue, Range
from sync_pipeline.core.hashing import point_id
from sync_pipeline.core.json_path import format_path, parse_path
from sync_pipeline.core.ports import VectorStore
from sync_pipeline_tests.fakes.filters import meets
from sync_pipeline_tests.stores.samples import COLLECTION, make_point, search

# The in-memory client says so once per process.
pytestmark = pytest.mark.filterwarnings("ignore:Payload indexes have no effect:UserWarning")

FIELD: Final = "v"
SCOPES: Final = ("acme", "global")
FILTERS_TRIED: Final = 300

Labels = list[str]


def put(store: VectorStore, values: Mapping[str, object]) -> dict[str, str]:
    """Store a point per label, without the field where the label is ``absent``; labels by id."""
    labels = {}
    points = []
    for number, (label, value) in enumerate(values.items()):
        point = make_point(number)
        labels[point.point_id] = label
        fields = {} if label == "absent" else {FIELD: value}
        points.append(replace(point, payload={**point.payload, **fields}))
    # The same values again, for somebody else.
    others = [
        replace(
            point,
            point_id=point_id(f"other-{point.point_id}"),
            payload={**point.payload, "scope_key": "globex"},
        )
        for point in points
    ]
    store.upsert(COLLECTION, [*points, *others])
    return labels


def find(
    store: VectorStore,
    filters: Filters,
    *,
    scope_keys: Sequence[str] = ("acme",),
    words: Mapping[int, float] | None = None,
) -> list[str]:
    query = replace(
        search(limit=1_000, scope_keys=scope_keys, words=words),
        equals=filters.equals,
        ranges=filters.ranges,
        excluded=filters.excluded,
    )
    return sorted(point.point_id for _, point in store.query(COLLECTION, query))


@dataclass(frozen=True)
class Table:
    """Payload values by label, and per filter (words of a command line) the labels found."""

    values: Mapping[str, object]
    found: Mapping[str, Labels]


NUMBERS = Table(
    {
        "float": 42.0,
        "integer": 42,
        "text": "42",
        "zeros": "00042",
        "half": 12.5,
        "twelve": 12.0,
        "tenth": 12.1,
        "minus": -7,
        "zero": 0,
        "minus zero": -0.0,
        "true": True,
        "one": 1,
        "null": None,
        "absent": ...,
    },
    {
        "v=42": ["float", "integer", "text"],
        "v=42.0": ["float", "integer"],
        "v=4.2e1": ["float", "integer"],
        "v=00042": ["zeros"],
        "v=12.5": ["half"],
        "v=12.50": ["half"],
        "v=12": ["twelve"],
        "v=12.1": ["tenth"],
        "v=12.10000000000000000000000000001": [],
        "v=0": ["zero", "minus zero"],
        "v=-0.0": ["zero", "minus zero"],
        "v=-7": ["minus"],
        "v=1": ["one"],
        "v=true": ["true"],
        "v=42 v=12.5": ["float", "integer", "text", "half"],
        "v>12.1": ["float", "integer", "half"],
        "v>=12.1": ["float", "integer", "half", "tenth"],
        "v<0": ["minus"],
        "v<=0": ["minus", "zero", "minus zero"],
        "v>=1 v<=12": ["twelve", "one"],
        "v>=1 v>=12.4": ["float", "integer", "half"],
        "v>5 v<1": [],
        "v=42 v>1": ["float", "integer"],
        "v>-1e400": ["float", "integer", "half", "twelve", "tenth", "minus", "zero", "minus zero",
                     "one"],
        "v<=-1e400": [],
        "v!=42": ["zeros", "half", "twelve", "tenth", "minus", "zero", "minus zero", "true", "one",
                  "null", "absent"],
        "v>=0 v!=42 v!=12": ["half", "tenth", "zero", "minus zero", "one"],
        "v=null": ["null", "absent"],
        "v!=null v<=0": ["minus", "zero", "minus zero"],
    },
)  # fmt: skip

LARGE = Table(
    {
        "...991": 9007199254740991,
        "...992": 9007199254740992,
        "...992.0": 9007199254740992.0,
        "...993": 9007199254740993,
        "...994": 9007199254740994,
        "last": 2**63 - 1,
        "first": -(2**63),
        "text": "12345678901234567890",
        "e18": 1e18,
        "e18+1": 10**18 + 1,
        "e300": 1e300,
        "sixteen digits": 1234567890123456.0,
        "sixteen digits, whole": 1234567890123457,
    },
    {
        "v=9007199254740991": ["...991"],
        "v=9007199254740992": ["...992", "...992.0"],
        "v=9007199254740993": ["...993"],
        "v=9007199254740994": ["...994"],
        "v=9223372036854775807": ["last"],
        "v=9223372036854775808": [],
        "v=-9223372036854775808": ["first"],
        "v=12345678901234567890": ["text"],
        "v=1000000000000000000": ["e18"],
        "v=1e18": ["e18"],
        "v=1000000000000000001": ["e18+1"],
        "v=1e300": ["e300"],
        "v=1234567890123456": ["sixteen digits"],
        "v=1234567890123457": ["sixteen digits, whole"],
        "v>9007199254740992 v<1e18": ["...993", "...994"],
        "v>=9007199254740993 v<=9007199254740993": ["...993"],
        "v<9007199254740993 v>=9007199254740991": ["...991", "...992", "...992.0"],
        "v>=1e18 v<1000000000000000001": ["e18"],
        "v>1e18 v<1e19": ["e18+1", "last"],
        "v>9223372036854775806": ["last", "e300"],
        "v>9223372036854775807": ["e300"],
        "v<=-9223372036854775808": ["first"],
        "v<-9223372036854775808": [],
        "v>1e300": [],
        "v!=9007199254740993 v>9007199254740991 v<=9007199254740994":
            ["...992", "...992.0", "...994"],
    },
)  # fmt: skip

DATES = Table(
    {
        "day": "2026-01-02",
        "next day": "2026-01-03",
        "local": "2026-01-02T03:04:05",
        "utc": "2026-01-02T03:04:05+00:00",
        "the same in Moscow": "2026-01-02T06:04:05+03:00",
        "in Moscow already": "2026-01-02T01:00:00+03:00",
        "fraction": "2026-01-02T23:59:59.999999+00:00",
        "midnight": "2026-01-03T00:00:00+00:00",
        "year 1": "0001-01-01",
        "year 9999": "9999-12-31T23:59:59.999999+00:00",
        "infinity": "infinity",
        "BC": "0044-03-15 BC",
        "far": "12026-01-02",
        "month": "2026-01",
        "clock": "03:04:05",
        "number": 20260102,
    },
    {
        "v=2026-01-02":
            ["day", "local", "utc", "the same in Moscow", "fraction"],
        "v=2026-01-02T03:04:05": ["local", "utc", "the same in Moscow"],
        "v=2026-01-02T03:04:05Z": ["local", "utc", "the same in Moscow"],
        "v=2026-01-02T03:04:05+00:00": ["local", "utc", "the same in Moscow"],
        "v=2026-01-02T06:04:05+03:00": ["local", "utc", "the same in Moscow"],
        "v=2026-01-02T23:59:59.999999Z": ["fraction"],
        "v=2026-01-03": ["next day", "midnight"],
        "v=infinity": ["infinity"],
        "v=0044-03-15 BC": ["BC"],
        "v=12026-01-02": ["far"],
        "v=2026-01": ["month"],
        "v=03:04:05": ["clock"],
        "v=20260102": ["number"],
        "v>=2026-01-03": ["next day", "midnight", "year 9999"],
        "v>2026-01-02": ["next day", "midnight", "year 9999"],
        "v<2026-01-02": ["in Moscow already", "year 1"],
        "v<=2026-01-02":
            ["day", "local", "utc", "the same in Moscow", "in Moscow already", "fraction",
             "year 1"],
        "v<2026-01-02T10:00:00Z v>=2026-01-01":
            ["day", "local", "utc", "the same in Moscow", "in Moscow already"],
        "v>2026-01-02T03:04:05Z v<2026-01-04": ["next day", "fraction", "midnight"],
        "v>9999-12-30": ["year 9999"],
        "v>9999-12-31": [],
        "v<=9999-12-31 v>2026-01-03": ["year 9999"],
        "v!=2026-01-02 v<2026-01-04":
            ["next day", "in Moscow already", "midnight", "year 1"],
    },
)  # fmt: skip

TEXTS = Table(
    {
        "plain": "kg",
        "case": "KG",
        "blank": "kg ",
        "spaced": "a b = c",
        "signs": "a>=b",
        "empty": "",
        "true": "true",
        "boolean": True,
        "null": "null",
        "nothing": None,
        "emoji": "т–🏗\u200d",
        "quote": 'say "x"',
        "brackets": "{x}",
    },
    {
        "v=kg": ["plain"],
        "v=KG": ["case"],
        "v=kg\N{SPACE}": ["blank"],
        "v=a b = c": ["spaced"],
        "v=a>=b": ["signs"],
        "v=": ["empty"],
        "v=true": ["true", "boolean"],
        "v=false": [],
        "v=null": ["null", "nothing"],
        "v=т–🏗\u200d": ["emoji"],
        'v=say "x"': ["quote"],
        "v={x}": ["brackets"],
        "v!=kg v!=true v!=null v!=": [
            "case", "blank", "spaced", "signs", "emoji", "quote", "brackets"],
    },
)  # fmt: skip

LISTS = Table(
    {
        "texts": ["a", "b"],
        "numbers": [1.5, 2],
        "wide": [0, 10],
        "dates": ["2026-01-02", "2027-01-01"],
        "mixed": [None, True, "a"],
        "single": "a",
        "number": 1.5,
        "empty": [],
        "holds null": [None],
        "nested": [["a"], [1.5]],
        "null": None,
        "absent": ...,
        "objects": [{"k": 1}, {"k": 2}],
    },
    {
        "v=a": ["texts", "mixed", "single"],
        "v=b": ["texts"],
        "v=1.5": ["numbers", "number"],
        "v=2": ["numbers"],
        "v=true": ["mixed"],
        "v>1 v<2": ["numbers", "number"],
        "v>=2027-01-01": ["dates"],
        "v=null": ["empty", "null", "absent"],
        "v!=null v!=a": ["numbers", "wide", "dates", "number", "holds null", "nested", "objects"],
        "v[0]=a": ["texts", "nested"],
        "v[1]=b": ["texts"],
        "v[]=a": ["texts", "mixed", "nested"],
        "v[0][0]=a": ["nested"],
        "v[].k=2": ["objects"],
        "v[1].k=2": ["objects"],
        "v[1].k>1": ["objects"],
        "v.k=2": [],
    },
)  # fmt: skip

OBJECTS = Table(
    {
        "number": {"imei": 356938035643809},
        "text": {"imei": "356938035643809"},
        "odd keys": {"a.b": {"c[0]": 1}, "": 2, "серийный номер": 3, "x=y": 4},
        "deep": {"size": {"w": 2.5, "h": [1, 2]}, "made": "2026-01-02"},
        "null": {"imei": None},
        "other": {"imei2": 1},
        "text itself": "x",
        "absent": ...,
    },
    {
        "v.imei=356938035643809": ["number", "text"],
        "v.imei>1": ["number"],
        "v.imei=null": ["odd keys", "deep", "null", "other", "text itself", "absent"],
        "v.imei!=null": ["number", "text"],
        'v."imei"=356938035643809': ["number", "text"],
        'v."a.b"."c[0]"=1': ["odd keys"],
        "v.a.b=1": [],
        'v.""=2': ["odd keys"],
        'v."серийный номер"=3': ["odd keys"],
        "v.серийный номер=3": ["odd keys"],
        'v."x=y"=4': ["odd keys"],
        "v.size.w>=2.5": ["deep"],
        "v.size.h=2": ["deep"],
        "v.size.h[0]=2": [],
        "v.made<2026-02-01": ["deep"],
        "v=x": ["text itself"],
        "v.imei2=1": ["other"],
    },
)  # fmt: skip


@pytest.mark.parametrize(
    "table",
    [
        pytest.param(NUMBERS, id="numbers"),
        pytest.param(LARGE, id="large numbers"),
        pytest.param(DATES, id="dates"),
        pytest.param(TEXTS, id="texts"),
        pytest.param(LISTS, id="lists"),
        pytest.param(OBJECTS, id="objects"),
    ],
)
@pytest.mark.parametrize(
    "words", [pytest.param(None, id="one ranking"), pytest.param({1: 1.0}, id="fused")]
)
def test_a_value_that_is_shown_is_found_by_it(
    store: VectorStore, table: Table, words: Mapping[int, float] | None
) -> None:
    labels = put(store, table.values)

    found = {asked: find(store, _filters(asked), words=words) for asked in table.found}

    assert {asked: {labels[one] for one in ids} for asked, ids in found.items()} == {
        asked: set(expected) for asked, expected in table.found.items()
    }


def _filters(words: str) -> Filters:
    """Read filters that are parted by a blank before each field."""
    return _by_path(parse_filters(f"{FIELD}{part}" for part in f" {words}".split(f" {FIELD}")[1:]))


def _by_path(filters: Filters) -> Filters:
    """As the engine hands it to a store."""

    def spelled(named: Mapping[str, object]) -> dict[str, object]:
        return {format_path(parse_path(path)): values for path, values in named.items()}

    return Filters(
        equals=spelled(filters.equals),  # type: ignore[arg-type]  # the same values
        ranges=spelled(filters.ranges),  # type: ignore[arg-type]
        excluded=spelled(filters.excluded),  # type: ignore[arg-type]
    )


@pytest.mark.slow
def test_a_float_is_found_though_an_engine_stores_the_one_beside_it(store: VectorStore) -> None:
    choose = random.Random(64)  # noqa: S311 - a test's own dice
    values = {
        str(number): choose.random()
        * 10.0 ** choose.choice([-310, -300, -20, -3, 0, 6, 15, 17, 200])
        for number in range(150)
    }
    labels = put(store, values)

    def lost() -> list[float]:
        return [
            value
            for label, value in values.items()
            if label
            not in {
                labels[one]
                for filters in (
                    Filters(equals={FIELD: [value]}),
                    Filters(ranges={FIELD: [Range(gte=value, lte=value)]}),
                )
                for one in find(store, filters)
            }
        ]

    assert lost() == []
    store.optimize(COLLECTION)
    assert lost() == []


# --- random filters over random payloads ------------------------------------------------

_DAY: Final = date(2026, 1, 2)
_NAIVE: Final = datetime.fromisoformat("2026-01-02T03:04:05")
_VALUES: Final[list[FilterValue]] = [
    "a", "b", "", "42", "true", "2026-01-02", "2026-01-02T03:04:05+00:00", True, False,
    0, 1, 42, -7, 2**53, 2**53 + 1, 2**63 - 1, 0.0, 12.5, 12.1, 42.0, 2.0**53, 1e18, 1e300,
]  # fmt: skip
_ASKED: Final[list[FilterValue]] = [
    *_VALUES, None, Decimal("12.50"), Decimal("12.11"), 10**18 + 1, _DAY,
    datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), _NAIVE, 2**80,
]  # fmt: skip
_BOUNDS: Final = [
    [0, 1, 12.1, Decimal("12.5"), 42, 2**53, 2**53 + 1, 2**63, -(10**400), 10**400],
    [_DAY, _DAY + timedelta(1), datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), _NAIVE],
]
_PATHS: Final = ["v", "w", "v.k", 'v."a.b"', "v[]", "v[0]", "absent"]


def _payload_value(choose: random.Random) -> object:
    kind = choose.randrange(6)
    if kind == 0:
        return choose.choice([None, [], {}])
    if kind == 1:
        # No large numbers: a list that holds ...992.0 and ...993 hides one behind the other.
        return [
            value
            for value in choose.choices(_VALUES, k=3)
            if not isinstance(value, int | float) or abs(value) < 2**53
        ]
    if kind == 2:
        return {"k": choose.choice(_VALUES), "a.b": choose.choice(_VALUES)}
    return choose.choice(_VALUES)


def _random_filters(choose: random.Random) -> Filters:
    def some(options: Callable[[], object]) -> dict[str, list[object]]:
        return {
            choose.choice(_PATHS): [options() for _ in range(choose.randint(1, 2))]
            for _ in range(choose.choice([0, 0, 1, 1, 2]))
        }

    def wanted() -> Range:
        bounds = choose.choice(_BOUNDS)
        sides = choose.sample(["gt", "gte", "lt", "lte"], k=choose.randint(1, 2))
        return Range(**{side: choose.choice(bounds) for side in sides})  # type: ignore[arg-type]

    return Filters(
        equals=some(lambda: choose.choice(_ASKED)),  # type: ignore[arg-type]  # filter values
        ranges=some(wanted),  # type: ignore[arg-type]
        excluded=some(lambda: choose.choice(_ASKED)),  # type: ignore[arg-type]
    )


@pytest.mark.slow
def test_random_filters_find_what_they_mean_and_nothing_of_another_scope(
    store: VectorStore,
) -> None:
    choose = random.Random(45)  # noqa: S311 - a test's own dice
    points = [
        replace(point, payload={**point.payload, **fields})
        for number in range(150)
        for point in [make_point(number, scope_key=choose.choice([*SCOPES, "globex", "initech"]))]
        for fields in [{name: _payload_value(choose) for name in choose.sample("vw", k=1)}]
    ]
    store.upsert(COLLECTION, points)
    hits = 0

    for number in range(FILTERS_TRIED):
        filters = _random_filters(choose)
        expected = sorted(
            point.point_id
            for point in points
            if point.payload["scope_key"] in SCOPES and meets(point.payload, filters)
        )
        words = {1: 1.0} if number % 2 else None
        assert find(store, filters, scope_keys=SCOPES, words=words) == expected, filters
        hits += len(expected)

    assert hits > FILTERS_TRIED
