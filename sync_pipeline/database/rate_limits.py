"""The pace at which all processes together ask a service, table ``rate_limit``."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Double,
    Engine,
    Interval,
    case,
    cast,
    func,
    literal,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import insert

from sync_pipeline.core.rate_limits import (
    BURST_SECONDS,
    MAX_QUEUE_SECONDS,
    NOTHING_STATED,
    SHARE_USED,
    RateLimits,
    StatedLimits,
    Turn,
)
from sync_pipeline.core.retrying import Retries
from sync_pipeline.database.engine import DEFAULT_SCHEMA, Database
from sync_pipeline.database.tables import table

_NOW: Final = func.statement_timestamp()
"""The server's clock when it was given the statement; the same wherever the statement looks."""
_BURST: Final = literal(timedelta(seconds=BURST_SECONDS))
_LONGEST: Final = literal(timedelta(seconds=MAX_QUEUE_SECONDS))


class PostgresRateLimiter:
    """``RateLimiter`` in PostgreSQL, by its clock: ``core.rate_limits`` in one statement.

    Args:
        engine: Of the state database.
        schema: Of our tables.
        account: Names the service, the model and whose key; never the key.
        limits: Of the settings.
        retries: For a database that does not answer.
    """

    def __init__(
        self,
        engine: Engine,
        schema: str = DEFAULT_SCHEMA,
        *,
        account: str,
        limits: RateLimits,
        retries: Retries | None = None,
    ) -> None:
        self._database = Database(engine, schema=schema, retries=retries or Retries())
        self._table = table(schema, "rate_limit")
        self._account = account
        self._limits = limits
        self._is_there = False

    def take(self, *, tokens: float, goes_ahead: bool = False) -> Turn:
        """Take a turn; the row of the account is locked for one statement."""
        self._make_sure()
        pace = self._table.c
        # Where the server's clock was set back, all moments are moved back with it.
        ahead = func.greatest(pace.asked_at - _NOW, _seconds(literal(0.0)))
        blocked_until = pace.blocked_until - ahead
        earliest = func.greatest(_NOW - _BURST, blocked_until)
        requests_from = func.greatest(pace.requests_at - ahead, earliest)
        tokens_from = func.greatest(pace.tokens_at - ahead, earliest)
        queued = _NOW if goes_ahead else func.greatest(requests_from, tokens_from)
        turn_at = func.greatest(_NOW, blocked_until, queued)
        is_taken = case((turn_at <= _NOW + _LONGEST, 1.0), else_=0.0)
        limits = self._limits
        per_request = _cost(limits.requests_per_minute, pace.requests_per_minute)
        per_token = _cost(limits.tokens_per_minute, pace.tokens_per_minute)
        statement = (
            update(self._table)
            .where(pace.account == self._account)
            .values(
                requests_at=requests_from + _seconds(is_taken * per_request),
                tokens_at=tokens_from + _seconds(is_taken * per_token * tokens),
                blocked_until=blocked_until,
                asked_at=_NOW,
                turn_at=turn_at,
                updated_at=_NOW,
            )
            .returning(
                _between(pace.asked_at, pace.turn_at),
                _between(pace.asked_at, pace.blocked_until),
            )
        )
        found = self._database.run_alone(
            "taking a turn at a service", lambda it: it.execute(statement).first()
        )
        if found is None:
            # Removed by hand: the account begins anew.
            self._is_there = False
            return self.take(tokens=tokens, goes_ahead=goes_ahead)
        wait_seconds, blocked_seconds = found
        return Turn(
            wait_seconds=wait_seconds,
            is_taken=wait_seconds <= MAX_QUEUE_SECONDS,
            blocked_seconds=max(0.0, blocked_seconds),
        )

    def settle(
        self, *, expected: float, taken: float, stated: StatedLimits = NOTHING_STATED
    ) -> None:
        """Correct a turn, and note what the service states."""
        self._make_sure()
        pace = self._table.c
        requests = func.coalesce(
            _number(stated.limits.requests_per_minute), pace.requests_per_minute
        )
        tokens = func.coalesce(_number(stated.limits.tokens_per_minute), pace.tokens_per_minute)
        per_request = _cost(self._limits.requests_per_minute, requests)
        per_token = _cost(self._limits.tokens_per_minute, tokens)
        values: dict[str, Any] = {
            "requests_per_minute": requests,
            "tokens_per_minute": tokens,
            "tokens_at": pace.tokens_at + _seconds(per_token * (taken - expected)),
            "updated_at": _NOW,
        }
        if stated.tokens_left is not None and stated.tokens_left < taken:
            lacking = _seconds(per_token * (taken - stated.tokens_left))
            values["tokens_at"] = func.greatest(values["tokens_at"], _NOW + lacking)
        if stated.requests_left is not None and stated.requests_left < 1:
            values["requests_at"] = func.greatest(pace.requests_at, _NOW + _seconds(per_request))
        if stated.closed_seconds > 0:
            closed = literal(timedelta(seconds=stated.closed_seconds))
            values["blocked_until"] = func.greatest(pace.blocked_until, _NOW + closed)
        statement = update(self._table).where(pace.account == self._account).values(values)
        self._database.run_alone("settling a turn at a service", lambda it: it.execute(statement))

    def blocked_seconds(self) -> float:
        """For how long the service answers nobody."""
        pace = self._table.c
        query = select(_between(_NOW, pace.blocked_until)).where(pace.account == self._account)
        found = self._database.read("asking whether a service is open", query)
        return max(0.0, found[0][0]) if found else 0.0

    def _make_sure(self) -> None:
        """Have a row; looked after once per process."""
        if self._is_there:
            return
        statement = insert(self._table).values(account=self._account).on_conflict_do_nothing()
        self._database.run_alone("naming an account of a service", lambda it: it.execute(statement))
        self._is_there = True


def _cost(limit: float | None, stated: ColumnElement[Any]) -> ColumnElement[Any]:
    # LEAST leaves nulls out.
    return func.coalesce(60.0 / (func.least(_number(limit), stated) * SHARE_USED), 0.0)


def _number(value: float | None) -> ColumnElement[Any]:
    return cast(literal(value), Double)


def _seconds(number: ColumnElement[Any]) -> ColumnElement[Any]:
    return number * cast(literal("1 second"), Interval)


def _between(start: ColumnElement[Any], end: ColumnElement[Any]) -> ColumnElement[float]:
    return cast(func.coalesce(func.extract("epoch", end - start), 0.0), Double)
