"""A process that makes processes that die: real syncs, killed at a named call of a port.

It reads one JSON object per line from standard input and answers one per line. Each
request is carried out by a fork of this process, which has imported everything and
opened nothing, so that a sync with a death in it costs a third of a second.

``{"scopes": [...], "kill": {"place", "when", "number", "signal"} or null}`` syncs; what comes
back are the reports and, where nothing was to be killed, what is in the index then. With
``"do": "look"`` only that; ``switch``, ``rollback`` and ``drop`` are about generations of the
index, and ``"dimension": N`` names another model for this request alone.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

from sync_pipeline.core.cleanup import CleanupPolicy
from sync_pipeline.core.embedded import Embedded
from sync_pipeline.core.errors import ScopeBusyError, SyncPipelineError
from sync_pipeline.core.hashing import digest
from sync_pipeline.core.ports import Embedder, EmbeddingCache
from sync_pipeline.core.scope import Scope
from sync_pipeline.engine.context import SyncContext, SyncOptions
from sync_pipeline.engine.lease import LEASE_THREAD
from sync_pipeline.engine.questions.search import SearchRequest, search
from sync_pipeline.engine.questions.verify import verify_scope
from sync_pipeline.engine.roles import serving
from sync_pipeline.engine.staged import gather
from sync_pipeline.engine.steps.sync import sync_scope
from sync_pipeline.engine.switching import drop, go_back, go_live, go_live_when_filled
from sync_pipeline.settings import load_settings
from sync_pipeline.stores.edge.store import lease_edge_store
from sync_pipeline.wiring import open_installation
from sync_pipeline_tests.fakes.watched import When, watch_context

OPTIONS: Final = SyncOptions(
    upsert_batch_size=10,
    delete_batch_size=5,
    embed_chunk_size=10,
    part_rows=60,
    lease_ttl_seconds=0.3,
    cleanup=CleanupPolicy(max_deleted_fraction=1),
)
"""Small batches, so that a small catalogue has many moments to die in."""

IMPORTED_BEFORE_THE_FORKS: Final = (
    "pandas",  # PyArrow does, when it makes its first table
    "pyarrow.parquet",
    "qdrant_edge",
    "psycopg",
    "sqlalchemy.dialects.postgresql.psycopg",
    "alembic.command",
    "sync_pipeline.database.embedding_cache",
    "sync_pipeline.database.index_state",
    "sync_pipeline.database.migrate",
    "sync_pipeline.database.scope_states",
    "sync_pipeline.embedding.bm25",
    "sync_pipeline.embedding.hashing",
    "sync_pipeline.sources.postgres",
    "sync_pipeline.staging.parquet",
)
"""What ``wiring`` imports where it chooses it."""

Request = Mapping[str, Any]


class Reaper:
    """Sends this process a signal at the n-th call of one method, by the run itself.

    What renews its lease beside it calls as time has it, also while the index is open.
    """

    def __init__(self, kill: Request, *, home: Path) -> None:
        self._target = (kill["place"], kill["when"], kill["number"])
        self._signal = kill.get("signal", signal.SIGKILL)
        self._home = home
        self._calls: Counter[str] = Counter()
        self._lock = threading.Lock()

    def __call__(self, called: str, when: When) -> None:
        if threading.current_thread().name == LEASE_THREAD:
            return
        with self._lock:
            if when == "before":
                self._calls[called] += 1
            if (called, when, self._calls[called]) == self._target:
                (self._home / "stopped.pid").write_text(str(os.getpid()))
                os.kill(os.getpid(), self._signal)


class LoggedEmbedder:
    """Notes every text that it is asked for, in a file that survives the process."""

    def __init__(self, embedder: Embedder, log: Path) -> None:
        self._embedder = embedder
        self._log = log

    def __getattr__(self, name: str) -> Any:
        return getattr(self._embedder, name)

    def embed(self, texts: Sequence[str]) -> Embedded:
        note(self._log, "embed", [digest(text) for text in texts])
        return self._embedder.embed(texts)


class LoggedCache:
    """Notes every vector that was kept, once it was."""

    def __init__(self, cache: EmbeddingCache, log: Path) -> None:
        self._cache = cache
        self._log = log

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cache, name)

    def put(self, **values: Any) -> None:
        self._cache.put(**values)
        note(self._log, "put", list(values["text_hashes"]))


def note(log: Path, word: str, keys: Sequence[str]) -> None:
    """Append lines in one write."""
    lines = "".join(f"{word} {key}\n" for key in keys)
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(descriptor, lines.encode())
    finally:
        os.close(descriptor)


def open_sync(home: Path, kill: Request | None) -> SyncContext:
    """The installation of the environment's settings, watched."""
    sync = open_installation(load_settings(config=None, env=os.environ)).sync
    embedder: Any = LoggedEmbedder(sync.models.main, home / "embedded.log")
    cache: Any = LoggedCache(sync.cache, home / "embedded.log")
    # A process that is put to sleep must not hold the index.
    is_put_to_sleep = kill is not None and "signal" in kill
    store = lease_edge_store(home / "index", linger_seconds=0 if is_put_to_sleep else 1)
    sync = replace(sync.rebound(embedder=embedder, store=store), options=OPTIONS, cache=cache)
    if kill is None:
        return sync
    return watch_context(sync, Reaper(kill, home=home))


def carry_out(request: Request, home: Path) -> object:
    """Do what was asked; the answer as JSON values."""
    if "dimension" in request:
        os.environ["SYNC_PIPELINE__EMBEDDING__DIMENSION"] = str(request["dimension"])
    sync = open_sync(home, request.get("kill"))
    scopes = [Scope.from_key(key) for key in request["scopes"]]
    reports = do(request.get("do", "sync"), sync, scopes)
    if request.get("kill"):
        return {"reports": reports}
    served = serving(sync) or sync
    return {
        "reports": reports,
        "differences": {
            scope.key: asdict(found)
            for scope in scopes
            if not (found := verify_scope(served, scope=scope)).is_clean
        },
        "points": points(served),
        "serves": served.spec.collection,
        "wanted": sync.spec.collection,
        "hits": hits(sync, scopes[0]),
    }


def hits(sync: SyncContext, scope: Scope) -> int:
    """How many documents a search finds, at most ten."""
    return len(search(sync, scope=scope, request=SearchRequest(text="cement")).hits)


def do(what: str, sync: SyncContext, scopes: Sequence[Scope]) -> list[dict[str, Any]]:
    """Carry a request out; the reports of scopes that were synced."""
    match what:
        case "sync":
            reports = []
            for scope in scopes:
                reports.append(sync_patiently(sync, scope))
                go_live_when_filled(sync)
            return reports
        case "switch":
            go_live(sync)
        case "rollback":
            go_back(sync)
        case "drop":
            for record in sync.generations.list_all(alias=sync.alias):
                if record.collection != sync.spec.collection:
                    drop(sync, collection=record.collection)
    return []


def sync_patiently(sync: SyncContext, scope: Scope) -> dict[str, Any]:
    """Sync a scope, after waiting for the lease of a run that was killed."""
    while True:
        try:
            return asdict(sync_scope(sync, scope=scope, run_id=str(uuid.uuid4())))
        except ScopeBusyError as busy:
            time.sleep(min(busy.retry_after_seconds or 0, 1) + 0.01)


def points(sync: SyncContext) -> list[list[Any]]:
    """Document id, scope key, text and price of every point."""
    with sync.index() as index:
        ids = [
            str(name)
            for key in index.count_by_scope()
            for name in gather(
                index.iter_digests(scope_key=key, views=sync.views)
            ).point_ids.astype("U36")
        ]
        payloads = [point.payload for point in index.retrieve(ids)]
        assert index.count() == len(payloads)
    names = ("document_id", "scope_key", "text", "price")
    return [[payload.get(name) for name in names] for payload in payloads]


def main() -> None:
    """Answer requests until standard input ends."""
    home = Path(os.environ["SYNC_PIPELINE_HOME"])
    home.mkdir(parents=True, exist_ok=True)
    for name in IMPORTED_BEFORE_THE_FORKS:
        importlib.import_module(name)
    for line in sys.stdin:
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reader)
            answer_and_leave(json.loads(line), home, writer)
        os.close(writer)
        with os.fdopen(reader) as answers:
            answer = answers.read()
        _, status = os.waitpid(child, 0)
        result = {
            "signal": os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0,
            "answer": json.loads(answer) if answer else None,
        }
        sys.stdout.write(json.dumps(result) + "\n")
        sys.stdout.flush()


def answer_and_leave(request: Request, home: Path, writer: int) -> None:
    """In the child: work, answer, and end without running what the parent registered."""
    try:
        answer: object = carry_out(request, home)
    except SyncPipelineError as error:
        answer = {"error": type(error).__name__, "message": str(error)}
    with os.fdopen(writer, "w") as answers:
        json.dump(answer, answers)
    os._exit(0)


if __name__ == "__main__":
    main()
