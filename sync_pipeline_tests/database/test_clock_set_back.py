"""S71: what was written by a clock that has been set back since does not block for as long."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from sync_pipeline.core.errors import ScopeBusyError
from sync_pipeline.core.ports import FailedDocument
from sync_pipeline.database.index_state import PostgresIndexState
from sync_pipeline.database.scope_leases import PostgresScopeLeases
from sync_pipeline_tests.database.documents import ACME, COLLECTION
from sync_pipeline_tests.fakes.state import FakeIndexState, FakeScopeLeases

DAYS = timedelta(days=3)


class Clock:
    """One that a test turns."""

    def __init__(self) -> None:
        self.time = datetime.now(UTC)

    def __call__(self) -> datetime:
        return self.time


def set_back(engine: Engine, table: str, column: str) -> None:
    """Write what a clock would have that was later by some days."""
    with engine.begin() as connection:
        there = sa.table(table, sa.column(column), schema="sync_pipeline")
        connection.execute(sa.update(there).values({column: there.c[column] + DAYS}))


def test_the_lease_of_a_dead_run_ends_in_postgres(engine: Engine) -> None:
    leases = PostgresScopeLeases(engine)
    leases.acquire(scope=ACME, owner="dead", ttl_seconds=60)
    set_back(engine, "scope_lease", "expires_at")

    fence = leases.acquire(scope=ACME, owner="next", ttl_seconds=60)

    assert (fence.owner, fence.token) == ("next", 2)


def test_and_in_the_fake() -> None:
    clock = Clock()
    leases = FakeScopeLeases(clock)
    leases.acquire(scope=ACME, owner="dead", ttl_seconds=60)
    clock.time -= DAYS

    fence = leases.acquire(scope=ACME, owner="next", ttl_seconds=60)

    assert (fence.owner, fence.token) == ("next", 2)


def test_nobody_holds_such_a_lease(engine: Engine) -> None:
    leases = PostgresScopeLeases(engine)
    leases.acquire(scope=ACME, owner="dead", ttl_seconds=60)
    set_back(engine, "scope_lease", "expires_at")

    assert leases.holder(scope=ACME) is None


def test_the_longest_lease_still_holds(engine: Engine) -> None:
    leases = PostgresScopeLeases(engine)
    leases.acquire(scope=ACME, owner="long", ttl_seconds=3600)

    with pytest.raises(ScopeBusyError, match="long"):
        leases.acquire(scope=ACME, owner="next", ttl_seconds=60)


FAILED = FailedDocument(
    document_id="tenant-material-1",
    point_id="0f8fad5b-d9cb-469f-a165-70867728950e",
    entity_type="material",
    db_id="1",
    error_code="PermanentError",
    error="refused",
)


def test_a_failed_document_is_tried_again_in_postgres(engine: Engine) -> None:
    state = PostgresIndexState(engine, collection=COLLECTION)
    state.record_failed(scope=ACME, failures=[FAILED])
    set_back(engine, "index_state", "next_retry_at")

    assert state.count_due_retries() == {"acme": 1}


def test_and_in_the_fake_too() -> None:
    clock = Clock()
    state = FakeIndexState(clock, collection=COLLECTION)
    state.record_failed(scope=ACME, failures=[FAILED])
    clock.time -= DAYS

    assert state.count_due_retries() == {"acme": 1}
