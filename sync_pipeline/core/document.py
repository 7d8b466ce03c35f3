"""A row becomes a document: text per view, payload, and the hashes that decide.

Pure functions, called once per row of every full sync: measured at about
10 microseconds a row, so what is compiled once per entity is kept in
``DocumentBuilder``.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Final

import orjson

from sync_pipeline.core.entity import Entity, Markup
from sync_pipeline.core.hashing import bytes_digest, embed_hasher, point_id
from sync_pipeline.core.markup import html_words
from sync_pipeline.core.payload import (
    DB_ID,
    DOCUMENT_ID,
    ENTITY_TYPE,
    PAYLOAD_SCHEMA_VERSION,
    SCHEMA_VERSION,
    TEXT,
    TEXT_SPANS,
    owner_fields,
)
from sync_pipeline.core.priority import rank_of
from sync_pipeline.core.row_dataclass import row_dataclass
from sync_pipeline.core.scope import Scope, why_not_a_tenant_id
from sync_pipeline.core.undecodable import is_undecodable, with_escapes

MAX_TEXT_CHARACTERS: Final = 20_000
"""Most characters of one column that are read. Measured: a text of 10 MB costs 8 s and
1.3 GB in the tokenizer for the 256 tokens that the bundled model uses."""

MAX_LONG_TEXT_CHARACTERS: Final = 200_000
"""The same for a column of a long view: about 100 pages."""

MAX_ROW_ID_CHARACTERS: Final = 512
"""Most characters of a row id."""

INT64_RANGE: Final = range(-(2**63), 2**63)
"""Whole numbers that the index stores exactly."""

_JOINERS: Final = frozenset("\u200c\u200d")
_WORD_ENDS: Final = frozenset("\u200b\u2063\ufff9\ufffa\ufffb")
"""Format characters that stand between words: zero-width space, invisible separator, and those
around an annotation."""
_DROPPED_CATEGORIES: Final = frozenset({"Cc", "Cf"})
# Fillers of Hangul are letters to Unicode and blanks to people.
_LETTER_OR_DIGIT: Final = re.compile(r"[^\W_\u115f\u1160\u3164\uffa0]")
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
    """Of earlier versions, whose records may still be there; now only the value is dropped."""
    INVALID_ID = "invalid_id"
    DOUBLED_ID = "doubled_id"
    """Several rows have the id, and another one is the document, or none."""
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
    rows: int = 1
    """How many rows it stands for; more than one where several have the same id."""


@row_dataclass(frozen=True, slots=True)
class Document:
    """A row turned into text per view and payload."""

    document_id: str
    point_id: str
    entity_type: str
    db_id: str
    texts: tuple[str, ...]
    """One text per view of the entity, in their order; empty where there is nothing to embed."""
    embed_hashes: tuple[str, ...]
    """One per view; empty where the text is, or the document is archived."""
    payload: str
    """Canonical JSON of the payload, without hashes and ``synced_at``."""
    payload_hash: str
    dropped: tuple[str, ...] = ()
    """The payload field of each value that no index can hold; null stands in its place."""
    cut: tuple[str, ...] = ()
    """Views of whose text the source gave only the beginning."""
    is_archived: bool = False
    """Whether it keeps text and payload alone: no view has a hash, and none gets a vector."""
    rank: str = ""
    """When its turn comes in its scope, see ``core.priority``; empty without a priority."""


def document_id(*, scope: Scope, entity_type: str, row_id: str) -> str:
    """``<global|tenant>-<entity>-<row id>``: injective, for entity names have no hyphen."""
    return f"{scope.kind}-{entity_type}-{row_id}"


def split_document_id(name: str) -> tuple[str, str, str] | None:
    """Kind of scope, entity and row id of a document id; None where it can be none."""
    kind, _, rest = name.partition("-")
    entity_type, _, row_id = rest.partition("-")
    # No text of PostgreSQL has a NUL, and no UTF-8 text a lone surrogate.
    is_text = "\0" not in name and _is_unicode(name)
    if kind not in ("global", "tenant") or not entity_type or not row_id or not is_text:
        return None
    return kind, entity_type, row_id


def row_document_ids(entity_type: str, row_id: str) -> list[str]:
    """Ids of the documents that a row can be, whoever owns it: the global one, then a tenant's."""
    return [f"{kind}-{entity_type}-{row_id}" for kind in ("global", "tenant")]


def normalise(text: str) -> str:
    """Fold white space to single spaces, compose (NFC), drop control and format characters.

    A zero-width space ends a word; a soft hyphen, a byte order mark and directional marks
    do not.

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
        " " if character in _WORD_ENDS else character
        for character in composed
        if character in _JOINERS
        or character in _WORD_ENDS
        or unicodedata.category(character) not in _DROPPED_CATEGORIES
    )
    return " ".join(kept.split())


def _normalise_html(text: str) -> str:
    return normalise(html_words(text))


_NORMALISED: Final[Mapping[Markup, Callable[[str], str]]] = {
    "none": normalise,
    "html": _normalise_html,
}
_NORMALISED_REPEATED: Final[Mapping[Markup, Callable[[str], str]]] = {
    markup: lru_cache(maxsize=_REPEATED_VALUES)(function)
    for markup, function in _NORMALISED.items()
}


def render_text(values: Sequence[str | None], *, markup: Markup = "none") -> str:
    """Join the columns of a view: normalised, empty ones skipped, one space between.

    NULL is never the text "None".
    """
    any_value, repeated = _NORMALISED[markup], _NORMALISED_REPEATED[markup]
    parts = [
        repeated(value) if len(value) <= _REPEATED_CHARACTERS else any_value(value)
        for value in values
        if value
    ]
    return " ".join(filter(None, parts))


def longest_text(entity: Entity, column: str) -> int:
    """Most characters that are read of a column of a view."""
    is_long = column in entity.long_columns
    return MAX_LONG_TEXT_CHARACTERS if is_long else MAX_TEXT_CHARACTERS


def has_words(text: str) -> bool:
    """Whether there is anything to embed: a letter or a digit."""
    return _LETTER_OR_DIGIT.search(text) is not None


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


def keepable(value: object) -> tuple[object, int]:
    """Put None for whatever the index cannot hold, however deep.

    Returns:
        The value without them, and how many there were: numbers that are not finite or beyond
        64 bits, and texts with a lone surrogate, also where they are keys.
    """
    if isinstance(value, Mapping):
        pairs = [(*keepable(key), *keepable(inner)) for key, inner in value.items()]
        kept = {key: inner for key, bad, inner, _ in pairs if not bad}
        return kept, sum(bad_key or bad for _, bad_key, _, bad in pairs)
    if isinstance(value, list | tuple):
        elements = [keepable(element) for element in value]
        return [element for element, _ in elements], sum(bad for _, bad in elements)
    if isinstance(value, str):
        is_kept = _is_unicode(value)
    else:
        is_kept = value is None or (
            isinstance(value, bool | int | float) and number_fault(value) is None
        )
    return (value, 0) if is_kept else (None, 1)


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


class DocumentBuilder:
    """Turns rows of one entity in one scope into documents.

    A row is a sequence ``(id, tenant, is_global, *view columns, *payload columns)``
    in the order of ``Entity.view_columns`` and ``Entity.payload_columns``, with what else
    ``SourceSnapshot.iter_rows`` says.

    Args:
        entity: Whose rows.
        scope: Whose documents.
        model_id: Part of every embed hash.
        hash_ids: What is part of those of a view instead, see ``ViewSpec.hash_id``.
    """

    __slots__ = (
        "_embed_hashes", "_entity", "_fixed", "_limits", "_markup", "_payload_slots", "_ranked",
        "_scope", "_view_limits", "_view_slots",
    )  # fmt: skip

    def __init__(
        self,
        *,
        entity: Entity,
        scope: Scope,
        model_id: str,
        hash_ids: Mapping[str, str] | None = None,
    ) -> None:
        self._entity = entity
        self._markup = entity.markup
        self._scope = scope
        hashers = {
            view: embed_hasher((hash_ids or {}).get(view, model_id)) for view, _ in entity.views
        }
        self._embed_hashes = tuple(hashers.values())
        view_at = {column: 3 + index for index, column in enumerate(entity.view_columns)}
        payload_from = 3 + len(view_at)
        payload_at = {
            column: payload_from + index for index, column in enumerate(entity.payload_columns)
        }
        self._view_slots = tuple(
            tuple(view_at[column] for column in columns) for _, columns in entity.views
        )
        self._view_limits = tuple(
            (view, tuple((view_at[column], longest_text(entity, column)) for column in columns))
            for view, columns in entity.views
        )
        self._limits = tuple(
            (view_at[column], longest_text(entity, column)) for column in entity.view_columns
        )
        self._payload_slots = tuple((field, payload_at[column]) for field, column in entity.payload)
        ranked_from = payload_from + len(payload_at)
        self._ranked = slice(ranked_from, ranked_from + len(entity.priority))
        self._fixed: dict[str, object] = {
            **owner_fields(scope),
            ENTITY_TYPE: entity.name,
            SCHEMA_VERSION: PAYLOAD_SCHEMA_VERSION,
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
            rendered = [
                render_text([row[slot] for slot in slots], markup=self._markup)  # type: ignore[misc]  # text by contract of RowSource
                for slots in self._view_slots
            ]
        except UnicodeEncodeError as error:
            surrogate = Reason.INVALID_TEXT, f"lone surrogate at character {error.start}"
            return self._reject(row_id, *(self._undecodable(row) or surrogate))
        cut = self._cut(row)
        texts = tuple(text if has_words(text) else "" for text in rendered)
        shown = " ".join(filter(None, texts))
        if not shown:
            columns = ", ".join(self._entity.view_columns)
            return self._reject(row_id, Reason.EMPTY_TEXT, f"nothing to embed in {columns}")
        identity = document_id(scope=self._scope, entity_type=self._entity.name, row_id=row_id)
        payload = {field: row[slot] for field, slot in self._payload_slots}
        own = {**self._fixed, DB_ID: row_id, DOCUMENT_ID: identity, TEXT: shown}
        if self._entity.long_views:
            own[TEXT_SPANS] = self._spans(texts)
        encoded, dropped = _encode(payload, own=own)
        spoiled = self._undecodable(row) if dropped else None
        if spoiled is not None:
            return self._reject(row_id, *spoiled)
        is_archived = self._entity.archive is not None and bool(row[-1])
        return Document(
            document_id=identity,
            point_id=point_id(identity),
            entity_type=self._entity.name,
            db_id=row_id,
            texts=texts,
            embed_hashes=tuple(
                embed_hash(text) if text and not is_archived else ""
                for embed_hash, text in zip(self._embed_hashes, texts, strict=True)
            ),
            payload=encoded.decode(),
            payload_hash=bytes_digest(encoded),
            dropped=dropped,
            cut=cut,
            is_archived=is_archived,
            rank=rank_of(row[self._ranked], self._entity.priority),
        )

    def _cut(self, row: Sequence[object]) -> tuple[str, ...]:
        """Views with a column that is as long as what is read of it at most."""
        for slot, limit in self._limits:
            value = row[slot]
            if value and len(value) >= limit:  # type: ignore[arg-type]  # text by contract of RowSource
                break
        else:  # nearly every row
            return ()
        return tuple(
            view
            for view, slots in self._view_limits
            if any(len(row[slot] or "") >= limit for slot, limit in slots)  # type: ignore[arg-type]  # text by contract of RowSource
        )

    def _spans(self, texts: Sequence[str]) -> dict[str, list[int]]:
        """Per view with a text its place among all of them, joined."""
        spans: dict[str, list[int]] = {}
        start = 0
        for (view, _), text in zip(self._entity.views, texts, strict=True):
            if text:
                spans[view] = [start, start + len(text)]
                start += len(text) + 1
        return spans

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
        columns = zip((*names, *self._entity.payload_columns), row, strict=False)
        spoiled = dict.fromkeys(name for name, value in columns if is_undecodable(value))
        if not spoiled:
            return None
        return (
            Reason.UNDECODABLE,
            f"bytes that are no text in {', '.join(spoiled)}: correct them in the source",
        )

    def _reject(self, row_id: str, reason: Reason, detail: str) -> Rejection:
        return Rejection(self._entity.name, with_escapes(row_id), reason, detail)


def _encode(
    payload: Mapping[str, object], *, own: Mapping[str, object]
) -> tuple[bytes, tuple[str, ...]]:
    """Write a payload as canonical JSON; and the field of each value that cannot be kept."""
    if not any(map(number_fault, payload.values())):
        try:
            return orjson.dumps({**payload, **own}, option=orjson.OPT_SORT_KEYS), ()
        except orjson.JSONEncodeError:  # a lone surrogate
            pass
    kept = {field: keepable(value) for field, value in payload.items()}
    cleaned = {field: value for field, (value, _) in kept.items()}
    dropped = tuple(field for field, (_, count) in kept.items() for _ in range(count))
    return orjson.dumps({**cleaned, **own}, option=orjson.OPT_SORT_KEYS), dropped
