"""How old what landed is: the age of a landing is that of its last complete pass.

Nothing is in sync beyond it: a scope that was synced a minute ago from a table that nobody has
filled for a week is in sync to a week ago.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from threading import Lock
from typing import TYPE_CHECKING, Final

from sync_pipeline.core.errors import TransientError
from sync_pipeline.core.landing.bounds import LandedUntil
from sync_pipeline.core.landing.passes import PassState
from sync_pipeline.core.landing.spec import Landing, LandingMode, split_table
from sync_pipeline.core.ports import LandingReader, LandingRecord

if TYPE_CHECKING:
    from sync_pipeline.core.entity import Entity
    from sync_pipeline.engine.reading import Reading

KNOWN_SECONDS: Final = 5.0
"""For so long searches go by what was read."""
UNREADABLE_SECONDS: Final = 60.0
"""So long after it could not be read nobody tries again."""

_log: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenPass:
    """A pass that has begun and is not applied: it runs, or waits to be gone on with."""

    mode: LandingMode
    started_at: datetime
    pages: int
    records: int
    """That have come."""
    total: int | None
    """That there are, where the origin says it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LandingAge:
    """How one landing stands, as far as it is recorded."""

    name: str
    table: str
    connection: str
    rows: int
    """Of the table, as the last apply counted them."""
    complete_at: datetime | None
    """When the last complete pass began: what the table is at least as new as."""
    age_seconds: float | None
    """Since then; None where no complete pass was ever landed."""
    is_fresh: bool
    """Whether that is as recent as the settings ask for."""
    applied_at: datetime | None
    """When anything was last applied."""
    changed_at: datetime | None
    """Newest time of change among applied records."""
    failed_at: datetime | None
    error: str | None
    """Of the last run, if it failed."""
    not_before: datetime | None
    """Until when the origin asked to be left alone."""
    needs_full_pass: str | None
    """Why nothing but a full pass helps."""
    rejected: int
    """Things that were wrong in the last applied full pass and since."""
    open_pass: OpenPass | None


def landing_age(landing: Landing, record: LandingRecord, *, now: datetime) -> LandingAge:
    """How a landing stands, by its record."""
    # The record has the clock of the database, which may be ahead of ours.
    age = (
        None if record.complete_at is None else max((now - record.complete_at).total_seconds(), 0.0)
    )
    return LandingAge(
        name=landing.name,
        table=landing.table,
        connection=landing.connection,
        rows=record.rows,
        complete_at=record.complete_at,
        age_seconds=age,
        is_fresh=age is not None and age <= landing.fresh_seconds,
        applied_at=record.applied_at,
        changed_at=record.changed_at,
        failed_at=record.failed_at,
        error=record.error,
        not_before=record.not_before,
        needs_full_pass=record.needs_full_pass,
        rejected=record.rejected,
        open_pass=None if record.open_pass is None else _open_pass(record.open_pass),
    )


def _open_pass(state: PassState) -> OpenPass:
    return OpenPass(
        mode=state.mode,
        started_at=state.started_at,
        pages=state.pages,
        records=state.records,
        total=state.last_total,
    )


class KnownPasses:
    """When each landing was last complete, as it was some seconds ago: what searches go by.

    Of one process, for all of its threads. A complete pass is only ever followed by a newer one,
    so what is told may be too old for a while, and never too new.
    """

    def __init__(self, *, seconds: Callable[[], float] = time.monotonic) -> None:
        """Know nothing yet."""
        self._seconds = seconds
        self._lock = Lock()
        self._found: Mapping[str, LandingRecord] | None = None
        self._good_until = float("-inf")

    def records(
        self, landings: Sequence[Landing], store: LandingReader
    ) -> Mapping[str, LandingRecord]:
        """By name of each of these; one that says nothing where nothing can be read."""
        found = self._found
        if found is not None and self._seconds() < self._good_until:
            return found
        # One asks; the others wait for the first answer alone, and go by the last one after that.
        if not self._lock.acquire(blocking=found is None):
            return found or {}
        try:
            if self._found is None or self._seconds() >= self._good_until:
                self._read(landings, store)
            return self._found or {}
        finally:
            self._lock.release()

    def _read(self, landings: Sequence[Landing], store: LandingReader) -> None:
        try:
            self._found = {it.name: store.get(it) for it in landings}
            self._good_until = self._seconds() + KNOWN_SECONDS
        except TransientError as error:
            # Where records land is no reason not to search what is in the index.
            _log.warning("records of landings cannot be read: %s", type(error).__name__)
            nothing = {it.name: LandingRecord(landing=it.name, rows=0) for it in landings}
            self._found = self._found or nothing
            self._good_until = self._seconds() + UNREADABLE_SECONDS


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadLandings:
    """How the landings of an installation stand, and what their tables were at which moment."""

    ages: Sequence[LandingAge] = ()
    """In the order of the settings."""
    records: Mapping[str, LandingRecord] = field(default_factory=dict)
    """By name."""


def read_landings(sync: Reading) -> ReadLandings:
    """How each landing of an installation stands; nothing where it has none.

    Raises:
        TransientError: the database cannot be reached.
    """
    if sync.landings is None:
        return ReadLandings()
    records = [(it, sync.landings.store.get(it)) for it in sync.landings.landings]
    now = sync.now()
    return ReadLandings(
        ages=[landing_age(landing, record, now=now) for landing, record in records],
        records={landing.name: record for landing, record in records},
    )


def bounds(
    sync: Reading, read: ReadLandings, *, entities: Sequence[Entity] | None = None
) -> tuple[LandedUntil, ...]:
    """What these landings say of scopes.

    Args:
        sync: Its entities name tables.
        read: Of all landings.
        entities: Only these; None for all.
    """
    if sync.landings is None:
        return ()
    return _bounds(sync.landings.landings, entities or sync.entities, read.records)


def known_bounds(sync: Reading) -> tuple[LandedUntil, ...]:
    """The same, as it was some seconds ago; asks nothing where there is no landing."""
    landings = sync.landings
    if landings is None:
        return ()
    records = landings.known.records(landings.landings, landings.store)
    return _bounds(landings.landings, sync.entities, records)


def _bounds(
    landings: Sequence[Landing],
    entities: Sequence[Entity],
    records: Mapping[str, LandingRecord],
) -> tuple[LandedUntil, ...]:
    """Those of the landings whose table an entity reads, itself or through a view."""
    read = {split_table(entity.table) for entity in entities}
    known = ((landing, records[landing.name]) for landing in landings)
    return tuple(
        LandedUntil.of(landing, record.completions)
        for landing, record in known
        if not read.isdisjoint({split_table(landing.table), *record.views})
    )
