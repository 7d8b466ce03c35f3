"""One writer per scope."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sync_pipeline.core.ports import Fence
from sync_pipeline.core.scope import Scope
from sync_pipeline.engine.context import SyncContext


@contextmanager
def scope_lease(sync: SyncContext, *, scope: Scope, owner: str) -> Iterator[Fence]:
    """Hold the right to write ``scope`` for the length of the ``with``.

    The same owner gets the same token again, so the steps of one run share it
    unless another run came in between.

    Raises:
        ScopeBusyError: another run holds it.
    """
    fence = sync.scopes.acquire(
        scope=scope, owner=owner, ttl_seconds=sync.options.lease_ttl_seconds
    )
    try:
        yield fence
    finally:
        sync.scopes.release(fence)


def before_write(sync: SyncContext, fence: Fence) -> None:
    """Renew the lease before a batch is written, and stop here if asked to.

    Raises:
        SupersededError: another run has the scope now.
        StoppedError: asked to stop.
    """
    sync.checkpoint(scope=Scope.from_key(fence.scope_key))
    sync.scopes.check(fence, ttl_seconds=sync.options.lease_ttl_seconds)
