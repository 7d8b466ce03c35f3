"""Up to when what landed is complete."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

import pytest

from sync_pipeline.core.landing.bounds import LandedUntil, in_sync_to
from sync_pipeline.core.landing.fields import parse_field
from sync_pipeline.core.landing.spec import Owner
from sync_pipeline_tests.landing.site import PRODUCTS

EARLY: Final = datetime(2026, 1, 1, 6, tzinfo=UTC)
NOON: Final = datetime(2026, 1, 1, 12, tzinfo=UTC)
LATE: Final = datetime(2026, 1, 1, 18, tzinfo=UTC)


@pytest.mark.parametrize(
    ("snapshot_at", "landed", "expected"),
    [
        pytest.param(NOON, [], NOON, id="nothing lands"),
        pytest.param(NOON, [LandedUntil(complete_at=EARLY)], EARLY, id="what landed is older"),
        pytest.param(NOON, [LandedUntil(complete_at=LATE)], NOON, id="not synced since it landed"),
        pytest.param(NOON, [LandedUntil(complete_at=None)], None, id="never landed as a whole"),
        pytest.param(None, [LandedUntil(complete_at=EARLY)], None, id="never synced"),
        pytest.param(
            LATE,
            [LandedUntil(complete_at=NOON), LandedUntil(complete_at=EARLY)],
            EARLY,
            id="the oldest of several landings",
        ),
        pytest.param(
            NOON, [LandedUntil(complete_at=None, scope_key="globex")], NOON, id="another's rows"
        ),
        pytest.param(
            NOON, [LandedUntil(complete_at=EARLY, scope_key="acme")], EARLY, id="its own rows"
        ),
    ],
)
def test_nothing_is_in_sync_beyond_what_landed(
    snapshot_at: datetime | None, landed: list[LandedUntil], expected: datetime | None
) -> None:
    assert in_sync_to(snapshot_at, scope_key="acme", landed=landed) == expected


@pytest.mark.parametrize(
    ("owner", "scope_key"),
    [
        pytest.param(Owner(), "global", id="everybody"),
        pytest.param(Owner(tenant_id="acme"), "acme", id="one tenant"),
        pytest.param(Owner(tenant_field=parse_field("firm")), None, id="a field decides"),
    ],
)
def test_a_landing_is_about_the_scopes_that_its_rows_can_be_of(
    owner: Owner, scope_key: str | None
) -> None:
    until = LandedUntil.of(replace(PRODUCTS, owner=owner), NOON)

    assert until == LandedUntil(complete_at=NOON, scope_key=scope_key)
