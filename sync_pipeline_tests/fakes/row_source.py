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
from sync_pipeline.core.document import INT64_RANGE, MAX_TEXT_CHARACTERS, longest_text
from sync_pipeline.core.doubles import Doubled
from sync_pipeline.core.entity import Constant, Entity, Sharing
from sync_pipeline.core.errors import SourceSchemaError, SourceUnavailableError
from sync_pipeline.core.hashing import digest
from sync_pipeline.core.numbers import exact_number
from sync_pipeline.core.ports import Weakness
from sync_pipeline.core.row_id import join_row_id
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

    def has_rows(self, *, entity: Entity, scope: Scope) -> bool:
        return any(_scope_key(row, entity) == scope.key for row in self._rows(entity))

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
            if _scope_key(row, entity) == scope.key and (ids is None or _row_id(row, entity) in ids)
        ]
        yielded = 0
        for batch in batched(rows, batch_size):
            if self._lost_after_rows is not None and yielded + len(batch) > self._lost_after_rows:
                raise SourceUnavailableError(f"fake source: lost after {yielded} rows")
            yield [
                (*_render(row, entity), *_ranks(row, entity), *self._archived(row, entity))
                for row in batch
            ]
            yielded += len(batch)

    def _archived(self, row: Row, entity: Entity) -> tuple[bool, ...]:
        if entity.archive is None:
            return ()
        since = self.taken_at - timedelta(days=entity.archive.older_than_days)
        changed_at = row.get(str(entity.updated_at))
        is_old = isinstance(changed_at, datetime) and changed_at < since
        return (is_old and all(row[it.column] in it.accepted for it in entity.archive.when),)

    def list_owners(self, *, entity: Entity, row_id: str) -> list[Scope]:
        keys = {
            _scope_key(row, entity) for row in self._rows(entity) if _row_id(row, entity) == row_id
        }
        return [Scope.from_key(key) for key in sorted(keys, key=lambda key: (key != "global", key))]

    def iter_ids(
        self, *, entity: Entity, scope: Scope, batch_size: int = 50_000
    ) -> Iterator[list[str]]:
        ids = (
            row_id
            for row in self._rows(entity)
            if _scope_key(row, entity) == scope.key
            and (row_id := _row_id(row, entity)) is not None
            and (_is_global(row, entity) or not scope.is_global)
        )
        yield from batched(ids, batch_size)

    def iter_changed_ids(
        self, *, entity: Entity, scope: Scope, since: datetime, batch_size: int = 50_000
    ) -> Iterator[list[str]]:
        if entity.updated_at is None:
            raise ValueError(f"entity {entity.name!r} has no column that says when rows changed")
        ids = (
            row_id
            for row in self._rows(entity)
            if _scope_key(row, entity) == scope.key
            and (row_id := _row_id(row, entity)) is not None
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
                rendered = (*_render(row, entity), *self._archived(row, entity))
                hashed = int(digest(repr(rendered))[:16], 16)
                known[entity.name] = EntityDigest(before.rows + 1, before.xor ^ hashed)
        return found

    def find_doubled(
        self, *, entity: Entity, scope: Scope, ids: Sequence[str] | None = None
    ) -> dict[str, Doubled]:
        counts: dict[str, Counter[str]] = {}
        for row in self._rows(entity):
            row_id, key = _row_id(row, entity), _scope_key(row, entity)
            is_document = scope.is_global == _is_global(row, entity)
            is_owned = key != GLOBAL_KEY or _is_global(row, entity)
            if row_id is not None and is_document and is_owned and (ids is None or row_id in ids):
                counts.setdefault(row_id, Counter())[key] += 1
        return {
            row_id: Doubled(dict(by_scope))
            for row_id, by_scope in counts.items()
            if scope.key in by_scope and by_scope.total() > 1
        }

    def _rows(self, entity: Entity) -> list[Row]:
        names = (*entity.mapped_columns, *entity.priority_columns)
        rows = (dict.fromkeys(names) | row for row in self._tables[entity.table])
        return [
            row
            for row in rows
            if all(row[condition.column] in condition.accepted for condition in entity.only)
        ]


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

    def find_weaknesses(self, entities: Sequence[Entity]) -> list[Weakness]:
        with self.open_snapshot(entities) as snapshot:
            return [
                Weakness(entity.name, f"id {row_id!r} stands in several rows", "mend the rows")
                for entity in entities
                for scope in self.list_scopes([entity])
                for row_id in sorted(snapshot.find_doubled(entity=entity, scope=scope))[:1]
            ]

    def list_scopes(self, entities: Sequence[Entity]) -> list[Scope]:
        keys = self.count_by_scope(entities).keys() - {GLOBAL_KEY}
        return [GLOBAL, *map(Scope, sorted(keys))]

    def count_by_scope(self, entities: Sequence[Entity]) -> dict[str, int]:
        self._require_available()
        self.check_schema([entity for entity in entities if entity.table not in self.tables])
        counts = Counter({GLOBAL_KEY: 0})
        for found in self.count_by_entity(entities).values():
            counts.update(found)
        return dict(counts)

    def count_by_entity(self, entities: Sequence[Entity]) -> dict[str, dict[str, int]]:
        self._require_available()
        self.check_schema([entity for entity in entities if entity.table not in self.tables])
        snapshot = FakeSnapshot(self.tables, taken_at=self.now)
        return {
            entity.name: dict(Counter(_scope_key(row, entity) for row in snapshot._rows(entity)))
            for entity in entities
        }

    def digest_by_scope(self, entities: Sequence[Entity]) -> dict[str, dict[str, EntityDigest]]:
        with self.open_snapshot(entities) as snapshot:
            return snapshot.digest_by_scope(entities)

    def newest_by_scope(self, entities: Sequence[Entity]) -> dict[str, float]:
        newest: dict[str, float] = {}
        with self.open_snapshot(entities) as snapshot:
            for entity in entities:
                for row in snapshot._rows(entity):
                    changed_at = row.get(str(entity.updated_at))
                    if isinstance(changed_at, datetime):
                        key, seconds = _scope_key(row, entity), changed_at.timestamp()
                        newest[key] = max(seconds, newest.get(key, seconds))
        return newest

    @contextmanager
    def open_snapshot(self, entities: Sequence[Entity]) -> Iterator[FakeSnapshot]:
        self._require_available()
        self.check_schema(entities)
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
        for column in (*entity.mapped_columns, *entity.priority_columns):
            if rows and column not in columns:
                yield f"entity {entity.name!r}: table {entity.table!r} has no column {column!r}"


def _is_since(changed_at: object, since: datetime) -> bool:
    return not isinstance(changed_at, datetime) or changed_at >= since


def _row_id(row: Row, entity: Entity) -> str | None:
    texts = [as_text(row[column]) for column in entity.id]
    known = [text for text in texts if text is not None]
    return join_row_id(known) if len(known) == len(texts) else None


def _tenant(row: Row, entity: Entity) -> str | None:
    if isinstance(entity.tenant, Constant):
        return entity.tenant.value
    return as_text(row.get(entity.tenant))


def _is_global(row: Row, entity: Entity) -> bool:
    if isinstance(entity.is_global, str):
        return bool(row[entity.is_global])
    if entity.is_global is Sharing.WITHOUT_TENANT:
        return _tenant(row, entity) is None
    return entity.is_global is Sharing.ALL


def _scope_key(row: Row, entity: Entity) -> str:
    """The scope a row comes with: global too where nobody can own it."""
    tenant = _tenant(row, entity)
    if _is_global(row, entity) or tenant is None or why_not_a_tenant_id(tenant):
        return GLOBAL_KEY
    return tenant


def _ranks(row: Row, entity: Entity) -> Iterator[object]:
    """Per criterion whether it is met, or its column's number as text."""
    for criterion in entity.priority:
        if criterion.column is None:
            yield all(row[it.column] in it.accepted for it in criterion.when)
        else:
            value = row[criterion.column]
            number = value.timestamp() if isinstance(value, datetime) else value
            yield None if number is None else str(number)


def _render(row: Row, entity: Entity) -> Sequence[object]:
    texts = [(as_text(row[column]), longest_text(entity, column)) for column in entity.view_columns]
    return (
        _row_id(row, entity),
        _tenant(row, entity),
        _is_global(row, entity),
        *(text if text is None else text[:longest] for text, longest in texts),
        *(as_payload(row[column]) for column in entity.payload_columns),
    )
