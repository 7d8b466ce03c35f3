"""What becomes of a sync whose embedding service fails in every way that services do.

With a real PostgreSQL, a real index, and a service that is asked over HTTP and keeps its own
account of what it did.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest
import sqlalchemy as sa

from sync_pipeline.core.canaries import CANARY_TEXTS
from sync_pipeline.core.embedded import Embedded
from sync_pipeline.core.errors import PermanentError, TransientError
from sync_pipeline.core.rate_limits import RateLimits
from sync_pipeline.core.retrying import Retries
from sync_pipeline.database.rate_limits import PostgresRateLimiter
from sync_pipeline.embedding.openai import OpenAIEmbedder
from sync_pipeline.embedding.rate_limits import LocalRateLimiter
from sync_pipeline.engine.embedders import StandingFor
from sync_pipeline_tests.embedding.limiting import SetClock
from sync_pipeline_tests.embedding.service import DIMENSION, Answer, running_service
from sync_pipeline_tests.fakes.embedder import FakeEmbedder
from sync_pipeline_tests.reliability.site import Site

pytestmark = pytest.mark.process

ROWS = 240
ONE = [1.0] * DIMENSION


def answer_of(*vectors: Sequence[float], indexes: Sequence[int] | None = None) -> bytes:
    """An answer with these vectors, whatever was asked for."""
    places = range(len(vectors)) if indexes is None else indexes
    data = [
        {"index": place, "embedding": vector} for place, vector in zip(places, vectors, strict=True)
    ]
    return json.dumps({"data": data}).encode()


TRANSIENT = [
    Answer(status=429, headers={"Retry-After": "3"}),
    Answer(status=429, headers={"Retry-After": "Sun, 06 Nov 1994 08:49:37 GMT"}),
    Answer(status=429, headers={"retry-after-ms": "120"}),
    Answer(status=429),
    Answer(status=500),
    Answer(status=503, headers={"Retry-After": "1"}),
    Answer(breaks=True),
    Answer(hangs_seconds=2),
    Answer(cuts_at=150),
    Answer(cuts_json=True),
]
"""What the next attempt may cure."""
UNUSABLE = [
    Answer(body=answer_of(ONE)),
    Answer(body=answer_of()),
    Answer(body=answer_of(*[ONE] * 8, indexes=[0, 1, 2, 3, 4, 5, 6, 6])),
    Answer(body=answer_of(*[ONE] * 8, indexes=[1, 2, 3, 4, 5, 6, 7, 8])),
    Answer(body=answer_of(*[[float("nan")] * DIMENSION] * 8)),
    Answer(body=answer_of(*[[1.0] * 8] * 8)),
    Answer(body=answer_of(*[[0.0] * DIMENSION] * 8)),
]
"""Answers of which no vector may be used; the batch has eight texts."""


@dataclass
class Account(StandingFor):
    """An embedder, and what it says that was charged."""

    embedder: OpenAIEmbedder
    calls: int = 0
    lost_calls: int = 0
    tokens: list[int | None] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(self.embedder)

    def embed(self, texts: Sequence[str]) -> Embedded:
        return self._booked(lambda: self.embedder.embed(texts))

    def embed_queries(self, texts: Sequence[str]) -> Embedded:
        return self._booked(lambda: self.embedder.embed_queries(texts))

    def _booked(self, call: Callable[[], Embedded]) -> Embedded:
        try:
            answer = call()
        except TransientError as error:
            self.lost_calls += error.unanswered_calls
            raise
        except PermanentError as error:
            self.lost_calls += error.charged_calls
            raise
        self.calls += answer.calls
        self.lost_calls += answer.unanswered_calls
        self.tokens.append(answer.stated_tokens)
        return answer


def vectors_kept(site: Site) -> list[np.ndarray]:
    """Everything that the cache holds."""
    with site.engine.connect() as connection:
        rows = connection.scalars(sa.text("SELECT vector FROM sync_pipeline.embedding_cache")).all()
    return [np.frombuffer(row, dtype=np.float32) for row in rows]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_no_wrong_vector_is_kept_and_no_call_goes_uncounted(site: Site, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - repeatable
    site.fill(ROWS)
    clock = SetClock()
    with running_service() as service:
        account = Account(
            OpenAIEmbedder(
                model="stub",
                base_url=service.url,
                dimension=DIMENSION,
                max_batch=8,
                # One after the other: with two, one could meet all faults and the other none.
                concurrency=1,
                timeout_seconds=1.5,
                limiter=LocalRateLimiter(clock=clock),
                retries=Retries(attempts=6, sleep=clock.sleep),
            )
        )
        site.embedder = account
        faults = [*TRANSIENT * 2, *UNUSABLE]
        chance.shuffle(faults)
        # First the model is compared with itself: its canaries, and a search text.
        service.script = [Answer(), Answer(), *(it for fault in faults for it in (fault, Answer()))]

        report = site.run()

    texts = set(service.texts()) - set(CANARY_TEXTS)
    fake = FakeEmbedder(dimension=DIMENSION)
    right = np.stack([fake.vector(text) for text in sorted(texts)])
    kept = np.stack(vectors_kept(site))
    assert (report.new, report.embedded_texts, len(kept)) == (ROWS, ROWS, ROWS)
    assert (kept @ right.T).max(axis=1) == pytest.approx(1, abs=1e-5)
    assert len(set((kept @ right.T).argmax(axis=1))) == ROWS
    assert account.calls + account.lost_calls == service.calls
    assert service.script == []
    assert None not in account.tokens
    assert site.is_clean()


def test_a_service_that_asks_for_an_hour_defers_the_run_and_nothing_is_lost(site: Site) -> None:
    site.fill(20)
    limits = RateLimits()
    with running_service() as service:

        def client() -> OpenAIEmbedder:
            return OpenAIEmbedder(
                model="stub",
                base_url=service.url,
                dimension=DIMENSION,
                max_batch=8,
                limiter=PostgresRateLimiter(site.engine, account="shared", limits=limits),
                retries=Retries(sleep=lambda _: None),
            )

        # Two answers for the comparison of the model with itself, one for a batch. Batches are
        # asked for side by side: one more may be answered beside the one that is refused, and an
        # earlier one may be kept from asking by that refusal, and is then what the run says.
        service.script = [*[Answer()] * 3, Answer(status=429, headers={"Retry-After": "3600"})]
        site.embedder = client()
        with pytest.raises(TransientError, match=r"asks to wait|takes no request") as first:
            site.run()
        asked = len(service.requests)
        # Another process: it does not even ask.
        site.embedder = client()
        with pytest.raises(TransientError, match="takes no request for another") as second:
            site.run()
        asked_by_the_second = len(service.requests) - asked
        kept = len(vectors_kept(site))
        site.sql("DELETE FROM sync_pipeline.rate_limit")
        report = site.run()

    assert first.value.retry_after_seconds == pytest.approx(3600, abs=20)
    assert second.value.retry_after_seconds == pytest.approx(3600, abs=20)
    assert asked_by_the_second == 0
    assert 0 < kept < 20
    assert (report.cache_hits, report.embedded_texts) == (kept, 20 - kept)
    assert site.is_clean()
