"""What every ``ScopeLeases`` promises: one writer per scope."""

from __future__ import annotations

import pytest

from sync_pipeline.core.errors import ScopeBusyError, SupersededError
from sync_pipeline.core.ports import Fence, ScopeLeases
from sync_pipeline_tests.database.documents import ACME, GLOBEX


def test_a_free_scope_is_leased(leases: ScopeLeases) -> None:
    fence = leases.acquire(scope=ACME, owner="run 1", ttl_seconds=60)

    assert fence == Fence(scope_key="acme", owner="run 1", token=1)


def test_a_held_scope_is_refused_and_the_holder_named(leases: ScopeLeases) -> None:
    leases.acquire(scope=ACME, owner="run 1", ttl_seconds=60)

    with pytest.raises(
        ScopeBusyError, match=r"scope 'acme' is being written by run 1; its lease ends in \d+ s"
    ) as caught:
        leases.acquire(scope=ACME, owner="run 2", ttl_seconds=60)

    assert 0 < (caught.value.retry_after_seconds or 0) <= 60


def test_the_same_owner_gets_the_same_token_again(leases: ScopeLeases) -> None:
    first = leases.acquire(scope=ACME, owner="run 1", ttl_seconds=60)
    again = leases.acquire(scope=ACME, owner="run 1", ttl_seconds=60)
    leases.release(again)
    after_release = leases.acquire(scope=ACME, owner="run 1", ttl_seconds=60)

    assert first == again == after_release


def test_the_token_rises_when_the_owner_changes(leases: ScopeLeases) -> None:
    owners = ["run 1", "run 2", "run 1", "run 3"]

    fences = []
    for owner in owners:
        fences.append(leases.acquire(scope=ACME, owner=owner, ttl_seconds=60))
        leases.release(fences[-1])

    assert [fence.token for fence in fences] == [1, 2, 3, 4]


def test_an_expired_lease_can_be_taken(leases: ScopeLeases) -> None:
    leases.acquire(scope=ACME, owner="run 1", ttl_seconds=0)

    fence = leases.acquire(scope=ACME, owner="run 2", ttl_seconds=60)

    assert (fence.owner, fence.token) == ("run 2", 2)


def test_leases_of_different_scopes_are_apart(leases: ScopeLeases) -> None:
    leases.acquire(scope=ACME, owner="run 1", ttl_seconds=60)

    assert leases.acquire(scope=GLOBEX, owner="run 2", ttl_seconds=60).token == 1


def test_a_lease_in_hand_may_write(leases: ScopeLeases) -> None:
    fence = leases.acquire(scope=ACME, owner="run 1", ttl_seconds=60)

    leases.check(fence, ttl_seconds=60)


def test_an_expired_lease_that_nobody_took_is_renewed(leases: ScopeLeases) -> None:
    fence = leases.acquire(scope=ACME, owner="run 1", ttl_seconds=0)

    leases.check(fence, ttl_seconds=60)

    with pytest.raises(ScopeBusyError, match="run 1"):
        leases.acquire(scope=ACME, owner="run 2", ttl_seconds=60)


def test_a_run_that_lost_its_lease_is_stopped_before_it_writes(leases: ScopeLeases) -> None:
    sleeper = leases.acquire(scope=ACME, owner="run 1", ttl_seconds=0)
    leases.acquire(scope=ACME, owner="run 2", ttl_seconds=60)

    with pytest.raises(SupersededError, match="its lease went from run 1 to run 2"):
        leases.check(sleeper, ttl_seconds=60)


def test_a_run_whose_lease_came_back_under_another_token_is_stopped(leases: ScopeLeases) -> None:
    first = leases.acquire(scope=ACME, owner="run 1", ttl_seconds=0)
    leases.acquire(scope=ACME, owner="run 2", ttl_seconds=0)
    leases.acquire(scope=ACME, owner="run 1", ttl_seconds=60)

    with pytest.raises(SupersededError, match="out of date"):
        leases.check(first, ttl_seconds=60)


def test_a_released_lease_can_be_taken_at_once(leases: ScopeLeases) -> None:
    leases.release(leases.acquire(scope=ACME, owner="run 1", ttl_seconds=3600))

    assert leases.acquire(scope=ACME, owner="run 2", ttl_seconds=60).token == 2


def test_releasing_a_lost_lease_leaves_the_new_owner_alone(leases: ScopeLeases) -> None:
    lost = leases.acquire(scope=ACME, owner="run 1", ttl_seconds=0)
    held = leases.acquire(scope=ACME, owner="run 2", ttl_seconds=60)

    leases.release(lost)

    leases.check(held, ttl_seconds=60)
    with pytest.raises(ScopeBusyError, match="run 2"):
        leases.acquire(scope=ACME, owner="run 3", ttl_seconds=60)


def test_checking_a_lease_that_never_was_is_refused(leases: ScopeLeases) -> None:
    with pytest.raises(SupersededError, match="from run 1 to nobody"):
        leases.check(Fence("acme", "run 1", 1), ttl_seconds=60)


def test_the_holder_of_a_lease_is_known_while_it_holds_it(leases: ScopeLeases) -> None:
    before = leases.holder(scope=ACME)
    fence = leases.acquire(scope=ACME, owner="run-1", ttl_seconds=60)

    held = leases.holder(scope=ACME)
    leases.release(fence)

    assert before is None
    assert held is not None
    assert held.owner == "run-1"
    assert 0 < held.seconds_left <= 60
    assert leases.holder(scope=ACME) is None
    assert leases.holder(scope=GLOBEX) is None


def test_the_lease_of_a_dead_owner_can_be_taken_at_once(leases: ScopeLeases) -> None:
    leases.acquire(scope=ACME, owner="killed", ttl_seconds=60)
    leases.acquire(scope=GLOBEX, owner="living", ttl_seconds=60)

    released = leases.release_dead(owner="killed")

    assert released == 1
    assert leases.acquire(scope=ACME, owner="next", ttl_seconds=60).owner == "next"
    with pytest.raises(ScopeBusyError, match="living"):
        leases.acquire(scope=GLOBEX, owner="next", ttl_seconds=60)


# --- per entity -------------------------------------------------------------------------
