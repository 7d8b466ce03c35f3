"""Connections of the pool: asked now and then whether they live, and never given out dead."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest
from sqlalchemy import Engine, text

from sync_pipeline.database import engine as engines
from sync_pipeline.database.engine import make_engine

pytestmark = pytest.mark.process


@pytest.fixture
def pings() -> list[int]:
    """One entry for every time that ``own`` asks the server."""
    return []


@pytest.fixture
def own(database_url: str, pings: list[int]) -> Iterator[Engine]:
    """An engine with a single connection."""
    engine = make_engine(database_url, pool_size=1)
    asked = engine.dialect.do_ping.args[0]  # type: ignore[attr-defined]  # a partial

    def count(connection: object) -> bool:
        pings.append(1)
        return bool(asked(connection))

    engine.dialect.do_ping = partial(engines._is_alive, count)  # type: ignore[method-assign]
    yield engine
    engine.dispose()


def backend(engine: Engine) -> int:
    with engine.connect() as connection:
        return int(connection.execute(text("SELECT pg_backend_pid()")).scalar_one())


def test_a_connection_in_use_is_asked_every_few_seconds_only(
    own: Engine, pings: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = backend(own)
    for _ in range(20):
        assert backend(own) == first
    assert len(pings) == 1

    monkeypatch.setattr(engines, "TRUSTED_SECONDS", 0.0)
    assert backend(own) == first
    assert len(pings) == 2


def test_a_connection_that_the_server_has_ended_is_replaced_though_it_was_just_used(
    own: Engine, engine: Engine, pings: list[int]
) -> None:
    first = backend(own)
    backend(own)
    with engine.begin() as other:
        other.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": first})

    assert backend(own) != first
    assert len(pings) == 2
