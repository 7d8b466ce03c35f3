"""The result of each step; field names are the Dagster metadata keys and JSON fields."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

ScopeStatus = Literal["success", "failed", "skipped"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportReport:
    """What one export read."""

    rows: int
    documents: int
    quarantined: int
    dropped_values: int
    """Payload values that no index can hold; null stands in their place."""
    seconds: float
    note: str | None = None
    """Why an incremental sync compares everything; None where it does not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedReport:
    """What has to be done, and which texts were embedded for it."""

    new: int
    changed: int
    payload_changed: int
    unchanged: int
    stale: int
    repaired: int
    """Documents whose point was right and whose record was mended."""
    texts: int
    """Distinct texts of new and changed views."""
    cache_hits: int
    embedded_texts: int
    truncated: int
    """Texts longer than the model's window, among those embedded."""
    failed: int
    seconds: float
    unknown: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """Per view: the embedded texts and their tokens, and those that the model does not know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UpsertReport:
    """What was written to the index."""

    points_written: int
    payloads_written: int
    failed: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CleanupReport:
    """What was deleted from the index."""

    indexed: int
    deleted: int
    moved_away: int
    """Documents that another scope has taken over since this scope's last sync."""
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StepSeconds:
    """Seconds per step."""

    export: float = 0.0
    embed: float = 0.0
    upsert: float = 0.0
    cleanup: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ScopeReport:
    """One scope of a sync, as ``sync --json`` prints it."""

    scope_key: str
    status: ScopeStatus
    run_id: str | None = None
    rows: int = 0
    documents: int = 0
    quarantined: int = 0
    new: int = 0
    changed: int = 0
    payload_changed: int = 0
    unchanged: int = 0
    deleted: int = 0
    failed: int = 0
    repaired: int = 0
    embedded_texts: int = 0
    cache_hits: int = 0
    unknown: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """Per view: the embedded texts and their tokens, and those that the model does not know."""
    seconds: StepSeconds = field(default_factory=StepSeconds)
    error: str | None = None
    """What went wrong, or why the scope was skipped."""
    note: str | None = None
    """What else there is to know: why an incremental sync compared everything."""
