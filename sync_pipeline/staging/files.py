"""Files below one folder or object-store prefix; foreign storage errors stop here."""

from __future__ import annotations

import errno
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from fsspec import AbstractFileSystem
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from sync_pipeline.core.errors import (
    ConfigurationError,
    OutOfSpaceError,
    PermanentError,
    SyncPipelineError,
    TransientError,
)

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_PRIVATE: Final = 0o700
_STORE_LIBRARIES: Final = frozenset(
    {"botocore", "aiobotocore", "aiohttp", "google", "gcsfs", "azure", "adlfs"}
)
_ABOUT_CREDENTIALS: Final = ("Credential", "Token", "Auth", "Profile")


class Files:
    """Reads and writes files below ``url``; all paths are relative to it.

    Args:
        url: A local path, or any URL that fsspec knows (``s3://``, ``gs://``, ``memory://``).
            Local folders are created on the first write, for their owner only:
            staged texts are customer data.

    Raises:
        ConfigurationError: nothing installed can open such a URL.
    """

    def __init__(self, url: str) -> None:
        fs, root = _file_system(url)
        self._fs = fs
        self._root = root.rstrip("/")
        self._is_local = isinstance(fs, LocalFileSystem)

    @property
    def location(self) -> str:
        """Where all files are, for messages: a folder, or a URL without what is secret in it."""
        return self._root if self._is_local else self._fs.unstrip_protocol(self._root)

    def locate(self, path: str) -> str:
        """Where a file is, for messages and for fsspec."""
        return f"{self._root}/{path}"

    @contextmanager
    def create(self, path: str) -> Iterator[IO[bytes]]:
        """Open a new file for writing; when the ``with`` ends well it is durable."""
        with self._errors("write", path):
            if self._is_local:
                _make_private_folder(Path(self.locate(path)).parent)
            with self._fs.open(self.locate(path), "wb") as file:
                yield file
                if self._is_local:
                    file.flush()
                    os.fsync(file.fileno())

    @contextmanager
    def open(self, path: str) -> Iterator[IO[bytes]]:
        """Open a file for reading.

        Raises:
            OSError: it is missing or unreadable; what that means is for the caller to say.
        """
        with (
            self._errors("read", path, only=(ConnectionError, TimeoutError, PermissionError)),
            self._fs.open(self.locate(path), "rb") as file,
        ):
            yield file

    def read(self, path: str) -> bytes | None:
        """Content of a small file, None where there is none.

        Raises:
            OSError: it is unreadable.
        """
        try:
            with self.open(path) as file:
                return file.read()
        except FileNotFoundError:
            return None

    def publish(self, path: str, content: bytes) -> None:
        """Write a small file in one atomic step; readers see the old or the new one."""
        if not self._is_local:
            with self._errors("write", path):
                self._fs.pipe_file(self.locate(path), content)
            return
        draft = f"{path}.{uuid.uuid4().hex}"
        with self.create(draft) as file:
            file.write(content)
        with self._errors("write", path):
            published = Path(self.locate(draft)).replace(self.locate(path))
            _sync_folder(published.parent)

    def list_folders(self, path: str) -> list[str]:
        """Names of the folders directly below a folder; none where it is missing."""
        with self._errors("list", path):
            try:
                entries = self._fs.ls(self.locate(path), detail=True)
            except FileNotFoundError:
                return []
        return [
            entry["name"].rstrip("/").rsplit("/", 1)[-1]
            for entry in entries
            if entry["type"] == "directory"
        ]

    def delete(self, path: str) -> None:
        """Remove a file or folder with all it holds; a missing one is not an error."""
        with self._errors("delete", path):
            try:
                self._fs.rm(self.locate(path), recursive=True)
            except FileNotFoundError:
                return

    @contextmanager
    def _errors(
        self, action: str, path: str, *, only: tuple[type[OSError], ...] = (OSError,)
    ) -> Iterator[None]:
        try:
            yield
        except only as error:
            raise _translated(error, action=action, location=self.locate(path)) from error
        except Exception as error:
            # Object stores' libraries have errors of their own beside the system's.
            ours = _translated_foreign(error, action=action, location=self.locate(path))
            if ours is None:
                raise
            raise ours from error


def _file_system(url: str) -> tuple[AbstractFileSystem, str]:
    try:
        # Listings that fsspec caches would hide what another machine has just written.
        fs, root = url_to_fs(url, use_listings_cache=False)
    except (ImportError, ValueError) as error:
        scheme = url.partition("://")[0]
        raise ConfigurationError(
            f"staging cannot use {scheme}:// addresses: {error}.",
            remedy="Install the fsspec package for "
            "that store (s3fs, gcsfs, adlfs), or choose a local folder that all workers share.",
        ) from error
    return fs, root


def _translated(error: OSError, *, action: str, location: str) -> SyncPipelineError:
    """The error of ours that says the same."""
    reason = error.strerror or type(error).__name__
    if error.errno in _FULL:
        return OutOfSpaceError(
            f"no space left to write {location} ({reason}).",
            remedy="Free some space or move the staging "
            "area; datasets that were complete before are unharmed.",
        )
    if isinstance(error, ConnectionError | TimeoutError):
        return TransientError(
            f"could not {action} {location}: {reason}.",
            remedy="Try again later.",
        )
    if isinstance(error, PermissionError):
        return ConfigurationError(
            f"not allowed to {action} {location}: {reason}.",
            remedy="Give this user access to the staging area, or choose another one.",
        )
    return PermanentError(
        f"could not {action} {location}: {reason}.",
        remedy="Repair the staging area or choose another one, then run the step again.",
    )


def _translated_foreign(
    error: Exception, *, action: str, location: str
) -> SyncPipelineError | None:
    """The error of ours for one of an object store's library; None for any other."""
    if type(error).__module__.partition(".")[0] not in _STORE_LIBRARIES:
        return None
    name = type(error).__name__
    if any(word in name for word in _ABOUT_CREDENTIALS):
        return ConfigurationError(
            f"could not {action} {location}: no usable credentials for that store ({name}).",
            remedy="Give them the way its library reads them: AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY, GOOGLE_APPLICATION_CREDENTIALS, or the role of the machine.",
        )
    return TransientError(f"could not {action} {location}: {name}.", remedy="Try again later.")


def _make_private_folder(folder: Path) -> None:
    """Create a folder and what is missing above it, each for its owner only."""
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    for place in reversed(missing):
        place.mkdir(mode=_PRIVATE, exist_ok=True)


def _sync_folder(folder: Path) -> None:
    """Make a rename durable; only POSIX systems can."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
