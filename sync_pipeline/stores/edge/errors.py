"""The one place that knows what Qdrant Edge raises."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from sync_pipeline.core.errors import StoreLockedError, SyncPipelineError
from sync_pipeline.stores.checks import RefusedError, redacted
from sync_pipeline.stores.edge.files import damaged, out_of_space

_FULL: Final = ("No space left", "StorageFull", "os error 28", "os error 122", "QuotaExceeded")
_BROKEN: Final = ("Service runtime error", "IO Error", "Service internal error")


@contextmanager
def edge_errors(path: Path, *, doing: str) -> Iterator[None]:
    """Translate what the engine raises.

    Args:
        path: The index folder.
        doing: What was asked of it, for the message.

    Raises:
        StoreLockedError: another program has opened the shard.
        OutOfSpaceError: the disk is full.
        PermanentError: the files cannot be read.
        RefusedError: the request is wrong.
    """
    try:
        yield
    except SyncPipelineError:
        raise
    except BaseException as error:
        # A Rust panic is a BaseException of a type that cannot be imported.
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise translate(error, path=path, doing=doing) from error


def translate(error: BaseException, *, path: Path, doing: str) -> SyncPipelineError:
    """Say by its text what an error means: Edge 0.9 raises a bare Exception for everything."""
    text = str(error)
    if "WouldBlock" in text:
        return StoreLockedError(
            path=str(path), holder="a program that opened it directly", waited_seconds=0
        )
    if any(sign in text for sign in _FULL):
        return out_of_space(path)
    is_panic = not isinstance(error, Exception)
    if is_panic or any(sign in text for sign in _BROKEN):
        return damaged(path, f"{doing} failed with {redacted(text)!r}")
    return RefusedError(store=f"the embedded index at {path}", doing=doing, reason=redacted(text))
