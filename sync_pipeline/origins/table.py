"""The table that another loader fills, as the origin of a landing: only the guarded apply is ours.

It is read in one snapshot, taken after it was locked as every source table is (``sources.locks``),
so a loader that replaces it by TRUNCATE and INSERT is seen before or after, and never in between.
Whether what is there is all of it only the loader knows: without its sign nothing is deleted.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

import sqlalchemy as sa
from psycopg import sql

from sync_pipeline.core.entity import Condition
from sync_pipeline.core.errors import OriginConfigurationError
from sync_pipeline.core.landing.origin_options import LoaderSign, TableRequest
from sync_pipeline.core.landing.passes import Order, OriginTraits, Page, Position
from sync_pipeline.core.landing.records import named_fields
from sync_pipeline.core.landing.spec import Landing
from sync_pipeline.core.ports import ChangeHints, Sighting
from sync_pipeline.origins.findings import describe_page
from sync_pipeline.sources.errors import describe_url, source_errors
from sync_pipeline.sources.layout import split_name
from sync_pipeline.sources.locks import READER_IDLE, TableHold

_COLUMNS: Final = sa.text("""
SELECT a.attname FROM pg_attribute a
WHERE a.attrelid = to_regclass(:name) AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attnum
""")


class TableOrigin:
    """``RecordOrigin`` over a table of the source database.

    Args:
        landing: Says which columns are of use.
        engine: Of the source database.
        request: Which table, and how its loader says that it is complete.
        lock_timeout_seconds: How long a table that is being replaced is waited for.
    """

    def __init__(
        self,
        landing: Landing,
        *,
        engine: sa.Engine,
        request: TableRequest,
        lock_timeout_seconds: float = 60.0,
    ) -> None:
        self._landing = landing
        self._engine = engine
        self._request = request
        self._lock_timeout_seconds = lock_timeout_seconds
        self._database = describe_url(engine.url)
        self.traits = OriginTraits(
            order=Order.SNAPSHOT,
            signals_end=True,
            resumes=False,
            vouches_for_absence=request.complete_when is not None,
        )

    def pages(self, *, since: datetime | None, start: Position | None) -> Generator[Page]:
        """Every row of one snapshot, in no order."""
        del since, start  # neither changes nor places are told, see ``traits``
        with self._snapshot() as connection:
            columns = self._columns(connection, self._request.table)
            doubt = self._doubt(connection, columns)
            size = self._request.page_size
            with _run(connection, self._rows(columns), at_once=size) as result:
                rows = result.fetchmany(size)
                while True:
                    following = result.fetchmany(size) if rows else []
                    yield Page(
                        records=[_record(text) for (text,) in rows],
                        resume=None,
                        is_last=not following,
                        doubt=doubt,
                    )
                    if not following:
                        return
                    rows = following

    def look_up(self, keys: Sequence[str]) -> Iterator[Sighting]:
        """Never asked, see ``traits``."""
        raise NotImplementedError

    def follow(
        self, token: Position | None, *, wait_seconds: float
    ) -> AbstractContextManager[Iterator[ChangeHints]]:
        """Never asked, see ``traits``."""
        raise NotImplementedError

    def examine(self, landing: Landing) -> Iterator[str]:
        """Say what is in the table, and whether its loader says that it is complete."""
        with self._snapshot() as connection:
            columns = self._columns(connection, self._request.table)
            doubt = self._doubt(connection, columns)
            statement = self._rows(columns, limit=self._request.page_size)
            records = [_record(text) for (text,) in _run(connection, statement)]
        yield f"{self._request.table} of {self._database} can be read"
        yield from describe_page(landing, records)
        yield "its loader says that it is complete" if doubt is None else f"{doubt}"

    def close(self) -> None:
        """Nothing is held between passes."""

    @contextmanager
    def _snapshot(self) -> Iterator[sa.Connection]:
        sign = self._request.complete_when
        tables = [self._request.table, *([] if sign is None else [sign.table])]
        with source_errors(self._database), self._engine.connect() as connection:
            hold = TableHold(connection, timeout_seconds=self._lock_timeout_seconds)
            hold.take(tables)
            # The pages may take their time, whatever is usual in this session.
            connection.execute(
                sa.text(f"SET LOCAL idle_in_transaction_session_timeout = '{READER_IDLE}'")
            )
            connection.execute(sa.text("SELECT 1"))
            hold.check()
            yield connection

    def _columns(self, connection: sa.Connection, table: str) -> list[str]:
        name = _identifier(table).as_string()
        found = list(connection.scalars(_COLUMNS, {"name": name}))
        if not found:
            raise OriginConfigurationError(
                f"{self._database} has no table {table}.",
                landing=self._landing.name,
                remedy="Correct `from` in the settings, or let the loader make it first.",
            )
        return found

    def _rows(self, columns: Sequence[str], *, limit: int | None = None) -> sql.Composed:
        """Rows as JSON objects: values of every type of PostgreSQL, infinite times among them."""
        wanted = [name for name in columns if name in named_fields(self._landing)]
        statement = sql.SQL("SELECT to_jsonb(r)::text FROM (SELECT {} FROM {}) r").format(
            sql.SQL(", ").join(map(sql.Identifier, wanted)), _identifier(self._request.table)
        )
        if limit is None:
            return statement
        return sql.SQL("{} LIMIT {}").format(statement, sql.Literal(limit))

    def _doubt(self, connection: sa.Connection, columns: Sequence[str]) -> str | None:
        """Why rows that are not there may come back; None where the loader vouches for them."""
        sign = self._request.complete_when
        if sign is None:
            return (
                f"nothing says that {self._request.table} is complete (complete_when), so no row "
                "without a record is deleted"
            )
        there = self._columns(connection, sign.table)
        self._require(sign, columns=columns, sign_columns=there)
        if sign.load_column is not None and self._is_empty(connection):
            return (
                f"{self._request.table} is empty, so no row of it names a load that {sign.table} "
                "could say is finished"
            )
        row = _run(connection, _unfinished(sign, table=self._request.table)).first()
        if row is None:
            return None
        return (
            f"the load {row[0]!s} of {self._request.table} is not among the finished ones of "
            f"{sign.table}"
        )

    def _is_empty(self, connection: sa.Connection) -> bool:
        """Whether there is no row: a loader may have emptied it to fill it again."""
        statement = sql.SQL("SELECT FROM {} LIMIT 1").format(_identifier(self._request.table))
        return _run(connection, statement).first() is None

    def _require(
        self, sign: LoaderSign, *, columns: Sequence[str], sign_columns: Sequence[str]
    ) -> None:
        named = [(sign.table, it.column, sign_columns) for it in sign.where]
        if sign.newest_by is not None:
            named.append((sign.table, sign.newest_by, sign_columns))
        if sign.load_column is not None and sign.row_column is not None:
            named.append((sign.table, sign.load_column, sign_columns))
            named.append((self._request.table, sign.row_column, columns))
        for table, column, there in named:
            if column not in there:
                raise OriginConfigurationError(
                    f"{table} has no column {column}; it has {', '.join(there)}.",
                    landing=self._landing.name,
                    remedy="Correct `complete_when` in the settings.",
                )


def _unfinished(sign: LoaderSign, *, table: str) -> sql.Composed:
    """One load that is not finished, or no row."""
    finished = sql.SQL(" AND ").join(
        [sql.SQL("true"), *(_condition(condition) for condition in sign.where)]
    )
    if sign.load_column is None or sign.row_column is None:
        order = (
            sql.SQL("")
            if sign.newest_by is None
            else sql.SQL("ORDER BY {} DESC NULLS LAST LIMIT 1").format(
                sql.Identifier(sign.newest_by)
            )
        )
        # Of no load at all nothing is known either.
        return sql.SQL(
            "SELECT 'that came last' FROM (SELECT count(*) AS loads, count(*) FILTER (WHERE {}) AS "
            "finished FROM (SELECT * FROM {} {}) s) counted WHERE loads = 0 OR finished < loads"
        ).format(finished, _identifier(sign.table), order)
    return sql.SQL(
        "SELECT r.{row} FROM {table} r WHERE NOT EXISTS (SELECT FROM {loads} s WHERE s.{load} = "
        "r.{row} AND {finished}) LIMIT 1"
    ).format(
        row=sql.Identifier(sign.row_column),
        load=sql.Identifier(sign.load_column),
        table=_identifier(table),
        loads=_identifier(sign.table),
        finished=finished,
    )


def _condition(condition: Condition) -> sql.Composed:
    column = sql.Identifier("s", condition.column)
    texts = [str(value) for value in condition.accepted if value is not None]
    texts = [text.lower() if text in ("True", "False") else text for text in texts]
    accepted = sql.SQL("{}::text = ANY({})").format(column, sql.Literal(texts))
    if None in condition.accepted:
        return sql.SQL("({} IS NULL OR {})").format(column, accepted)
    return sql.SQL("coalesce({}, false)").format(accepted)


def _identifier(table: str) -> sql.Identifier:
    schema, name = split_name(table)
    return sql.Identifier(name) if schema is None else sql.Identifier(schema, name)


def _run(
    connection: sa.Connection, statement: sql.Composed, *, at_once: int | None = None
) -> sa.CursorResult[Any]:
    """The rows of a statement; by a cursor of the server where there may be many."""
    options: dict[str, Any] = {"no_parameters": True}
    if at_once is not None:
        options |= {"stream_results": True, "max_row_buffer": at_once}
    return connection.exec_driver_sql(statement.as_string(), execution_options=options)


def _record(text: str) -> Any:
    return json.loads(text, parse_float=Decimal)
