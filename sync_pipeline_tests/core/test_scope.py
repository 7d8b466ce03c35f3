from __future__ import annotations

import pytest

from sync_pipeline.core.scope import GLOBAL, MAX_KEY_LENGTH, Scope


def test_the_global_scope_is_spelled_global() -> None:
    assert (GLOBAL.key, GLOBAL.kind, GLOBAL.visible_keys) == ("global", "global", ("global",))


def test_a_tenant_sees_its_own_rows_and_the_global_ones() -> None:
    scope = Scope("acme")

    assert (scope.key, scope.kind) == ("acme", "tenant")
    assert scope.visible_keys == ("global", "acme")


@pytest.mark.parametrize("scope", [GLOBAL, Scope("acme"), Scope("ООО Ромашка")], ids=str)
def test_a_scope_reads_back_from_its_key(scope: Scope) -> None:
    assert Scope.from_key(scope.key) == scope


@pytest.mark.parametrize(
    ("tenant_id", "reason"),
    [
        pytest.param("", "empty", id="empty"),
        pytest.param(" acme", "spaces", id="space before"),
        pytest.param("global", "shared rows", id="the global key"),
        pytest.param("GLOBAL", "shared rows", id="the global key in capitals"),
        pytest.param("a...b", r"'\.\.\.'", id="what Dagster refuses"),
        pytest.param("a\nb", "control", id="line break"),
        pytest.param("a\u200bb", "invisible", id="zero width space"),
        pytest.param("a\u202eb", "invisible", id="right-to-left override"),
        pytest.param("x" * (MAX_KEY_LENGTH + 1), "129 characters", id="too long"),
        pytest.param("e\u0301", "NFC", id="not composed"),
    ],
)
def test_a_tenant_id_that_cannot_be_a_key_is_refused(tenant_id: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Scope(tenant_id)
