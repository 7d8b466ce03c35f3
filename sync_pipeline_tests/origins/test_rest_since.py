"""Moments as parameters: never later than they are meant, whoever reads them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync_pipeline.core.landing.origin_options import ChangesSince
from sync_pipeline.origins.rest.since import told_since

_PRAGUE = "Europe/Prague"
_SUMMER = datetime(2026, 7, 1, 22, 30, 15, 250_000, tzinfo=UTC)
_WINTER = datetime(2026, 1, 1, 23, 30, 15, 250_000, tzinfo=UTC)


@pytest.mark.parametrize(
    ("form", "timezone", "moment", "told"),
    [
        ("iso", None, _SUMMER, "2026-07-01T22:30:15.250000+00:00"),
        ("iso", _PRAGUE, _SUMMER, "2026-07-02T00:30:15.250000+02:00"),
        ("iso", _PRAGUE, _WINTER, "2026-01-02T00:30:15.250000+01:00"),
        ("iso_seconds", None, _SUMMER, "2026-07-01T22:30:15+00:00"),
        ("iso_seconds", _PRAGUE, _SUMMER, "2026-07-02T00:30:15"),
        ("iso_seconds", _PRAGUE, _WINTER, "2026-01-02T00:30:15"),
        ("date", _PRAGUE, _SUMMER, "2026-07-02"),
        ("date", None, _SUMMER, "2026-07-01"),
        ("date", None, _SUMMER - timedelta(hours=11), "2026-06-30"),
        ("epoch_seconds", None, _SUMMER, 1_782_945_015),
        ("epoch_milliseconds", _PRAGUE, _SUMMER, 1_782_945_015_250),
    ],
)
def test_a_moment_is_told_as_the_settings_say(
    form: str, timezone: str | None, moment: datetime, told: str | int
) -> None:
    options = ChangesSince(param="since", format=form, timezone=timezone)  # type: ignore[arg-type]  # a literal

    assert told_since(moment, options) == told


@pytest.mark.parametrize(
    ("hour", "minute", "told"),
    [
        (23, 30, "2026-10-25T01:30:00"),
        (0, 30, "2026-10-25T01:30:00"),
        (1, 30, "2026-10-25T02:30:00"),
        (2, 30, "2026-10-25T03:30:00"),
    ],
    ids=["before", "the first time", "the second time", "after"],
)
def test_an_hour_that_a_clock_shows_twice_is_told_as_one_before_it(
    hour: int, minute: int, told: str
) -> None:
    day = 24 if hour == 23 else 25
    moment = datetime(2026, 10, day, hour, minute, tzinfo=UTC)
    options = ChangesSince(param="since", format="iso_seconds", timezone=_PRAGUE)

    assert told_since(moment, options) == told


def test_an_hour_that_a_clock_leaves_out_is_never_told() -> None:
    options = ChangesSince(param="since", format="iso_seconds", timezone=_PRAGUE)

    assert told_since(datetime(2026, 3, 29, 0, 59, tzinfo=UTC), options) == "2026-03-29T01:59:00"
    assert told_since(datetime(2026, 3, 29, 1, 0, tzinfo=UTC), options) == "2026-03-29T03:00:00"


_MOMENTS = st.integers(0, 2 * 365 * 86_400_000).map(
    lambda milliseconds: datetime(2025, 1, 1, tzinfo=UTC) + timedelta(milliseconds=milliseconds)
)
_ZONES = st.sampled_from(
    ["Europe/Prague", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "UTC"]
)


@given(moment=_MOMENTS, zone=_ZONES, fold=st.sampled_from([0, 1]))
def test_a_local_time_is_never_read_as_a_later_moment(
    moment: datetime, zone: str, fold: int
) -> None:
    told = told_since(moment, ChangesSince(param="s", format="iso_seconds", timezone=zone))

    read = datetime.fromisoformat(str(told)).replace(tzinfo=ZoneInfo(zone), fold=fold)
    assert moment - timedelta(hours=2, seconds=1) < read.astimezone(UTC) <= moment


@given(moment=_MOMENTS, hours=st.integers(-12, 14))
def test_a_date_has_begun_everywhere(moment: datetime, hours: int) -> None:
    told = told_since(moment, ChangesSince(param="s", format="date"))

    midnight = datetime.fromisoformat(f"{told}T00:00:00+00:00") - timedelta(hours=hours)
    assert midnight <= moment
