"""How many requests a server gets, counted over HTTP."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

from sync_pipeline.core.scope import Scope
from sync_pipeline.engine.context import SyncContext
from sync_pipeline.engine.questions.search import SearchRequest, search
from sync_pipeline.engine.steps.sync import sync_scope
from sync_pipeline.stores.server.store import lease_server_store
from sync_pipeline_tests.elsewhere import elsewhere, lead_here
from sync_pipeline_tests.engine.world import World
from sync_pipeline_tests.fakes.qdrant_stub import QdrantStub, running_stub

ACME = Scope("acme")


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> Iterator[QdrantStub]:
    """A server under a name that is not this machine's: to this machine no connection is kept."""
    lead_here(monkeypatch)
    with running_stub() as running:
        yield running


@pytest.fixture
def sync(world: World, stub: QdrantStub) -> SyncContext:
    """300 rows, written in batches of 100."""
    world.put_many(*map(str, range(300)))
    world.set_options(upsert_batch_size=100)
    return world.sync.rebound(store=lease_server_store(elsewhere(stub.url), api_key=None))


def test_a_batch_is_one_request_and_a_sync_one_connection(
    sync: SyncContext, stub: QdrantStub, world: World
) -> None:
    with stub.counting() as first:
        sync_scope(sync, scope=ACME, run_id="first")
    world.put("new")
    with stub.counting() as second:
        sync_scope(sync, scope=ACME, run_id="second")

    upsert = f"PUT /collections/{world.collection}/points"
    info = f"GET /collections/{world.collection}"
    assert (Counter(first)[upsert], Counter(first)[info]) == (3, 1)
    assert (Counter(second)[upsert], Counter(second)[info]) == (1, 1)
    # The first one of a process asks the server for its version too.
    assert (Counter(first)["GET /"], Counter(second)["GET /"]) == (1, 0)
    assert (len(first), len(second)) == (15, 7)
    assert stub.connections == 1


def test_a_search_is_two_requests_over_a_connection_that_is_there(
    sync: SyncContext, stub: QdrantStub, world: World
) -> None:
    """What the alias serves is asked each time: another process may have moved it, and a
    search through the alias would not tell whose model the vectors are of."""
    sync_scope(sync, scope=ACME, run_id="first")

    with stub.counting() as requests:
        search(sync, scope=ACME, request=SearchRequest(text="cement"))

    assert requests == ["GET /aliases", f"POST /collections/{world.collection}/points/query"]
    assert stub.connections == 1
