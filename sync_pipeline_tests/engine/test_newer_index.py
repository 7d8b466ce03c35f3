"""An index that a newer program has written to: this one reads nothing of it and undoes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from sync_pipeline.core.errors import NewerPayloadError
from sync_pipeline.core.hashing import point_id
from sync_pipeline.core.payload import PAYLOAD_SCHEMA_VERSION
from sync_pipeline.core.point import StoredPoint
from sync_pipeline.core.scope import Scope
from sync_pipeline.engine.context import SyncContext
from sync_pipeline.engine.questions.checks import check_scope
from sync_pipeline.engine.questions.explain import explain_row
from sync_pipeline.engine.questions.plan import plan_scope
from sync_pipeline.engine.questions.search import SearchRequest, search
from sync_pipeline.engine.questions.verify import verify_scope
from sync_pipeline.engine.steps.sync import sync_scope
from sync_pipeline.stores import stored
from sync_pipeline.stores.edge.store import lease_edge_store
from sync_pipeline.stores.server.store import lease_server_store
from sync_pipeline_tests.engine.world import World
from sync_pipeline_tests.fakes.qdrant_stub import running_stub

ACME = Scope("acme")
NEWER = PAYLOAD_SCHEMA_VERSION + 1
POINT = point_id("tenant-material-2")


@pytest.fixture(
    params=[
        pytest.param("edge", marks=pytest.mark.index),
        pytest.param("server", marks=pytest.mark.process),
    ]
)
def sync(request: pytest.FixtureRequest, world: World, tmp_path: Path) -> Iterator[SyncContext]:
    """Three synced documents of ``acme``; a newer program has written the second one again."""
    world.put_many("1", "2", "3")
    with ExitStack() as stack:
        if request.param == "edge":
            lease = lease_edge_store(tmp_path / "index")
        else:
            stub = stack.enter_context(running_stub())
            lease = lease_server_store(stub.url, api_key=None)
        context = world.sync.rebound(store=lease)
        sync_scope(context, scope=ACME, run_id="first")
        with lease() as store:
            (known,) = store.retrieve(world.collection, [POINT])
            newer = {**known.payload, "schema_version": NEWER, "payload_hash": "0" * 32}
            store.write_payloads(world.collection, [(POINT, newer)])
        yield context


def read_as_a_newer_program(sync: SyncContext, monkeypatch: pytest.MonkeyPatch) -> StoredPoint:
    with monkeypatch.context() as newer, sync.store() as store:
        newer.setattr(stored, "PAYLOAD_SCHEMA_VERSION", NEWER)
        (found,) = store.retrieve(sync.spec.collection, [POINT])
    return found


@pytest.mark.parametrize(
    "read",
    [
        pytest.param(
            lambda sync: search(sync, scope=ACME, request=SearchRequest(text="cement")),
            id="search",
        ),
        pytest.param(
            lambda sync: explain_row(sync, entity_type="material", row_id="2"), id="explain"
        ),
        pytest.param(lambda sync: verify_scope(sync, scope=ACME), id="verify"),
        pytest.param(lambda sync: plan_scope(sync, scope=ACME, mode="full"), id="plan"),
        pytest.param(lambda sync: check_scope(sync, scope=ACME, seed="1"), id="checks"),
    ],
)
def test_whoever_reads_it_says_that_this_program_has_to_be_upgraded(
    sync: SyncContext, read: Callable[[SyncContext], object]
) -> None:
    with pytest.raises(NewerPayloadError, match=r"1 of \d points .* version 2, .* up to 1") as told:
        read(sync)

    assert str(told.value.remedy).startswith("Upgrade sync-pipeline")


def test_a_full_sync_undoes_nothing_of_it(
    sync: SyncContext, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.put("1", name="changed")
    world.remove("3")

    with pytest.raises(NewerPayloadError, match="None of them was shown or changed"):
        sync_scope(sync, scope=ACME, run_id="second")

    found = read_as_a_newer_program(sync, monkeypatch)
    assert (found.payload["schema_version"], found.payload["payload_hash"]) == (NEWER, "0" * 32)
    with sync.store() as store:
        assert store.count(sync.spec.collection) == 3


def test_an_incremental_sync_of_that_row_undoes_nothing_of_it(
    sync: SyncContext, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.put("2", name="changed")

    with pytest.raises(NewerPayloadError, match="a newer one has written"):
        sync_scope(sync, scope=ACME, run_id="second", mode="incremental")

    assert read_as_a_newer_program(sync, monkeypatch).payload["schema_version"] == NEWER
