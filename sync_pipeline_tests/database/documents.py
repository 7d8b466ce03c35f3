"""Rows to record, made from a number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from sync_pipeline.core.hashing import digest, point_id
from sync_pipeline.core.ports import FailedDocument, StateRow
from sync_pipeline.core.scope import Scope

ACME = Scope("acme")
GLOBEX = Scope("globex")
COLLECTION = "documents_1"
MODEL = "model@1"
NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
LATER = NOON + timedelta(hours=1)


def row(
    number: int,
    *,
    content: str = "a",
    views: Mapping[str, str] | None = None,
    entity_type: str = "material",
) -> StateRow:
    """A state row; ``views`` are its embed hashes, by default one view ``text``."""
    name = f"tenant-{entity_type}-{number}"
    return StateRow(
        document_id=name,
        point_id=point_id(name),
        entity_type=entity_type,
        db_id=str(number),
        embed_hashes={"text": digest(content)} if views is None else views,
        payload_hash=digest("payload", content),
    )


def failure(
    number: int, error: str = "the store refuses it", *, views: Sequence[str] = ()
) -> FailedDocument:
    """A failure of the document with that number."""
    known = row(number)
    return FailedDocument(
        document_id=known.document_id,
        point_id=known.point_id,
        entity_type=known.entity_type,
        db_id=known.db_id,
        error_code="RejectedPointError",
        error=error,
        views=views,
    )
