"""A row becomes a document: text per view, payload, and the hashes that decide.

Pure functions, called once per row of every full sync: measured at about
10 microseconds a row, so what is compiled once per entity is kept in
``DocumentBuilder``.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Final

import orjson

from sync_pipeline.core.entity import Entity
from sync_pipeline.core.hashing import bytes_digest, embed_hasher, point_id
from sync_pipeline.core.scope import Scope, why_not_a_tenant_id
from sync_pipeline.core.undecodable import is_undecodable, with_escapes

PAYLOAD_SCHEMA_VERSION: Final = 1
"""Written into every point; a reader refuses points of a version it does not know."""

MAX_TEXT_CHARACTERS: Final = 20_000
"""Most characters of one column that are read. Measured: a text of 10 MB costs 8 s and
1.3 GB in the tokenizer for the 256 tokens that the bundled model uses."""

MAX_ROW_ID_CHARACTERS: Final = 512
"""Most characters of a row id."""

INT64_RANGE: Final = range(-(2**63), 2**63)
"""Whole numbers that the index stores exactly."""

_JOINERS: Final = frozenset("\u200c\u200d")
_DROPPED_CATEGORIES: Final = frozenset({"Cc", "Cf"})
_REPEATED_VALUES: Final = 20_000
"""How many normal forms are remembered: units, categories and brands repeat."""
_REPEATED_CHARACTERS: Final = 64
"""Longest value that is looked up among them."""


class Reason(StrEnum):
    """Why a row cannot become a document."""

    EMPTY_TEXT = "empty_text"
    INVALID_TEXT = "invalid_text"
    UNDECODABLE = "undecodable"
    INVALID_NUMBER = "invalid_number"
    INVALID_ID = "invalid_id"
    INVALID_TENANT = "invalid_tenant"
    NO_OWNER = "no_owner"


@dataclass(frozen=True, slots=True)
class Rejection:
    """A row that cannot become a document; never carries its text."""

    entity_type: str
    db_id: str
    reason: Reason
    detail: str
    """What is wrong, for people: names the column, not its content."""


@dataclass(frozen=True, slots=True)
class Document:
    """A row turned into text per view and payload."""

    document_id: str
    point_id: str
    entity_type: str
    db_id: str
    texts: tuple[str, ...]
    """One text per view of the entity, in their order; empty where there is nothing to embed."""
    embed_hashes: tuple[str, ...]
    """One per view; empty where the text is."""
    payload: str
    """Canonical JSON of the payload, without hashes and ``synced_at``."""
    payload_hash: str


def document_id(*, scope: Scope, entity_type: str, row_id: str) -> str:
    """``<global|tenant>-<entity>-<row id>``: injective, for entity names have no hyphen."""
    return f"{scope.kind}-{entity_type}-{row_id}"


def row_document_ids(entity_type: str, row_id: str) -> list[str]:
    """Ids of the documents that a row can be, whoever owns it: the global one, then a tenant's."""
    return [f"{kind}-{entity_type}-{row_id}" for kind in ("global", "tenant")]


def normalise(text: str) -> str:
    """Fold white space to single spaces, compose (NFC), drop control and format characters.

    Raises:
        UnicodeEncodeError: for lone surrogates, which no UTF-8 text can hold.
    """
    folded = " ".join(text.split())
    if folded.isascii() and folded.isprintable():
        return folded
    folded.encode()
    composed = unicodedata.normalize("NFC", folded)
    if composed.isprintable():
        return composed
    kept = "".join(
        character
        for character in composed
        if character in _JOINERS or unicodedata.category(character) not in _DROPPED_CATEGORIES
    )
    return " ".join(kept.split())


_normalise_repeated = lru_cache(maxsize=_REPEATED_VALUES)(normalise)


def render_text(values: Sequence[str | None]) -> str:
    """Join the columns of a view: normalised, empty ones skipped, one space between.

    NULL is never the text "None".
    """
    parts = (
        _normalise_repeated(value) if len(value) <= _REPEATED_CHARACTERS else normalise(value)
        for value in values
        if value
    )
    return " ".join(filter(None, parts))


def number_fault(value: object) -> str | None:
    """Say which number inside a payload value the index cannot hold, or None."""
    # Told apart by type first: nearly every value is a text, and this runs for each of them.
    if value is None or type(value) is str or isinstance(value, str | bool):
        return None
    if isinstance(value, float):
        return None if math.isfinite(value) else f"is {value}"
    if isinstance(value, int):
        return None if value in INT64_RANGE else "is beyond 64 bits"
    if isinstance(value, Mapping):
        return next(filter(None, map(number_fault, value.values())), None)
    if isinstance(value, Sequence):
        return next(filter(None, map(number_fault, value)), None)
    return None


class DocumentBuilder:
    """Turns rows of one entity in one scope into documents.

    A row is a sequence ``(id, tenant, is_global, *view columns, *payload columns)``
    in the order of ``Entity.view_columns`` and ``Entity.payload_columns``.
    """

    __slots__ = ("_embed_hash", "_entity", "_fixed", "_payload_slots", "_scope", "_view_slots")

    def __init__(self, *, entity: Entity, scope: Scope, model_id: str) -> None:
        self._entity = entity
        self._scope = scope
        self._embed_hash = embed_hasher(model_id)
        view_at = {column: 3 + index for index, column in enumerate(entity.view_columns)}
        payload_from = 3 + len(view_at)
        payload_at = {
            column: payload_from + index for index, column in enumerate(entity.payload_columns)
        }
        self._view_slots = tuple(
            tuple(view_at[column] for column in columns) for _, columns in entity.views
        )
        self._payload_slots = tuple((field, payload_at[column]) for field, column in entity.payload)
        self._fixed: dict[str, object] = {
            "tenantId": scope.tenant_id,
            "type": entity.name,
            "isGlobal": scope.is_global,
            "scope": scope.kind,
            "scope_key": scope.key,
            "schema_version": PAYLOAD_SCHEMA_VERSION,
        }

    def build(self, row: Sequence[object]) -> Document | Rejection:
        """Render, validate and hash one row."""
        row_id = row[0]
        if not isinstance(row_id, str) or not 0 < len(row_id) <= MAX_ROW_ID_CHARACTERS:
            return self._reject(str(row_id)[:64], Reason.INVALID_ID, "id is missing or too long")
        owner_fault = self._owner_fault(tenant=row[1], is_global=row[2])
        if owner_fault is not None:
            return self._reject(row_id, *(self._undecodable(row) or owner_fault))
        try:
            texts = tuple(
                render_text([row[slot] for slot in slots])  # type: ignore[misc]  # text by contract of RowSource
                for slots in self._view_slots
            )
        except UnicodeEncodeError as error:
            surrogate = Reason.INVALID_TEXT, f"lone surrogate at character {error.start}"
            return self._reject(row_id, *(self._undecodable(row) or surrogate))
        shown = " ".join(filter(None, texts))
        if not shown:
            columns = ", ".join(self._entity.view_columns)
            return self._reject(row_id, Reason.EMPTY_TEXT, f"nothing to embed in {columns}")
        payload = {field: row[slot] for field, slot in self._payload_slots}
        for field, value in payload.items():
            fault = number_fault(value)
            if fault is not None:
                return self._reject(row_id, Reason.INVALID_NUMBER, f"payload {field} {fault}")
        identity = document_id(scope=self._scope, entity_type=self._entity.name, row_id=row_id)
        payload.update(self._fixed, dbId=row_id, document_id=identity, text=shown)
        try:
            encoded = orjson.dumps(payload, option=orjson.OPT_SORT_KEYS)
        except orjson.JSONEncodeError:
            surrogate = Reason.INVALID_TEXT, "lone surrogate in the payload"
            return self._reject(row_id, *(self._undecodable(row) or surrogate))
        return Document(
            document_id=identity,
            point_id=point_id(identity),
            entity_type=self._entity.name,
            db_id=row_id,
            texts=texts,
            embed_hashes=tuple(self._embed_hash(text) if text else "" for text in texts),
            payload=encoded.decode(),
            payload_hash=bytes_digest(encoded),
        )

    def _owner_fault(self, *, tenant: object, is_global: object) -> tuple[Reason, str] | None:
        if is_global:
            return None
        if tenant is None:
            return Reason.NO_OWNER, "neither global nor owned by a tenant"
        fault = why_not_a_tenant_id(str(tenant))
        return None if fault is None else (Reason.INVALID_TENANT, f"tenant id: {fault}")

    def _undecodable(self, row: Sequence[object]) -> tuple[Reason, str] | None:
        """Name the columns whose bytes are no text, if there are any."""
        names = ("id", "tenant", "is_global", *self._entity.view_columns)
        columns = zip((*names, *self._entity.payload_columns), row, strict=True)
        spoiled = dict.fromkeys(name for name, value in columns if is_undecodable(value))
        if not spoiled:
            return None
        return (
            Reason.UNDECODABLE,
            f"bytes that are no text in {', '.join(spoiled)}: correct them in the source",
        )

    def _reject(self, row_id: str, reason: Reason, detail: str) -> Rejection:
        return Rejection(self._entity.name, with_escapes(row_id), reason, detail)
