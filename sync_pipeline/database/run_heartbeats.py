"""Signs of life of runs, table ``run_heartbeat``."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Engine, Text, any_, delete, func, literal, select
from sqlalchemy.dialects.postgresql import ARRAY, insert

from sync_pipeline.core.liveness import Heartbeat
from sync_pipeline.core.retrying import Retries
from sync_pipeline.database.engine import DEFAULT_SCHEMA, Database
from sync_pipeline.database.tables import table
from sync_pipeline.processes import is_gone, machine_name, process_name


class PostgresRunHeartbeats:
    """``RunHeartbeats`` in PostgreSQL.

    Args:
        engine: Of the state database.
        schema: Of our tables.
        machine: Name of this machine; None asks the kernel.
        retries: Of each statement.
    """

    def __init__(
        self,
        engine: Engine,
        schema: str = DEFAULT_SCHEMA,
        *,
        machine: str | None = None,
        retries: Retries | None = None,
    ) -> None:
        self._database = Database(engine, schema=schema, retries=retries or Retries())
        self._table = table(schema, "run_heartbeat")
        self._machine = machine or machine_name()

    def beat(self, *, run_id: str, step_key: str) -> None:
        """Say that this process is at work on a step."""
        # Asked each time: a process that was forked has another name.
        values = {"process": process_name(self._machine), "beat_at": func.clock_timestamp()}
        statement = (
            insert(self._table)
            .values(run_id=run_id, step_key=step_key, **values)
            .on_conflict_do_update(index_elements=["run_id", "step_key"], set_=values)
        )
        self._database.run_alone("giving a sign of life", lambda it: it.execute(statement))

    def end(self, *, run_id: str, step_key: str) -> None:
        """Say that this process has come to the end of a step."""
        columns = self._table.c
        statement = delete(self._table).where(
            columns.run_id == run_id,
            columns.step_key == step_key,
            columns.process == process_name(self._machine),
        )
        self._database.run_alone("ending a step's signs of life", lambda it: it.execute(statement))

    def list_all(self) -> list[Heartbeat]:
        """Every step that has not ended, by run and step."""
        columns = self._table.c
        age = func.extract("epoch", func.clock_timestamp() - columns.beat_at)
        query = select(
            columns.run_id, columns.step_key, columns.process, age.label("age_seconds")
        ).order_by(columns.run_id, columns.step_key)
        return [
            Heartbeat(
                run_id=row.run_id,
                step_key=row.step_key,
                process=row.process,
                age_seconds=float(row.age_seconds),
                is_gone=is_gone(row.process, machine=self._machine),
            )
            for row in self._database.read_named("reading signs of life", query)
        ]

    def forget(self, run_ids: Sequence[str]) -> int:
        """Remove what is left of runs that are over; how many steps there were."""
        chosen = self._table.c.run_id == any_(literal(list(run_ids), ARRAY(Text)))
        statement = delete(self._table).where(chosen)
        return self._database.run_alone(
            "forgetting signs of life", lambda it: it.execute(statement).rowcount
        )
