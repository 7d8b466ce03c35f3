"""The words of a collection's texts, from which what somebody types is completed.

The engine finds texts by whole words, and reads its index of them whenever a process opens the
collection. An index of all beginnings of words would make that opening three times as long
(measured with 55,000 names of materials: 0.9 s instead of 0.3 s), so the words stand beside it,
once each, in a file that only grows.

Words are hints: what they find is still filtered by scope, and a word of a document that is gone
finds nothing.
"""

from __future__ import annotations

import heapq
import os
import re
import threading
from bisect import bisect_left
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from sync_pipeline.stores.edge.files import file_errors, write_text

_WORD: Final = re.compile(r"[^\W_]+")
_AFTER_ALL: Final = "\U0010ffff"


def words_of(text: str) -> list[str]:
    """Words as the engine tells them apart, in lower case."""
    return [word.lower() for word in _WORD.findall(text)]


class WordList:
    """A file of words, one a line; the caller holds the lock of the index folder.

    Another process may add to the file while this one does not hold the lock, so what is new in
    it is read before every use.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._mutex = threading.Lock()
        self._words: set[str] = set()
        self._sorted: list[str] = []
        self._read_to = 0
        self._identity: tuple[int, int] | None = None
        """Of the file that was read: a list that is made again is another file."""

    @property
    def is_made(self) -> bool:
        """Whether there is a list to add to."""
        return self._path.is_file()

    def make(self, texts: Iterable[str]) -> None:
        """Write the words of all texts there are, all or nothing."""
        words = sorted({word for text in texts for word in words_of(text)})
        with file_errors(self._path.parent):
            write_text(self._path, "".join(f"{word}\n" for word in words))

    def learn(self, texts: Iterable[str]) -> None:
        """Add words that are new, if there is a list; to be called before the texts are written."""
        if not self.is_made:
            return
        words = {word for text in texts for word in words_of(text)}
        with self._mutex:
            self._refresh()
            new = sorted(words - self._words)
        if not new:
            return
        with file_errors(self._path.parent), self._path.open("a", encoding="utf-8") as file:
            # Begins a line: the one before may have been cut off by a crash.
            file.write("".join(f"\n{word}" for word in new) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def beginning_with(self, start: str, *, limit: int) -> list[str]:
        """Words that begin so, the shortest first.

        Args:
            start: In lower case.
            limit: Most of them.
        """
        with self._mutex:
            self._refresh()
            first = bisect_left(self._sorted, start)
            last = bisect_left(self._sorted, start + _AFTER_ALL, lo=first)
            beginning = self._sorted[first:last]
        return heapq.nsmallest(limit, beginning, key=len)

    def _refresh(self) -> None:
        """Read what was added to the file since."""
        if not self.is_made:
            self._forget()
            return
        with file_errors(self._path.parent), self._path.open("rb") as file:
            state = os.fstat(file.fileno())
            identity = state.st_dev, state.st_ino
            if identity != self._identity or state.st_size < self._read_to:
                self._forget()
                self._identity = identity
            if state.st_size == self._read_to:
                return
            file.seek(self._read_to)
            added = file.read()
            self._read_to += len(added)
        self._words.update(added.decode("utf-8", errors="replace").split())
        self._sorted = sorted(self._words)

    def _forget(self) -> None:
        self._words, self._sorted, self._read_to, self._identity = set(), [], 0, None
