"""What embedding took and what its budgets count, tables ``embedding_*``.

What budgets look at changes in transactions that do nothing the second time, for one whose answer
was lost is done again.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any, Final

from sqlalchemy import Connection, Engine, and_, delete, func, literal, or_, select, update
from sqlalchemy.dialects.postgresql import Insert, insert

from sync_pipeline.core.ports import RESERVED_FOR_SECONDS, Exhausted, Reservation
from sync_pipeline.core.retrying import Retries
from sync_pipeline.core.spending import (
    NOTHING,
    Amount,
    Budget,
    BudgetKind,
    Entry,
    LedgerRow,
    Purpose,
    Taken,
)
from sync_pipeline.database.engine import DEFAULT_SCHEMA, Database
from sync_pipeline.database.tables import table

_NUMBERS: Final = (
    "calls", "texts", "tokens", "cost", "unconfirmed_calls", "unconfirmed_tokens",
    "unconfirmed_cost",
)  # fmt: skip
_ENTRY: Final = ("day", "scope_key", "model_id", "run_id", "purpose")


class _RefusedError(Exception):
    """Undoes a reservation of which one budget admits nothing."""

    def __init__(self, exhausted: Exhausted) -> None:
        self.exhausted = exhausted


class PostgresLedger:
    """``Ledger`` in PostgreSQL."""

    def __init__(
        self, engine: Engine, schema: str = DEFAULT_SCHEMA, *, retries: Retries | None = None
    ) -> None:
        self._database = Database(engine, schema=schema, retries=retries or Retries())
        self._usage = table(schema, "embedding_usage")
        self._budget = table(schema, "embedding_budget")
        self._call = table(schema, "embedding_reservation")
        self._adding = self._upsert_usage()

    def book(self, entry: Entry, *, provider: str, taken: Taken) -> None:
        """Add what a call took that no budget looks at."""
        self._database.run_alone(
            "booking what embedding took",
            lambda it: self._add(it, entry, provider=provider, taken=taken),
        )

    def reserve(
        self, entry: Entry, *, amount: Amount, budgets: Sequence[Budget]
    ) -> Reservation | Exhausted:
        """Count what a call may take at most against all of its budgets, or against none."""
        reservation = Reservation(
            call_id=str(uuid.uuid4()), entry=entry, amount=amount, budgets=tuple(budgets)
        )

        def work(connection: Connection) -> None:
            self._sweep(connection)
            if not self._is_new(connection, reservation):
                return
            for budget in budgets:
                self._reserve(connection, budget, amount)

        try:
            self._database.run("reserving a part of a budget", work)
        except _RefusedError as refused:
            return refused.exhausted
        return reservation

    def settle(self, reservation: Reservation, *, provider: str, taken: Taken) -> list[Amount]:
        """Count what a call took instead of what it might take."""
        columns = self._call.c
        settling = delete(self._call).where(columns.call_id == reservation.call_id)

        def work(connection: Connection) -> None:
            # Settled already, or swept: that stays unconfirmed, for no call takes an hour.
            if not connection.execute(settling).rowcount:
                return
            if taken != NOTHING:
                self._add(connection, reservation.entry, provider=provider, taken=taken)
            keys = [(budget.kind, budget.key) for budget in reservation.budgets]
            self._count(connection, keys, spent=taken.amount, reserved=reservation.amount)

        self._database.run("booking what embedding took", work)
        return self._counted(reservation.budgets, with_reserved=False)

    def rows(self, *, first: date, last: date) -> list[LedgerRow]:
        """What was taken between two days, both included."""
        columns = self._usage.c
        query = (
            select(*(columns[name] for name in (*_ENTRY, "provider", *_NUMBERS)))
            .where(columns.day.between(first, last))
            .order_by(*(columns[name] for name in (*_ENTRY, "provider")))
        )
        return [
            LedgerRow(
                entry=_entry(dict(row)),
                provider=row.provider,
                taken=Taken(**{name: row[name] for name in _NUMBERS}),
            )
            for row in self._database.read_named("reading what embedding took", query)
        ]

    def spenders(self, month: str) -> list[str]:
        """Keys of the scopes whose runs spent anything that budgets look at, in order."""
        columns = self._budget.c
        prefix = f"{month}/"
        query = (
            select(columns.key)
            .where(columns.kind == str(BudgetKind.TENANT), columns.key.startswith(prefix))
            .order_by(columns.key)
        )
        rows = self._database.read("listing whose budgets are used", query)
        return [str(row.key).removeprefix(prefix) for row in rows]

    def spent(self, budgets: Sequence[Budget]) -> list[Amount]:
        """What counts against each budget now."""
        return self._counted(budgets, with_reserved=True)

    def _counted(self, budgets: Sequence[Budget], *, with_reserved: bool) -> list[Amount]:
        if not budgets:
            return []
        columns = self._budget.c
        wanted = or_(*(and_(columns.kind == str(it.kind), columns.key == it.key) for it in budgets))
        query = select(self._budget).where(wanted)
        found = {
            (row.kind, row.key): Amount(
                tokens=row.tokens + with_reserved * row.reserved_tokens,
                cost=row.cost + with_reserved * row.reserved_cost,
            )
            for row in self._database.read_named("reading budgets", query)
        }
        return [found.get((str(it.kind), it.key), Amount()) for it in budgets]

    def forget_runs(self, *, before: date) -> int:
        """Sum up what runs took before a day, so that each is one row no more."""
        columns = self._usage.c
        old = and_(columns.day < before, columns.run_id != "")

        def work(connection: Connection) -> int:
            gone = connection.execute(delete(self._usage).where(old).returning(self._usage)).all()
            for row in gone:
                values = row._mapping  # noqa: SLF001 - its public name
                self._add(
                    connection,
                    _entry({**values, "run_id": ""}),
                    provider=values["provider"],
                    taken=Taken(**{name: values[name] for name in _NUMBERS}),
                )
            runs = self._budget.c
            connection.execute(
                delete(self._budget).where(
                    runs.kind == str(BudgetKind.RUN), runs.updated_at < before
                )
            )
            return len(gone)

        return self._database.run("summing up what embedding took", work)

    def _is_new(self, connection: Connection, reservation: Reservation) -> bool:
        """Note a call; whether it was not noted before."""
        statement = (
            insert(self._call)
            .values(
                call_id=reservation.call_id,
                **_values(reservation.entry),
                tokens=reservation.amount.tokens,
                cost=reservation.amount.cost,
                budgets=[[str(budget.kind), budget.key] for budget in reservation.budgets],
            )
            .on_conflict_do_nothing()
        )
        return bool(connection.execute(statement).rowcount)

    def _reserve(self, connection: Connection, budget: Budget, amount: Amount) -> None:
        """Add to what is reserved of a budget, if it admits that.

        Raises:
            _RefusedError: it does not; the row is locked, so its numbers are those of now.
        """
        columns = self._budget.c
        key = {"kind": str(budget.kind), "key": budget.key}
        connection.execute(insert(self._budget).values(**key).on_conflict_do_nothing())
        where = and_(columns.kind == key["kind"], columns.key == key["key"])
        row = connection.execute(select(self._budget).where(where).with_for_update()).one()
        spent = Amount(tokens=row.tokens, cost=row.cost)
        reserved = Amount(tokens=row.reserved_tokens, cost=row.reserved_cost)
        if not budget.limit.admits(spent + reserved + amount):
            raise _RefusedError(Exhausted(budget=budget, spent=spent, reserved=reserved))
        total = reserved + amount
        connection.execute(
            update(self._budget)
            .where(where)
            .values(reserved_tokens=total.tokens, reserved_cost=total.cost, updated_at=func.now())
        )

    def _add(self, connection: Connection, entry: Entry, *, provider: str, taken: Taken) -> None:
        """Add to the ledger."""
        numbers = {name: getattr(taken, name) for name in _NUMBERS}
        connection.execute(self._adding, {**_values(entry), "provider": provider, **numbers})

    def _upsert_usage(self) -> Insert:
        """Adds to a row of the ledger; made once, for every call of a model executes it."""
        columns = self._usage.c
        statement = insert(self._usage)
        sums = {name: columns[name] + statement.excluded[name] for name in _NUMBERS}
        return statement.on_conflict_do_update(
            index_elements=[*_ENTRY, "provider"], set_={**sums, "updated_at": func.now()}
        )

    def _count(
        self,
        connection: Connection,
        keys: Sequence[tuple[str, str]],
        *,
        spent: Amount,
        reserved: Amount,
    ) -> None:
        """Count what was spent instead of what was reserved, in the order of all writers."""
        columns = self._budget.c
        for kind, key in keys:
            connection.execute(
                update(self._budget)
                .where(columns.kind == str(kind), columns.key == key)
                .values(
                    tokens=columns.tokens + spent.tokens,
                    cost=columns.cost + literal(spent.cost),
                    reserved_tokens=columns.reserved_tokens - reserved.tokens,
                    reserved_cost=columns.reserved_cost - literal(reserved.cost),
                    updated_at=func.now(),
                )
            )

    def _sweep(self, connection: Connection) -> None:
        """Book as unconfirmed what was reserved by calls that nobody can be waiting for."""
        columns = self._call.c
        too_old = columns.made_at < func.now() - timedelta(seconds=RESERVED_FOR_SECONDS)
        chosen = (select(columns.call_id).where(too_old).order_by(columns.call_id)).with_for_update(
            skip_locked=True
        )
        gone = connection.execute(
            delete(self._call).where(columns.call_id.in_(chosen)).returning(self._call)
        ).all()
        for row in gone:
            amount = Amount(tokens=row.tokens, cost=row.cost)
            self._add(
                connection,
                _entry(dict(row._mapping)),  # noqa: SLF001 - its public name
                provider="",
                taken=Taken(
                    unconfirmed_calls=1,
                    unconfirmed_tokens=amount.tokens,
                    unconfirmed_cost=amount.cost,
                ),
            )
            self._count(connection, row.budgets, spent=amount, reserved=amount)


def _entry(row: Mapping[str, Any]) -> Entry:
    values = {name: row[name] for name in _ENTRY}
    return Entry(**{**values, "purpose": Purpose(values["purpose"])})


def _values(entry: Entry) -> dict[str, object]:
    return {**{name: getattr(entry, name) for name in _ENTRY}, "purpose": str(entry.purpose)}
