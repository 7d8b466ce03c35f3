"""Why a row is searchable or not: what was found of it, and the one verdict that follows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Literal

from sync_pipeline.core.document import Rejection
from sync_pipeline.core.ports import DocumentRecord, LeaseHolder
from sync_pipeline.core.remedy import NOTHING, Remedy, RetryDocument, SyncScopes
from sync_pipeline.core.scope import Scope


class Outcome(StrEnum):
    """How a row stands; of several documents of one row the first of these is told."""

    OTHER_SETTINGS = "other_settings"
    """The index was built with other settings and is neither searched nor written."""
    AMBIGUOUS = "ambiguous"
    """Two rows would be the same document."""
    FAILED = "failed"
    QUARANTINED = "quarantined"
    LOST = "lost"
    """Recorded as synced, but not in the index."""
    OUTDATED = "outdated"
    """Searchable as it was before."""
    NOT_SYNCED = "not_synced"
    LEFTOVER = "leftover"
    """Still searchable, though the row is gone."""
    SEARCHABLE = "searchable"
    NO_ROW = "no_row"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScopeFinding:
    """How the scope of a document stands."""

    scope_key: str
    last_success_at: datetime | None
    in_sync_to: datetime | None
    """Snapshot of the source that its last sync brought into the index; None before the first.
    Earlier, or None, where what had landed in the source is older."""
    lease: LeaseHolder | None
    """Who is syncing it now."""
    pending_events: int | None
    """Changes that wait to be synced; None without a change feed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PointFinding:
    """What the index holds of a document."""

    scope_key: str
    synced_at: str | None
    has_current_text: bool
    """Whether its vectors are of the text that the row has now."""
    has_current_payload: bool


ViewState = Literal["current", "outdated", "missing", "failed", "no text"]
"""Of a view's vectors: of the text that the row has now, of a former one, not there though there is
a text, refused by the model; or there is nothing to embed, as in archived documents."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewFinding:
    """One view of a document."""

    view: str
    model_id: str
    state: ViewState
    passages: int | None
    """Into how many the text was cut; None where it has one vector, or none."""
    is_truncated: bool
    """Whether only a part of the text has a vector."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentFinding:
    """One document that a row is, was, or cannot become."""

    document_id: str
    has_row: bool
    """Whether a row of the source is, or should be, this document."""
    text: str | None
    """The beginning of the rendered document; None where the row cannot become one."""
    rejection: Rejection | None
    record: DocumentRecord | None
    point: PointFinding | None
    scope: ScopeFinding
    """Of the row; where that is gone, of the point or record."""
    views: Sequence[ViewFinding] = ()
    """In the order of the settings; none where there is neither row nor point."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What it comes to, and what to do."""

    outcome: Outcome
    is_searchable: bool
    """Whether a search can return the row, be it as it was before."""
    reason: str
    remedy: Remedy = NOTHING

    @property
    def next_step(self) -> str | None:
        """What to do or to run; None where nothing has to be done."""
        return str(self.remedy) if self.remedy else None


@dataclass(frozen=True, slots=True, kw_only=True)
class LandingFinding:
    """Where a row comes from that landed."""

    name: str
    """Of its landing."""
    complete_at: datetime | None
    """When the last complete pass began; None where there was none."""
    is_fresh: bool
    source_key: str | None
    """What the origin calls it; None where there is no row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Everything that is known of one row."""

    entity_type: str
    db_id: str
    documents: tuple[DocumentFinding, ...]
    verdict: Verdict
    landing: LandingFinding | None = None
    """Where its table is filled by one."""


def judge(
    documents: Sequence[DocumentFinding], *, entity_type: str, db_id: str, index_fault: str | None
) -> Verdict:
    """Say in one sentence why the row is searchable or not.

    Args:
        documents: What was found; none where neither a row nor anything else was.
        entity_type: Of the row.
        db_id: Its id.
        index_fault: Why the index cannot be used with these settings, if it cannot.
    """
    if index_fault is not None:
        return Verdict(Outcome.OTHER_SETTINGS, False, index_fault)
    ids = [finding.document_id for finding in documents if finding.has_row]
    if len(set(ids)) < len(ids):
        owners = " and ".join(finding.scope.scope_key for finding in documents if finding.has_row)
        return Verdict(
            Outcome.AMBIGUOUS,
            False,
            f"{owners} both have a {entity_type} with the id {db_id!r}; neither can be synced",
            Remedy.of("give one of the two rows another id"),
        )
    if not documents:
        return Verdict(
            Outcome.NO_ROW,
            False,
            f"no {entity_type} has the id {db_id!r}, and the index knows none",
            Remedy.of("check the id: it is compared as PostgreSQL writes it, UUIDs in lower case"),
        )
    order = list(Outcome)
    verdicts = [_verdict(finding) for finding in documents]
    return min(verdicts, key=lambda verdict: order.index(verdict.outcome))


def _verdict(finding: DocumentFinding) -> Verdict:
    if not finding.has_row:
        return _without_row(finding)
    if finding.rejection is not None:
        return _rejected(finding, finding.rejection)
    if (
        finding.record is not None
        and finding.record.status == "failed"
        and not _is_current(finding)
    ):
        return _failed(finding, finding.record)
    if finding.point is None:
        return _absent(finding)
    if _is_current(finding):
        return Verdict(Outcome.SEARCHABLE, True, _seen_by(finding.scope.scope_key))
    return _outdated(finding, finding.point)


def _is_current(finding: DocumentFinding) -> bool:
    point = finding.point
    return (
        point is not None
        and point.scope_key == finding.scope.scope_key
        and point.has_current_text
        and point.has_current_payload
    )


def _without_row(finding: DocumentFinding) -> Verdict:
    if finding.point is None:
        reason = "the row is gone, from the index too; only a record of it is left"
        return Verdict(Outcome.NO_ROW, False, reason, _sync(finding.scope))
    reason = (
        "the row is gone or has moved, and the index still has its document: "
        f"{_seen_by(finding.point.scope_key)}"
    )
    return Verdict(Outcome.LEFTOVER, True, reason, _sync(finding.scope))


def _rejected(finding: DocumentFinding, rejection: Rejection) -> Verdict:
    reason = f"the row cannot become a document: {rejection.reason.value}, {rejection.detail}"
    if finding.point is not None:
        reason += "; what it was before is searchable until the next sync"
    step = Remedy.of("mend the row, then ", *_sync(finding.scope).parts)
    return Verdict(Outcome.QUARANTINED, finding.point is not None, reason, step)


def _failed(finding: DocumentFinding, record: DocumentRecord) -> Verdict:
    times = "once" if record.attempts == 1 else f"{record.attempts} times"
    reason = f"it could not be embedded or written, {times}: {record.error_code}: {record.error}"
    if finding.point is not None:
        reason += "; what it was before is searchable"
    step = Remedy.of(
        RetryDocument(
            document_id=record.document_id,
            scope_key=record.scope_key,
            entity_type=record.entity_type,
            db_id=record.db_id,
        )
    )
    return Verdict(Outcome.FAILED, finding.point is not None, reason, step)


def _absent(finding: DocumentFinding) -> Verdict:
    scope = finding.scope
    if scope.lease is not None:
        reason = f"scope {scope.scope_key!r} is being synced now by {scope.lease.owner}"
        step = Remedy.of("wait for that run, then ask again")
        return Verdict(Outcome.NOT_SYNCED, False, reason, step)
    if finding.record is not None:
        reason = "it is recorded as synced, but the index does not have it"
        return Verdict(Outcome.LOST, False, reason, _sync(scope))
    synced_to = scope.in_sync_to or scope.last_success_at
    if synced_to is None:
        reason = f"scope {scope.scope_key!r} has never been synced"
    else:
        reason = (
            f"scope {scope.scope_key!r} was last synced as of {_moment(synced_to)}, "
            "without this row"
        )
    return Verdict(Outcome.NOT_SYNCED, False, reason, _sync(scope))


def _outdated(finding: DocumentFinding, point: PointFinding) -> Verdict:
    if point.scope_key != finding.scope.scope_key:
        reason = (
            f"the row belongs to {finding.scope.scope_key!r} now, but its document is still that "
            f"of {point.scope_key!r}: {_seen_by(point.scope_key)}"
        )
    else:
        what = "text" if not point.has_current_text else "payload"
        reason = f"it is searchable with an older {what}: {_seen_by(point.scope_key)}"
    step = _sync(finding.scope)
    if finding.scope.lease is not None:
        owner = finding.scope.lease.owner
        step = Remedy.of(f"wait for {owner}, which is syncing the scope, then ask again")
    return Verdict(Outcome.OUTDATED, True, reason, step)


def _seen_by(scope_key: str) -> str:
    scope = Scope.from_key(scope_key)
    return "every tenant finds it" if scope.is_global else f"only {scope_key} finds it"


def _sync(scope: ScopeFinding) -> Remedy:
    return Remedy.of(SyncScopes(scope_key=scope.scope_key))


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S %Z}"
