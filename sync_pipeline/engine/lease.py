"""One writer per scope."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Final

from sync_pipeline.core.errors import SupersededError, SyncPipelineError
from sync_pipeline.core.liveness import BEATS_PER_LEASE
from sync_pipeline.core.ports import Fence
from sync_pipeline.core.scope import Scope
from sync_pipeline.engine.context import SyncContext
from sync_pipeline.engine.repeating import repeating

LEASE_THREAD: Final = "sync-pipeline-lease"
"""Renews the lease of a run beside it."""


@contextmanager
def scope_lease(sync: SyncContext, *, scope: Scope, owner: str) -> Iterator[Fence]:
    """Hold the right to write ``scope`` for the length of the ``with``.

    The same owner gets the same token again, so the steps of one run share it
    unless another run came in between.

    Raises:
        ScopeBusyError: another run holds it.
    """
    with shared_lease(sync, scope=scope, owner=owner) as fence:
        try:
            yield fence
        finally:
            sync.leases.release(fence)


@contextmanager
def shared_lease(sync: SyncContext, *, scope: Scope, owner: str) -> Iterator[Fence]:
    """Hold the same right without giving it back: other steps of the run are at work on the scope.

    It ends one lease time after the last of them did. Inside the ``with`` it is renewed by
    itself, so whoever holds it may take as long as it needs over what it does not write.

    Raises:
        ScopeBusyError: another run holds it.
    """
    ttl_seconds = sync.options.lease_ttl_seconds
    fence = sync.leases.acquire(scope=scope, owner=owner, ttl_seconds=ttl_seconds)
    renew = partial(sync.leases.check, fence, ttl_seconds=ttl_seconds)
    with repeating(renew, every_seconds=ttl_seconds / BEATS_PER_LEASE, name=LEASE_THREAD):
        yield fence


def before_write(sync: SyncContext, fence: Fence) -> None:
    """Renew the lease before a batch is written, and stop here if asked to.

    Raises:
        SupersededError: another run has the scope now.
        StoppedError: asked to stop.
    """
    sync.checkpoint(scope=Scope.from_key(fence.scope_key))
    require_lease(sync, fence)


def require_lease(sync: SyncContext, fence: Fence) -> None:
    """Renew the lease.

    A run that finds itself overtaken may have slept during its last write, and have written
    after the other one: our record of what is in the index is not to be trusted then.

    Raises:
        SupersededError: another run has the scope now.
    """
    try:
        sync.leases.check(fence, ttl_seconds=sync.options.lease_ttl_seconds)
    except SupersededError:
        note_writing(sync, fence, over_others=True)
        raise


@contextmanager
def noting_late_writes(sync: SyncContext, fence: Fence) -> Iterator[None]:
    """Around writes: where they end with an error, find out whether the run was overtaken.

    What failed may have been written all the same, and after the other run's success.
    """
    try:
        yield
    except SupersededError:
        raise
    except SyncPipelineError:
        # What ended it is told, whatever the look at the lease comes to.
        with suppress(SyncPipelineError):
            require_lease(sync, fence)
        raise


def note_writing(sync: SyncContext, fence: Fence, *, over_others: bool = False) -> None:
    """Note that this run writes: unless it succeeds, the next sync compares in full.

    Only before it reads anything may it take the note of another run over: what that one
    writes later it has not seen, and its own success must not vouch for it.
    """
    sync.scopes.note_writing(
        fence,
        entity_types=sync.entity_names,
        over_others=over_others,
    )
