"""The seams of the pipeline. Each docstring is a contract that tests ask of every adapter and fake.

Adapters raise only errors of ``core.errors``; foreign exceptions stop inside
them. ``Lease`` values are opened in a ``with`` for a short time, never held.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from sync_pipeline.core.changes import EntityDigest
from sync_pipeline.core.document import Rejection
from sync_pipeline.core.entity import Entity
from sync_pipeline.core.point import (
    CollectionSpec,
    Point,
    PointDigests,
    SearchQuery,
    SparseVector,
    StoredPoint,
)
from sync_pipeline.core.scope import Scope

T = TypeVar("T")
Lease = Callable[[], AbstractContextManager[T]]
"""Opens something for the length of a ``with``."""


# --- source -----------------------------------------------------------------------------


class SourceSnapshot(Protocol):
    """The source as of one instant: one REPEATABLE READ, READ ONLY transaction."""

    taken_at: datetime
    """When the snapshot was taken, by the database's clock, with time zone."""

    def count_rows(self, *, entity: Entity, scope: Scope) -> int:
        """Count the rows that ``iter_rows`` with the same arguments will yield.

        Raises:
            DuplicateDocumentError: a row of the scope shares its id with another row
                of the table that becomes a document of the same kind.
        """

    def iter_rows(
        self,
        *,
        entity: Entity,
        scope: Scope,
        ids: Sequence[str] | None = None,
        batch_size: int = 4096,
    ) -> Iterator[list[Sequence[object]]]:
        """Yield the scope's rows in batches, in no particular order, bounded in memory.

        Each row is ``(id, tenant, is_global, *entity.view_columns, *entity.payload_columns)``:
        id and tenant as text or None, ``is_global`` a bool, view columns as text
        (cut at ``MAX_TEXT_CHARACTERS``) or None, payload columns as None, bool, int,
        float, str, or for JSON and arrays their parsed value. Dates are ISO text.

        A row with ``is_global`` true belongs to the global scope whatever its
        tenant. Rows that no scope can own (not global, and no tenant or an unusable
        one) come with the global scope, so that they are named once.

        Args:
            entity: Which table.
            scope: Whose rows.
            ids: Only rows with these ids; ids that cannot occur yield nothing.
            batch_size: Rows per batch.

        Raises:
            SourceUnavailableError: the connection was lost; what was yielded is incomplete.
        """

    def list_owners(self, *, entity: Entity, row_id: str) -> list[Scope]:
        """Scopes with which ``iter_rows`` yields a row of this id: none, one or, rarely, more."""

    def iter_ids(
        self, *, entity: Entity, scope: Scope, batch_size: int = 50_000
    ) -> Iterator[list[str]]:
        """Yield only the ids of the same rows (those of unusable owners left out)."""

    def iter_changed_ids(
        self, *, entity: Entity, scope: Scope, since: datetime, batch_size: int = 50_000
    ) -> Iterator[list[str]]:
        """Yield ids of the scope's rows whose ``entity.updated_at`` is ``since`` or later.

        A time of infinity counts as later. Rows without a time are yielded too.

        Raises:
            ValueError: the entity has no such column.
        """

    def digest(self, *, entities: Sequence[Entity], scope: Scope) -> dict[str, EntityDigest]:
        """Digest the mapped columns of the scope's rows, by entity name.

        Ask after reading rows. Equal to what ``RowSource.digest_by_scope`` says of
        the same rows.
        """


class RowSource(Protocol):
    """Reads the configured tables; never writes."""

    database: str
    """Host, port and database name for messages; never a password."""

    def check_schema(self, entities: Sequence[Entity]) -> None:
        """Compare entities with the catalogue.

        Raises:
            SourceSchemaError: naming every missing table and column at once.
            SourceUnavailableError: no connection.
        """

    def list_scopes(self, entities: Sequence[Entity]) -> list[Scope]:
        """Global first, then every tenant that owns a row, by key. Unusable ids are left out."""

    def count_by_scope(self, entities: Sequence[Entity]) -> dict[str, int]:
        """Rows per scope key, of all entities together."""

    def digest_by_scope(self, entities: Sequence[Entity]) -> dict[str, dict[str, EntityDigest]]:
        """Digest every scope at once, by scope key and entity name: one query per entity.

        Two digests are equal if and only if the mapped columns of the rows are,
        but for an accident of 1 in 2^64. Measured: 1,000,000 rows of 10,000
        tenants in 0.8 s.
        """

    def open_snapshot(self) -> AbstractContextManager[SourceSnapshot]:
        """Open one snapshot with ``row_security = off``.

        Raises:
            SourceUnavailableError: no connection.
            SourceSchemaError: a row security policy would hide rows from this role.
        """


# --- embedding --------------------------------------------------------------------------


class Embedder(Protocol):
    """Turns texts into vectors of one fixed length.

    Making one is cheap and loads nothing; the model is loaded by the first call
    that needs it. ``model_id`` and ``dimension`` are known without loading.
    """

    max_batch: int
    """Most texts one call accepts."""

    @property
    def model_id(self) -> str:
        """Names model, revision, dtype and document prompt; part of every cache key."""

    @property
    def dimension(self) -> int:
        """Length of every vector."""

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed documents, keeping their order.

        Args:
            texts: Non-empty strings; at most ``max_batch`` of them.

        Returns:
            One L2-normalised row per text, shape ``(len(texts), dimension)``.

        Raises:
            ModelUnavailableError: the model cannot be loaded as configured.
            TransientError: rate limit, timeout, connection refused.
            PermanentError: the provider refuses one of the texts.
            MemoryError: the batch is too large; try a smaller one.
        """

    def embed_query(self, text: str) -> NDArray[np.float32]:
        """Embed one search text with the model's query prompt, shape ``(dimension,)``."""

    def count_truncated(self, texts: Sequence[str]) -> int:
        """Count the texts that are longer than the model's window (its tail is ignored)."""

    def count_tokens(self, texts: Sequence[str]) -> int:
        """Count the tokens that embedding these texts would take, all together.

        An estimate, where the provider's tokenizer is not at hand. Loads no model.
        """


class SparseEncoder(Protocol):
    """BM25 term weights."""

    sparse_id: str
    """Names language and parameters; part of the collection's fingerprint."""

    def encode_documents(self, texts: Sequence[str]) -> list[SparseVector]:
        """Weigh the terms of documents."""

    def encode_query(self, text: str) -> SparseVector:
        """Weigh the terms of a search text."""


# --- store ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreCapabilities:
    """What a store can do; the engine asks instead of knowing adapters."""

    conditional_writes: bool
    """Upserts lose against a point with a newer ``source_revision``."""
    one_process: bool
    """Only one process may hold it: lease it briefly."""
    explicit_optimize: bool
    """Search indexes are built only when ``optimize`` is called."""
    max_batch_bytes: int = 8 * 2**20
    """Most bytes of one request."""


class VectorStore(Protocol):
    """Collections of points. Writes return only after they are confirmed and searchable.

    A missing collection has no points: reading and deleting find nothing. Writing
    to it and searching it raise ``CollectionMissingError``.

    With ``conditional_writes``, a point whose payload carries a larger
    ``source_revision`` than the one to be written stays as it is, and that is no
    error. A write without that field, or over a point without it, always applies.
    """

    capabilities: StoreCapabilities

    def alias_target(self, alias: str) -> str | None:
        """Name of the collection that an alias serves, None where it serves none."""

    def set_alias(self, alias: str, *, collection: str) -> None:
        """Point an alias at a collection in one atomic step.

        Raises:
            CollectionMissingError: there is no such collection; the alias is unchanged.
        """

    def list_collections(self) -> list[str]:
        """Names of all physical collections, sorted."""

    def ensure_collection(self, spec: CollectionSpec) -> bool:
        """Create ``spec.collection`` with its vectors and payload indexes where it is missing.

        One named vector per view (cosine), the sparse vector ``bm25`` with IDF,
        a keyword index on ``scope_key`` with ``is_tenant``. Does not touch aliases.

        Returns:
            Whether it was created.
        """

    def describe_collection(self, collection: str) -> str | None:
        """What a collection was built with, as ``CollectionSpec.describe`` said it, if known."""

    def drop_collection(self, collection: str) -> None:
        """Delete a collection and the aliases that serve it; a missing one is not an error."""

    def upsert(self, collection: str, points: Sequence[Point]) -> None:
        """Insert or overwrite points; writing the same twice is the same as once.

        Raises:
            InvalidVectorError: a vector is not finite, not normalised, of the wrong length or
                of an unknown view; nothing was written.
            RejectedPointError: a payload or id that no store can hold (nothing was written),
                or the store refuses the only point given.
            PermanentError: it refuses the batch; nothing of it can be assumed written.
            StoreUnavailableError: not confirmed; write it again.
            OutOfSpaceError: no room.
        """

    def write_payloads(
        self, collection: str, payloads: Sequence[tuple[str, Mapping[str, object]]]
    ) -> None:
        """Replace the payload of existing points, keeping their vectors. Same errors."""

    def delete(
        self,
        collection: str,
        point_ids: Sequence[str],
        *,
        scope_key: str,
        up_to_revision: int | None = None,
    ) -> None:
        """Delete points that still carry ``scope_key``; others and missing ones stay untouched.

        Args:
            collection: Physical name.
            point_ids: Which points.
            scope_key: Whose they have to be.
            up_to_revision: Points with a larger ``source_revision`` stay untouched too, with
                every store; those without one are deleted. None deletes whatever was written last.
        """

    def iter_digests(
        self,
        collection: str,
        *,
        scope_key: str,
        views: Sequence[str],
        start: str | None = None,
        stop: str | None = None,
        batch_size: int = 5000,
    ) -> Iterator[PointDigests]:
        """Scroll a scope without vectors, in ascending order of point id.

        Args:
            collection: Physical name; a missing one yields nothing.
            scope_key: Only points that carry it.
            views: Views whose embed hashes are combined (``combine_hashes`` over
                the non-empty ones; a point without hashes yields an empty digest).
            start: First point id of the range, inclusive.
            stop: End of the range, exclusive.
            batch_size: Points per request.
        """

    def count(self, collection: str, *, scope_key: str | None = None) -> int:
        """Count exactly; 0 for a missing collection."""

    def count_by_scope(self, collection: str) -> dict[str, int]:
        """Exact number of points per scope key."""

    def retrieve(
        self, collection: str, point_ids: Sequence[str], *, with_vectors: bool = False
    ) -> list[StoredPoint]:
        """Read points by id, in no particular order; missing ones are left out."""

    def query(self, collection: str, query: SearchQuery) -> list[tuple[float, StoredPoint]]:
        """Search, best first: reciprocal rank fusion where several rankings are asked for.

        The scope filter stands in every prefetch and in the outer query.
        """

    def optimize(self, collection: str) -> bool:
        """Build search indexes that are due; whether there was anything to do."""


# --- state ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class StateRow:
    """What ``index_state`` records of one document that the store has confirmed."""

    document_id: str
    point_id: str
    entity_type: str
    db_id: str
    embed_hashes: Mapping[str, str]
    """Per view with a text its embed hash."""
    payload_hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedDocument:
    """A document that could not be embedded or written."""

    document_id: str
    point_id: str
    entity_type: str
    db_id: str
    error_code: str
    """Class name of the error."""
    error: str
    """Its message; never the document's text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentRecord:
    """What ``index_state`` holds of one document."""

    document_id: str
    point_id: str
    scope_key: str
    entity_type: str
    db_id: str
    status: str
    """``synced`` or ``failed``."""
    embed_hashes: Mapping[str, str]
    """Of what was last synced; empty where nothing was."""
    payload_hash: str | None
    error_code: str | None
    """Class name of the last error; None where the last attempt succeeded."""
    error: str | None
    attempts: int
    """Failures since the last success."""
    next_retry_at: datetime | None
    last_synced_at: datetime | None
    last_attempt_at: datetime | None
    source_snapshot_at: datetime | None
    """Snapshot of the source that was last synced."""


@dataclass(frozen=True, slots=True)
class LeaseHolder:
    """Who is writing a scope."""

    owner: str
    seconds_left: float
    """Until the lease ends, unless it is renewed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScopeSnapshot:
    """What ``scope_state`` records of one scope in one collection."""

    scope_key: str
    rows: int
    documents: int
    quarantined: int
    failed: int
    digest: str | None
    source_snapshot_at: datetime | None
    last_success_at: datetime | None
    last_full_at: datetime | None
    vanished_at: datetime | None


@dataclass(frozen=True, slots=True)
class Fence:
    """The right to write one scope: valid while no other run has a higher token."""

    scope_key: str
    owner: str
    token: int


class IndexState(Protocol):
    """Our record of what the index holds; serves status and incremental syncs, never a skip."""

    def record_synced(
        self,
        *,
        collection: str,
        scope: Scope,
        rows: Sequence[StateRow],
        snapshot_at: datetime,
        vector_version: str,
    ) -> None:
        """Record confirmed writes; a row that another scope held moves to this one."""

    def record_failed(
        self, *, collection: str, scope: Scope, failures: Sequence[FailedDocument]
    ) -> None:
        """Record documents that could not be written: one attempt each, with a next try."""

    def newer_than(
        self, *, collection: str, document_ids: Sequence[str], snapshot_at: datetime
    ) -> set[str]:
        """Those of the documents that were recorded from a later snapshot."""

    def iter_digests(
        self,
        *,
        collection: str,
        scope: Scope,
        views: Sequence[str],
        start: str | None = None,
        stop: str | None = None,
    ) -> Iterator[PointDigests]:
        """What is recorded of the scope, in ascending order of point id; range as in the store.

        Documents that are not recorded as synced come with empty digests, which
        equal nothing.
        """

    def delete(
        self,
        *,
        collection: str,
        scope: Scope,
        point_ids: Sequence[str],
        up_to: datetime | None = None,
    ) -> int:
        """Forget documents of this scope; how many there were.

        Args:
            collection: Physical name.
            scope: Whose they have to be.
            point_ids: Which documents.
            up_to: Those that were recorded from a later snapshot stay; those that were
                never synced go. None forgets them all.
        """

    def take_departed(self, *, collection: str, scope: Scope) -> int:
        """Count the documents that moved to another scope since last asked, and forget it."""

    def count_by_scope(self, *, collection: str) -> dict[str, dict[str, int]]:
        """Per scope key the number of documents per status."""

    def get(self, *, collection: str, document_id: str) -> DocumentRecord | None:
        """What is recorded of one document."""

    def list_failed(
        self,
        *,
        collection: str,
        scope: Scope | None = None,
        only_due: bool = False,
        limit: int | None = None,
    ) -> list[DocumentRecord]:
        """Documents whose last attempt failed, of one scope or of all, by scope key and id.

        Args:
            collection: Physical name.
            scope: Only those of this scope.
            only_due: Only those whose next try has come, by the database's clock.
            limit: Most documents.
        """

    def retry_now(
        self,
        *,
        collection: str,
        scope: Scope | None = None,
        document_ids: Sequence[str] | None = None,
    ) -> dict[str, int]:
        """Let the time of the next try of failed documents come at once.

        Args:
            collection: Physical name.
            scope: Only those of this scope.
            document_ids: Only these; those that have not failed are left out.

        Returns:
            How many there are per scope key.
        """

    def count_due_retries(self, *, collection: str) -> dict[str, int]:
        """Per scope key the failed documents whose next try has come, by the database's clock."""


class ScopeStates(Protocol):
    """Per scope: leases and when it was last in step."""

    def get(self, *, collection: str, scope: Scope) -> ScopeSnapshot | None:
        """What is recorded of one scope."""

    def list_all(self, *, collection: str) -> list[ScopeSnapshot]:
        """What is recorded of every scope, by key."""

    def record_success(
        self,
        *,
        collection: str,
        scope: Scope,
        rows: int,
        documents: int,
        quarantined: int,
        failed: int,
        snapshot_at: datetime,
        is_full: bool,
        digest: str | None = None,
    ) -> None:
        """Record that the index was measured to equal the snapshot."""

    def mark_vanished(self, *, collection: str, scope_keys: Sequence[str]) -> list[ScopeSnapshot]:
        """Note which recorded scopes have no rows any more; return them, with since when.

        Scopes that are not in ``scope_keys`` lose their mark.
        """

    def forget(self, *, collection: str, scope: Scope) -> None:
        """Remove the record of a scope that was cleaned up."""

    def holder(self, *, scope: Scope) -> LeaseHolder | None:
        """Who holds the lease of a scope now, None where nobody does."""

    def acquire(self, *, scope: Scope, owner: str, ttl_seconds: float) -> Fence:
        """Take or renew the lease of a scope, by the database's clock.

        The token rises when the owner changes, and only then.

        Raises:
            ScopeBusyError: another owner holds it.
        """

    def check(self, fence: Fence, *, ttl_seconds: float) -> None:
        """Renew a lease before a write.

        Raises:
            SupersededError: another owner has it now.
        """

    def release(self, fence: Fence) -> None:
        """Give a lease back; one that is lost already is not an error."""

    def release_dead(self, *, owner: str) -> int:
        """End the leases of an owner that is known to be dead; how many it held.

        Its token stays used up: should it be alive after all, it stops at its next check,
        as soon as another run has taken the scope.
        """


class Generations(Protocol):
    """Physical collections, what each was built with, and which one the alias serves."""

    def record(self, spec: CollectionSpec, *, is_active: bool) -> None:
        """Note a collection; an active one makes the others of its alias inactive."""

    def describe(self, collection: str) -> str | None:
        """What a collection was built with, as ``CollectionSpec.describe`` says it, if known."""


class EmbeddingCache(Protocol):
    """Vectors by model and text: durable, shared by all scopes and machines.

    The hash of a text is its embed hash. ``IndexState`` keeps the same one per
    document, which tells the vectors that no document uses any more.
    """

    def missing(self, *, model_id: str, text_hashes: Sequence[str]) -> set[str]:
        """Those of the texts that have no vector yet."""

    def get(self, *, model_id: str, text_hashes: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        """Vectors of the texts that have one."""

    def put(
        self, *, model_id: str, text_hashes: Sequence[str], vectors: NDArray[np.float32]
    ) -> None:
        """Keep vectors, durably; those already there stay."""

    def purge_model(self, *, model_id: str) -> int:
        """Forget all vectors of a model; how many there were."""

    def purge_unused(
        self, *, text_hashes: Sequence[str] | None = None, min_age_seconds: float = 0.0
    ) -> int:
        """Forget vectors of texts that no document of ``index_state`` has, whatever the model.

        Args:
            text_hashes: Only of these texts.
            min_age_seconds: Only those that were kept at least so long ago, by the
                database's clock; younger ones may be of a sync that is under way.

        Returns:
            How many there were.
        """


class EmbeddingRates(Protocol):
    """How fast each model was when it was last used, for estimates."""

    def record(self, *, model_id: str, texts: int, seconds: float) -> None:
        """Keep the last measurement of a model."""

    def texts_per_second(self, *, model_id: str) -> float | None:
        """The last measurement; None where the model was never used."""


class Quarantine(Protocol):
    """Rows that cannot become documents, by reason, never with their text."""

    def replace(
        self,
        *,
        scope: Scope,
        rejections: Sequence[Rejection],
        among: AbstractSet[tuple[str, str]] | None = None,
    ) -> None:
        """Make the list of a scope exactly this one, after a complete export.

        Args:
            scope: Whose rows.
            rejections: Rows that cannot become documents.
            among: After an incremental export the rows that were looked at, as
                ``(entity type, row id)``: the list of the others stays.

        Rows already listed keep when they were first seen and count an attempt;
        mended ones are released. Writes nothing where nothing changed.
        """

    def release(
        self, *, scope: Scope | None = None, rows: AbstractSet[tuple[str, str]] | None = None
    ) -> dict[str, int]:
        """Forget entries, so that the rows are judged anew when they are next read.

        Args:
            scope: Only those of this scope.
            rows: Only these, as ``(entity type, row id)``.

        Returns:
            How many there were per scope key.
        """

    def list_all(self, *, scope: Scope | None = None) -> list[tuple[str, Rejection]]:
        """Scope keys and rejections, of one scope or of all."""

    def count_by_scope(self) -> dict[str, int]:
        """Quarantined rows per scope key."""


# --- staging ----------------------------------------------------------------------------


class Dataset(Protocol):
    """Staged rows, cut into parts by ranges of point id."""

    parts: int

    def read(self, part: int, *, columns: Sequence[str] | None = None) -> pa.Table:
        """One part as a table."""

    def iter_batches(self, part: int, *, batch_size: int) -> Iterator[pa.RecordBatch]:
        """One part in batches, in the order written."""


class DatasetWriter(Protocol):
    """Writes one dataset; it exists only once ``close`` has returned."""

    def write(self, part: int, table: pa.Table) -> None:
        """Append rows to a part."""


class StagingArea(Protocol):
    """Hand-over between steps: Parquet in a folder or an object store.

    A name is any text; ``/`` makes folders of it, and no component may be empty.
    """

    def open_writer(
        self, name: str, *, schema: pa.Schema, parts: int
    ) -> AbstractContextManager[DatasetWriter]:
        """Write a dataset under a name; an existing one is replaced when the ``with`` ends well."""

    def open_dataset(self, name: str) -> Dataset:
        """Read a dataset back.

        Raises:
            PermanentError: it is missing or damaged; run the step before it again.
        """

    def delete(self, name: str) -> None:
        """Remove a dataset, its manifest and all names below it; a missing one is not an error."""

    def write_manifest(self, name: str, values: Mapping[str, Any]) -> None:
        """Keep a small JSON object under a name, replacing an older one in one atomic step."""

    def read_manifest(self, name: str) -> dict[str, Any] | None:
        """Read a manifest back, None where there is none.

        Raises:
            PermanentError: it is damaged; run the step that wrote it again.
        """


# --- the engine's surroundings ----------------------------------------------------------


class Progress(Protocol):
    """Where a step tells how far it is."""

    def advance(self, step: str, *, done: int, total: int | None) -> None:
        """``done`` of ``total`` items of ``step`` are finished."""


StopSignal = Callable[[], bool]
"""Whether somebody asked to stop; steps ask between batches."""
