"""Moments as REST systems take them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from sync_pipeline.core.landing.origin_options import ChangesSince

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_WESTERNMOST: Final = timedelta(hours=12)
"""How far behind UTC the last zone on Earth is."""


def told_since(moment: datetime, options: ChangesSince) -> str | int:
    """A moment as a parameter: never a later one than it, however the other side reads it.

    A date without a zone is one that has begun everywhere. A local time that a clock shows twice,
    when it is set back, is told as the one before it that it shows once.
    """
    zone = None if options.timezone is None else ZoneInfo(options.timezone)
    local = moment.astimezone(zone or UTC)
    match options.format:
        case "iso":
            return local.isoformat(timespec="microseconds")
        case "iso_seconds" if zone is None:
            return local.isoformat(timespec="seconds")
        case "iso_seconds":
            return _unambiguous(local).replace(tzinfo=None).isoformat(timespec="seconds")
        case "date":
            began = local if zone is not None else local - _WESTERNMOST
            return began.date().isoformat()
        case "epoch_seconds":
            return (moment - _EPOCH) // timedelta(seconds=1)
        case "epoch_milliseconds":
            return (moment - _EPOCH) // timedelta(milliseconds=1)


def _unambiguous(local: datetime) -> datetime:
    first, second = local.replace(fold=0).utcoffset(), local.replace(fold=1).utcoffset()
    if first is None or second is None or local.fold == 1 or first <= second:
        # Shown once, or the later of both: whoever takes it for the earlier one sends more.
        return local
    return local - (first - second)
