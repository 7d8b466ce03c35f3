"""Syncs that somebody asked for, table ``sync_request``."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Final, Literal

from sqlalchemy import (
    ColumnElement,
    Engine,
    Row,
    Select,
    cast,
    delete,
    func,
    literal,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB, insert

from sync_pipeline.core.ports import RequestStatus, SyncRequest
from sync_pipeline.core.retrying import Retries
from sync_pipeline.database.encoding import write_storable
from sync_pipeline.database.engine import DEFAULT_SCHEMA, Database
from sync_pipeline.database.tables import table

MAX_NAME_CHARACTERS: Final = 256


class PostgresSyncRequests:
    """``SyncRequests`` in PostgreSQL."""

    def __init__(
        self, engine: Engine, schema: str = DEFAULT_SCHEMA, *, retries: Retries | None = None
    ) -> None:
        self._database = Database(engine, schema=schema, retries=retries or Retries())
        self._table = table(schema, "sync_request")

    def add(
        self,
        *,
        requested_by: str,
        scope_keys: Sequence[str],
        mode: str = "full",
        force: bool = False,
        max_deleted_fraction: float | None = None,
        approve_deletions: int | None = None,
    ) -> SyncRequest:
        """Ask for a sync; one of no scope is done at once."""
        # Made here, so that an attempt that was thought lost and had been committed is no second
        # request.
        request_id = str(uuid.uuid4())
        values: dict[str, Any] = {
            "id": request_id,
            "scope_keys": list(scope_keys),
            "mode": mode,
            "force": force,
            "max_deleted_fraction": max_deleted_fraction,
            "approve_deletions": approve_deletions,
            "status": "pending" if scope_keys else "done",
        }

        def write(name: str | None) -> None:
            statement = insert(self._table).values(**values, requested_by=name)
            statement = statement.on_conflict_do_nothing()
            self._database.run("asking for a sync", lambda it: it.execute(statement))

        write_storable(requested_by, write, limit=MAX_NAME_CHARACTERS)
        (request,) = self._read(select(self._table).where(self._table.c.id == request_id))
        return request

    def get(self, request_id: str) -> SyncRequest | None:
        """One request; None where there is none, or the id cannot be one."""
        try:
            canonical = str(uuid.UUID(request_id))
        except ValueError:
            return None
        requests = self._read(select(self._table).where(self._table.c.id == canonical))
        return requests[0] if requests else None

    def list_open(self, *, limit: int) -> list[SyncRequest]:
        """Requests that are pending or started, oldest first."""
        columns = self._table.c
        query = (
            select(self._table).where(self._is_open()).order_by(columns.requested_at, columns.id)
        )
        return self._read(query.limit(limit))

    def list_recent(self, *, limit: int) -> list[SyncRequest]:
        """The last requests, newest first."""
        columns = self._table.c
        query = select(self._table).order_by(columns.requested_at.desc(), columns.id)
        return self._read(query.limit(limit))

    def record_runs(
        self, request_id: str, *, run_ids: Mapping[str, str], status: RequestStatus
    ) -> None:
        """Add runs to those that are known."""
        columns = self._table.c
        added = columns.run_ids.op("||")(cast(literal(dict(run_ids), JSONB), JSONB))
        self._change(request_id, run_ids=added, status=status)

    def record_end(
        self, request_id: str, *, status: Literal["done", "failed"], error: str | None = None
    ) -> None:
        """Record what became of it; the first end counts."""
        self._change(request_id, status=status, error=error)

    def purge(self, *, min_age_seconds: float) -> int:
        """Forget requests that ended at least so long ago; how many there were."""
        statement = delete(self._table).where(
            ~self._is_open(),
            self._table.c.updated_at <= func.now() - timedelta(seconds=min_age_seconds),
        )
        return self._database.run(
            "forgetting old requests", lambda it: it.execute(statement).rowcount
        )

    def _is_open(self) -> ColumnElement[bool]:
        return self._table.c.status.in_(["pending", "started"])

    def _change(self, request_id: str, **values: Any) -> None:
        statement = (
            update(self._table)
            .where(self._table.c.id == request_id, self._is_open())
            .values(updated_at=func.now(), **values)
        )
        self._database.run("following a request", lambda it: it.execute(statement))

    def _read(self, query: Select[Any]) -> list[SyncRequest]:
        rows = self._database.run("reading requests", lambda it: it.execute(query).all())
        return [_request(row) for row in rows]


def _request(row: Row[Any]) -> SyncRequest:
    values = dict(row._mapping)  # noqa: SLF001 - the public way to a row's names
    return SyncRequest(
        request_id=values.pop("id"), scope_keys=tuple(values.pop("scope_keys")), **values
    )
