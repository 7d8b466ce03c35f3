"""An open index folder, used by other processes of this machine through the one that has it.

Only one process at a time can open the folder, and opening 55,000 documents takes 0.3 s. A service
and a sync that took turns would spend most of their time on that, so the service lets others
ask through it while it has the folder open.

A host says where it listens in ``host.json``, which only this user can read. Who connects sends
the key that stands there, gets ``READY``, and then asks: ``[method, positional, named]``, in the
form of ``wire``. The answer begins with a letter: the result, an error or, for what is iterated
over, a page for each item before. A connection is a lease of the folder in the host.
"""

from __future__ import annotations

import hmac
import json
import logging
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path
from typing import Any, Final

from sync_pipeline import __version__
from sync_pipeline.core.errors import StoreUnavailableError, SyncPipelineError
from sync_pipeline.core.ports import Lease, StoreCapabilities, VectorStore
from sync_pipeline.stores.checks import check_payloads
from sync_pipeline.stores.edge import wire
from sync_pipeline.stores.edge.files import write_text
from sync_pipeline.stores.edge.lending import lending

ITERATED: Final = "iter_digests"
HAND_OVER: Final = "hand_over"
CALLS: Final = frozenset(
    {
        "alias_target",
        "check_engine",
        "check_layout",
        "complete",
        "count",
        "count_by_entity",
        "count_by_scope",
        "delete",
        "drop_collection",
        "ensure_collection",
        HAND_OVER,
        "index_texts",
        ITERATED,
        "list_collections",
        "query",
        "query_batch",
        "retrieve",
        "set_alias",
        "upsert",
        "write_payloads",
    }
)
"""What may be asked; all of it can be asked twice. ``optimize`` would stop the host for long: who
asks does it, and the host hands the collection over."""
READY: Final = b"ready"
RESULT: Final = b"r"
PAGE: Final = b"p"
ERROR: Final = b"e"
GREETING_SECONDS: Final = 3.0
"""How long a host may take to greet; one that is stopped never does."""
ANSWER_SECONDS: Final = 300.0

_BACKLOG: Final = 1_024
_log: Final = logging.getLogger(__name__)
_GONE: Final = (EOFError, OSError)
"""What a connection raises whose other end has ended."""


class IndexHost:
    """Answers other processes as long as this one has the folder open."""

    def __init__(self, folder: Path, lease: Lease[VectorStore]) -> None:
        """Begin to listen.

        Args:
            folder: The index folder, locked by this process.
            lease: Of the folder, in this process.

        Raises:
            OSError: it cannot listen, or not say where.
        """
        self._lease = lease
        self._key = secrets.token_bytes(32)
        # On most systems a socket in a temporary folder of this user.
        self._listener = Listener(backlog=_BACKLOG)
        self._is_closed = False
        self._path = host_file(folder)
        threading.Thread(target=self._accept, name="index host", daemon=True).start()
        address = self._listener.address
        said = {"version": __version__, "address": address, "key": self._key.hex()}
        # Whoever can read it can connect.
        write_text(self._path, json.dumps(said), is_durable=False, permissions=0o600)

    def close(self) -> None:
        """Stop listening; who is connected has a lease, so nobody is when the folder closes."""
        self._path.unlink(missing_ok=True)
        self._is_closed = True
        try:
            # Wakes the thread that accepts.
            Client(self._listener.address).close()
        except _GONE:
            _log.debug("the listener had ended already")
        self._listener.close()

    def _accept(self) -> None:
        while not self._is_closed:
            try:
                connection = self._listener.accept()
            except _GONE:
                time.sleep(0.1)
                continue
            threading.Thread(
                target=self._serve, args=(connection,), name="index host", daemon=True
            ).start()

    def _serve(self, connection: Connection) -> None:
        try:
            with connection:
                if not connection.poll(GREETING_SECONDS):
                    return
                if not hmac.compare_digest(connection.recv_bytes(256), self._key):
                    return
                with self._lease() as store:
                    connection.send_bytes(READY)
                    while True:
                        _answer(connection, store)
        except _GONE:
            return
        except SyncPipelineError as error:
            # Whoever asked finds the connection ended, and waits for the folder like anybody.
            _log.debug("the index cannot be shared now: %s", error)


def start_host(folder: Path, lease: Lease[VectorStore] | None) -> IndexHost | None:
    """Share a folder that this process has locked, where it is to be and can be.

    Args:
        folder: The index folder.
        lease: Of the folder, in this process; None where it is not shared.
    """
    try:
        # Of a host that was killed.
        host_file(folder).unlink(missing_ok=True)
        return None if lease is None else IndexHost(folder, lease)
    except OSError as error:
        # A path too long for a socket, say: others wait their turn then.
        _log.warning("the embedded index at %s cannot be shared: %s", folder, error)
        return None


def _answer(connection: Connection, store: VectorStore) -> None:
    """Answer one question."""
    method, positional, named = wire.load(connection.recv_bytes())
    try:
        if method not in CALLS:
            raise AttributeError(f"a store has no {method!r} for other processes")
        value = getattr(store, method)(*positional, **named)
        if method == ITERATED:
            for page in value:
                connection.send_bytes(PAGE + wire.dump(page))
            value = None
        connection.send_bytes(RESULT + wire.dump(value))
    except _GONE:
        raise
    except Exception as error:  # noqa: BLE001 - it is raised where it was asked
        connection.send_bytes(ERROR + wire.dump_error(error))


class HostedStore:
    """A ``VectorStore`` whose calls another process answers; made by ``lease_edge_store``.

    Where that process ends in between, the lease goes on with the folder itself.
    """

    capabilities = StoreCapabilities(explicit_optimize=True)

    def __init__(
        self,
        connection: Connection,
        *,
        folder: Path,
        again: Lease[VectorStore],
        optimize: Callable[[str], bool],
    ) -> None:
        """Ask through a connection.

        Args:
            connection: To a host that is ready.
            folder: The index folder.
            again: Leases the index anew, from a host or not.
            optimize: Optimizes a collection that no other process has open.
        """
        self._connection = connection
        self._folder = folder
        self._again = again
        self._optimize = optimize
        self._instead: VectorStore | None = None
        self._open = ExitStack()
        self._open.callback(connection.close)
        self._mutex = threading.RLock()

    def close(self) -> None:
        """End the lease."""
        self._open.close()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name not in CALLS:
            raise AttributeError(name)
        return partial(self._call, name)

    def iter_digests(self, *positional: object, **named: object) -> Iterator[Any]:
        """See ``VectorStore``; on a connection of its own, so that other calls go on meanwhile."""
        connection = None if self._instead is not None else connect_to_host(self._folder)
        if connection is None:
            yield from self._direct().iter_digests(*positional, **named)  # type: ignore[arg-type]  # the port's
            return
        try:
            with connection:
                connection.send_bytes(wire.dump([ITERATED, positional, named]))
                while (answer := _receive(connection))[:1] == PAGE:
                    yield wire.load(answer[1:])
                _value_of(answer)
        except _GONE as error:
            raise StoreUnavailableError(
                "the process that had the embedded index ended while its points were read.",
                remedy="Try again: the index can be used without it.",
            ) from error

    def optimize(self, collection: str) -> bool:
        """See ``VectorStore``; in this process, while the host has all other collections."""
        if collection not in self._call("list_collections"):
            return False
        if self._instead is None:
            with lending(self._folder, collection):
                self._call(HAND_OVER, collection)
                if self._instead is None:
                    return self._optimize(collection)
        return self._direct().optimize(collection)

    def _call(self, name: str, *positional: Any, **named: object) -> Any:
        with self._mutex:
            if self._instead is None:
                try:
                    self._connection.send_bytes(_question(name, positional, named))
                    return _value_of(_receive(self._connection))
                except _GONE:
                    _log.info("the process that had the index ended; going on without it")
        return getattr(self._direct(), name)(*positional, **named)

    def _direct(self) -> VectorStore:
        """The index without this host, for the rest of the lease."""
        with self._mutex:
            if self._instead is None:
                self._instead = self._open.enter_context(self._again())
            return self._instead


def _question(name: str, positional: Sequence[Any], named: Mapping[str, object]) -> bytes:
    """A call as bytes; a payload that is no JSON is refused as the index would refuse it."""
    try:
        return wire.dump([name, positional, named])
    except TypeError:
        if name == "upsert":
            check_payloads([(point.point_id, point.payload) for point in positional[1]])
        if name == "write_payloads":
            check_payloads(positional[1])
        raise


def host_file(folder: Path) -> Path:
    """Where a host says how to reach it."""
    return folder / "host.json"


def host_identity(folder: Path) -> int | None:
    """Changes with every host; None where there is none."""
    try:
        return host_file(folder).stat().st_mtime_ns
    except OSError:
        return None


def has_come(folder: Path, *, since: int | None) -> bool:
    """Whether there is a host that was not there at ``since``, a ``host_identity``."""
    return host_identity(folder) not in (None, since)


def connect_to_host(folder: Path) -> Connection | None:
    """A connection to the process that has the folder, if it shares it and is well."""
    try:
        said = json.loads(host_file(folder).read_text(encoding="utf-8"))
        address, key = said["address"], bytes.fromhex(said["key"])
        if said["version"] != __version__:
            return None
        connection = Client(address)
    except (OSError, EOFError, ValueError, KeyError, TypeError):
        return None
    try:
        connection.send_bytes(key)
        if connection.poll(GREETING_SECONDS) and connection.recv_bytes(len(READY)) == READY:
            return connection
    except _GONE:
        pass
    connection.close()
    return None


def _receive(connection: Connection) -> bytes:
    """The next message.

    Raises:
        StoreUnavailableError: there is none.
    """
    if not connection.poll(ANSWER_SECONDS):
        connection.close()
        raise StoreUnavailableError(
            "the process that has the embedded index open has not answered for "
            f"{ANSWER_SECONDS:.0f} s.",
            remedy="Look whether `sync-pipeline serve` is stopped or hangs, and end it.",
        )
    return connection.recv_bytes()


def _value_of(answer: bytes) -> Any:
    """The result, or the error as the host had it."""
    if answer[:1] == RESULT:
        return wire.load(answer[1:])
    raise wire.load_error(answer[1:])
