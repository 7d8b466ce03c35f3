from __future__ import annotations

import math
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync_pipeline.core.document import INT64_RANGE
from sync_pipeline.core.numbers import exact_number, exact_whole_number, stored_floats


@pytest.mark.parametrize(
    ("text", "value"),
    [
        pytest.param("12.50", 12.5, id="a price"),
        pytest.param("42", 42.0, id="a whole number"),
        pytest.param("-0.1", -0.1, id="a decimal fraction"),
        pytest.param("9007199254740992", 9007199254740992.0, id="the last that floats count to"),
        pytest.param("8474650915735097", 8474650915735097, id="a float the index would change"),
        pytest.param("0.37335642726665164", "0.37335642726665164", id="a fraction it would change"),
        pytest.param("9007199254740993", 9007199254740993, id="beyond what floats count to"),
        pytest.param("9007199254740993.00", 9007199254740993, id="whole with a scale"),
        pytest.param("9223372036854775807", 2**63 - 1, id="the largest of 64 bits"),
        pytest.param("-9223372036854775808", -(2**63), id="the smallest of 64 bits"),
        pytest.param("9223372036854775808", "9223372036854775808", id="beyond 64 bits"),
        pytest.param("12345678901234567890", "12345678901234567890", id="a long article number"),
        pytest.param("100000000000000000000", 1e20, id="large and round"),
        pytest.param("0.1234567890123456789", "0.1234567890123456789", id="a long fraction"),
        pytest.param("1e400", "1e400", id="beyond floats"),
        pytest.param("1e-400", "1e-400", id="below floats"),
        pytest.param("1e99999999999999999999", "1e99999999999999999999", id="absurd exponent"),
        pytest.param("-1e-99999999999999999999", "-1e-99999999999999999999", id="absurdly small"),
        pytest.param("9" * 5000, "9" * 5000, id="5,000 digits"),
        pytest.param("Infinity", math.inf, id="infinity"),
    ],
)
def test_a_number_is_kept_exactly_or_as_its_text(text: str, value: object) -> None:
    found = exact_number(text)

    assert found == value
    assert type(found) is type(value)


def test_not_a_number_is_a_float() -> None:
    assert math.isnan(float(exact_number("NaN")))


def test_what_is_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match="could not convert"):
        exact_number("12,50")


@given(st.decimals(allow_nan=False, allow_infinity=False, places=4) | st.decimals(allow_nan=False))
def test_no_digit_of_a_number_is_lost(number: Decimal) -> None:
    found = exact_number(str(number))

    written = repr(found) if isinstance(found, float) else str(found)
    assert Decimal(written) == number


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_float_stays_that_float_unless_the_index_would_change_it(number: float) -> None:
    found = exact_number(repr(number))

    assert isinstance(found, float) == (stored_floats(number) == [number])
    assert float(found) == number


@given(st.integers(-(10**25), 10**25))
def test_a_whole_number_of_64_bits_is_an_int(number: int) -> None:
    found = exact_whole_number(str(number))

    assert isinstance(found, int) == (number in INT64_RANGE)
    assert Decimal(repr(found) if isinstance(found, float) else found) == number
