"""The files of an embedded index, beside the engine's own.

::

    index/
    ├── aliases.json                which collection each alias serves
    ├── index.lock, owner.json      who uses the folder now
    ├── host.json                   how to use it through that process, if it shares it
    └── collections/
        ├── documents_3f…a1.json    what the collection was built with
        ├── documents_3f…a1.words   the words of its texts, if anybody completes what is typed
        └── documents_3f…a1/        the engine's shard

A collection exists when its folder does. Folders whose name starts with a dot
are half made or half deleted, and are removed by the next change.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

from sync_pipeline.core.errors import (
    ConfigurationError,
    OutOfSpaceError,
    PermanentError,
    SyncPipelineError,
)
from sync_pipeline.core.hashing import RENDERING_VERSION
from sync_pipeline.core.index_options import IndexOptions
from sync_pipeline.core.point import CollectionSpec
from sync_pipeline.stores.checks import VectorSchema, VectorShape, check_name

MIN_FREE_BYTES: Final = 256 * 2**20
"""Disk space that every write leaves free."""
_MIB: Final = 2**20
_OPTIONS: Final = "options"
_SPECIAL: Final = "special"
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@contextmanager
def file_errors(path: Path) -> Iterator[None]:
    """Translate what the file system raises.

    Raises:
        OutOfSpaceError: the disk or a quota is full.
        ConfigurationError: the folder cannot be used.
    """
    try:
        yield
    except SyncPipelineError:
        raise
    except OSError as error:
        if error.errno in _FULL:
            raise out_of_space(path) from error
        raise ConfigurationError(
            f"the embedded index at {path} cannot be used: {error.strerror or error}.",
            remedy="Make the folder writable for this user, or set `index.url` to another place.",
        ) from error


def out_of_space(path: Path) -> OutOfSpaceError:
    """The error for a full disk, with what to do."""
    return OutOfSpaceError(
        f"no room left for the embedded index at {path}.",
        remedy="Free or add disk space and run the sync again; it continues where it stopped.",
    )


def require_room(path: Path, *, free_bytes: int) -> None:
    """Refuse to write where the disk is nearly full.

    The engine writes to files mapped into memory. Measured with Edge 0.9: on a full
    disk the operating system ends the process (SIGBUS), no error is raised, and
    what was in flight is lost. It takes space in steps of 32 MB per file.

    Args:
        path: The index folder.
        free_bytes: What must be free.

    Raises:
        OutOfSpaceError: less is.
    """
    with file_errors(path):
        left = shutil.disk_usage(path).free
    if left < free_bytes:
        raise OutOfSpaceError(
            f"the disk of the embedded index at {path} has {left // _MIB} MiB left, and "
            f"{free_bytes // _MIB} MiB must be free for this.",
            remedy="Free or add disk space and run the sync again; it continues where it stopped.",
        )


def folder_bytes(path: Path) -> int:
    """What the files of a folder take on disk; sparse files count what they use."""
    with file_errors(path):
        stats = [file.stat() for file in path.rglob("*") if file.is_file()]
    # Windows does not say how much of a sparse file is used.
    return sum(getattr(stat, "st_blocks", stat.st_size // 512) * 512 for stat in stats)


def damaged(path: Path, reason: str) -> PermanentError:
    """The error for files that cannot be read, with what to do."""
    return PermanentError(
        f"the embedded index at {path} cannot be read: {reason}.",
        remedy="Move that folder away and run "
        "`sync-pipeline sync all`: the index is built again from the embedding cache, nothing "
        "is embedded twice.",
    )


def write_text(path: Path, text: str, *, is_durable: bool = True, permissions: int = 0o666) -> None:
    """Replace a file in one step: a crash leaves the old text or the new one.

    Args:
        path: The file.
        text: What it shall hold.
        is_durable: Wait until the disk has it.
        permissions: Who may read and write it, less what the umask takes.
    """
    half = path.with_name(f".{path.name}.{os.getpid()}")
    opener = partial(os.open, mode=permissions)
    with open(half, "w", encoding="utf-8", opener=opener) as file:
        file.write(text)
        if is_durable:
            file.flush()
            os.fsync(file.fileno())
    half.replace(path)
    if is_durable:
        _sync_folder(path.parent)


class IndexFiles:
    """Aliases, manifests and folders of one index; the caller holds its lock."""

    __slots__ = ("_aliases", "_collections", "path")

    def __init__(self, path: Path) -> None:
        self.path = path
        self._aliases = path / "aliases.json"
        self._collections = path / "collections"

    def shard_path(self, collection: str) -> Path:
        """Where the engine keeps a collection."""
        check_name(collection)
        return self._collections / collection

    def words_path(self, collection: str) -> Path:
        """Where the words of a collection's texts are."""
        return self.shard_path(collection).with_name(f"{collection}.words")

    def lent_path(self, collection: str) -> Path:
        """What a process locks that has a collection to itself."""
        return self.shard_path(collection).with_name(f"{collection}.lent")

    def list_collections(self) -> list[str]:
        """Names of the collections, sorted."""
        with file_errors(self.path):
            if not self._collections.is_dir():
                return []
            return sorted(
                entry.name
                for entry in self._collections.iterdir()
                if entry.is_dir() and not entry.name.startswith(".")
            )

    def read_aliases(self) -> dict[str, str]:
        """Collections by alias."""
        return {str(key): str(value) for key, value in self._read_json(self._aliases).items()}

    def write_aliases(self, aliases: dict[str, str]) -> None:
        """Replace all aliases at once."""
        with file_errors(self.path):
            write_text(self._aliases, json.dumps(aliases, indent=2, sort_keys=True))

    def write_manifest(self, spec: CollectionSpec, options: IndexOptions) -> None:
        """Note what a collection is built with, for people and for later runs."""
        facts: dict[str, Any] = {
            "alias": spec.alias,
            "model_id": spec.model_id,
            "dimension": spec.dimension,
            "views": list(spec.views),
            "sparse_id": spec.sparse_id,
            "rendering_version": RENDERING_VERSION,
            "description": spec.describe(),
        }
        if spec.special:
            facts[_SPECIAL] = {
                view.name: {"dimension": view.dimension, "is_multi": view.is_long}
                for view in spec.special
            }
        if options.built != IndexOptions().built:
            facts[_OPTIONS] = options.built
        self._write_facts(spec.collection, facts)

    def write_options(self, collection: str, options: IndexOptions) -> None:
        """Note other options of a collection."""
        facts = self._read_json(self._manifest(collection))
        self._write_facts(collection, {**facts, _OPTIONS: options.built})

    def read_options(self, collection: str) -> IndexOptions | None:
        """What a collection is to be built with; None where nobody ever said anything.

        Raises:
            PermanentError: the manifest is damaged.
        """
        built = self._read_json(self._manifest(collection)).get(_OPTIONS)
        try:
            return None if built is None else IndexOptions.from_built(built)
        except TypeError as error:
            raise damaged(
                self.path, f"{self._manifest(collection).name} has options that are none: {error}"
            ) from error

    def read_schema(self, collection: str) -> VectorSchema:
        """The vectors that a collection was made for.

        Raises:
            PermanentError: the manifest is missing or damaged.
        """
        facts = self._read_json(self._manifest(collection))
        try:
            special = facts.get(_SPECIAL, {})
            return {
                view: VectorShape(**special[view])
                if view in special
                else VectorShape(int(facts["dimension"]))
                for view in facts["views"]
            }
        except (KeyError, TypeError, ValueError) as error:
            raise damaged(
                self.path, f"{self._manifest(collection).name} lacks views or dimension"
            ) from error

    @contextmanager
    def making(self, collection: str) -> Iterator[Path]:
        """Make a folder aside and put it in its place when all went well."""
        aside = self.shard_path(collection).with_name(f".new-{collection}")
        with file_errors(self.path):
            self._purge()
            yield aside
            aside.rename(self.shard_path(collection))
            _sync_folder(self._collections)

    def remove(self, collection: str) -> None:
        """Delete a collection's folder and manifest: gone at once, cleared afterwards."""
        with file_errors(self.path):
            path = self.shard_path(collection)
            path.rename(path.with_name(f".old-{collection}"))
            self._manifest(collection).unlink(missing_ok=True)
            self.words_path(collection).unlink(missing_ok=True)
            self.lent_path(collection).unlink(missing_ok=True)
            self._purge()

    def _write_facts(self, collection: str, facts: dict[str, Any]) -> None:
        with file_errors(self.path):
            self._collections.mkdir(parents=True, exist_ok=True)
            write_text(self._manifest(collection), json.dumps(facts, ensure_ascii=False, indent=2))

    def _manifest(self, collection: str) -> Path:
        return self.shard_path(collection).with_name(f"{collection}.json")

    def _purge(self) -> None:
        for leftover in self._collections.glob(".*-*"):
            if leftover.is_dir():
                shutil.rmtree(leftover)

    def _read_json(self, path: Path) -> dict[str, Any]:
        try:
            with file_errors(self.path):
                text = path.read_text(encoding="utf-8") if path.exists() else "{}"
            read = json.loads(text)
        except ValueError as error:
            raise damaged(self.path, f"{path.name} is not JSON") from error
        if not isinstance(read, dict):
            raise damaged(self.path, f"{path.name} is not a JSON object")
        return read


def _sync_folder(path: Path) -> None:
    """Make a rename survive a power cut, where folders can be opened (not on Windows)."""
    if os.name == "nt":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
