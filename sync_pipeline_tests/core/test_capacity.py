"""What a bound on connections means for a server, in words."""

from __future__ import annotations

import pytest

from sync_pipeline.core.capacity import Capacity
from sync_pipeline.core.errors import ConfigurationError


def capacity(*, allowed: int = 97, is_pooled: bool = False, is_shared: bool = False) -> Capacity:
    return Capacity(allowed=allowed, open_now=5, is_pooled=is_pooled, is_shared=is_shared)


def test_it_is_said_how_many_processes_a_server_has_room_for() -> None:
    assert capacity().told(10, where="db:5432") == (
        "at most 10 of this process to db:5432; the server allows 97 of all clients together, "
        "5 are open: room for 9 such processes"
    )


def test_more_than_the_server_allows_is_refused_with_both_numbers() -> None:
    with pytest.raises(ConfigurationError, match=r"at most 98 .* allows 97 .*max_connections"):
        capacity().told(98, where="db:5432")


def test_a_process_may_have_all_that_there_are() -> None:
    assert capacity(allowed=10).told(10, where="db").endswith("room for 1 such processes")


def test_behind_a_pooler_the_servers_limit_is_not_ours() -> None:
    told = capacity(allowed=5, is_pooled=True).told(10, where="db")

    assert "through a pooler, whose own limits count. Behind it the server allows 5" in told


def test_a_pooler_that_cannot_notify_is_named() -> None:
    told = capacity(is_pooled=True, is_shared=True).told(10, where="db")

    assert "a session for each transaction" in told
    assert "looks once a second" in told
