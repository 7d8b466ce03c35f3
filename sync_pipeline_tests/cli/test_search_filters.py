from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from sync_pipeline.cli.filters import parse_filters
from sync_pipeline.core.errors import ConfigurationError
from sync_pipeline.core.filters import Filters, Range


@pytest.mark.parametrize(
    ("words", "equals"),
    [
        pytest.param(["unit=kg"], {"unit": ["kg"]}, id="text"),
        pytest.param(["unit=kg", "unit=m2"], {"unit": ["kg", "m2"]}, id="alternatives"),
        pytest.param(["a=x", "b=y"], {"a": ["x"], "b": ["y"]}, id="two fields"),
        pytest.param(["code=-12"], {"code": ["-12", -12]}, id="number, or text like one"),
        pytest.param(["code=12.50"], {"code": ["12.50", Decimal("12.5")]}, id="decimal"),
        pytest.param(["code=1e3"], {"code": ["1e3", 1000]}, id="number with an exponent"),
        pytest.param(["code=00042"], {"code": ["00042"]}, id="leading zeros are text"),
        pytest.param(["code=+42"], {"code": ["+42"]}, id="a plus is text"),
        pytest.param(["code= 42"], {"code": [" 42"]}, id="a blank is text"),
        pytest.param(["code = 42"], {"code": ["42", 42]}, id="blanks around the sign"),
        pytest.param(["sold=true"], {"sold": ["true", True]}, id="truth, or the word"),
        pytest.param(["sold=True"], {"sold": ["True"]}, id="another spelling is text"),
        pytest.param(["sold=null"], {"sold": ["null", None]}, id="no value, or the word"),
        pytest.param(["day=2026-01-02"], {"day": ["2026-01-02", date(2026, 1, 2)]}, id="day"),
        pytest.param(
            ["at=2026-01-02T03:04:05z"],
            {"at": ["2026-01-02T03:04:05z", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)]},
            id="moment",
        ),
        pytest.param(["day=2026-02-30"], {"day": ["2026-02-30"]}, id="no such day is text"),
        pytest.param(["day=20260102"], {"day": ["20260102", 20260102]}, id="digits are no day"),
        pytest.param(["day=2026-W01-1"], {"day": ["2026-W01-1"]}, id="a week is no day"),
        pytest.param(["note=a=b"], {"note": ["a=b"]}, id="equals sign in the value"),
        pytest.param(["note=a>=b c"], {"note": ["a>=b c"]}, id="other signs in the value"),
        pytest.param(["note=\n"], {"note": ["\n"]}, id="line break in the value"),
        pytest.param(["note="], {"note": [""]}, id="empty value"),
        pytest.param(["note={x}"], {"note": ["{x}"]}, id="a bracket that opens no JSON"),
        pytest.param(
            ["code=9223372036854775808"],
            {"code": ["9223372036854775808", 2**63]},
            id="beyond 64 bits",
        ),
        pytest.param(["code=²"], {"code": ["²"]}, id="digit that is no number"),
        pytest.param(["code=NaN"], {"code": ["NaN"]}, id="what is no number is text"),
        pytest.param(['a."x=y>z"=1'], {'a."x=y>z"': ["1", 1]}, id="signs in a quoted key"),
    ],
)
def test_values_are_read_in_every_way_they_can_be_meant(
    words: list[str], equals: dict[str, list[Any]]
) -> None:
    assert parse_filters(words) == Filters(equals=equals)


def test_values_are_excluded_as_they_are_asked_for() -> None:
    assert parse_filters(["unit!=kg", "unit!=42", "unit=m2"]) == Filters(
        equals={"unit": ["m2"]}, excluded={"unit": ["kg", "42", 42]}
    )


@pytest.mark.parametrize(
    ("words", "ranges"),
    [
        pytest.param(["p>1"], {"p": [Range(gt=1)]}, id="more than"),
        pytest.param(["p>=100"], {"p": [Range(gte=100)]}, id="at least"),
        pytest.param(["p<9"], {"p": [Range(lt=9)]}, id="less than"),
        pytest.param(["p<=12.50"], {"p": [Range(lte=Decimal("12.5"))]}, id="at most"),
        pytest.param(["p >= 007"], {"p": [Range(gte=7)]}, id="leading zeros of a number"),
        pytest.param(["p>=-.5"], {"p": [Range(gte=Decimal("-0.5"))]}, id="no leading zero"),
        pytest.param(["p>=1", "p<5"], {"p": [Range(gte=1, lt=5)]}, id="both sides are one range"),
        pytest.param(["p>=1", "p>=5"], {"p": [Range(gte=1), Range(gte=5)]}, id="the same side"),
        pytest.param(["d>=2026-01-01"], {"d": [Range(gte=date(2026, 1, 1))]}, id="day"),
        pytest.param(
            ["d<2026-01-02T10:00:00Z"],
            {"d": [Range(lt=datetime(2026, 1, 2, 10, tzinfo=UTC))]},
            id="moment",
        ),
    ],
)
def test_ranges_are_read(words: list[str], ranges: dict[str, list[Range]]) -> None:
    assert parse_filters(words) == Filters(ranges=ranges)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        pytest.param("unit", "is not FIELD=VALUE", id="no value"),
        pytest.param("=kg", "is not FIELD=VALUE", id="no field"),
        pytest.param(" =kg", "is not FIELD=VALUE", id="blank field"),
        pytest.param("", "is not FIELD=VALUE", id="nothing"),
        pytest.param('a."b=1', "is not FIELD=VALUE", id="a quote that does not end"),
        pytest.param("name>=a=b", "'a=b' is no bound of a range", id="range of texts"),
        pytest.param("p>", "'' is no bound of a range", id="range without a bound"),
        pytest.param("p>=NaN", "'NaN' is no bound", id="range of what is no number"),
        pytest.param("p<Infinity", "'Infinity' is no bound", id="range without an end"),
        pytest.param("p>1,5", "'1,5' is no bound", id="decimal comma"),
        pytest.param("d>=2026-02-30", "'2026-02-30' is no date", id="no such day"),
        pytest.param('a={"b": 1}', "a whole JSON object or list", id="object"),
        pytest.param('a!=["b"]', "a whole JSON object or list", id="list"),
        pytest.param("a=\udcff", "is not Unicode", id="bytes that are no text"),
    ],
)
def test_what_cannot_be_asked_is_refused(word: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match="--filter") as refused:
        parse_filters([word])

    assert message in str(refused.value)


def test_a_range_of_numbers_and_dates_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="of numbers or of dates, not of both"):
        parse_filters(["p>=1", "p<2026-01-01"])
