"""The same embedder in several processes of this machine (``core.ports.Embedder``).

sentence-transformers has a pool too (``start_multi_process_pool``). It cuts passes by
number of texts and not by tokens, gives each process as many threads as there are cores,
loads the model in the parent as well, and its processes outlive a parent that is killed.
Measured with the bundled model in bfloat16, 512 catalogue texts in calls of 256, two processes
of one thread on two cores that other programs used too, medians of three: 152 texts/s here, 103
there; 0.50 GB per process here, 0.65 GB there. Where nothing else runs, two processes of one thread
are hardly faster than one of two (docs/performance.md): several pay off with more cores.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from operator import methodcaller
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from sync_pipeline.core.batching import by_length
from sync_pipeline.core.errors import SyncPipelineError, TransientError
from sync_pipeline.core.ports import Embedder

_TEXTS_WORTH_A_PROCESS: Final = 16
"""A process loads its model for seconds, in which another one embeds hundreds of texts."""
# Darwin cannot tell who sent a signal, so there SIGTERM ends whomever it reaches.
_HELD_BACK: Final = {signal.SIGINT} if sys.platform == "darwin" else {signal.SIGINT, signal.SIGTERM}
"""What a terminal or a service manager sends to a whole group; the parent decides then."""

_own: Embedder
"""In a worker: the embedder that answers."""


class MakeEmbedder(Protocol):
    """Makes the same embedder in any process; can be pickled."""

    def __call__(self, *, threads: int | None = None) -> Embedder:
        """Make one that uses so many CPU threads; None leaves its own choice."""


class ProcessPoolEmbedder:
    """Divides the texts of a call among processes that each hold a model of their own.

    They are started by the first call that needs them and end with this process,
    however it ends. Search texts are embedded in this process, which otherwise loads no model.

    Args:
        make: Makes the embedder, in this process and in each of the others.
        processes: How many embed at the same time.
        cores: CPU cores that they share; None takes all that this process may use.
    """

    def __init__(self, make: MakeEmbedder, *, processes: int, cores: int | None = None) -> None:
        self._make = make
        self._processes = processes
        self._threads = max(1, (cores or _usable_cores()) // processes)
        self._local = make()
        self.max_batch = self._local.max_batch * processes
        self._pool: ProcessPoolExecutor | None = None
        self._starting = threading.Lock()

    @property
    def model_id(self) -> str:
        """That of the embedder: vectors do not depend on who computes them."""
        return self._local.model_id

    @property
    def dimension(self) -> int:
        """Length of the vectors."""
        return self._local.dimension

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed documents, keeping their order, shape ``(len(texts), dimension)``.

        Raises:
            TransientError: a process was killed; noticed when another one has finished its
                part, at the latest. The next call starts new ones.
            MemoryError: the batch is too large; try a smaller one.
            ModelUnavailableError: the model cannot be loaded.
        """
        parts = spread(texts, most=self._processes)
        answers = self._ask(
            [methodcaller("embed", [texts[place] for place in part]) for part in parts]
        )
        vectors = np.empty((len(texts), self.dimension), dtype=np.float32)
        for part, answer in zip(parts, answers, strict=True):
            vectors[part] = answer
        return vectors

    def embed_query(self, text: str) -> NDArray[np.float32]:
        """Embed one search text in this process, shape ``(dimension,)``."""
        return self._local.embed_query(text)

    def count_truncated(self, texts: Sequence[str]) -> int:
        """Count the texts that are longer than the model's window, where a model is loaded."""
        answers = self._ask([methodcaller("count_truncated", list(texts))] if texts else [])
        return sum(answers)

    def count_tokens(self, texts: Sequence[str]) -> int:
        """Count with the model's own tokenizer, in this process and without the model."""
        return self._local.count_tokens(texts)

    def close(self) -> None:
        """End the processes after what they are at; the next call starts new ones."""
        with self._starting:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown()

    def _ask(self, questions: Sequence[Callable[[Embedder], Any]]) -> list[Any]:
        """Have each question answered in one of the processes; the answers in order."""
        if not questions:
            return []
        pool = self._started()
        try:
            with _held_back():
                asked = [pool.submit(_answer, question) for question in questions]
            wait(asked)
            return [_unpacked(future.result()) for future in asked]
        except BrokenProcessPool as error:
            self._forget(pool)
            raise TransientError(
                f"one of {self._processes} embedding processes was killed, most likely because "
                "memory ran out: each holds a model of its own. Set `embedding.processes` lower "
                "or give the machine more memory, then sync again; texts embedded so far are kept."
            ) from error

    def _started(self) -> ProcessPoolExecutor:
        with self._starting:
            if self._pool is None:
                self._pool = ProcessPoolExecutor(
                    self._processes,
                    # A forked child would hang in the locks of torch's threads.
                    mp_context=multiprocessing.get_context("spawn"),
                    initializer=_become_worker,
                    initargs=(self._make, self._threads),
                )
            return self._pool

    def _forget(self, pool: ProcessPoolExecutor) -> None:
        with self._starting:
            if self._pool is pool:
                self._pool = None
        pool.shutdown()  # new processes need the memory of those that are left


def spread(texts: Sequence[str], *, most: int) -> list[list[int]]:
    """Divide texts into parts that take about as long: each gets as many long and short ones.

    Args:
        texts: What to divide.
        most: Most parts; few texts make fewer.

    Returns:
        Positions of the texts of each part; no part is empty.
    """
    order = by_length(texts)
    parts = min(most, -(-len(texts) // _TEXTS_WORTH_A_PROCESS))
    return [order[part::parts] for part in range(parts)]


def _usable_cores() -> int:
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


@contextmanager
def _held_back() -> Iterator[None]:
    """Have processes that are started meanwhile inherit that some signals wait for ever."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _HELD_BACK)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@dataclass(frozen=True, slots=True)
class _Raised:
    """An error of ours on its way to the parent: those that make their own text do not pickle."""

    kind: type[SyncPipelineError]
    message: str
    facts: dict[str, object]

    def again(self) -> SyncPipelineError:
        """The error as it was."""
        error = self.kind.__new__(self.kind, self.message)
        vars(error).update(self.facts)
        return error


def _unpacked(answer: Any) -> Any:
    if isinstance(answer, _Raised):
        raise answer.again()
    return answer


# --- in the worker ----------------------------------------------------------------------


def _become_worker(make: MakeEmbedder, threads: int) -> None:
    global _own  # noqa: PLW0603 - a worker is made for one embedder and keeps it
    _own = make(threads=threads)
    threading.Thread(target=_end_with_parent, name="parent", daemon=True).start()
    if signal.SIGTERM in _HELD_BACK:
        threading.Thread(target=_end_when_told, name="signals", daemon=True).start()


def _answer(question: Callable[[Embedder], Any]) -> Any:
    try:
        return question(_own)
    except SyncPipelineError as error:
        return _Raised(type(error), str(error), dict(vars(error)))


def _end_with_parent() -> None:
    """A parent that was killed says nothing to those that wait for its next question."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _end_when_told() -> None:
    """The pool ends the others with SIGTERM when one is lost; from elsewhere it is not for us."""
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != os.getppid():
        pass
    os._exit(1)
