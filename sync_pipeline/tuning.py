"""How a process that syncs uses memory and starts; nothing here changes what it does."""

from __future__ import annotations

import atexit
import ctypes
import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import Final

_COLLECT_AFTER: Final = (50_000, 20, 20)
"""Thresholds of the garbage collector; rows come and go by the thousand and form no cycles."""
_USUALLY_AFTER: Final = gc.get_threshold()

# Options of glibc's ``mallopt``.
_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_M_ARENA_MAX: Final = -8

_LARGE_BYTES: Final = 128 * 2**10
"""Blocks from this size on are pages of their own, given back as soon as they are free: what
glibc begins with, and raises with every such block that is freed."""
_TENSOR_BYTES: Final = 32 * 2**20
"""The same while a model computes, the highest that glibc arrives at: with pages taken anew for
every tensor it is a quarter slower."""


def collect_seldom() -> None:
    """Have the garbage collector look at less: for a process that does one thing and ends.

    Most of what a command makes are modules, which stay. By default they are looked at whenever
    700 objects were made, and all of them twice when the process ends, which frees them anyway:
    a quarter of the time of a search.
    """
    gc.set_threshold(*_COLLECT_AFTER)
    # Called last of all that is done at the end: the first to be registered.
    atexit.register(gc.freeze)


def collect_as_usual() -> None:
    """Have it look as often as ever: for a process that goes on to answer requests.

    What there is by now stays, and is not looked at.
    """
    gc.freeze()
    gc.set_threshold(*_USUALLY_AFTER)


@contextmanager
def importing_for_good() -> Iterator[None]:
    """Import in the ``with`` what stays until the process ends: it is never looked at again."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def keep_own_rights() -> None:
    """Let this process and its children use the files they make, whatever umask they inherit."""
    os.umask(os.umask(0o077) & 0o077)


@cache
def tune_process() -> None:
    """Prepare this process for the rows of a sync, once; best before threads are started."""
    share_one_heap()


def share_one_heap() -> None:
    """Have all threads take memory from one heap; before threads are started.

    PyArrow is told to by this package's ``__init__``, before anything imports it: its own
    allocator keeps 28 MB of a sync for good.

    Large blocks stay out of it: otherwise a few small ones that live on keep the room
    around them. Measured over 1,000,000 rows, this and ``return_free_memory`` halve what a
    sync needs. Does nothing where the C library is not glibc.
    """
    _set_option(_M_ARENA_MAX, 1)
    _set_option(_M_MMAP_THRESHOLD, _LARGE_BYTES)


@cache
def leave_pandas_out() -> None:
    """Let PyArrow find no pandas when it looks for it, as it does before it converts a list.

    Called by what makes tables, before the first one.

    No table here ever becomes a data frame. Importing pandas takes 0.2 s and 31 MB; who calls
    ``to_pandas`` still gets it.
    """
    import pyarrow as pa  # noqa: PLC0415 - commands that sync nothing do without

    sys.meta_path.insert(0, _NoPandas)
    try:
        pa.array([""])
    finally:
        sys.meta_path.remove(_NoPandas)


class _NoPandas:
    """A finder of modules that says so for pandas."""

    @staticmethod
    def find_spec(name: str, _path: object = None, _target: object = None) -> None:
        if name == "pandas":
            raise ModuleNotFoundError(name=name)


@contextmanager
def reusing_large_blocks() -> Iterator[None]:
    """Leave free blocks in the heap for the next tensors of the ``with``, which computes."""
    _set_option(_M_MMAP_THRESHOLD, _TENSOR_BYTES)
    _set_option(_M_TRIM_THRESHOLD, 2 * _TENSOR_BYTES)
    try:
        yield
    finally:
        _set_option(_M_MMAP_THRESHOLD, _LARGE_BYTES)
        _set_option(_M_TRIM_THRESHOLD, _LARGE_BYTES)


def return_free_memory() -> None:
    """Give the system back the pages of the heap that nothing is on.

    For whoever has just freed much in small pieces; takes 2 to 17 ms.
    """
    _call_glibc("malloc_trim", 0)


def _set_option(option: int, value: int) -> None:
    _call_glibc("mallopt", option, value)


def _call_glibc(function: str, *values: int) -> None:
    """Call a function of the C library, if it has it."""
    with suppress(AttributeError, OSError, TypeError):
        getattr(ctypes.CDLL(None), function)(*values)
