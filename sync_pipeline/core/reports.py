"""What a sync reports: one set of counts, from the first step to the JSON of the last.

To count something more, add a field to ``Counts``, have a step add to it, and name it in
``STEP_COUNTS`` if Dagster is to show it. Manifests, reports and totals have it then.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final, Literal

SyncMode = Literal["full", "incremental"]
ScopeStatus = Literal["success", "failed", "skipped"]

ASKED_TO_STOP: Final = "asked to stop"
"""Why a run ends early without a fault: by a signal, so far."""

Step = Literal["export", "embed", "upsert", "cleanup"]
"""A step of a sync."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What was read, found and done; a step that has not come so far leaves 0.

    Names are JSON fields and, as ``STEP_COUNTS`` says, Dagster's metadata keys.
    """

    rows: int = 0
    """Rows read: all of the scope, or in an incremental sync those touched."""
    documents: int = 0
    """Documents made of them."""
    quarantined: int = 0
    """Rows that cannot become documents."""
    archived: int = 0
    """Documents among them that keep text and payload and have no vectors."""
    dropped_values: int = 0
    """Payload values that no index can hold; null stands in their place."""
    new: int = 0
    """Documents found to have no point."""
    changed: int = 0
    """Documents found to differ from their point in a text."""
    payload_changed: int = 0
    """Documents found to differ from their point in the payload alone."""
    unchanged: int = 0
    """Documents found to equal their point."""
    stale: int = 0
    """Points found whose row is gone."""
    repaired: int = 0
    """Records found to differ from the index, which was right; they are mended."""
    texts: int = 0
    """Distinct texts of new and changed views."""
    cache_hits: int = 0
    """Texts among them whose vector was in the cache."""
    embedded_texts: int = 0
    """Texts that the model has embedded."""
    embedded_tokens: int = 0
    """Tokens of these, prompts left out; estimated where a provider's tokenizer is not at hand."""
    truncated: int = 0
    """Texts longer than the model's window, among those embedded."""
    points_written: int = 0
    """Points of new and changed documents that the index has confirmed."""
    payloads_written: int = 0
    """Payloads that the index has confirmed, of points that were not written."""
    failed: int = 0
    """Documents that could not be embedded or written, in all steps."""
    pending: int = 0
    """Documents written without some of their vectors, which wait: for a budget, for a provider."""
    indexed: int = 0
    """Points before the first one was deleted; measured once the last one was."""
    points_deleted: int = 0
    """Points deleted because their row is gone."""
    moved_away: int = 0
    """Documents that another scope has taken over since this scope's last sync."""
    deleted: int = 0
    """Documents that have left the scope: ``points_deleted`` and ``moved_away``."""

    def __add__(self, other: Counts) -> Counts:
        """Add number by number."""
        theirs = other.numbers()
        return Counts(**{name: value + theirs[name] for name, value in self.numbers().items()})

    def numbers(self) -> dict[str, Any]:
        """Each count by its name, of a subclass these alone."""
        return {name: getattr(self, name) for name in _NAMES}


_NAMES: Final = tuple(part.name for part in fields(Counts))

STEP_COUNTS: Final[Mapping[Step, tuple[str, ...]]] = {
    "export": ("rows", "documents", "archived", "quarantined", "dropped_values"),
    "embed": (
        "new", "changed", "payload_changed", "unchanged", "stale", "repaired", "texts",
        "cache_hits", "embedded_texts", "embedded_tokens", "truncated", "failed", "pending",
    ),
    "upsert": ("points_written", "payloads_written", "failed"),
    "cleanup": ("indexed", "points_deleted", "moved_away"),
}  # fmt: skip
"""Which counts each step shows in Dagster."""

_SHOWN_AS: Final[Mapping[str, str]] = {"points_deleted": "deleted"}
"""Metadata keys that are not the name of their count: this one is older than the name."""


def shown_counts(step: Step, counts: Counts) -> dict[str, int]:
    """Pick what a step shows in Dagster, by metadata key."""
    numbers = counts.numbers()
    return {_SHOWN_AS.get(name, name): numbers[name] for name in STEP_COUNTS[step]}


@dataclass(frozen=True, slots=True, kw_only=True)
class StepSeconds:
    """Seconds per step."""

    export: float = 0.0
    embed: float = 0.0
    upsert: float = 0.0
    cleanup: float = 0.0

    @property
    def total(self) -> float:
        """Of all steps."""
        return self.export + self.embed + self.upsert + self.cleanup


@dataclass(frozen=True, slots=True, kw_only=True)
class ScopeReport(Counts):
    """One scope of a sync, as ``sync --json`` prints it."""

    scope_key: str
    status: ScopeStatus
    run_id: str | None = None
    unknown: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """Per view: the embedded texts and their tokens, and those that the model does not know."""
    seconds: StepSeconds = field(default_factory=StepSeconds)
    error: str | None = None
    """What went wrong, or why the scope was skipped."""
    stopped_reason: str | None = None
    """Why the run ended early where nothing went wrong; the counts are what was done by then, up
    to the last batch. None where it did not."""
    note: str | None = None
    """What else there is to know: why an incremental sync compared everything."""

    def stopped(self, reason: str, *, error: str, counts: Counts | None) -> ScopeReport:
        """Report the same run as stopped.

        Args:
            reason: Why.
            error: The same for people, with what to do.
            counts: Of the whole run, with the step in flight; None where that did not count.
        """
        numbers = {} if counts is None else counts.numbers()
        return replace(self, status="failed", error=error, stopped_reason=reason, **numbers)
