"""Rows that cannot become documents, table ``quarantine``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Final

from psycopg import sql
from sqlalchemy import BigInteger, Connection, Engine, cast, delete, func, select, tuple_

from sync_pipeline.core.document import Reason, Rejection
from sync_pipeline.core.retrying import Retries
from sync_pipeline.core.scope import Scope
from sync_pipeline.database.engine import DEFAULT_SCHEMA, Database, psycopg_of
from sync_pipeline.database.tables import table

_RELEASE: Final = sql.SQL("""
DELETE FROM {table} AS known
WHERE known.scope_key = %(scope_key)s
AND known.entity_type = ANY (%(exported)s::text[]) AND (
    NOT %(is_partial)s OR EXISTS (
        SELECT FROM unnest(%(among_types)b::text[], %(among_ids)b::text[])
            AS looked_at (entity_type, db_id)
        WHERE looked_at.entity_type = known.entity_type AND looked_at.db_id = known.db_id
    )
) AND NOT EXISTS (
    SELECT FROM unnest(%(entity_types)b::text[], %(db_ids)b::text[]) AS given (entity_type, db_id)
    WHERE given.entity_type = known.entity_type AND given.db_id = known.db_id
)
""")
_LIST: Final = sql.SQL("""
INSERT INTO {table} AS known (scope_key, entity_type, db_id, reason, detail, row_count)
SELECT %(scope_key)s, given.entity_type, given.db_id, given.reason, given.detail, given.row_count
FROM unnest(
    %(entity_types)b::text[], %(db_ids)b::text[], %(reasons)b::text[], %(details)b::text[],
    %(row_counts)b::bigint[]
) AS given (entity_type, db_id, reason, detail, row_count)
ORDER BY given.entity_type, given.db_id
ON CONFLICT (scope_key, entity_type, db_id) DO UPDATE SET
    reason = excluded.reason,
    detail = excluded.detail,
    row_count = excluded.row_count,
    attempts = known.attempts + 1,
    last_seen_at = now()
WHERE (known.reason, known.detail, known.row_count)
    IS DISTINCT FROM (excluded.reason, excluded.detail, excluded.row_count)
""")


class PostgresQuarantine:
    """``Quarantine`` in PostgreSQL.

    A row that is rejected again for the same reason is left as it is, so that a
    sync that changes nothing writes nothing; one with another reason counts an attempt.
    """

    def __init__(
        self, engine: Engine, schema: str = DEFAULT_SCHEMA, *, retries: Retries | None = None
    ) -> None:
        self._database = Database(engine, schema=schema, retries=retries or Retries())
        self._table = table(schema, "quarantine")
        # A sum of bigint is numeric to PostgreSQL.
        self._rows = cast(func.sum(self._table.c.row_count), BigInteger)
        name = sql.Identifier(schema, "quarantine")
        self._release = _RELEASE.format(table=name)
        self._list = _LIST.format(table=name)

    def replace(
        self,
        *,
        scope: Scope,
        rejections: Sequence[Rejection],
        entity_types: Sequence[str],
        among: AbstractSet[tuple[str, str]] | None = None,
    ) -> None:
        """Make the list of a scope, or of the rows looked at, exactly this one."""
        looked_at = sorted(among or ())
        distinct = {(item.entity_type, item.db_id): item for item in rejections}.values()
        values: dict[str, Any] = {
            "scope_key": scope.key,
            "exported": list(entity_types),
            "is_partial": among is not None,
            "among_types": [entity_type for entity_type, _ in looked_at],
            "among_ids": [db_id for _, db_id in looked_at],
            "entity_types": [item.entity_type for item in distinct],
            "db_ids": [item.db_id for item in distinct],
            "reasons": [str(item.reason) for item in distinct],
            "details": [item.detail for item in distinct],
            "row_counts": [item.rows for item in distinct],
        }

        def work(connection: Connection) -> None:
            driver = psycopg_of(connection)
            driver.execute(self._release, values)
            if distinct:
                driver.execute(self._list, values)

        self._database.run("listing quarantined rows", work)

    def release(
        self,
        *,
        scope: Scope | None = None,
        rows: AbstractSet[tuple[str, str]] | None = None,
        entity_types: Sequence[str] | None = None,
    ) -> dict[str, int]:
        """Forget entries of one scope, of certain rows or entities, or all."""
        columns = self._table.c
        statement = delete(self._table).returning(columns.scope_key)
        if scope is not None:
            statement = statement.where(columns.scope_key == scope.key)
        if rows is not None:
            statement = statement.where(
                tuple_(columns.entity_type, columns.db_id).in_(sorted(rows))
            )
        if entity_types is not None:
            statement = statement.where(columns.entity_type.in_(list(entity_types)))
        released = self._database.look_up(
            "releasing quarantined rows",
            lambda it: Counter(it.scalars(statement)),
            nothing=Counter[str](),
        )
        return dict(sorted(released.items()))

    def list_all(self, *, scope: Scope | None = None) -> list[tuple[str, Rejection]]:
        """Scope keys and rejections, of one scope or of all, in order of scope, entity and id."""
        columns = self._table.c
        query = select(
            columns.scope_key,
            columns.entity_type,
            columns.db_id,
            columns.reason,
            columns.detail,
            columns.row_count,
        ).order_by(columns.scope_key, columns.entity_type, columns.db_id)
        if scope is not None:
            query = query.where(columns.scope_key == scope.key)
        rows = self._database.read("reading the quarantine", query)
        return [
            (scope_key, Rejection(entity_type, db_id, Reason(reason), detail, row_count))
            for scope_key, entity_type, db_id, reason, detail, row_count in rows
        ]

    def count_by_scope(self, *, scope: Scope | None = None) -> dict[str, int]:
        """Quarantined rows per scope key, of one scope or of all."""
        key = self._table.c.scope_key
        query = select(key, self._rows).group_by(key)
        if scope is not None:
            query = query.where(key == scope.key)
        rows = self._database.read("counting the quarantine", query)
        return {row[0]: row[1] for row in rows}

    def count_by_entity(self, *, scope: Scope | None = None) -> dict[str, dict[str, int]]:
        """Quarantined rows per scope key and entity."""
        keys = self._table.c.scope_key, self._table.c.entity_type
        query = select(*keys, self._rows).group_by(*keys)
        if scope is not None:
            query = query.where(self._table.c.scope_key == scope.key)
        counts: dict[str, dict[str, int]] = {}
        for scope_key, entity_type, number in self._database.read("counting the quarantine", query):
            counts.setdefault(scope_key, {})[entity_type] = number
        return counts
