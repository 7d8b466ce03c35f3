"""What steps hand to each other: Parquet datasets and the manifests that name them.

Documents are cut into parts by ranges of point id, so that a step compares one
range of the export with the same range of the index, whatever the scope's size.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import datetime
from functools import lru_cache
from typing import Any, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from sync_pipeline.core.document import Document
from sync_pipeline.core.errors import PermanentError, PostponedError
from sync_pipeline.core.payload import content_digest, revision_at
from sync_pipeline.core.point import PointDigests, StoredPoint
from sync_pipeline.core.ports import Dataset, StagingArea
from sync_pipeline.core.reports import Counts, ScopeReport, StepSeconds, SyncMode
from sync_pipeline.core.scope import Scope
from sync_pipeline.engine.staged_columns import hash_column, text_column

_BASE_COLUMNS = ("document_id", "point_id", "entity_type", "db_id", "payload", "payload_hash")


RANK_COLUMN = "rank"
"""Column with when a document's turn comes; only where an entity has a priority."""


def document_schema(views: Sequence[str], *, is_ranked: bool = False) -> pa.Schema:
    """Columns of exported documents.

    ``content`` combines the embed hashes; ``cut`` names the views whose text the source cut.
    """
    names = [*_BASE_COLUMNS, "content"]
    for view in views:
        names += [text_column(view), hash_column(view)]
    fields = [pa.field(name, pa.string()) for name in names]
    schema = pa.schema([*fields, pa.field("cut", pa.list_(pa.string()))])
    return schema.append(pa.field(RANK_COLUMN, pa.string())) if is_ranked else schema


def change_schema(views: Sequence[str]) -> pa.Schema:
    """Columns of a change set: a document, its ``action`` and what the model refuses of it.

    Staged, it has no texts, ``cut`` names also the views of whose text the model reads only a
    part, and of each long view there are the hashes of its passages.
    """
    schema = document_schema(views).insert(0, pa.field("action", pa.string()))
    return schema.append(pa.field("refusal", pa.string()))


MISSING_SCHEMA = pa.schema(
    {
        "model_id": pa.string(),
        "text_hash": pa.string(),
        "text": pa.string(),
        "views": pa.list_(pa.string()),
        "piece": pa.int64(),
    }
)
"""Columns of distinct texts without a vector: of which model, for which views, and whose turn it
is: texts of one piece may be embedded in any order."""

TOUCHED_SCHEMA = pa.schema({"point_id": pa.string()})
"""Columns of the point ids that an incremental sync looks at, in ascending order."""

EVENT_SCHEMA = pa.schema({"event_id": pa.int64()})
"""Columns of the change events that a sync answers."""

STALE_SCHEMA = pa.schema({"point_id": pa.string(), "entity_type": pa.string()})
"""Columns of what a change set removes: stale points with their entity, and records without a
point, which have none."""


def documents_table(
    documents: Sequence[Document],
    *,
    entity_views: Sequence[str],
    views: Sequence[str],
    is_ranked: bool = False,
) -> pa.Table:
    """Lay documents of one entity out in the columns of ``document_schema``.

    Args:
        documents: Of one entity.
        entity_views: Names of the entity's views, in the order of ``Document.texts``.
        views: Names of all views; those the entity lacks are empty.
        is_ranked: Whether ranks are kept too.
    """
    at = {view: position for position, view in enumerate(entity_views)}
    columns: dict[str, list[Any]] = {
        "document_id": [document.document_id for document in documents],
        "point_id": [document.point_id for document in documents],
        "entity_type": [document.entity_type for document in documents],
        "db_id": [document.db_id for document in documents],
        "payload": [document.payload for document in documents],
        "payload_hash": [document.payload_hash for document in documents],
        "content": [_content_digest(document, entity_views) for document in documents],
    }
    empty = [""] * len(documents)
    for view in views:
        if view in at:
            place = at[view]
            columns[text_column(view)] = [document.texts[place] for document in documents]
            columns[hash_column(view)] = [document.embed_hashes[place] for document in documents]
        else:
            columns[text_column(view)] = columns[hash_column(view)] = empty
    columns["cut"] = [list(document.cut) or None for document in documents]
    if is_ranked:
        columns[RANK_COLUMN] = [document.rank for document in documents]
    return pa.table(columns, schema=document_schema(views, is_ranked=is_ranked))


def _content_digest(document: Document, entity_views: Sequence[str]) -> str:
    """One digest of a document's embed hashes, as ``PointDigests.contents`` has it."""
    return content_digest(dict(zip(entity_views, document.embed_hashes, strict=True)), entity_views)


def parts_for(rows: int, *, part_rows: int) -> int:
    """How many parts hold ``rows`` documents, of ``part_rows`` each on average; at least one.

    Point ids are hashes, so a part differs from the average by about its square root.
    """
    return max(1, -(-rows // part_rows))


@lru_cache(maxsize=8)
def part_bounds(parts: int) -> tuple[tuple[str | None, str | None], ...]:
    """Ranges of point id, ``(start, stop)``, that cut the id space evenly."""
    edges = [f"{2**32 * part // parts:08x}-0000-0000-0000-000000000000" for part in range(parts)]
    starts: list[str | None] = [None, *edges[1:]]
    return tuple(zip(starts, [*edges[1:], None], strict=True))


def split_by_part(table: pa.Table, *, parts: int, width: int = 1) -> Iterator[tuple[int, pa.Table]]:
    """Cut a table by the parts its ``point_id`` falls into.

    Args:
        table: With the column ``point_id``.
        parts: How many parts the id space is cut into.
        width: How many neighbouring parts count as one.

    Yields:
        Number of the part, or of the ``width`` neighbours, and its rows.
    """
    if parts == 1:
        yield 0, table
        return
    place = np.searchsorted(_stops(parts), column_bytes(table, "point_id", 36), side="right")
    yield from split_by_place(table, place // width)


def split_by_place(
    table: pa.Table, place: NDArray[np.signedinteger]
) -> Iterator[tuple[int, pa.Table]]:
    """Cut a table by a number per row; yields each number with its rows, in their order."""
    order = np.argsort(place, kind="stable")
    starts = np.flatnonzero(np.diff(place[order], prepend=-1))
    for rows in np.split(order, starts[1:]):
        if len(rows):
            yield int(place[rows[0]]), table.take(rows)


@lru_cache(maxsize=8)
def _stops(parts: int) -> NDArray[np.bytes_]:
    return np.array([stop for _, stop in part_bounds(parts)[:-1]], dtype="S36")


def write_table(staging: StagingArea, name: str, table: pa.Table) -> None:
    """Stage a dataset of one part."""
    with staging.open_writer(name, schema=table.schema, parts=1) as writer:
        writer.write(0, table)


def read_texts(dataset: Dataset, *, column: str) -> list[str]:
    """A text column of a dataset of one part."""
    return [str(text) for text in dataset.read(0, columns=[column]).column(column).to_pylist()]


def column_bytes(table: pa.Table, name: str, width: int) -> NDArray[np.bytes_]:
    """A text column as fixed-width bytes, the form that digests are compared in."""
    return table.column(name).to_numpy().astype(f"S{width}")


def table_digests(table: pa.Table) -> tuple[PointDigests, NDArray[np.intp]]:
    """Digests of a table in ascending order of point id, and the order that sorts it."""
    ids = column_bytes(table, "point_id", 36)
    order = np.argsort(ids, kind="stable")
    digests = PointDigests(
        point_ids=ids[order],
        contents=column_bytes(table, "content", 32)[order],
        payloads=column_bytes(table, "payload_hash", 32)[order],
    )
    return digests, order


def point_digests(
    points: Iterable[StoredPoint], *, scope_key: str, views: Sequence[str]
) -> PointDigests:
    """What retrieved points say about themselves, of those that carry ``scope_key``, sorted."""
    rows = sorted(
        (
            point.point_id,
            content_digest(point.embed_hashes, views),
            point.payload_hash,
        )
        for point in points
        if point.scope_key == scope_key
    )
    return PointDigests(
        point_ids=np.array([row[0] for row in rows], dtype="S36"),
        contents=np.array([row[1] for row in rows], dtype="S32"),
        payloads=np.array([row[2] for row in rows], dtype="S32"),
    )


def gather(batches: Iterator[PointDigests]) -> PointDigests:
    """Join batches of digests into one."""
    kept = [batch for batch in batches if len(batch)]
    if not kept:
        empty = np.array([], dtype="S36"), np.array([], dtype="S32"), np.array([], dtype="S32")
        return PointDigests(point_ids=empty[0], contents=empty[1], payloads=empty[2])
    return PointDigests(
        point_ids=np.concatenate([batch.point_ids for batch in kept]),
        contents=np.concatenate([batch.contents for batch in kept]),
        payloads=np.concatenate([batch.payloads for batch in kept]),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class StagedEntity:
    """What an export read of one entity."""

    entity_type: str
    rows: int
    documents: int
    quarantined: int
    digest: str | None
    """See ``SyncContext.entity_digest``; None if incremental."""
    feed_epoch: str | None
    """How the feed stood before anything was read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Manifest:
    """What every manifest says; read back with ``from_dict``."""

    scope_key: str
    run_id: str
    mode: SyncMode
    snapshot_at: str
    """ISO time of the source snapshot, by the source's clock."""
    collection: str
    counts: Counts
    """Of the run so far, this step included."""
    seconds: StepSeconds
    """Likewise."""
    parts: int
    entities: Sequence[StagedEntity]
    """What was read of each entity of the settings, in their order."""
    note: str | None
    """Why an incremental sync became a full one; None where it did not."""
    touched: str | None
    """Dataset of the point ids an incremental sync looks at; None looks at all."""
    events: str | None
    """Dataset of the change events that this sync answers; None where there are none."""
    event_keys: Sequence[str] = ()
    """How those events spell the scope."""
    unknown: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """Per view what the model knows of the texts embedded so far."""
    answered: str | None = None
    """Dataset of the change events that the other generations have answered; None where this
    one is alone."""
    out_of_step: str | None = None
    """Which other generation could not be kept in step, and why; None where all are."""

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read what ``to_dict`` wrote."""
        entities = [StagedEntity(**entity) for entity in values["entities"]]
        return cls(**{**values, **_run_so_far(values), "entities": entities})

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)

    @property
    def scope(self) -> Scope:
        """Whose documents these are."""
        return Scope.from_key(self.scope_key)

    @property
    def is_full(self) -> bool:
        """Whether the whole scope was read, and not only what was touched."""
        return self.touched is None

    @property
    def taken_at(self) -> datetime:
        """When the source snapshot was taken."""
        return datetime.fromisoformat(self.snapshot_at)

    @property
    def revision(self) -> int:
        """The snapshot's time in microseconds: larger is newer, see ``source_revision``."""
        return revision_at(self.taken_at)

    def report(self) -> ScopeReport:
        """What a run reports that came so far and no further."""
        return ScopeReport(
            scope_key=self.scope_key,
            status="failed",
            run_id=self.run_id,
            unknown=self.unknown,
            seconds=self.seconds,
            note=self.note,
            **self.counts.numbers(),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class StagedExport(_Manifest):
    """Every document of a scope in one snapshot, or every touched one: a complete export.

    An export that ended early raises and leaves no value of this type, so
    nothing can be deleted because of it.
    """

    dataset: str
    fence_token: int
    """Lease token under which the snapshot was taken."""


def _run_so_far(values: Mapping[str, Any]) -> dict[str, Any]:
    return {"counts": Counts(**values["counts"]), "seconds": StepSeconds(**values["seconds"])}


def inherited(manifest: _Manifest, **since: object) -> dict[str, Any]:
    """What a step's manifest takes over from the one before it, but for what was done since."""
    same = {part.name: getattr(manifest, part.name) for part in fields(_Manifest)}
    return {**same, **since}


@dataclass(frozen=True, slots=True, kw_only=True)
class MissingTexts:
    """One part of the texts that have to be embedded: whoever has it needs nothing else."""

    dataset: str
    """See ``MISSING_SCHEMA``."""
    texts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _ChangeSet(_Manifest):
    """What a comparison found, part by part: a dataset of its own for each part that has any."""

    changes: Sequence[str]
    """Datasets of documents with their action (``change_schema``), in the order of their turn."""
    changes_rows: int
    stale: Sequence[str]
    """Datasets of what has to go (``STALE_SCHEMA``)."""
    stale_rows: int
    fence_token: int
    """Lease token under which the comparison was made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnembeddedText:
    """A text that has no vector: the model refuses it, or it has to wait."""

    error_code: str
    """Class name of the error."""
    error: str
    """Its message."""
    retry_after_seconds: float | None = None
    """When it is tried again, where it has to wait through no fault of its own."""

    @classmethod
    def of(cls, error: PermanentError | PostponedError) -> Self:
        """Note an error."""
        waits = error.retry_after_seconds if isinstance(error, PostponedError) else None
        return cls(error_code=type(error).__name__, error=str(error), retry_after_seconds=waits)

    @property
    def is_postponed(self) -> bool:
        """Whether it has to wait, and is not refused."""
        return self.retry_after_seconds is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddedTexts:
    """What became of one part of the missing texts; their vectors are in the cache."""

    counts: Counts
    """Of this part alone."""
    seconds: float
    unknown: Mapping[str, Mapping[str, int]]
    """Per view what the model knows of them."""
    unembedded: Mapping[str, int]
    """By embed hash those without a vector: where in ``reasons`` it stands why. Thousands of texts
    wait for the same thing."""
    reasons: Sequence[UnembeddedText]

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read what ``to_dict`` wrote."""
        reasons = [UnembeddedText(**why) for why in values["reasons"]]
        return cls(**{**values, "counts": Counts(**values["counts"]), "reasons": reasons})

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class StagedComparison(_ChangeSet):
    """What has to be embedded, written and deleted so that the index equals an export."""

    missing: Sequence[MissingTexts]
    """Texts without a vector, in the order of their turn, each in one part alone."""
    embedded: Sequence[EmbeddedTexts] = ()
    """What became of them where they were embedded at once; its counts and seconds are in."""

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read what ``to_dict`` wrote."""
        missing = [MissingTexts(**part) for part in values["missing"]]
        embedded = [EmbeddedTexts.from_dict(part) for part in values["embedded"]]
        read = super(StagedComparison, cls).from_dict({**values, "missing": (), "embedded": ()})
        return replace(read, missing=missing, embedded=embedded)

    @property
    def missing_texts(self) -> int:
        """How many have to be embedded."""
        return sum(part.texts for part in self.missing)


@dataclass(frozen=True, slots=True, kw_only=True)
class StagedChanges(_ChangeSet):
    """What has to be written and deleted; every vector that it takes is in the cache."""

    failed_of: Mapping[str, int]
    """Per entity the failed documents."""
    absent_of: Mapping[str, int]
    """Per entity the failed documents that have no older point in the index either."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AppliedChanges:
    """A change set that has been written, before anything was deleted."""

    staged: StagedChanges
    counts: Counts
    """Of the run so far, this step included."""
    seconds: StepSeconds
    """Likewise."""
    failed_of: Mapping[str, int]
    """Per entity the failed documents, in all steps."""
    absent_of: Mapping[str, int]
    """As in ``StagedChanges``, in all steps."""

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read what ``to_dict`` wrote."""
        staged = StagedChanges.from_dict(values["staged"])
        return cls(**{**values, **_run_so_far(values), "staged": staged})

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)

    @property
    def scope(self) -> Scope:
        """Whose documents these are."""
        return self.staged.scope

    @property
    def run_id(self) -> str:
        """Which run wrote them."""
        return self.staged.run_id

    def report(self) -> ScopeReport:
        """What a run reports that came so far and no further."""
        return replace(self.staged.report(), seconds=self.seconds, **self.counts.numbers())


def scope_folder(scope: Scope) -> str:
    """Where all runs keep the datasets of a scope: a hash of its key."""
    return hashlib.blake2b(scope.key.encode(), digest_size=8).hexdigest()


def run_folder(*, scope: Scope, run_id: str) -> str:
    """Where a run keeps the datasets of a scope: ``<scope>/<run>``."""
    return f"{scope_folder(scope)}/{run_id}"


def dataset_name(step: str, *, scope: Scope, run_id: str) -> str:
    """Where a step of a run keeps its rows: ``<scope>/<run>/<step>``."""
    return f"{run_folder(scope=scope, run_id=run_id)}/{step}"
