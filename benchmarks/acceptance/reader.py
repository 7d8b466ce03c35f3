"""Applications that search all the time through the service, and look hard at each answer."""

from __future__ import annotations

import http.client
import itertools
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Self

from benchmarks.acceptance.ledger import GLOBAL, Ledger, read_payload
from benchmarks.catalogue import SourceRow

LIMIT: Final = 20
"""Hits that are asked for."""
PATIENCE_SECONDS: Final = 30.0
"""How long a search that is told to come back is tried again."""
MAX_EXAMPLES: Final = 20


class NoAnswerError(Exception):
    """The service answered a search with another status than 200."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A search for a row that nobody touches, by its own text."""

    tenant: str
    text: str
    document_id: str


def questions_about(rows: Sequence[SourceRow], *, tenants: Sequence[str]) -> list[Question]:
    """Each row, asked for as its owner; those that all share as each tenant in turn."""
    anybody = itertools.cycle(tenants)
    return [
        Question(
            tenant=row.tenant_id or next(anybody),
            text=row.text,
            document_id=f"{'global' if row.tenant_id is None else 'tenant'}-{row.entity}-{row.id}",
        )
        for row in rows
    ]


def faults_of(
    question: Question, hits: Sequence[Mapping[str, Any]], *, ledger: Ledger, settled: float
) -> list[str]:
    """What is wrong with an answer: ``empty``, ``missed``, ``foreign``, ``resurrected``, ...

    Args:
        question: What was asked.
        hits: As the service sent them.
        ledger: What is known of every row.
        settled: As the ledger said before the search.
    """
    if not hits:
        return ["empty"]
    found: list[str] = []
    if all(hit["document_id"] != question.document_id for hit in hits):
        found.append("missed")
    for hit in hits:
        key, fact = read_payload({**hit["payload"], "text": hit["text"]})
        if fact.scope_key not in {question.tenant, GLOBAL}:
            found.append("foreign")
        wrong = ledger.why_wrong(key, fact, settled=settled)
        if wrong is not None:
            found.append(wrong)
    return found


@dataclass(slots=True)
class Seen:
    """What all readers saw so far."""

    searches: int = 0
    """That got an answer."""
    told_to_come_back: int = 0
    """Answers 503 with ``Retry-After``; such a search is tried again."""
    faults: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    """From the first try to the answer."""


class Reader:
    """Some clients that search until they are stopped.

    Args:
        port: Of the service.
        questions: Asked in turn.
        ledger: What is known of every row.
        clients: How many.
        pause_seconds: Of each client between two searches.
    """

    def __init__(
        self,
        port: int,
        questions: Sequence[Question],
        *,
        ledger: Ledger,
        clients: int = 2,
        pause_seconds: float = 0.1,
    ) -> None:
        self.seen = Seen()
        self._port = port
        self._questions = itertools.cycle(questions)
        self._ledger = ledger
        self._pause_seconds = pause_seconds
        self._began = time.monotonic()
        self._lock = threading.Lock()
        self._is_over = threading.Event()
        self._turns = [threading.Lock() for _ in range(clients)]
        self._threads = [
            threading.Thread(target=self._read, args=(turn,), name="reader") for turn in self._turns
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Nobody searches for the length of the ``with``."""
        for turn in self._turns:
            turn.acquire()
        try:
            yield
        finally:
            for turn in self._turns:
                turn.release()

    def _read(self, turn: threading.Lock) -> None:
        while not self._is_over.wait(self._pause_seconds):
            with turn:
                with self._lock:
                    question = next(self._questions)
                settled, began = self._ledger.settled, time.monotonic()
                try:
                    hits = self._ask(question)
                    faults = faults_of(question, hits, ledger=self._ledger, settled=settled)
                except NoAnswerError as error:
                    faults = [f"error {error}"]
                except (OSError, http.client.HTTPException, ValueError, KeyError) as error:
                    faults = [f"error {type(error).__name__}"]
                self._note(question, faults, seconds=time.monotonic() - began)

    def _note(self, question: Question, faults: Sequence[str], *, seconds: float) -> None:
        with self._lock:
            self.seen.searches += 1
            self.seen.seconds.append(seconds)
            self.seen.faults.update(faults)
            if faults and len(self.seen.examples) < MAX_EXAMPLES:
                told = ", ".join(sorted(set(faults)))
                self.seen.examples.append(
                    f"{told}, {time.monotonic() - self._began:.0f} s after the first search: as "
                    f"{question.tenant}, looking for {question.document_id}"
                )

    def _ask(self, question: Question) -> Sequence[Mapping[str, Any]]:
        """The hits; asked again for a while where the service says so.

        Raises:
            NoAnswerError: another status than 200, or the service said so for too long.
        """
        until = time.monotonic() + PATIENCE_SECONDS
        while True:
            status, wait_seconds, answer = self._post(question)
            if status == 200:
                hits: Sequence[Mapping[str, Any]] = answer["hits"]
                return hits
            if status != 503 or wait_seconds is None or time.monotonic() > until:
                raise NoAnswerError(status)
            with self._lock:
                self.seen.told_to_come_back += 1
            time.sleep(wait_seconds)

    def _post(self, question: Question) -> tuple[int, float | None, Mapping[str, Any]]:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        try:
            body = json.dumps(
                {"query": question.text, "tenant_id": question.tenant, "limit": LIMIT}
            )
            connection.request("POST", "/api/search", body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            wait = answer.headers.get("Retry-After")
            return answer.status, None if wait is None else float(wait), json.loads(answer.read())
        finally:
            connection.close()
