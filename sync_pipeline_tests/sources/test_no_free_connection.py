"""A pool whose connections are all in use."""

from __future__ import annotations

import pytest

from sync_pipeline.core.errors import SourceUnavailableError
from sync_pipeline.database.engine import make_engine
from sync_pipeline.sources.postgres import PostgresRowSource


def test_it_is_said_that_other_threads_have_them_and_what_to_set(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = make_engine(database_url, max_connections=1)
    monkeypatch.setattr(small.pool, "_timeout", 0.1)

    with small.connect(), pytest.raises(SourceUnavailableError) as raised:
        PostgresRowSource(small).count_by_scope([])
    small.dispose()

    assert "became free: other threads of this process hold them all" in str(raised.value)
    assert "`source.max_connections`" in str(raised.value)
