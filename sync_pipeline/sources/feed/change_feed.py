"""The change feed in PostgreSQL: triggers write events, scopes consume them.

It lives in the source database, because its triggers write in the transactions
of the application: an event exists if and only if its change was committed.

What gets past it is seen afterwards, by the epoch (``feed_epoch``), or said to be a
blind spot (``feed_catalog``).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Final, Literal

import sqlalchemy as sa
from psycopg import sql

from sync_pipeline.core.changes import (
    ChangeBatch,
    ChangedRow,
    Departures,
    FeedState,
    FeedStatus,
    Operation,
    PendingChanges,
    PendingEvent,
    departed_rows,
    owner_key,
)
from sync_pipeline.core.entity import Entity
from sync_pipeline.core.scope import GLOBAL_KEY, Scope
from sync_pipeline.sources.errors import describe_url
from sync_pipeline.sources.feed import queries as feed_queries
from sync_pipeline.sources.feed.catalog import FeedCatalog, read_catalog
from sync_pipeline.sources.feed.epoch import count_losses, read_epochs
from sync_pipeline.sources.feed.errors import feed_errors, is_forbidden, is_missing
from sync_pipeline.sources.feed.install import FeedInstaller
from sync_pipeline.sources.feed.listener import FeedListener

_TAKE_TURN: Final = sa.text("""
SELECT pg_advisory_xact_lock(hashtext('sync_pipeline feed')),
       set_config('lock_timeout', :lock_timeout, true)
""")


class PostgresChangeFeed:
    """Change events in the source database (``core.changes.ChangeFeed``).

    Args:
        engine: ``postgresql+psycopg`` to the source's primary server; this class
            neither makes nor disposes of it.
        schema: Where table and functions are; ``install`` makes it where it is missing.
        lock_timeout_seconds: How long ``install`` and ``remove`` wait for a table,
            which writers of that table then wait for too.
    """

    def __init__(
        self, engine: sa.Engine, *, schema: str = "sync_pipeline", lock_timeout_seconds: float = 5
    ) -> None:
        self._engine = engine
        self._database = describe_url(engine.url)
        self._schema = schema
        self._lock_timeout = f"{round(lock_timeout_seconds * 1000)}ms"

    def install(self, entities: Sequence[Entity]) -> list[str]:
        """Create schema, table, functions and triggers, or nothing on an error."""
        with self._changing("the change feed is installed") as installer:
            return installer.install(entities)

    def remove(self, entities: Sequence[Entity] | None = None) -> list[str]:
        """Drop functions, triggers and events; and the schema if nothing else is in it."""
        with self._changing("the change feed is removed") as installer:
            return installer.remove(entities)

    def status(self, entities: Sequence[Entity]) -> list[FeedStatus]:
        """Look at the feed of each entity, and at left over ones."""
        with self._transaction("the change feed is looked at") as connection:
            losses = self._count_losses(connection)
            catalog = read_catalog(connection, entities=entities, schema=self._schema)
            judged = {entity.name: catalog.judge(entity) for entity in entities}
            installed = [e for e in entities if judged[e.name][0] is FeedState.INSTALLED]
            epochs = self._epochs(connection, installed, catalog=catalog, losses=losses)
        blind_spots = {entity.name: tuple(catalog.blind_spots(entity)) for entity in installed}
        counts = {row.entity_type: row for row in self._rows(feed_queries.COUNT)}
        detail = "the settings name no such entity; run `sync-pipeline feed remove`"
        for name in sorted(catalog.ours().keys() - judged.keys()):
            judged[name] = FeedState.LEFTOVER, detail
        return [
            FeedStatus(
                entity_type=name,
                state=state,
                detail=detail,
                pending=counts[name].events if name in counts else 0,
                oldest_seconds=counts[name].oldest_seconds if name in counts else None,
                epoch=epochs.get(name),
                blind_spots=blind_spots.get(name, ()),
            )
            for name, (state, detail) in judged.items()
        ]

    def pending(
        self, *, limit_scopes: int | None = None, entity_types: Collection[str] | None = None
    ) -> dict[str, PendingChanges]:
        """Group events by scope, the scope with the oldest one first."""
        pending: dict[str, PendingChanges] = {}
        for row in self._rows(feed_queries.PENDING, {"entities": _listed(entity_types)}):
            key = owner_key(row.key)
            earlier = pending.get(key)
            pending[key] = PendingChanges(
                events=row.events + (earlier.events if earlier else 0),
                oldest_at=min(row.oldest_at, earlier.oldest_at) if earlier else row.oldest_at,
                has_truncate=row.has_truncate or bool(earlier and earlier.has_truncate),
            )
        by_age = sorted(pending.items(), key=lambda item: (item[1].oldest_at, item[0]))
        return dict(by_age[:limit_scopes])

    def spread_truncates(
        self, scopes: Collection[Scope], *, entity_types: Collection[str] | None = None
    ) -> int:
        """Replace each truncate by one per scope, in one statement."""
        if not scopes:
            return 0
        keys = sorted({scope.key for scope in scopes})
        parameters = {"keys": keys, "entities": _listed(entity_types)}
        return sum(row[0] for row in self._rows(feed_queries.SPREAD, parameters))

    def read(
        self,
        scope: Scope,
        *,
        limit: int | None = 100_000,
        entity_types: Collection[str] | None = None,
    ) -> ChangeBatch:
        """Read the events of a scope by id."""
        keys = self._spellings(scope)
        parameters = {
            "keys": list(keys),
            "limit": None if limit is None else limit + 1,
            "entities": _listed(entity_types),
        }
        rows = self._rows(feed_queries.READ, parameters)
        has_more = limit is not None and len(rows) > limit
        kept = rows[:limit]
        truncated = {row.entity_type for row in kept if row.operation == Operation.TRUNCATE}
        return ChangeBatch(
            scope=scope,
            keys=keys,
            event_ids=tuple(row.id for row in kept),
            rows=frozenset(
                ChangedRow(row.entity_type, row.db_id) for row in kept if row.db_id is not None
            ),
            truncated=frozenset(truncated),
            has_more=has_more,
        )

    def consume(self, batch: ChangeBatch) -> int:
        """Delete the events of a batch, or the half of them that is this scope's."""
        if not batch.event_ids:
            return 0
        parameters = {"ids": list(batch.event_ids), "keys": list(batch.keys)}
        return sum(row[0] for row in self._rows(feed_queries.CONSUME, parameters))

    @contextmanager
    def listen(self) -> Iterator[FeedListener]:
        """Listen on a connection of its own."""
        with FeedListener(self._engine, database=self._database) as listener:
            yield listener

    def has_departures(self, visible_keys: Collection[str]) -> bool:
        """See ``ChangeFeed``: one small statement."""
        parameters = {"keys": list(visible_keys)}
        rows = self._rows(feed_queries.HAS_DEPARTURES, parameters, isolation="AUTOCOMMIT")
        return bool(rows and rows[0][0])

    @contextmanager
    def departures(self, visible_keys: Collection[str]) -> Iterator[Departures]:
        """See ``ChangeFeed``: a snapshot, for as long as it is looked at."""
        keys = list(visible_keys)
        frozen = self._engine.execution_options(isolation_level="REPEATABLE READ")
        with (
            feed_errors(self._database, doing="change events are read"),
            frozen.begin() as connection,
        ):
            # The first statement takes the snapshot.
            connection.execute(sa.select(1))
            yield _Departures(connection, schema=self._schema, keys=keys)

    def has_pending(self, visible_keys: Collection[str], *, up_to: int) -> bool:
        """See ``ChangeFeed``."""
        parameters = {"keys": list(visible_keys), "up_to": up_to}
        rows = self._rows(feed_queries.HAS_PENDING, parameters, isolation="AUTOCOMMIT")
        return bool(rows and rows[0][0])

    def _count_losses(self, connection: sa.Connection) -> str | None:
        """How many events were lost, None where that cannot be said (now)."""
        try:
            with connection.begin_nested():
                return count_losses(connection, schema=self._schema)
        except sa.exc.DBAPIError as error:
            if is_missing(error) or is_forbidden(error):
                return None
            raise

    def _epochs(
        self,
        connection: sa.Connection,
        installed: Sequence[Entity],
        *,
        catalog: FeedCatalog,
        losses: str | None,
    ) -> Mapping[str, str]:
        """Epochs of the feeds that nothing can get past."""
        if losses is None:
            return {}
        tight = [entity for entity in installed if not catalog.holes(entity)]
        return read_epochs(connection, entities=tight, catalog=catalog, losses=losses)

    def _spellings(self, scope: Scope) -> tuple[str, ...]:
        """The scope key and, for global, pending owners that no tenant can be."""
        if not scope.is_global:
            return (scope.key,)
        owners = (row[0] for row in self._rows(feed_queries.KEYS))
        unusable = (key for key in owners if key != GLOBAL_KEY and owner_key(key) == GLOBAL_KEY)
        return (GLOBAL_KEY, *sorted(unusable))

    def _rows(
        self,
        statement: sql.SQL,
        parameters: dict[str, Any] | None = None,
        *,
        isolation: Literal["AUTOCOMMIT", "READ COMMITTED"] = "READ COMMITTED",
    ) -> Sequence[sa.Row[Any]]:
        """Run one statement over the events; none where the table does not exist.

        Args:
            statement: Of ``queries``.
            parameters: Of the statement.
            isolation: ``AUTOCOMMIT`` spares a statement that only reads two round trips.
        """
        text = feed_queries.over(statement, schema=self._schema)
        with feed_errors(self._database, doing="change events are read"):
            try:
                with self._begin(isolation) as connection:
                    return connection.exec_driver_sql(text, parameters).all()
            except sa.exc.DBAPIError as error:
                if is_missing(error):
                    return []
                raise

    @contextmanager
    def _changing(self, doing: str) -> Iterator[FeedInstaller]:
        """One process at a time changes the feed, without holding up writers for long."""
        with self._transaction(doing) as connection:
            connection.execute(_TAKE_TURN, {"lock_timeout": self._lock_timeout})
            yield FeedInstaller(connection, database=self._database, schema=self._schema)

    @contextmanager
    def _transaction(self, doing: str) -> Iterator[sa.Connection]:
        with feed_errors(self._database, doing=doing), self._begin() as connection:
            yield connection

    def _begin(
        self, isolation: Literal["AUTOCOMMIT", "READ COMMITTED"] = "READ COMMITTED"
    ) -> AbstractContextManager[sa.Connection]:
        """Each statement sees what was committed before it, whatever the server's default is."""
        return self._engine.execution_options(isolation_level=isolation).begin()


class _Departures:
    """What had left by the snapshot of a transaction."""

    def __init__(self, connection: sa.Connection, *, schema: str, keys: list[str]) -> None:
        self._connection = connection
        self._schema = schema
        self._keys = keys

    def among(self, rows: Collection[ChangedRow]) -> set[ChangedRow]:
        """See ``Departures``."""
        if not rows:
            return set()
        statement = feed_queries.over(feed_queries.EVENTS_OF_ROWS, schema=self._schema)
        parameters = {"keys": self._keys, "rows": sorted({row.db_id for row in rows})}
        try:
            events = self._connection.exec_driver_sql(statement, parameters)
        except sa.exc.DBAPIError as error:
            if is_missing(error):
                return set()
            raise
        return departed_rows(
            [PendingEvent(**event) for event in events.mappings()],
            rows=rows,
            visible_keys=self._keys,
        )


def _listed(entity_types: Collection[str] | None) -> list[str] | None:
    return None if entity_types is None else sorted(entity_types)
