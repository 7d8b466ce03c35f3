"""One index folder as this process has it open: shared by its leases, closed after the last.

Opening and closing 55,000 points costs 0.2 s, as much as the work of a whole
lease, so a folder may linger: it stays open for some seconds after its last lease,
until another process waits for it.
"""

from __future__ import annotations

import atexit
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from weakref import WeakValueDictionary

import qdrant_edge as edge

from sync_pipeline.core.errors import CollectionMissingError
from sync_pipeline.core.index_options import IndexOptions
from sync_pipeline.core.payload import TEXT
from sync_pipeline.core.point import CollectionSpec
from sync_pipeline.core.ports import Lease, VectorStore
from sync_pipeline.stores.checks import VectorSchema
from sync_pipeline.stores.edge.errors import edge_errors
from sync_pipeline.stores.edge.files import IndexFiles, damaged, file_errors
from sync_pipeline.stores.edge.hosting import IndexHost, start_host
from sync_pipeline.stores.edge.lending import is_lent, lent_error
from sync_pipeline.stores.edge.lock import Clock, FolderLock
from sync_pipeline.stores.edge.requests import PAYLOAD_INDEXES, TEXT_INDEX, shard_config
from sync_pipeline.stores.edge.words import WordList
from sync_pipeline.tuning import return_free_memory

_FLUSH_POINTS: Final = 20_000
"""Points written between two flushes. Measured: without any, the engine holds 0.5 MB more for
every thousand points written; with these 0.3 MB. Each takes 0.2 s."""
READ_SECONDS: Final = 5.0
"""How long a search waits for a collection that another process has to itself."""
WRITE_SECONDS: Final = 60.0
"""The same for what writes, which has time."""
_LOOK_SECONDS: Final = 0.25
"""How often a folder that lingers looks for processes that wait for it."""
_log: Final = logging.getLogger(__name__)


class EdgeIndex:
    """An index folder: its lock, its files and its open shards.

    Nothing is opened before the first lease, and a shard not before it is used.
    """

    def __init__(self, path: Path, *, now: Clock) -> None:
        self.path = path
        self.files = IndexFiles(path)
        self.writing = threading.RLock()
        """Held around every write: a guarded delete reads before it deletes."""
        self._now = now
        self._mutex = threading.RLock()
        self._lock: FolderLock | None = None
        self._leases = 0
        self._shared_lease: Lease[VectorStore] | None = None
        self._host: IndexHost | None = None
        self._linger_until = 0.0
        """Until when it stays open without a lease, by ``time.monotonic``."""
        self._watched: FolderLock | None = None
        """The lock of the opening that has a thread which watches it."""
        self._shards: dict[str, edge.EdgeShard] = {}
        self._users: Counter[str] = Counter()
        """By collection how many threads use its shard now."""
        self._leaving: set[str] = set()
        """Collections whose shard is closed as soon as nobody uses it."""
        self._unused = threading.Condition(self._mutex)
        self._unflushed: Counter[str] = Counter()
        self._schemas: dict[str, VectorSchema] = {}
        self._words: dict[str, WordList] = {}
        self._aliases: dict[str, str] | None = None
        """As they were read since the folder was opened: nobody else changes them meanwhile."""

    @property
    def is_open(self) -> bool:
        """Whether this process has the folder."""
        return self._lock is not None

    def share_with(self, lease: Lease[VectorStore]) -> None:
        """Let other processes use the folder through this one whenever it has it open.

        Args:
            lease: Of the folder, in this process.
        """
        self._shared_lease = lease

    @contextmanager
    def leased(
        self,
        *,
        wait_seconds: float,
        linger_seconds: float = 0.0,
        unless: Callable[[], bool] = lambda: False,
    ) -> Iterator[None]:
        """Keep the folder open; leases may nest and come from several threads.

        Args:
            wait_seconds: How long to wait for another process.
            unless: Whether waiting has become needless.
            linger_seconds: How long the folder stays open after the last lease, at most;
                a process that waits for it gets it within a quarter of a second.

        Raises:
            StoreLockedError: another process has it and kept it for ``wait_seconds``.
            NeedlessError: there was no need to wait any more.
        """
        with self._mutex:
            if self._lock is None:
                self._open(wait_seconds, unless)
            self._leases += 1
        try:
            yield
        finally:
            with self._mutex:
                self._leases -= 1
                if self._leases == 0:
                    self._linger(linger_seconds)

    def close_if_idle(self) -> None:
        """Close what lingers; a folder in use stays open."""
        with self._mutex:
            if self._leases == 0 and self._lock is not None:
                self._close()

    def _linger(self, seconds: float) -> None:
        """Close now, or leave that to the watch."""
        if self._lock is None or seconds <= 0 or self._lock.is_wanted():
            self._close()
            return
        self._linger_until = time.monotonic() + seconds
        if self._watched is not self._lock:
            self._watched = self._lock
            threading.Thread(target=self._watch, args=(self._lock,), daemon=True).start()

    def _watch(self, lock: FolderLock) -> None:
        """Close the folder when it has lingered long enough or is wanted; one thread an opening."""
        while True:
            time.sleep(_LOOK_SECONDS)
            with self._mutex:
                if self._lock is not lock:
                    return
                is_over = time.monotonic() >= self._linger_until
                if self._leases == 0 and (is_over or lock.is_wanted()):
                    self._close()
                    return

    def aliases(self) -> dict[str, str]:
        """Collections by alias."""
        with self._mutex:
            if self._aliases is None:
                self._aliases = self.files.read_aliases()
            return self._aliases

    def write_aliases(self, aliases: dict[str, str]) -> None:
        """Replace all aliases at once."""
        with self._mutex:
            self._aliases = None
            self.files.write_aliases(aliases)

    def has(self, collection: str) -> bool:
        """Whether there is such a collection."""
        return collection in self._shards or self.files.shard_path(collection).is_dir()

    @contextmanager
    def using(self, collection: str, *, wait_seconds: float) -> Iterator[edge.EdgeShard]:
        """The open shard of a collection, which nobody closes meanwhile.

        Args:
            collection: Which.
            wait_seconds: How long to wait for a process that has it to itself, see ``lending``.

        Raises:
            CollectionMissingError: there is none.
            PermanentError: its files cannot be read.
            StoreLockedError: another process kept it for so long.
        """
        until = time.monotonic() + wait_seconds
        while (shard := self._begin_use(collection)) is None:
            if time.monotonic() >= until:
                raise lent_error(self.files, collection, waited_seconds=wait_seconds)
            time.sleep(FolderLock.LOOK_SECONDS)
        try:
            yield shard
        finally:
            with self._unused:
                self._users[collection] -= 1
                self._unused.notify_all()

    def hand_over(self, collection: str) -> None:
        """Close the shard of a collection, which another process has locked, once it is unused."""
        with self._unused:
            self._let_go(collection)

    def _begin_use(self, collection: str) -> edge.EdgeShard | None:
        """None where another process has the collection."""
        with self._mutex:
            if self._leases == 0:
                raise RuntimeError("the embedded index was used outside of its lease")
            if collection in self._leaving:
                return None
            if collection not in self._shards:
                if is_lent(self.files, collection):
                    return None
                self._shards[collection] = self.load(collection)
            self._users[collection] += 1
            return self._shards[collection]

    def _let_go(self, collection: str) -> None:
        """Close a shard when the last one who uses it has finished; nobody begins meanwhile."""
        self._leaving.add(collection)
        try:
            self._unused.wait_for(lambda: not self._users[collection])
            shard = self._shards.pop(collection, None)
            self._unflushed.pop(collection, None)
            if shard is not None:
                with edge_errors(self.path, doing=f"closing collection {collection!r}"):
                    shard.close()
        finally:
            self._leaving.discard(collection)

    def wrote(self, collection: str, shard: edge.EdgeShard, *, points: int) -> None:
        """Give back the memory that the engine needs for what it has not flushed, if it is much.

        Nothing depends on it: what was written is in the engine's log already.
        """
        self._unflushed[collection] += points
        if self._unflushed[collection] >= _FLUSH_POINTS:
            shard.flush()
            return_free_memory()
            del self._unflushed[collection]

    def schema(self, collection: str) -> VectorSchema:
        """The vectors of a collection.

        Raises:
            CollectionMissingError: there is none.
        """
        if not self.has(collection):
            raise CollectionMissingError(collection=collection, store=f"the index at {self.path}")
        if collection not in self._schemas:
            self._schemas[collection] = self.files.read_schema(collection)
        return self._schemas[collection]

    def create(self, spec: CollectionSpec, options: IndexOptions) -> bool:
        """Make a collection where it is missing; whether it was."""
        with self._mutex:
            if self.has(spec.collection):
                return False
            self.files.write_manifest(spec, options)
            with (
                self.files.making(spec.collection) as path,
                edge_errors(self.path, doing=f"making collection {spec.collection!r}"),
            ):
                config = shard_config(
                    self.files.read_schema(spec.collection),
                    self.files.read_options(spec.collection),
                )
                shard = edge.EdgeShard.create(str(path), config)
                _add_indexes(shard)
                shard.close()
            return True

    def set_options(self, collection: str, options: IndexOptions) -> None:
        """Note what a collection shall be built with from its next opening on.

        Not at once where it is open already: other threads search it.
        """
        with self._mutex:
            noted = self.files.read_options(collection) or IndexOptions()
            if noted.built == options.built:
                return
            self.files.write_options(collection, options)
        _log.info(
            "collection %s has other options now; its search index is built anew by the next "
            "maintenance job",
            collection,
        )

    def index_payloads(self, collection: str) -> None:
        """Make the payload indexes that a collection of an earlier release lacks.

        Measured: 0.8 s for 60,000 points.
        """
        doing = f"indexing collection {collection!r}"
        with (
            self.writing,
            self.using(collection, wait_seconds=WRITE_SECONDS) as shard,
            edge_errors(self.path, doing=doing),
        ):
            _add_indexes(shard)

    def words(self, collection: str) -> WordList:
        """The words of a collection's texts."""
        if collection not in self._words:
            self._words[collection] = WordList(self.files.words_path(collection))
        return self._words[collection]

    def index_texts(self, collection: str, texts: Iterable[str]) -> None:
        """Make the index over words and the list of them where they are missing.

        Args:
            collection: Which.
            texts: Those of all points; read only where they are needed.
        """
        doing = f"indexing collection {collection!r}"
        with (
            self.writing,
            self.using(collection, wait_seconds=WRITE_SECONDS) as shard,
            edge_errors(self.path, doing=doing),
        ):
            words = self.words(collection)
            is_indexed = TEXT in shard.info().payload_schema
            if is_indexed and words.is_made:
                return
            if is_indexed:
                # Of an earlier release over all beginnings of words, or its list was not finished.
                shard.update(edge.UpdateOperation.delete_field_index(TEXT))
            shard.update(edge.UpdateOperation.create_field_index(TEXT, TEXT_INDEX))
            words.make(texts)

    def drop(self, collection: str) -> None:
        """Delete a collection and the aliases that serve it."""
        with self._mutex, self.writing:
            if not self.has(collection):
                return
            if is_lent(self.files, collection):
                raise lent_error(self.files, collection, waited_seconds=0)
            aliases = self.aliases()
            kept = {alias: name for alias, name in aliases.items() if name != collection}
            if kept != aliases:
                self.write_aliases(kept)
            self._schemas.pop(collection, None)
            self._words.pop(collection, None)
            self._let_go(collection)
            self.files.remove(collection)

    def _open(self, wait_seconds: float, unless: Callable[[], bool]) -> None:
        with file_errors(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            # Made per opening: a lock object remembers the process that made it.
            lock = FolderLock(self.path, now=self._now)
            lock.acquire(wait_seconds=wait_seconds, unless=unless)
        self._lock = lock
        self._host = start_host(self.path, self._shared_lease)

    def _close(self) -> None:
        shards, self._shards, self._schemas, self._aliases = self._shards, {}, {}, None
        self._unflushed.clear()
        lock, self._lock = self._lock, None
        host, self._host = self._host, None
        if host is not None:
            host.close()
        try:
            with edge_errors(self.path, doing="closing"):
                for shard in shards.values():
                    shard.close()
        finally:
            if lock is not None:
                lock.release()
        return_free_memory()

    def load(self, collection: str) -> edge.EdgeShard:
        """Open the shard of a collection that no other process has open.

        Raises:
            CollectionMissingError: there is none.
            PermanentError: its files cannot be read.
        """
        self.schema(collection)
        path = self.files.shard_path(collection)
        if not (path / "edge_config.json").is_file():
            raise damaged(self.path, f"collection {collection!r} has lost its configuration")
        with edge_errors(self.path, doing=f"opening collection {collection!r}"):
            options = self.files.read_options(collection)
            config = None if options is None else shard_config(self.schema(collection), options)
            shard = edge.EdgeShard.load(str(path), config)
        return_free_memory()
        return shard


def _add_indexes(shard: edge.EdgeShard) -> None:
    for field in PAYLOAD_INDEXES.keys() - shard.info().payload_schema.keys():
        shard.update(edge.UpdateOperation.create_field_index(field, PAYLOAD_INDEXES[field]))


_open_indexes: Final[WeakValueDictionary[Path, EdgeIndex]] = WeakValueDictionary()
_registry: Final = threading.Lock()


def close_idle_indexes() -> None:
    """Close every folder of this process that only lingers."""
    for index in list(_open_indexes.values()):
        index.close_if_idle()


atexit.register(close_idle_indexes)


def shared_index(path: Path, *, now: Clock) -> EdgeIndex:
    """The one ``EdgeIndex`` of a folder in this process; the engine opens a folder only once."""
    resolved = path.resolve()
    with _registry:
        index = _open_indexes.get(resolved)
        if index is None:
            index = EdgeIndex(resolved, now=now)
            _open_indexes[resolved] = index
        return index
