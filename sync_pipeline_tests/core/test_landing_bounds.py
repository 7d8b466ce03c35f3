"""Up to when what landed is complete."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

import pytest

from sync_pipeline.core.landing.bounds import LandedUntil, in_sync_to
from sync_pipeline.core.landing.completions import (
    MOST_KEPT,
    Completion,
    complete_before,
    noted,
)
from sync_pipeline.core.landing.fields import parse_field
from sync_pipeline.core.landing.spec import Owner
from sync_pipeline_tests.fakes.landing_records import completions_of, landed_until
from sync_pipeline_tests.landing.site import PRODUCTS

DAWN: Final = datetime(2026, 1, 1, 5, tzinfo=UTC)
EARLY: Final = datetime(2026, 1, 1, 6, tzinfo=UTC)
NOON: Final = datetime(2026, 1, 1, 12, tzinfo=UTC)
LATE: Final = datetime(2026, 1, 1, 18, tzinfo=UTC)


@pytest.mark.parametrize(
    ("snapshot_at", "landed", "expected"),
    [
        pytest.param(NOON, [], NOON, id="nothing lands"),
        pytest.param(NOON, [landed_until(EARLY)], EARLY, id="what landed is older"),
        pytest.param(NOON, [landed_until(LATE)], None, id="not synced since it landed first"),
        pytest.param(
            NOON,
            [
                LandedUntil(
                    completions=(Completion(EARLY, DAWN), Completion(LATE, LATE)),
                )
            ],
            DAWN,
            id="synced before what is newer had landed",
        ),
        pytest.param(NOON, [landed_until(None)], None, id="never landed as a whole"),
        pytest.param(None, [landed_until(EARLY)], None, id="never synced"),
        pytest.param(
            LATE,
            [landed_until(NOON), landed_until(EARLY)],
            EARLY,
            id="the oldest of several landings",
        ),
        pytest.param(NOON, [landed_until(None, "globex")], NOON, id="another's rows"),
        pytest.param(NOON, [landed_until(EARLY, "acme")], EARLY, id="its own rows"),
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
    until = LandedUntil.of(replace(PRODUCTS, owner=owner), completions_of(NOON))

    assert until == landed_until(NOON, scope_key)


def test_a_pass_that_changes_nothing_shows_that_the_table_was_in_step_all_along() -> None:
    once = noted((), complete_at=DAWN, content_at=EARLY)
    again = noted(once, complete_at=NOON, content_at=EARLY)

    assert again == (Completion(EARLY, NOON),)
    assert complete_before(again, EARLY) == NOON
    assert complete_before(again, DAWN) is None


def test_what_was_changed_between_two_passes_was_in_step_only_since_then() -> None:
    first = noted((), complete_at=DAWN, content_at=DAWN)
    second = noted(first, complete_at=NOON, content_at=EARLY)

    assert complete_before(second, EARLY - timedelta(seconds=1)) == DAWN
    assert complete_before(second, EARLY) == NOON


def test_of_many_passes_those_that_are_left_out_never_make_a_table_newer() -> None:
    moments = [DAWN + timedelta(minutes=number) for number in range(5000)]
    kept: tuple[Completion, ...] = ()
    for moment in moments:
        kept = noted(kept, complete_at=moment, content_at=moment)

    told = [complete_before(kept, moment) for moment in moments]

    assert len(kept) <= MOST_KEPT
    assert kept[0] == Completion(DAWN, DAWN)
    assert all(it is not None and it <= moment for it, moment in zip(told, moments, strict=True))
    assert told[-MOST_KEPT // 2 :] == moments[-MOST_KEPT // 2 :]
