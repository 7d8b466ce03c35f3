"""A scope is held for as long as a step needs, and renewed beside it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from sync_pipeline.core.errors import ScopeBusyError, SourceUnavailableError, SupersededError
from sync_pipeline.core.scope import Scope
from sync_pipeline.engine.context import SyncContext
from sync_pipeline.engine.lease import scope_lease, shared_lease
from sync_pipeline.engine.repeating import repeating
from sync_pipeline_tests.engine.world import World
from sync_pipeline_tests.fakes.state import FakeScopeLeases

ACME = Scope("acme")
TTL_SECONDS = 0.3

pytestmark = pytest.mark.slow


@pytest.fixture
def sync() -> SyncContext:
    """Leases of a moment, by the real clock."""
    world = World()
    world.set_options(lease_ttl_seconds=TTL_SECONDS)
    return replace(world.sync, leases=FakeScopeLeases())


def test_a_step_that_writes_nothing_for_three_lease_times_keeps_its_scope(
    sync: SyncContext,
) -> None:
    with scope_lease(sync, scope=ACME, owner="run-1") as fence:
        time.sleep(3 * TTL_SECONDS)
        with pytest.raises(ScopeBusyError):
            sync.leases.acquire(scope=ACME, owner="run-2", ttl_seconds=1)
        sync.leases.check(fence, ttl_seconds=1)

    sync.leases.acquire(scope=ACME, owner="run-2", ttl_seconds=1)


def test_a_shared_lease_is_not_given_back_by_the_first_that_leaves_it(sync: SyncContext) -> None:
    with shared_lease(sync, scope=ACME, owner="run-1") as first:
        with shared_lease(sync, scope=ACME, owner="run-1") as second:
            pass
        assert first == second
        with pytest.raises(ScopeBusyError):
            sync.leases.acquire(scope=ACME, owner="run-2", ttl_seconds=1)

    time.sleep(TTL_SECONDS)
    sync.leases.acquire(scope=ACME, owner="run-2", ttl_seconds=1)


def test_a_lease_that_went_to_another_run_is_not_taken_back(sync: SyncContext) -> None:
    with scope_lease(sync, scope=ACME, owner="run-1") as fence:
        sync.leases.release_dead(owner="run-1")
        sync.leases.acquire(scope=ACME, owner="run-2", ttl_seconds=10)
        time.sleep(TTL_SECONDS)

        with pytest.raises(SupersededError):
            sync.leases.check(fence, ttl_seconds=1)

    holder = sync.leases.holder(scope=ACME)
    assert holder is not None
    assert holder.owner == "run-2"


@pytest.mark.parametrize(
    ("error", "turns"),
    [
        pytest.param(lambda: SourceUnavailableError("away for a moment"), range(3, 50), id="again"),
        pytest.param(
            lambda: SupersededError(scope_key="acme", detail="gone"), range(1, 2), id="never again"
        ),
    ],
)
def test_what_fails_beside_the_work_is_done_again_unless_it_is_lost(
    error: Callable[[], Exception], turns: range
) -> None:
    done = 0

    def work() -> None:
        nonlocal done
        done += 1
        raise error()

    with repeating(work, every_seconds=0.01, name="test"):
        time.sleep(0.3)

    assert done in turns
