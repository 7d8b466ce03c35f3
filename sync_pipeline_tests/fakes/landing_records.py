"""What is recorded of landings, set by hand (``core.ports.LandingReader``)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import cast

from sync_pipeline.core.errors import TransientError
from sync_pipeline.core.landing.bounds import LandedUntil
from sync_pipeline.core.landing.completions import Completion
from sync_pipeline.core.landing.spec import Landing
from sync_pipeline.core.ports import LandingRecord, LandingStore, RecordOrigin, RejectedRecord
from sync_pipeline.engine.context import SyncContext
from sync_pipeline.engine.landing.landings import Landings


def landed_until(complete_at: datetime | None, scope_key: str | None = None) -> LandedUntil:
    """A landing whose table has been what one complete pass saw since that began."""
    return LandedUntil(completions=completions_of(complete_at), scope_key=scope_key)


def completions_of(complete_at: datetime | None) -> tuple[Completion, ...]:
    """That pass; none for None."""
    return () if complete_at is None else (Completion(complete_at, complete_at),)


@dataclass(slots=True)
class FakeLandingRecords:
    """Records by name of their landing; a complete pass has left the table as it is now.

    Attributes:
        records: Those that there are.
        error: Raised instead.
        reads: How often one was looked at.
    """

    records: dict[str, LandingRecord] = field(default_factory=dict)
    error: TransientError | None = None
    reads: int = 0

    def get(self, landing: Landing) -> LandingRecord:
        """One of them, or nothing."""
        self.reads += 1
        if self.error is not None:
            raise self.error
        record = self.records.get(landing.name) or LandingRecord(landing=landing.name, rows=0)
        known = record.completions or completions_of(record.complete_at)
        return replace(record, completions=known)

    def iter_rejected(self, landing: str) -> Iterator[RejectedRecord]:
        """None."""
        yield from ()

    def known_to(self, sync: SyncContext, *landings: Landing) -> SyncContext:
        """A context with these landings, of which these are the records."""
        store = cast(LandingStore, self)
        return replace(
            sync, landings=Landings(landings=landings, store=store, open_origin=_no_origin)
        )


def _no_origin(landing: Landing) -> RecordOrigin:
    raise AssertionError(f"nobody should ask the origin of {landing.name}")
