from __future__ import annotations

import pytest

from sync_pipeline.cli.search import Value, parse_filters
from sync_pipeline.core.errors import ConfigurationError


@pytest.mark.parametrize(
    ("pairs", "filters"),
    [
        pytest.param(["unit=kg"], {"unit": ["kg"]}, id="text"),
        pytest.param(["unit=kg", "unit=m2"], {"unit": ["kg", "m2"]}, id="alternatives"),
        pytest.param(["a=x", "b=y"], {"a": ["x"], "b": ["y"]}, id="two fields"),
        pytest.param(["code=-12"], {"code": ["-12", -12]}, id="number, or text like one"),
        pytest.param(["sold=true"], {"sold": ["true", True]}, id="truth, or the word"),
        pytest.param(["note=a=b"], {"note": ["a=b"]}, id="equals sign in the value"),
        pytest.param(["note="], {"note": [""]}, id="empty value"),
        pytest.param(["code=9223372036854775808"], {"code": ["9223372036854775808"]}, id="long"),
        pytest.param(["code=²"], {"code": ["²"]}, id="digit that is no number"),
    ],
)
def test_filters_are_read_from_pairs(pairs: list[str], filters: dict[str, list[Value]]) -> None:
    assert parse_filters(pairs) == filters


@pytest.mark.parametrize("pair", ["unit", "=kg", ""], ids=["no value", "no field", "nothing"])
def test_other_filters_are_refused(pair: str) -> None:
    with pytest.raises(ConfigurationError, match="is not FIELD=VALUE"):
        parse_filters([pair])
