from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync_pipeline.core.json_path import Step, format_path, parse_path

KEYS = st.text().filter(lambda key: '"' not in key)


@pytest.mark.parametrize(
    ("text", "steps", "spelled"),
    [
        pytest.param("unit", ("unit",), "unit", id="field"),
        pytest.param("a.b-c.d_1", ("a", "b-c", "d_1"), "a.b-c.d_1", id="keys"),
        pytest.param('a."b.c"', ("a", "b.c"), 'a."b.c"', id="quoted dot"),
        pytest.param('a."b[0]"[0]', ("a", "b[0]", 0), 'a."b[0]"[0]', id="quoted bracket"),
        pytest.param('a.""', ("a", ""), 'a.""', id="empty key"),
        pytest.param('"a"."b"', ("a", "b"), "a.b", id="needless quotes"),
        pytest.param("a.b c", ("a", "b c"), 'a."b c"', id="blank"),
        pytest.param("a.ключ", ("a", "ключ"), 'a."ключ"', id="letters beyond ASCII"),
        pytest.param("a[][12].b", ("a", None, 12, "b"), "a[][12].b", id="elements"),
    ],
)
def test_a_path_has_one_spelling(text: str, steps: tuple[Step, ...], spelled: str) -> None:
    assert parse_path(text) == steps
    assert format_path(steps) == spelled


@pytest.mark.parametrize(
    "text", ["", ".", "a.", ".a", "a..b", "a[", "a[x]", "a[-1]", "[0]", 'a"b', 'a."b', "a[0]b"]
)
def test_what_is_no_path_is_refused_with_the_rule(text: str) -> None:
    with pytest.raises(ValueError, match=r'is no path .* attributes\."a\.b"'):
        parse_path(text)


@given(
    first=KEYS,
    others=st.lists(KEYS | st.integers(0, 999_999_999) | st.none()),
)
def test_every_path_reads_back(first: str, others: list[Step]) -> None:
    steps = (first, *others)

    assert parse_path(format_path(steps)) == steps
