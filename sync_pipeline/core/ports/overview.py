"""All scopes at a glance, from our records alone (of ``database``)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from sync_pipeline.core.landing.bounds import LandedUntil


class ScopeOrder(StrEnum):
    """What a page of scopes is sorted by; what is equal stands by scope key."""

    PROBLEMS = "problems"
    """By ``RecordedScope.severity``, then by failed documents and quarantined rows."""
    SCOPE = "scope"
    ROWS = "rows"
    COVERAGE = "coverage"
    FAILED = "failed"
    QUARANTINED = "quarantined"
    IN_SYNC_TO = "in_sync_to"
    LAST_SUCCESS = "last_success"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScopePage:
    """Which scopes are asked for, and in what order."""

    scope_keys: Sequence[str] | None = None
    """Only these, for callers who may see no others; None for all."""
    only_blocked: bool = False
    """Only those with a deletion that waits for approval."""
    containing: str = ""
    """Only scopes whose key contains this, whatever its case."""
    only_problems: bool = False
    """Only those with a ``severity`` above 0."""
    order: ScopeOrder = ScopeOrder.PROBLEMS
    is_descending: bool = True
    """Largest first; a time that is not known counts as the smallest."""
    limit: int = 25
    offset: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedScope:
    """One scope as the last syncs recorded it, with what has happened since.

    Counts are sums over the entities asked about, times those of the one furthest behind.
    """

    scope_key: str
    entities: int
    """How many of them were ever synced."""
    rows: int
    documents: int
    """What the rows became, failed and pending ones among them."""
    failed: int
    """Documents that fail now."""
    quarantined: int
    """Rows that cannot become documents now."""
    snapshot_at: datetime | None
    """Of the source, as it is in the index; None while an entity was never synced."""
    in_sync_to: datetime | None
    """Every change before is searchable: the same, or earlier or None where what had landed in the
    source is older; see ``landing.bounds``."""
    last_success_at: datetime | None
    last_full_at: datetime | None
    vanished_at: datetime | None
    """Since when the source has no rows of it; its documents wait for removal."""
    is_running: bool
    """Whether a run holds its lease."""
    is_cut_off: bool
    """Whether a run began to write and never finished; never while one is running."""

    pending: int = 0
    """Documents that wait for vectors now; they are found by their words."""
    blocked_deletions: int | None = None
    """Points that its last run would have had to delete, where that was refused: what an
    approval names. A success since then has settled it."""
    blocked_of: int | None = None
    """Points that it had then."""
    blocked_at: datetime | None = None

    @property
    def possible(self) -> int:
        """Rows that can become a document."""
        return max(self.rows - self.quarantined, 0)

    @property
    def synced(self) -> int:
        """Documents in step, as far as is recorded."""
        return min(max(self.documents - self.failed - self.pending, 0), self.possible)

    @property
    def coverage(self) -> float:
        """Share of possible documents that are in step, 1.0 only where all are."""
        return share(self.synced, of=self.possible)

    @property
    def severity(self) -> int:
        """How much it needs somebody.

        4: a deletion waits for approval. 3: documents fail, or a run was cut off. 2: documents
        are missing, or an entity was never synced. 1: rows are quarantined, or gone. 0: nothing
        is known to be wrong.
        """
        if self.blocked_deletions is not None:
            return 4
        if self.failed or self.is_cut_off:
            return 3
        if self.snapshot_at is None or self.synced < self.possible:
            return 2
        return 1 if self.quarantined or self.vanished_at is not None else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ScopeTotals:
    """All scopes together."""

    scopes: int = 0
    rows: int = 0
    possible: int = 0
    synced: int = 0
    failed: int = 0
    failed_scopes: int = 0
    """Scopes with failed documents."""
    pending: int = 0
    quarantined: int = 0
    blocked: int = 0
    """Scopes with a deletion that waits for approval."""
    cut_off: int = 0
    never_synced: int = 0
    """Scopes with an entity that was never synced."""
    vanished: int = 0
    running: int = 0
    in_sync_to: datetime | None = None
    """The oldest of the scopes where it is known; None where it is of none."""
    last_success_at: datetime | None = None
    """The latest of any scope."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewTrouble:
    """Failed documents that have an error in common: the view that it is about."""

    failed: int
    error: str | None
    """The latest message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EntityTrouble:
    """What is wrong with one entity of one scope now."""

    scope_key: str
    entity_type: str
    failed: int
    quarantined: int
    error_code: str | None
    """Class name of the latest error of a failed document."""
    error: str | None
    """Its message; never the document's text."""
    by_view: Mapping[str | None, ViewTrouble] = field(default_factory=dict)
    """Failures by the view that they name; None: of whole documents, and so of every view."""


class Overview(Protocol):
    """All scopes at a glance; asks neither the source nor the index, and costs what a page costs.

    A scope is known here once something of it is recorded: a sync, a failed document, a
    quarantined row, a refused deletion or a lease that is held.
    """

    def list_scopes(
        self,
        *,
        entity_types: Sequence[str],
        page: ScopePage,
        landed: Sequence[LandedUntil] = (),
    ) -> tuple[list[RecordedScope], int]:
        """One page of scopes, and how many there are on all pages.

        Args:
            entity_types: What counts; what is recorded of others does not.
            page: Which ones.
            landed: Nothing is in sync beyond these, and nothing is sorted as if it were.
        """

    def sum_up(
        self,
        *,
        entity_types: Sequence[str],
        scope_keys: Sequence[str] | None,
        landed: Sequence[LandedUntil] = (),
    ) -> ScopeTotals:
        """All scopes together, or these; ``landed`` as above."""

    def list_troubles(
        self, *, entity_types: Sequence[str], scope_keys: Sequence[str]
    ) -> list[EntityTrouble]:
        """Entities of these scopes with failed documents or quarantined rows, by scope and name."""


def share(part: int, *, of: int) -> float:
    """A share with four digits, rounded down: 1.0 only where nothing is missing."""
    return math.floor(part * 10_000 / of) / 10_000 if of else 1.0
