"""Threads that are there before the first search, and what runs in them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

import pytest

from sync_pipeline.service.state import Service
from sync_pipeline.service.threads import ASKED_AHEAD, SEARCHES, SearchThreads
from sync_pipeline_tests.service.served import Served

pytestmark = pytest.mark.fast

request_of: ContextVar[str] = ContextVar("request_of")


@pytest.fixture
def threads() -> Iterator[SearchThreads]:
    threads = SearchThreads()
    yield threads
    threads.close()


def running(name: str) -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name.startswith(name)}


def test_searches_start_no_thread_once_the_service_is_ready(threads: SearchThreads) -> None:
    others = running("search_"), running("asked ahead")
    threads.start()
    ready = running("search_") - others[0], running("asked ahead") - others[1]

    def asked_ahead(number: int) -> int:
        return threads.ahead.begin(number, lambda: number)()

    async def search_many() -> None:
        await asyncio.gather(*(threads.run(asked_ahead, it) for it in range(200)))

    asyncio.run(search_many())

    assert [len(those) for those in ready] == [SEARCHES, ASKED_AHEAD]
    assert running("search_") - others[0] == ready[0]
    assert running("asked ahead") - others[1] == ready[1]


def test_work_has_the_context_of_its_request_and_fails_it(threads: SearchThreads) -> None:
    async def requested(number: int) -> str:
        request_of.set(f"request {number}")
        return await threads.run(request_of.get)

    async def all_requests() -> list[str]:
        return await asyncio.gather(*(requested(number) for number in range(20)))

    async def broken() -> None:
        await threads.run(int, "no number")

    assert asyncio.run(all_requests()) == [f"request {number}" for number in range(20)]
    with pytest.raises(ValueError, match="no number"):
        asyncio.run(broken())


def test_a_read_is_shared_by_those_who_asked_before_it_began(threads: SearchThreads) -> None:
    may_begin = threading.Event()
    read: list[str] = []

    def work(name: str) -> str:
        read.append(name)
        return name

    blocked = [
        threads.ahead.begin(f"other {number}", may_begin.wait) for number in range(ASKED_AHEAD)
    ]
    asked = [threads.ahead.begin("acme", lambda: work("acme")) for _ in range(5)]
    elsewhere = threads.ahead.begin("globex", lambda: work("globex"))
    may_begin.set()

    assert [answer() for answer in blocked] == [True] * ASKED_AHEAD
    assert [answer() for answer in asked] == ["acme"] * 5
    assert elsewhere() == "globex"
    assert sorted(read) == ["acme", "globex"]
    assert threads.ahead.begin("acme", lambda: work("acme again"))() == "acme again"


def test_a_read_that_fails_fails_all_who_share_it_and_nobody_later(
    threads: SearchThreads,
) -> None:
    may_begin = threading.Event()
    blocked = [threads.ahead.begin(number, may_begin.wait) for number in range(ASKED_AHEAD)]
    asked = [threads.ahead.begin("acme", lambda: int("no number")) for _ in range(2)]
    may_begin.set()

    assert all(answer() for answer in blocked)
    for answer in asked:
        with pytest.raises(ValueError, match="no number"):
            answer()
    assert threads.ahead.begin("acme", lambda: 7)() == 7


def test_the_service_searches_in_them(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    names: list[str] = []
    search = Service.search

    def noting(*args: Any, **kwargs: Any) -> Any:
        names.append(threading.current_thread().name)
        return search(*args, **kwargs)

    monkeypatch.setattr(Service, "search", noting)
    served.search("cladding")
    batch = served.client.post(
        "/api/search/batch",
        json={"searches": [{"query": "cladding"}]},
        headers=served.headers(),
    )

    assert batch.status_code == 200
    assert [name.rpartition("_")[0] for name in names] == ["search", "search"]
