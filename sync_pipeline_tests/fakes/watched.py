"""Ports that tell a listener of every call, before and after it.

Faults are injected here and nowhere else: a listener that raises is a port that
fails, one that kills the process is a crash at that place. It works the same
over fakes and over real adapters, and production code knows nothing of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from functools import wraps
from inspect import isgenerator
from typing import Any, Final, Literal

from sync_pipeline.core.ports import Embedder, GenerationRecord
from sync_pipeline.engine.collection import Records, open_collection
from sync_pipeline.engine.context import SyncContext
from sync_pipeline.engine.generation import Generation

When = Literal["before", "after"]

Listener = Callable[[str, When], None]
"""Is told of ``port.method``, for instance ``store.upsert``. Items that a method yields
are calls too: ``snapshot.iter_rows.next``."""

PORTS: Final = ("source", "generations", "leases", "cache", "canaries", "quarantine", "staging")
"""Fields of ``SyncContext`` that are watched, besides a ``feed`` and what a generation binds."""

_OPENED: Final = {
    "source.open_snapshot": "snapshot",
    "staging.open_writer": "writer",
    "store.lease": "store",
}
"""How what a method opens is called."""


def watch_context(sync: SyncContext, listener: Listener) -> SyncContext:
    """The same context, every port of it watched."""
    names = [*PORTS, *([] if sync.feed is None else ["feed"])]
    watched = {name: watch(getattr(sync, name), name=name, listener=listener) for name in names}
    store: Any = _watch_call(sync.store, called="store.lease", listener=listener)

    def records(collection: str) -> Records:
        known = sync.records(collection)
        return replace(
            known,
            state=watch(known.state, name="state", listener=listener),
            scopes=watch(known.scopes, name="scopes", listener=listener),
        )

    def watched_model(model: Embedder) -> Any:
        return watch(model, name="embedder", listener=listener)

    def open_generation(record: GenerationRecord) -> Generation | None:
        known = sync.open_generation(record)
        if known is None:
            return None
        return replace(
            known,
            models=known.models.each(watched_model),
            collection=open_collection(record.collection, store=store, records=records),
        )

    models = sync.models.each(watched_model)
    rebound = sync.rebound(store=store, records=records, models=models)
    return replace(rebound, open_generation=open_generation, **watched)


def watch(port: object, *, name: str, listener: Listener) -> Any:
    """An object that behaves like ``port``; what its methods open is watched too."""
    return _Watched(port, name=name, listener=listener)


class _Watched:
    __slots__ = ("_listener", "_name", "_port")

    def __init__(self, port: object, *, name: str, listener: Listener) -> None:
        self._port = port
        self._name = name
        self._listener = listener

    def __getattr__(self, attribute: str) -> Any:
        value = getattr(self._port, attribute)
        if not callable(value):
            return value
        return _watch_call(value, called=f"{self._name}.{attribute}", listener=self._listener)


def _watch_call(
    method: Callable[..., Any], *, called: str, listener: Listener
) -> Callable[..., Any]:
    @wraps(method)
    def call(*args: object, **kwargs: object) -> Any:
        listener(called, "before")
        result = method(*args, **kwargs)
        if isinstance(result, AbstractContextManager) and called in _OPENED:
            return _opened(result, called=called, listener=listener)
        if isgenerator(result):
            return _items(result, called=f"{called}.next", listener=listener)
        listener(called, "after")
        return result

    return call


@contextmanager
def _opened(
    manager: AbstractContextManager[object], *, called: str, listener: Listener
) -> Iterator[Any]:
    with manager as opened:
        listener(called, "after")
        yield watch(opened, name=_OPENED[called], listener=listener)
        listener(f"{called}.close", "before")


def _items(items: Iterator[object], *, called: str, listener: Listener) -> Iterator[Any]:
    for item in items:
        listener(called, "before")
        yield item
        listener(called, "after")
