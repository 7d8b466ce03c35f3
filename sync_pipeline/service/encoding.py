"""Search texts of concurrent requests, embedded together; the last ones are remembered."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Final

from sync_pipeline.core.embedded import Embedded, joined
from sync_pipeline.core.ports import Embedder
from sync_pipeline.engine.embedders import StandingFor
from sync_pipeline.service.problems import BusyError
from sync_pipeline.service.timing import note

REMEMBERED: Final = 4_096
"""Vectors of search texts that are kept: people type the same words."""
MAX_TOGETHER: Final = 32
"""Most texts of one pass: a longer one makes the first caller wait for the last."""


@dataclass(slots=True)
class _Waiting:
    text: str
    taken_at: float = 0.0
    """When its pass began, by ``time.perf_counter``."""
    answer: Future[Embedded] = field(default_factory=Future)


class SharedQueries(StandingFor):
    """An ``Embedder`` whose search texts go through the model in one thread, several at a time.

    While a pass is under way, texts gather for the next one: the busier the service is, the
    more of them share a pass.
    """

    def __init__(
        self, embedder: Embedder, *, max_waiting: int, on_busy: Callable[[], None] | None = None
    ) -> None:
        super().__init__(embedder)
        self._max_waiting = max_waiting
        self._on_busy = on_busy
        self._known: OrderedDict[str, Embedded] = OrderedDict()
        self._waiting: list[_Waiting] = []
        self._changed = threading.Condition()
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, name="query encoder", daemon=True)
        self._thread.start()

    def embed_queries(self, texts: Sequence[str]) -> Embedded:
        """See ``Embedder``.

        Raises:
            BusyError: too many texts wait already.
        """
        if not texts:
            return self._embedder.embed_queries(texts)
        asked = time.perf_counter()
        with self._changed:
            new = [text for text in dict.fromkeys(texts) if text not in self._known]
            if new and len(self._waiting) + len(new) > max(self._max_waiting, len(new)):
                if self._on_busy is not None:
                    self._on_busy()
                raise BusyError("too many searches wait for the model", retry_after=1)
            ready = {text: self._remembered(text) for text in texts if text in self._known}
            waiting = [_Waiting(text) for text in new]
            self._waiting += waiting
            self._changed.notify()
        ready |= {text.text: text.answer.result() for text in waiting}
        if waiting:
            note("waiting", waiting[0].taken_at - asked)
            note("embedding", time.perf_counter() - waiting[0].taken_at)
        answers = [ready[text] for text in texts]
        return joined(answers, dimension=self.dimension, provider=answers[0].provider)

    def close(self) -> None:
        """End the thread; what waits is embedded before."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()
        self._thread.join()

    def _remembered(self, text: str) -> Embedded:
        self._known.move_to_end(text)
        return self._known[text]

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._is_closed)
                if not self._waiting:
                    return
                most = min(MAX_TOGETHER, self._embedder.max_batch)
                together, self._waiting = self._waiting[:most], self._waiting[most:]
            now = time.perf_counter()
            for waiting in together:
                waiting.taken_at = now
            self._answer(together)

    def _answer(self, together: Sequence[_Waiting]) -> None:
        texts = list(dict.fromkeys(waiting.text for waiting in together))
        try:
            answers = dict(zip(texts, self._embedder.embed_queries(texts).by_text(), strict=True))
        except BaseException as error:  # noqa: BLE001 - it ends in the callers' threads
            for waiting in together:
                waiting.answer.set_exception(error)
            return
        with self._changed:
            self._known.update(answers)
            while len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        for waiting in together:
            waiting.answer.set_result(answers[waiting.text])
