"""What we remember of documents, and of rows that became none (of ``database``)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from sync_pipeline.core.document import Rejection
from sync_pipeline.core.point import PointDigests
from sync_pipeline.core.row_dataclass import row_dataclass
from sync_pipeline.core.scope import Scope


@row_dataclass(frozen=True, slots=True, kw_only=True)
class StateRow:
    """What ``index_state`` records of one document that the store has confirmed."""

    document_id: str
    point_id: str
    entity_type: str
    db_id: str
    embed_hashes: Mapping[str, str]
    """Per view with a text its embed hash."""
    payload_hash: str
    passages: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Per long view the embed hashes of the passages of its text, in order."""
    truncated: Sequence[str] = ()
    """Views of whose text only a part has a vector."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedDocument:
    """A document that could not be embedded or written, or has to wait for its vectors."""

    document_id: str
    point_id: str
    entity_type: str
    db_id: str
    error_code: str
    """Class name of the error."""
    error: str
    """Its message; never the document's text."""
    views: Sequence[str] = ()
    """Views without a vector; none where it is the whole document that failed."""
    retry_after_seconds: float | None = None
    """When it is tried again, where it is only pending: nothing is wrong with it. None where it
    failed."""

    @property
    def status(self) -> str:
        """``failed`` or ``pending``."""
        return "failed" if self.retry_after_seconds is None else "pending"


@dataclass(frozen=True, slots=True)
class ViewCounts:
    """Documents with a text in one view."""

    synced: int = 0
    """In the index as they were last read."""
    failed: int = 0
    """Whose last attempt failed for this view, or for the whole document."""
    truncated: int = 0
    """Of whose text only a part has a vector, among both."""
    pending: int = 0
    """That wait for their vector; found by their words meanwhile."""

    def __add__(self, other: ViewCounts) -> ViewCounts:
        return ViewCounts(
            self.synced + other.synced,
            self.failed + other.failed,
            self.truncated + other.truncated,
            self.pending + other.pending,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentRecord:
    """What ``index_state`` holds of one document."""

    document_id: str
    point_id: str
    scope_key: str
    entity_type: str
    db_id: str
    status: str
    """``synced``, ``failed``, or ``pending`` where it waits for vectors."""
    embed_hashes: Mapping[str, str]
    """Of what was last synced; empty where nothing was."""
    payload_hash: str | None
    error_code: str | None
    """Class name of the last error; None where the last attempt succeeded."""
    error: str | None
    failed_views: Sequence[str]
    """Views that the last error is about, or that wait; none where it is the whole document."""
    attempts: int
    """Failures since the last success."""
    next_retry_at: datetime | None
    last_synced_at: datetime | None
    last_attempt_at: datetime | None
    source_snapshot_at: datetime | None
    """Snapshot of the source that was last synced."""
    truncated_views: Sequence[str] = ()
    """Views of whose text only a part has a vector."""


class IndexStateReader(Protocol):
    """Our record of what one collection holds, to be read."""

    def iter_digests(
        self,
        *,
        scope: Scope,
        views: Sequence[str],
        entity_types: Sequence[str] | None = None,
        start: str | None = None,
        stop: str | None = None,
    ) -> Iterator[PointDigests]:
        """What is recorded of the scope, in ascending order of point id.

        Entities and range as in the store.

        Documents that are not recorded as synced come with empty digests, which
        equal nothing.
        """

    def count_by_scope(self, *, scope: Scope | None = None) -> dict[str, dict[str, int]]:
        """Per scope key the number of documents per status, of one scope or of all."""

    def count_by_entity(
        self, *, scope: Scope | None = None
    ) -> dict[str, dict[str, dict[str, int]]]:
        """Per scope key and entity the number of documents per status, of one scope or of all."""

    def count_archived(self, *, scope: Scope | None = None) -> dict[str, dict[str, int]]:
        """Per scope key and entity the documents that were synced without any vector."""

    def count_by_view(
        self, *, scope: Scope | None = None
    ) -> dict[str, dict[str, dict[str, ViewCounts]]]:
        """Per scope key, entity and view how the documents stand, of one scope or of all."""

    def passages(self, *, document_ids: Sequence[str]) -> dict[str, dict[str, list[str]]]:
        """Per document with a long text, and per view, the embed hashes of its passages."""

    def get(self, *, document_id: str) -> DocumentRecord | None:
        """What is recorded of one document."""

    def list_failed(
        self, *, scope: Scope | None = None, limit: int | None = None
    ) -> list[DocumentRecord]:
        """Documents whose last attempt failed, of one scope or of all, by scope key and id."""

    def list_due(self, *, scope: Scope) -> list[DocumentRecord]:
        """Failed and pending documents whose next try has come, by the database's clock."""

    def list_documents(
        self,
        *,
        scope: Scope | None = None,
        status: str | None = None,
        entity_type: str | None = None,
        view: str | None = None,
        after: str | None = None,
        limit: int,
    ) -> list[DocumentRecord]:
        """A page of documents by id, byte by byte.

        Args:
            scope: Only those of this scope.
            status: Only those with this status.
            entity_type: Only those of this entity.
            view: Only those that had a text in this view when they were last synced.
            after: Only those whose id comes after this one.
            limit: Most documents.
        """

    def count_due_retries(self, *, entity_types: Sequence[str] | None = None) -> dict[str, int]:
        """Per scope key how many ``list_due`` would list.

        Args:
            entity_types: Only those of these entities; None for all.
        """


class IndexState(IndexStateReader, Protocol):
    """Our record of what one collection holds: for status and incremental syncs, never a skip."""

    def record_synced(
        self,
        *,
        scope: Scope,
        rows: Sequence[StateRow],
        snapshot_at: datetime,
        vector_version: str,
    ) -> None:
        """Record confirmed writes; a row that another scope held moves to this one."""

    def record_failed(self, *, scope: Scope, failures: Sequence[FailedDocument]) -> None:
        """Record documents that could not be written: one attempt each, with a next try.

        Those that are only pending are charged no attempt.
        """

    def delete(
        self,
        *,
        scope: Scope,
        point_ids: Sequence[str],
        up_to: datetime | None = None,
    ) -> int:
        """Forget documents of this scope; how many there were.

        Args:
            scope: Whose they have to be.
            point_ids: Which documents.
            up_to: Those that were recorded from a later snapshot stay; those that were
                never synced go. None forgets them all.
        """

    def clear(self) -> int:
        """Forget every document of the collection, which was dropped; how many there were."""

    def take_departed(
        self, *, scope: Scope, entity_types: Sequence[str] | None = None
    ) -> dict[str, int]:
        """Count the documents that moved to another scope since last asked, and forget it.

        Args:
            scope: Where they were.
            entity_types: Those of other entities stay to be asked for; None for all.

        Returns:
            How many there are per entity.
        """

    def retry_now(
        self,
        *,
        scope: Scope | None = None,
        document_ids: Sequence[str] | None = None,
        entity_types: Sequence[str] | None = None,
    ) -> dict[str, int]:
        """Let the time of the next try of failed and pending documents come at once.

        Args:
            scope: Only those of this scope.
            document_ids: Only these; those that are synced are left out.
            entity_types: Only those of these entities.

        Returns:
            How many there are per scope key.
        """


class QuarantineReader(Protocol):
    """Rows that cannot become documents, by reason, never with their text; to be read."""

    def list_all(self, *, scope: Scope | None = None) -> list[tuple[str, Rejection]]:
        """Scope keys and rejections, of one scope or of all."""

    def count_by_scope(self, *, scope: Scope | None = None) -> dict[str, int]:
        """Quarantined rows per scope key, of one scope or of all."""

    def count_by_entity(self, *, scope: Scope | None = None) -> dict[str, dict[str, int]]:
        """Quarantined rows per scope key and entity, of one scope or of all."""


class Quarantine(QuarantineReader, Protocol):
    """Rows that cannot become documents, by reason, never with their text."""

    def replace(
        self,
        *,
        scope: Scope,
        rejections: Sequence[Rejection],
        entity_types: Sequence[str],
        among: AbstractSet[tuple[str, str]] | None = None,
    ) -> None:
        """Make the list of a scope exactly this one, after a complete export.

        Args:
            scope: Whose rows.
            rejections: Rows that cannot become documents.
            entity_types: Which entities were exported: the lists of others stay.
            among: After an incremental export the rows that were looked at, as
                ``(entity type, row id)``: the list of the others stays.

        Rows already listed keep when they were first seen and count an attempt;
        mended ones are released. Writes nothing where nothing changed.
        """

    def release(
        self,
        *,
        scope: Scope | None = None,
        rows: AbstractSet[tuple[str, str]] | None = None,
        entity_types: Sequence[str] | None = None,
    ) -> dict[str, int]:
        """Forget entries, so that the rows are judged anew when they are next read.

        Args:
            scope: Only those of this scope.
            rows: Only these, as ``(entity type, row id)``.
            entity_types: Only rows of these entities.

        Returns:
            How many there were per scope key.
        """
