"""Which providers are asked, table ``embedding_provider``."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, Engine, RowMapping, any_, func, literal, select, update
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlalchemy.types import Text

from sync_pipeline.core.breaker import TRIAL, Breaker, BreakerState
from sync_pipeline.core.retrying import Retries
from sync_pipeline.database.engine import DEFAULT_SCHEMA, Database
from sync_pipeline.database.tables import table

_FIELDS: Final = ("provider", "failures", "retry_at", "error_code", "error", "failed_at")
_MAX_ERROR_CHARACTERS: Final = 500


class PostgresBreakers:
    """``Breakers`` in PostgreSQL, by its clock."""

    def __init__(
        self, engine: Engine, schema: str = DEFAULT_SCHEMA, *, retries: Retries | None = None
    ) -> None:
        self._database = Database(engine, schema=schema, retries=retries or Retries())
        self._table = table(schema, "embedding_provider")

    def may_ask(self, provider: str) -> bool:
        """Whether to ask it now; who tries it after its pause keeps the others waiting."""
        columns = self._table.c

        def work(connection: Connection) -> bool:
            breaker, now = self._locked(connection, provider)
            state = breaker.state(now=now)
            if state is BreakerState.HALF_OPEN:
                connection.execute(
                    update(self._table)
                    .where(columns.provider == provider)
                    .values(retry_at=now + TRIAL)
                )
            return state is not BreakerState.OPEN

        known = self._database.read(
            "looking whether a provider is asked",
            select(columns.retry_at).where(columns.provider == provider),
        )
        if not known or known[0].retry_at is None:
            return True
        return self._database.run("trying a provider again", work)

    def note_success(self, provider: str) -> None:
        """Close it; writes nothing where it never failed."""
        columns = self._table.c
        closing = (
            update(self._table)
            .where(columns.provider == provider, columns.failures > 0)
            .values(failures=0, retry_at=None)
        )
        self._database.run("noting that a provider answers", lambda it: it.execute(closing))

    def note_failure(
        self,
        provider: str,
        *,
        error_code: str,
        error: str,
        wait_seconds: float | None = None,
        is_lasting: bool = False,
    ) -> None:
        """Note a call that failed."""
        columns = self._table.c

        def work(connection: Connection) -> None:
            breaker, now = self._locked(connection, provider)
            failed = breaker.after_failure(
                now=now,
                error_code=error_code,
                error=error[:_MAX_ERROR_CHARACTERS],
                wait_seconds=wait_seconds,
                is_lasting=is_lasting,
            )
            connection.execute(
                update(self._table)
                .where(columns.provider == provider)
                .values({name: getattr(failed, name) for name in _FIELDS})
            )

        self._database.run("noting that a provider failed", work)

    def list_all(self, providers: Sequence[str]) -> list[Breaker]:
        """How each of these stands, in their order."""
        columns = self._table.c
        query = select(*(columns[name] for name in _FIELDS)).where(
            columns.provider == any_(literal(list(providers), ARRAY(Text)))
        )
        found = {
            row.provider: _breaker(row)
            for row in self._database.read_named("reading which providers failed", query)
        }
        return [found.get(name, Breaker(provider=name)) for name in providers]

    def _locked(self, connection: Connection, provider: str) -> tuple[Breaker, datetime]:
        """How it stands, and the present; nobody else changes it until the end."""
        columns = self._table.c
        connection.execute(
            insert(self._table).values(provider=provider, failures=0).on_conflict_do_nothing()
        )
        row = (
            connection.execute(
                select(*(columns[name] for name in _FIELDS), func.now().label("now"))
                .where(columns.provider == provider)
                .with_for_update()
            )
            .mappings()
            .one()
        )
        return _breaker(row), row["now"]


def _breaker(row: RowMapping) -> Breaker:
    values: dict[str, Any] = {name: row[name] for name in _FIELDS}
    return Breaker(**values)
