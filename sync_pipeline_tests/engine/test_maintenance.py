"""When what belongs to a tenant without rows is removed, and when it is not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from sync_pipeline.core.errors import PermanentError
from sync_pipeline.core.scope import GLOBAL_KEY
from sync_pipeline.engine.removal.maintenance import (
    VanishedPolicy,
    leftover_partitions,
    plan_removal,
)

NOW = datetime(2026, 1, 20, tzinfo=UTC)
WEEK = VanishedPolicy(grace=timedelta(days=7))


def vanished(*keys: str, days_ago: float) -> dict[str, datetime]:
    return dict.fromkeys(keys, NOW - timedelta(days=days_ago))


@pytest.mark.parametrize(
    ("days_ago", "expected"),
    [
        pytest.param(6.99, [], id="within the time of grace"),
        pytest.param(7.0, ["acme"], id="on its last day"),
        pytest.param(400.0, ["acme"], id="long ago"),
    ],
)
def test_documents_are_kept_for_the_time_of_grace(days_ago: float, expected: list[str]) -> None:
    planned = plan_removal(vanished("acme", days_ago=days_ago), scope_count=5, now=NOW, policy=WEEK)

    assert [scope.key for scope in planned] == expected


def test_the_global_scope_is_never_removed() -> None:
    planned = plan_removal(vanished(GLOBAL_KEY, days_ago=99), scope_count=1, now=NOW, policy=WEEK)

    assert planned == []


def test_most_tenants_gone_at_once_is_taken_for_a_fault_of_the_source() -> None:
    gone = vanished(*(f"t{number}" for number in range(6)), days_ago=30)

    with pytest.raises(PermanentError, match=r"refused to remove 6 of 10 scopes .* at most 5 may"):
        plan_removal(gone, scope_count=10, now=NOW, policy=WEEK)


@pytest.mark.parametrize(
    ("known", "fraction", "allowed"),
    [
        pytest.param(2, 0.5, 1, id="the only tenant may go"),
        pytest.param(10, 0.5, 5, id="half"),
        pytest.param(10, 1.0, 10, id="confirmed"),
        pytest.param(10, 0.0, 1, id="one always may"),
    ],
)
def test_how_many_may_go_at_once(known: int, fraction: float, allowed: int) -> None:
    policy = VanishedPolicy(max_removed_fraction=fraction)

    assert policy.allowance(known) == allowed


def test_a_share_outside_0_to_1_is_refused() -> None:
    with pytest.raises(ValueError, match="lies between 0 and 1"):
        VanishedPolicy(max_removed_fraction=1.5)


def test_partitions_go_only_when_neither_source_nor_record_knows_them() -> None:
    found = leftover_partitions(
        ["global", "acme", "kept", "gone", "emptied"],
        rows={"global": 0, "acme": 3, "emptied": 0},
        recorded=["acme", "kept"],
    )

    assert found == ["emptied", "gone"]


def test_an_empty_source_leaves_every_partition() -> None:
    found = leftover_partitions(["global", "acme"], rows={"global": 0}, recorded=[])

    assert found == []
