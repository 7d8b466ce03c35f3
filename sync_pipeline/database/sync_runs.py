"""What became of every run, table ``sync_run``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Engine, RowMapping, Select, Text, any_, delete, func, literal, select, update
from sqlalchemy.dialects.postgresql import ARRAY, insert

from sync_pipeline.core.ports import SyncRun
from sync_pipeline.core.reports import Counts, StepSeconds
from sync_pipeline.core.retrying import Retries
from sync_pipeline.database.encoding import write_storable
from sync_pipeline.database.engine import DEFAULT_SCHEMA, Database
from sync_pipeline.database.tables import table

MAX_ERROR_CHARACTERS: Final = 2_000


class PostgresSyncRuns:
    """``SyncRuns`` in PostgreSQL."""

    def __init__(
        self, engine: Engine, schema: str = DEFAULT_SCHEMA, *, retries: Retries | None = None
    ) -> None:
        self._database = Database(engine, schema=schema, retries=retries or Retries())
        self._table = table(schema, "sync_run")

    def record(self, run: SyncRun) -> None:
        """Record how a run ended; what is recorded of it already gives way."""
        key = {"run_id": run.run_id, "scope_key": run.scope_key}
        values: dict[str, Any] = {
            "mode": run.mode,
            "status": run.status,
            "started_at": run.started_at,
            "finished_at": run.finished_at,
            "counts": run.counts.numbers(),
            "seconds": asdict(run.seconds),
            "facts": dict(run.facts),
        }

        def write(error: str | None) -> None:
            statement = insert(self._table).values(**key, **values, error=error)
            changed = {**values, "error": error}
            statement = statement.on_conflict_do_update(index_elements=list(key), set_=changed)
            self._database.run("recording a run", lambda it: it.execute(statement))

        write_storable(run.error, write, limit=MAX_ERROR_CHARACTERS)

    def record_failure(
        self, *, run_id: str, scope_key: str, error: str, finished_at: datetime
    ) -> None:
        """Record that a run failed after all; its counts stay."""
        columns = self._table.c

        def write(message: str | None) -> None:
            statement = (
                update(self._table)
                .where(columns.run_id == run_id, columns.scope_key == scope_key)
                .values(status="failed", error=message, finished_at=finished_at)
            )
            self._database.run("recording a failed run", lambda it: it.execute(statement))

        write_storable(error, write, limit=MAX_ERROR_CHARACTERS)

    def list_recent(self, *, limit: int, scope_key: str | None = None) -> list[SyncRun]:
        """The last runs, of one scope or of all, the one that finished last first."""
        columns = self._table.c
        query = select(self._table)
        if scope_key is not None:
            query = query.where(columns.scope_key == scope_key)
        order = columns.finished_at.desc(), columns.run_id, columns.scope_key
        return self._read(query.order_by(*order).limit(limit))

    def get_many(self, run_ids: Sequence[str]) -> list[SyncRun]:
        """Those of these runs that are recorded, by run id and scope key."""
        columns = self._table.c
        chosen = columns.run_id == any_(literal(list(run_ids), ARRAY(Text)))
        order = columns.run_id, columns.scope_key
        return self._read(select(self._table).where(chosen).order_by(*order))

    def purge(self, *, min_age_seconds: float) -> int:
        """Forget runs that finished at least so long ago; how many there were."""
        oldest = func.now() - timedelta(seconds=min_age_seconds)
        statement = delete(self._table).where(self._table.c.finished_at <= oldest)
        return self._database.run("forgetting old runs", lambda it: it.execute(statement).rowcount)

    def _read(self, query: Select[Any]) -> list[SyncRun]:
        rows = self._database.read_named("reading runs", query)
        return [_run(row) for row in rows]


def _run(row: RowMapping) -> SyncRun:
    values: dict[str, Any] = {str(name): value for name, value in row.items()}
    counts = _known(values.pop("counts"), kind=Counts)
    seconds = _known(values.pop("seconds"), kind=StepSeconds)
    return SyncRun(counts=Counts(**counts), seconds=StepSeconds(**seconds), **values)


def _known(values: Mapping[str, Any], *, kind: type[Counts | StepSeconds]) -> dict[str, Any]:
    """Without what a newer program counts."""
    names = {part.name for part in fields(kind)}
    return {name: value for name, value in values.items() if name in names}
