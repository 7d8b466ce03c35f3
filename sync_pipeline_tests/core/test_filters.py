from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync_pipeline.core.conditions import MAX_CONDITIONS, Condition, Group, Numbers, plan_conditions
from sync_pipeline.core.filters import (
    MAX_FILTER_VALUES,
    Filters,
    Range,
    read_bound,
    readings,
)


@pytest.mark.parametrize(
    ("bounds", "message"),
    [
        pytest.param({}, "needs a bound", id="none"),
        pytest.param({"gt": 1, "lt": date(2026, 1, 1)}, "not of both", id="number and day"),
        pytest.param({"gt": True}, "not of bool", id="boolean"),
        pytest.param({"gt": "1"}, "not of str", id="text"),
        pytest.param({"gte": float("nan")}, "cannot compare with nan", id="no number"),
        pytest.param({"lt": float("inf")}, "cannot compare with inf", id="infinite"),
        pytest.param({"lt": Decimal("sNaN")}, "cannot compare with sNaN", id="decimal, none"),
    ],
)
def test_a_range_that_means_nothing_is_refused(bounds: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Range(**bounds)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        pytest.param("kg", "as a list, not as 'kg'", id="a text for a list of texts"),
        pytest.param([float("nan")], "cannot compare with nan", id="no number"),
        pytest.param([["kg"]], "cannot compare with a list", id="list"),
        pytest.param([b"kg"], "cannot compare with a bytes", id="bytes"),
        pytest.param(["\ud800"], "lone surrogate", id="no Unicode"),
        pytest.param(["kg"] * (MAX_FILTER_VALUES + 1), "name 1001 values", id="too many"),
    ],
)
def test_a_value_that_no_payload_holds_is_refused(values: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Filters(equals={"v": values})
    with pytest.raises(ValueError, match=message):
        Filters(excluded={"v": values})


def test_a_thousand_texts_are_one_condition_and_so_many_numbers_are_too_many() -> None:
    texts = Filters(equals={"v": [str(number) for number in range(MAX_FILTER_VALUES)]})
    numbers = Filters(equals={"v": list(range(MAX_CONDITIONS))})

    planned = plan_conditions(texts)

    assert planned is not None
    assert len(planned) == 1
    with pytest.raises(ValueError, match="take 402 conditions; one search may have 400"):
        plan_conditions(numbers)


@given(st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_as_it_is_shown_is_read_as_that_number(number: float) -> None:
    text, read = readings(str(number))

    assert text == str(number)
    assert isinstance(read, Decimal)
    assert (int(read) if isinstance(number, int) else float(read)) == number


@given(st.dates() | st.datetimes())
def test_a_moment_as_it_is_shown_is_read_as_that_moment(moment: date) -> None:
    assert readings(moment.isoformat()) == [moment.isoformat(), moment]
    assert read_bound(moment.isoformat()) == moment


@pytest.mark.parametrize(
    "text",
    [
        "", "NaN", "inf", "0x10", "1_000", "1,5", "٣", "12:00", "2026-13-01", "2026-01-02T25:00",
        "2026-01-02T00:00:00.0000001", "now", "1e99999", "--1",
    ],
)  # fmt: skip
def test_what_is_no_bound_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no bound of a range|is no date"):
        read_bound(text)
    assert readings(text) == [text]


def test_no_value_accepted_is_nothing_found_and_none_refused_is_no_condition() -> None:
    assert plan_conditions(Filters(equals={"v": []})) is None
    assert plan_conditions(Filters(excluded={"v": []})) == ()
    assert plan_conditions(Filters(excluded={"v": [2**80 + 1]})) == ()


def test_two_bounds_on_one_side_are_the_tighter_one() -> None:
    both = Range(gt=date(2026, 1, 1), gte=datetime(2026, 1, 3, tzinfo=UTC), lt=date(2026, 2, 1))
    tight = Range(gte=datetime(2026, 1, 3, tzinfo=UTC), lt=date(2026, 2, 1))

    assert plan_conditions(Filters(ranges={"v": [both]})) == plan_conditions(
        Filters(ranges={"v": [tight]})
    )


def test_a_filter_names_what_it_is_about() -> None:
    filters = Filters(
        equals={"a": [1]}, ranges={"b": [Range(gt=1)]}, excluded={"c": ["x"], "a": [2]}
    )

    assert filters.names == {"a", "b", "c"}


def test_a_float_that_no_decimal_of_that_length_is_compares_by_its_side() -> None:
    above, below = Decimal("0.10000000000000000001"), Decimal("0.09999999999999999999")

    for bound, is_included in ((above, False), (below, True)):
        planned = plan_conditions(Filters(ranges={"v": [Range(gte=bound)]}))

        assert planned is not None
        assert (Numbers("v", gte=0.1, lte=0.1) in _leaves(planned)) is is_included


def _leaves(planned: tuple[Condition, ...]) -> list[Condition]:
    return [
        leaf
        for one in planned
        for leaf in (_leaves(one.must + one.should) if isinstance(one, Group) else [one])
    ]


def test_the_last_day_of_all_has_no_next() -> None:
    assert plan_conditions(Filters(equals={"v": [date.max]})) is not None
    assert plan_conditions(Filters(ranges={"v": [Range(gt=date.max)]})) is not None
