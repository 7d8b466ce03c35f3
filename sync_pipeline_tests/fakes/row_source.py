"""Rows from Python dictionaries (``core.ports.RowSource``)."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from sync_pipeline.core.batching import batched
from sync_pipeline.core.changes import EntityDigest
from sync_pipeline.core.document import INT64_RANGE, MAX_TEXT_CHARACTERS, document_id
from sync_pipeline.core.entity import Entity
from sync_pipeline.core.errors import (
    DuplicateDocumentError,
    SourceSchemaError,
    SourceUnavailableError,
)
from sync_pipeline.core.hashing import digest
from sync_pipeline.core.numbers import exact_number
from sync_pipeline.core.scope import GLOBAL, GLOBAL_KEY, Scope, why_not_a_tenant_id

Row = dict[str, object]


def as_text(value: object) -> str | None:
    """The value as words, as PostgreSQL's reader gives them."""
    if value is None:
        return None
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict | list):
        return " ".join(_words(value)) or None
    return str(value)


def _words(value: object) -> Iterator[str]:
    """Strings and numbers inside JSON, in their order; keys, booleans and null are none."""
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _words(inner)
    elif isinstance(value, str):
        yield from filter(None, [value])
    elif value is not None and not isinstance(value, bool):
        yield str(value)


def as_payload(value: object) -> object:
    """The value as a payload column yields it."""
    if isinstance(value, list):
        return [as_payload(element) for element in value]
    if isinstance(value, dict):
        return {key: as_payload(inner) for key, inner in value.items()}
    if isinstance(value, Decimal):
        return exact_number(str(value))
    if isinstance(value, int) and value not in INT64_RANGE:
        return exact_number(str(value))
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, date):
        return value.isoformat()
    return str(value)[:MAX_TEXT_CHARACTERS]


class FakeSnapshot:
    """A copy of the tables as they were when it was opened."""

    def __init__(
        self,
        tables: Mapping[str, list[Row]],
        *,
        taken_at: datetime,
        lost_after_rows: int | None = None,
    ) -> None:
        self.taken_at = taken_at
        self._tables = copy.deepcopy(dict(tables))
        self._lost_after_rows = lost_after_rows

    def count_rows(self, *, entity: Entity, scope: Scope) -> int:
        self._refuse_duplicates(entity, scope=scope)
        return sum(_scope_key(row, entity) == scope.key for row in self._rows(entity))

    def iter_rows(
        self,
        *,
        entity: Entity,
        scope: Scope,
        ids: Sequence[str] | None = None,
        batch_size: int = 4096,
    ) -> Iterator[list[Sequence[object]]]:
        rows = [
            row
            for row in self._rows(entity)
            if _scope_key(row, entity) == scope.key
            and (ids is None or as_text(row[entity.id[0]]) in ids)
        ]
        yielded = 0
        for batch in batched(rows, batch_size):
            if self._lost_after_rows is not None and yielded + len(batch) > self._lost_after_rows:
                raise SourceUnavailableError(f"fake source: lost after {yielded} rows")
            yield [_render(row, entity) for row in batch]
            yielded += len(batch)

    def list_owners(self, *, entity: Entity, row_id: str) -> list[Scope]:
        keys = {
            _scope_key(row, entity)
            for row in self._rows(entity)
            if as_text(row[entity.id[0]]) == row_id
        }
        return [Scope.from_key(key) for key in sorted(keys, key=lambda key: (key != "global", key))]

    def iter_ids(
        self, *, entity: Entity, scope: Scope, batch_size: int = 50_000
    ) -> Iterator[list[str]]:
        ids = (
            str(row[entity.id[0]])
            for row in self._rows(entity)
            if _scope_key(row, entity) == scope.key
            and row[entity.id[0]] is not None
            and (row[str(entity.is_global)] or not scope.is_global)
        )
        yield from batched(ids, batch_size)

    def iter_changed_ids(
        self, *, entity: Entity, scope: Scope, since: datetime, batch_size: int = 50_000
    ) -> Iterator[list[str]]:
        if entity.updated_at is None:
            raise ValueError(f"entity {entity.name!r} has no column that says when rows changed")
        ids = (
            str(row[entity.id[0]])
            for row in self._rows(entity)
            if _scope_key(row, entity) == scope.key
            and row[entity.id[0]] is not None
            and _is_since(row.get(entity.updated_at), since)
        )
        yield from batched(ids, batch_size)

    def digest(self, *, entities: Sequence[Entity], scope: Scope) -> dict[str, EntityDigest]:
        return self.digest_by_scope(entities).get(scope.key, {})

    def digest_by_scope(self, entities: Sequence[Entity]) -> dict[str, dict[str, EntityDigest]]:
        found: dict[str, dict[str, EntityDigest]] = {}
        for entity in entities:
            for row in self._rows(entity):
                known = found.setdefault(_scope_key(row, entity), {})
                before = known.get(entity.name, EntityDigest(0, 0))
                hashed = int(digest(repr(_render(row, entity)))[:16], 16)
                known[entity.name] = EntityDigest(before.rows + 1, before.xor ^ hashed)
        return found

    def _rows(self, entity: Entity) -> list[Row]:
        rows = self._tables[entity.table]
        return [dict.fromkeys(entity.mapped_columns) | row for row in rows]

    def _refuse_duplicates(self, entity: Entity, *, scope: Scope) -> None:
        owned = [
            row
            for row in self._rows(entity)
            if row[str(entity.is_global)] or row[str(entity.tenant)]
        ]
        times = Counter((bool(row[str(entity.is_global)]), row[entity.id[0]]) for row in owned)
        ids = sorted(
            {
                str(row[entity.id[0]])
                for row in owned
                if _scope_key(row, entity) == scope.key
                and times[bool(row[str(entity.is_global)]), row[entity.id[0]]] > 1
            }
        )
        if ids:
            documents = [
                document_id(scope=scope, entity_type=entity.name, row_id=row_id) for row_id in ids
            ]
            raise DuplicateDocumentError(scope_key=scope.key, document_ids=documents)


class FakeRowSource:
    """Tables as lists of dictionaries; change them in ``tables`` between two snapshots.

    Args:
        tables: Rows by table name. A row without a column has NULL there; a
            column that no row of a table has does not exist.
        lost_after_rows: Break the connection once a scan has yielded that many rows.
    """

    database = "fake"

    def __init__(
        self, tables: Mapping[str, list[Row]], *, lost_after_rows: int | None = None
    ) -> None:
        self.tables = dict(tables)
        self.lost_after_rows = lost_after_rows
        self.is_available = True
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def check_schema(self, entities: Sequence[Entity]) -> None:
        self._require_available()
        mistakes = [mistake for entity in entities for mistake in self._mistakes(entity)]
        if mistakes:
            raise SourceSchemaError(database=self.database, mistakes=mistakes)

    def list_scopes(self, entities: Sequence[Entity]) -> list[Scope]:
        keys = self.count_by_scope(entities).keys() - {GLOBAL_KEY}
        return [GLOBAL, *map(Scope, sorted(keys))]

    def count_by_scope(self, entities: Sequence[Entity]) -> dict[str, int]:
        self._require_available()
        self.check_schema([entity for entity in entities if entity.table not in self.tables])
        counts = Counter({GLOBAL_KEY: 0})
        for entity in entities:
            counts.update(_scope_key(row, entity) for row in self.tables[entity.table])
        return dict(counts)

    def digest_by_scope(self, entities: Sequence[Entity]) -> dict[str, dict[str, EntityDigest]]:
        with self.open_snapshot(entities) as snapshot:
            return snapshot.digest_by_scope(entities)

    @contextmanager
    def open_snapshot(self, entities: Sequence[Entity]) -> Iterator[FakeSnapshot]:
        self._require_available()
        self.now += timedelta(seconds=1)
        yield FakeSnapshot(self.tables, taken_at=self.now, lost_after_rows=self.lost_after_rows)

    def _require_available(self) -> None:
        if not self.is_available:
            raise SourceUnavailableError("fake source: it is switched off")

    def _mistakes(self, entity: Entity) -> Iterator[str]:
        if entity.table not in self.tables:
            yield f"entity {entity.name!r}: there is no table {entity.table!r}"
            return
        rows = self.tables[entity.table]
        columns = {column for row in rows for column in row}
        for column in entity.mapped_columns:
            if rows and column not in columns:
                yield f"entity {entity.name!r}: table {entity.table!r} has no column {column!r}"


def _is_since(changed_at: object, since: datetime) -> bool:
    return not isinstance(changed_at, datetime) or changed_at >= since


def _scope_key(row: Row, entity: Entity) -> str:
    """The scope a row comes with: global too where nobody can own it."""
    tenant = as_text(row.get(str(entity.tenant)))
    if row.get(str(entity.is_global)) or tenant is None or why_not_a_tenant_id(tenant):
        return GLOBAL_KEY
    return tenant


def _render(row: Row, entity: Entity) -> Sequence[object]:
    texts = [as_text(row[column]) for column in entity.view_columns]
    return (
        as_text(row[entity.id[0]]),
        as_text(row[str(entity.tenant)]),
        bool(row[str(entity.is_global)]),
        *(text if text is None else text[:MAX_TEXT_CHARACTERS] for text in texts),
        *(as_payload(row[column]) for column in entity.payload_columns),
    )
