"""The payload of a point: its fields, what they mean, and what is read out of it.

Names and meanings are relied on from outside, and nothing else in the project spells them:
who has a point asks it (``core.point.StoredPoint``), who has a payload asks here.

A payload may come from an index that something else has written to. What is not of the form
that a field has reads as if the field were missing, and never as an error.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from sync_pipeline.core.hashing import digest
from sync_pipeline.core.scope import Scope

PAYLOAD_SCHEMA_VERSION: Final = 1
"""Written into every point; stores refuse to read points of a newer version (``stores.stored``),
so nothing is shown or compared that may mean something else."""

DOCUMENT_ID: Final = "document_id"
ENTITY_TYPE: Final = "type"
"""Name of the entity."""
DB_ID: Final = "dbId"
"""The row's id."""
TEXT: Final = "text"
"""Texts of all views, joined: what is shown, and what BM25 ranks."""

TEXT_SPANS: Final = "text_spans"
"""Where there are long views: per view with a text its place in ``TEXT``, first character and the
one behind the last."""

SCOPE_KEY: Final = "scope_key"
"""``global`` or the tenant's id: the one isolation field."""
SCOPE_KIND: Final = "scope"
"""``global`` or ``tenant``; for people, and for readers of earlier systems, as the next two."""
TENANT_ID: Final = "tenantId"
IS_GLOBAL: Final = "isGlobal"

EMBED_HASH: Final = "embed_hash"
"""Per view with a text the hash of that text and the model."""
PAYLOAD_HASH: Final = "payload_hash"
"""Hash of everything but these hashes and the two fields that every write changes."""
REVISION: Final = "source_revision"
"""Microseconds of the source snapshot: orders writes."""
SYNCED_AT: Final = "synced_at"
"""ISO time of the write."""
SCHEMA_VERSION: Final = "schema_version"

RESERVED_FIELDS: Final = frozenset(
    {
        DOCUMENT_ID, ENTITY_TYPE, DB_ID, TEXT, TEXT_SPANS,
        SCOPE_KEY, SCOPE_KIND, TENANT_ID, IS_GLOBAL,
        EMBED_HASH, PAYLOAD_HASH, REVISION, SYNCED_AT, SCHEMA_VERSION,
    }
)  # fmt: skip
"""Fields that the pipeline writes itself."""
_BOOKKEEPING: Final = frozenset({EMBED_HASH, PAYLOAD_HASH, REVISION, SCHEMA_VERSION, TEXT_SPANS})

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

Payload = Mapping[str, object]


def owner_fields(scope: Scope) -> dict[str, object]:
    """All that a point says about its owner."""
    return {
        TENANT_ID: scope.tenant_id,
        IS_GLOBAL: scope.is_global,
        SCOPE_KIND: scope.kind,
        SCOPE_KEY: scope.key,
    }


def stamped(
    payload: Payload,
    *,
    embed_hashes: Mapping[str, str],
    payload_hash: str,
    synced_at: datetime,
    revision: int,
) -> dict[str, object]:
    """A document's payload with what a write adds to it."""
    return {
        **payload,
        EMBED_HASH: dict(embed_hashes),
        PAYLOAD_HASH: payload_hash,
        SYNCED_AT: synced_at.isoformat(),
        REVISION: revision,
    }


def shown(payload: Payload) -> dict[str, object]:
    """A payload without our own bookkeeping."""
    return {name: value for name, value in payload.items() if name not in _BOOKKEEPING}


def text_field(payload: Payload, field: str) -> str | None:
    """A field that holds a text."""
    value = payload.get(field)
    return value if isinstance(value, str) else None


def revision_of(payload: Payload) -> int | None:
    """The revision that a payload carries."""
    revision = payload.get(REVISION)
    return revision if isinstance(revision, int) and not isinstance(revision, bool) else None


def schema_version_of(payload: Payload) -> int | None:
    """The version that a payload carries; one without is none of ours, or a test's."""
    version = payload.get(SCHEMA_VERSION)
    return version if isinstance(version, int) else None


def embed_hashes_of(payload: Payload) -> dict[str, str]:
    """Per view the hash of the text that its vector was made of."""
    hashes = payload.get(EMBED_HASH)
    if not isinstance(hashes, Mapping):
        return {}
    return {
        view: value
        for view, value in hashes.items()
        if isinstance(view, str) and isinstance(value, str) and value
    }


def text_spans_of(payload: Payload) -> dict[str, tuple[int, int]]:
    """Per view the place of its text in the document's, where that is said."""
    spans = payload.get(TEXT_SPANS)
    if not isinstance(spans, Mapping):
        return {}
    return {
        view: (span[0], span[1])
        for view, span in spans.items()
        if isinstance(span, list) and len(span) == 2 and all(type(it) is int for it in span)  # noqa: PLR2004 - a pair
    }


def content_digest(embed_hashes: Mapping[str, str], views: Sequence[str]) -> str:
    """One digest of the embed hashes of these views to compare by; empty where there are none."""
    if len(views) == 1:
        return embed_hashes.get(views[0]) or ""
    kept = {view: value for view in views if (value := embed_hashes.get(view))}
    return combine_hashes(kept) if kept else ""


def combine_hashes(embed_hashes: Mapping[str, str]) -> str:
    """Fold the embed hashes of a document's views into one digest to compare by."""
    if len(embed_hashes) == 1:
        return next(iter(embed_hashes.values()))
    return digest(*(part for view in sorted(embed_hashes) for part in (view, embed_hashes[view])))


def revision_at(moment: datetime) -> int:
    """The revision of what a snapshot of that moment says: whole microseconds."""
    return (moment - _EPOCH) // timedelta(microseconds=1)
