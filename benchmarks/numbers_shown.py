"""How figures look to people, on the terminal and on the page."""

from __future__ import annotations

from typing import Final

from benchmarks.results import Figure

_DECIMALS: Final = ((100.0, 0), (10.0, 1), (0.1, 2), (0.0, 3))
"""From which value on how many decimals are shown."""


def shown(value: float, unit: str) -> str:
    """A number with as many digits as it has meaning, and its unit."""
    decimals = next((digits for start, digits in _DECIMALS if abs(value) >= start), 3)
    is_count = value == int(value) and unit != "s"
    return f"{value:,.{0 if is_count else decimals}f} {unit}".strip()


def limit_shown(figure: Figure) -> str:
    """What a figure has to keep, empty where there is nothing."""
    if figure.limit is None:
        return ""
    sign = "≥" if figure.limit.is_minimum else "≤"
    return f"{sign} {shown(figure.limit.value, figure.unit)}"
