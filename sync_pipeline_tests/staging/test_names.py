"""Names become paths that stay below their root and never collide."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync_pipeline.core.errors import PermanentError
from sync_pipeline.staging.names import safe_component, safe_path


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("..", id="parent folder"),
        pytest.param(".", id="this folder"),
        pytest.param("/etc", id="absolute"),
        pytest.param("a\\b", id="backslash"),
        pytest.param("C:", id="drive"),
        pytest.param("nul\x00byte", id="NUL"),
        pytest.param("ООО «Ромашка» " * 40, id="long and Cyrillic"),
        pytest.param("a" * 300, id="long"),
        pytest.param("%2e%2e", id="escaped dots"),
        pytest.param("\ud800", id="half a surrogate pair"),
        pytest.param("@attempt", id="like an attempt folder"),
        pytest.param("_manifest.json", id="like a manifest"),
    ],
)
def test_an_odd_name_becomes_one_short_plain_component(text: str) -> None:
    component = safe_component(text)

    assert component.isascii()
    assert set(component) <= set("abcdefghijklmnopqrstuvwxyz0123456789-_~")
    assert 0 < len(component) < 70


def test_a_plain_name_stays_readable() -> None:
    assert safe_path("exported_documents/acme-1/7f3c") == "exported_documents/acme-1/7f3c"


def test_names_that_differ_only_in_case_are_kept_apart() -> None:
    assert len({safe_component(text).lower() for text in ("acme", "Acme", "ACME")}) == 3


@given(st.lists(st.text(min_size=1), min_size=2, max_size=20, unique=True))
def test_different_texts_are_different_components(texts: list[str]) -> None:
    assert len({safe_component(text) for text in texts}) == len(texts)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("", id="empty"),
        pytest.param("a//b", id="empty in the middle"),
        pytest.param("/a", id="absolute"),
        pytest.param("a/", id="trailing slash"),
    ],
)
def test_an_empty_component_is_refused(name: str) -> None:
    with pytest.raises(PermanentError, match="empty component"):
        safe_path(name)
