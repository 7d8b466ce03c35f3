"""Syncs that somebody asked for, and what became of every run (of ``database``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol

from sync_pipeline.core.reports import Counts, ScopeStatus, StepSeconds

RequestStatus = Literal["pending", "started", "done", "failed"]
"""Nobody has seen it; every scope has a run; all of them succeeded; one did not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncRequest:
    """A sync that somebody asked for, to be run by whoever runs syncs."""

    request_id: str
    """A UUID in canonical form."""
    requested_by: str
    requested_at: datetime
    scope_keys: tuple[str, ...]
    """Scopes to run, in this order."""
    mode: str
    """``full`` or ``incremental``."""
    force: bool
    """Whether scopes that seemed unchanged are among them."""
    max_deleted_fraction: float | None
    """As in ``RunOptions``."""
    approve_deletions: int | None
    """As in ``RunOptions``; of a request for one scope."""
    status: RequestStatus
    run_ids: Mapping[str, str]
    """Per scope key the id of its run, as far as there is one."""
    error: str | None
    """Why it failed."""
    updated_at: datetime

    @property
    def waiting_keys(self) -> tuple[str, ...]:
        """Scopes without a run, in their order."""
        return tuple(key for key in self.scope_keys if key not in self.run_ids)


class SyncRequests(Protocol):
    """Requests to sync: whoever asks adds one, whoever runs syncs takes it from there."""

    def add(
        self,
        *,
        requested_by: str,
        scope_keys: Sequence[str],
        mode: str = "full",
        force: bool = False,
        max_deleted_fraction: float | None = None,
        approve_deletions: int | None = None,
    ) -> SyncRequest:
        """Ask for a sync; one of no scope is done at once."""

    def get(self, request_id: str) -> SyncRequest | None:
        """One request; None where there is none, or the id cannot be one."""

    def list_open(self, *, limit: int) -> list[SyncRequest]:
        """Requests that are pending or started, oldest first; reads nothing else."""

    def list_recent(self, *, limit: int) -> list[SyncRequest]:
        """The last requests, whatever became of them, newest first."""

    def record_runs(
        self, request_id: str, *, run_ids: Mapping[str, str], status: RequestStatus
    ) -> None:
        """Add runs to those that are known; a scope that has one already gets the new one.

        A request that has ended stays as it is.
        """

    def record_end(
        self, request_id: str, *, status: Literal["done", "failed"], error: str | None = None
    ) -> None:
        """Record what became of it; the first end counts."""

    def purge(self, *, min_age_seconds: float) -> int:
        """Forget requests that ended at least so long ago; how many there were."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncRun:
    """What became of one run of one scope."""

    run_id: str
    scope_key: str
    mode: str
    """``full`` or ``incremental``: what it was in the end."""
    status: ScopeStatus
    started_at: datetime
    finished_at: datetime
    counts: Counts = field(default_factory=Counts)
    """Of a run that failed, as far as it came."""
    seconds: StepSeconds = field(default_factory=StepSeconds)
    error: str | None = None
    """Our own message; never a document's text."""
    facts: Mapping[str, str | int | float] = field(default_factory=dict)
    """What the error carries: its class as ``error``, its numbers by name. Of a refused deletion
    ``total`` is how many points would go."""


class SyncRuns(Protocol):
    """The last runs of every scope, whoever started them; bounded by ``purge``."""

    def record(self, run: SyncRun) -> None:
        """Record how a run ended; what is recorded of it already gives way."""

    def record_failure(
        self, *, run_id: str, scope_key: str, error: str, finished_at: datetime
    ) -> None:
        """Record that a run failed after all; its counts stay. Does nothing where it is unknown."""

    def list_recent(self, *, limit: int, scope_key: str | None = None) -> list[SyncRun]:
        """The last runs, of one scope or of all, the one that finished last first."""

    def get_many(self, run_ids: Sequence[str]) -> list[SyncRun]:
        """Those of these runs that are recorded, by run id and scope key."""

    def purge(self, *, min_age_seconds: float) -> int:
        """Forget runs that finished at least so long ago; how many there were."""
