"""A change set as the steps see it: its documents, its texts, and those that failed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import repeat
from typing import Final, Self

import pyarrow as pa

from sync_pipeline.core.diff import Action
from sync_pipeline.core.errors import PermanentError
from sync_pipeline.core.ports import FailedDocument, StateRow
from sync_pipeline.core.row_dataclass import row_dataclass
from sync_pipeline.engine.staged import UnembeddedText
from sync_pipeline.engine.staged_columns import hash_column, passages_column

POINT_ACTIONS: Final = (Action.NEW, Action.CHANGED)
"""Actions that write a point, and so need its vectors."""

_COLUMNS: Final = (
    "action", "document_id", "point_id", "entity_type", "db_id", "payload", "payload_hash",
    "refusal",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Views of a document that have no vector: it is searchable by the others, and by words."""

    views: Sequence[str]
    error_code: str
    """Class name of the first error."""
    error: str
    """Its message."""
    retry_after_seconds: float | None = None
    """When they are tried again, where all of them only have to wait."""

    @classmethod
    def of(cls, error: PermanentError | UnembeddedText, *, views: Sequence[str]) -> Self:
        """Note an error of these views."""
        text = error if isinstance(error, UnembeddedText) else UnembeddedText.of(error)
        return cls(
            views=tuple(views),
            error_code=text.error_code,
            error=text.error,
            retry_after_seconds=text.retry_after_seconds,
        )

    def to_json(self) -> str:
        """As a change set keeps it."""
        return json.dumps(asdict(self))


@row_dataclass(frozen=True, slots=True, kw_only=True)
class Change(StateRow):
    """A row of a staged change set: what will be recorded of a document, and what it needs.

    Its hashes are those of the views that get a vector.
    """

    action: Action
    payload: str
    """Canonical JSON, see ``Document.payload``."""
    refusal: Refusal | None = None
    """Of the views without a vector, where others have one or all have to wait."""

    @property
    def writes_point(self) -> bool:
        """Whether vectors are written too."""
        return self.action in POINT_ACTIONS

    def vector_keys(self, view: str) -> Sequence[str]:
        """Embed hashes of all that has a vector in a view."""
        return self.passages.get(view, (self.embed_hashes[view],))

    def as_failed(self, why: PermanentError | Refusal) -> FailedDocument:
        """What is recorded where the index will not have it, or the model some of its views."""
        refusal = why if isinstance(why, Refusal) else Refusal.of(why, views=())
        return FailedDocument(
            document_id=self.document_id,
            point_id=self.point_id,
            entity_type=self.entity_type,
            db_id=self.db_id,
            error_code=refusal.error_code,
            error=refusal.error,
            views=refusal.views,
            retry_after_seconds=refusal.retry_after_seconds,
        )


def iter_changes(rows: pa.RecordBatch | pa.Table, views: Sequence[str]) -> Iterator[Change]:
    """Read rows of a change set, in their order."""
    columns = [rows.column(name).to_pylist() for name in _COLUMNS]
    hashes = [rows.column(hash_column(view)).to_pylist() for view in views]
    passages = _passages(rows, views)
    cut = (
        rows.column("cut").to_pylist()
        if "cut" in rows.schema.names
        else repeat(None, rows.num_rows)
    )
    for action, *values, refusal, keys, parts, unread in zip(
        *columns, zip(*hashes, strict=True), passages, cut, strict=True
    ):
        document_id, point_id, entity_type, db_id, payload, payload_hash = values
        embed_hashes = {view: key for view, key in zip(views, keys, strict=True) if key}
        yield Change(
            action=Action(action),
            document_id=document_id,
            point_id=point_id,
            entity_type=entity_type,
            db_id=db_id,
            payload=payload,
            payload_hash=payload_hash,
            embed_hashes=embed_hashes,
            passages={view: found for view, found in parts.items() if view in embed_hashes},
            truncated=tuple(view for view in unread or () if view in embed_hashes),
            refusal=None if refusal is None else Refusal(**json.loads(refusal)),
        )


def _passages(
    rows: pa.RecordBatch | pa.Table, views: Sequence[str]
) -> Iterator[Mapping[str, Sequence[str]]]:
    """Row by row the hashes of passages, by long view."""
    named = {
        view: rows.column(name).to_pylist()
        for view in views
        if (name := passages_column(view)) in rows.schema.names
    }
    if not named:
        return repeat({}, rows.num_rows)
    return (
        {view: found for view, found in zip(named, row, strict=True) if found}
        for row in zip(*named.values(), strict=True)
    )


def note_failure(
    change: Change,
    *,
    failed_of: dict[str, int],
    absent_of: dict[str, int],
    is_written: bool = False,
) -> None:
    """Count a document of a change set that failed, under its entity.

    Args:
        change: Which one.
        failed_of: Failed documents per entity.
        absent_of: Those of them that are not in the index at all.
        is_written: Whether only some of its views failed.
    """
    name = change.entity_type
    failed_of[name] = failed_of.get(name, 0) + 1
    if change.action is Action.NEW and not is_written:
        absent_of[name] = absent_of.get(name, 0) + 1
