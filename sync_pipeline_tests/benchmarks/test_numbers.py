"""Numbers look the same on the terminal and on the page."""

import pytest

from benchmarks.numbers_shown import limit_shown, shown
from benchmarks.results import Figure, Limit


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        pytest.param(55_000, "rows", "55,000 rows", id="a count"),
        pytest.param(0, "", "0", id="none"),
        pytest.param(12_345.6, "texts/s", "12,346 texts/s", id="thousands"),
        pytest.param(12.345, "s", "12.3 s", id="tens"),
        pytest.param(2.0, "s", "2.00 s", id="whole seconds are measured too"),
        pytest.param(1.148, "x", "1.15 x", id="a ratio"),
        pytest.param(0.0123, "s", "0.012 s", id="small"),
    ],
)
def test_a_number_has_as_many_digits_as_it_has_meaning(value: float, unit: str, text: str) -> None:
    assert shown(value, unit) == text


def test_a_limit_says_whether_it_is_the_most_or_the_least() -> None:
    most = Limit(value=5.0, reason="a promise")
    least = Limit(value=5.0, reason="a promise", is_minimum=True)
    labels = {"key": "k", "label": "l", "unit": "s", "samples": (1.0,)}

    shown_limits = [limit_shown(Figure(**labels, limit=limit)) for limit in (most, least, None)]  # type: ignore[arg-type]  # a mapping of mixed types

    assert shown_limits == ["≤ 5.00 s", "≥ 5.00 s", ""]
