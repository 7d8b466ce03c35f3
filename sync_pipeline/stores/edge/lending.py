"""One collection of an open index folder, for another process to have to itself.

The process that has the folder goes on with all other collections. Who wants one locks it first,
asks the other process to close it (``hand_over``), and opens it then; nobody opens a collection
that is locked. The operating system frees the lock when its process dies, so a collection is never
lost to one; and where the process that has the folder dies, whoever opens the folder next waits.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout

from sync_pipeline.core.errors import StoreLockedError
from sync_pipeline.stores.edge.files import IndexFiles

_LONGEST_WAIT: Final = 600.0
"""For another process that has the collection to itself: building the search graph over 55,000
documents takes 40 s of both cores."""


@contextmanager
def lending(folder: Path, collection: str) -> Iterator[None]:
    """Lock a collection.

    Raises:
        StoreLockedError: another process has had it for ten minutes.
    """
    lock = _lock(IndexFiles(folder), collection)
    try:
        lock.acquire(timeout=_LONGEST_WAIT)
    except Timeout as error:
        raise lent_error(IndexFiles(folder), collection, waited_seconds=_LONGEST_WAIT) from error
    try:
        yield
    finally:
        lock.release()


def is_lent(files: IndexFiles, collection: str) -> bool:
    """Whether another process has a collection to itself."""
    if not files.lent_path(collection).exists():
        return False
    lock = _lock(files, collection)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    lock.release()
    return False


def lent_error(files: IndexFiles, collection: str, *, waited_seconds: float) -> StoreLockedError:
    """What is told of a collection that stays locked."""
    return StoreLockedError(
        path=str(files.shard_path(collection)),
        holder="a process that builds its search index",
        waited_seconds=waited_seconds,
    )


def _lock(files: IndexFiles, collection: str) -> FileLock:
    return FileLock(files.lent_path(collection), thread_local=False)
