"""Search texts of concurrent requests share passes of the model, and are remembered."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from sync_pipeline.core.embedded import Embedded
from sync_pipeline.core.errors import TransientError
from sync_pipeline.service.encoding import MAX_TOGETHER, REMEMBERED, SharedQueries
from sync_pipeline.service.problems import BusyError
from sync_pipeline_tests.fakes.embedder import FakeEmbedder


class SlowEmbedder(FakeEmbedder):
    """Notes each pass, and waits in it until it is told to go on."""

    def __init__(self) -> None:
        super().__init__()
        self.passes: list[list[str]] = []
        self.may_go = threading.Event()
        self.is_asked = threading.Event()
        self.error: Exception | None = None

    def embed_queries(self, texts: Sequence[str]) -> Embedded:
        self.passes.append(list(texts))
        self.is_asked.set()
        assert self.may_go.wait(10)
        if self.error is not None:
            raise self.error
        return super().embed_queries(texts)


@pytest.fixture
def embedder() -> SlowEmbedder:
    return SlowEmbedder()


@pytest.fixture
def shared(embedder: SlowEmbedder) -> Iterator[SharedQueries]:
    queries = SharedQueries(embedder, max_waiting=8)
    yield queries
    embedder.may_go.set()
    queries.close()


def test_texts_that_come_during_a_pass_share_the_next_one(
    embedder: SlowEmbedder, shared: SharedQueries
) -> None:
    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(shared.embed_queries, ["first"])
        assert embedder.is_asked.wait(10)
        others = [pool.submit(shared.embed_queries, [f"text {n % 3}"]) for n in range(6)]
        while len(shared._waiting) < 6:
            pass
        embedder.may_go.set()
        vectors = [other.result(10).vectors[0] for other in others]

    assert embedder.passes[0] == ["first"]
    assert [sorted(together) for together in embedder.passes[1:]] == [
        ["text 0", "text 1", "text 2"]
    ]
    assert first.result().vectors.shape == (1, embedder.dimension)
    for number, vector in enumerate(vectors):
        assert vector == pytest.approx(embedder.vector(f"text {number % 3}"))


def test_a_text_is_embedded_once(embedder: SlowEmbedder, shared: SharedQueries) -> None:
    embedder.may_go.set()

    vectors = [shared.embed_queries(["a", "b", "a"]).vectors for _ in range(3)]

    assert embedder.passes == [["a", "b"]]
    assert all(np.array_equal(it, vectors[0]) for it in vectors)
    assert np.array_equal(vectors[0][0], vectors[0][2])


def test_more_texts_than_may_wait_are_told_to_come_back(
    embedder: SlowEmbedder, shared: SharedQueries
) -> None:
    with ThreadPoolExecutor(12) as pool:
        waiting = [pool.submit(shared.embed_queries, ["first"])]
        assert embedder.is_asked.wait(10)
        waiting += [pool.submit(shared.embed_queries, [f"text {n}"]) for n in range(8)]
        while len(shared._waiting) < 8:
            pass

        with pytest.raises(BusyError) as busy:
            shared.embed_queries(["one too many"])
        embedder.may_go.set()
        answered = [it.result(10) for it in waiting]

    assert (busy.value.status, busy.value.retry_after) == (503, 1)
    assert len(answered) == 9


def test_one_batch_may_be_longer_than_what_may_wait(
    embedder: SlowEmbedder, shared: SharedQueries
) -> None:
    embedder.may_go.set()

    vectors = shared.embed_queries([f"text {n}" for n in range(100)]).vectors

    assert vectors.shape == (100, embedder.dimension)
    assert max(map(len, embedder.passes)) <= MAX_TOGETHER


def test_an_error_ends_in_every_caller_of_its_pass_and_nowhere_else(
    embedder: SlowEmbedder, shared: SharedQueries
) -> None:
    embedder.may_go.set()
    embedder.error = TransientError("no answer")

    with pytest.raises(TransientError, match="no answer"):
        shared.embed_queries(["a"])
    embedder.error = None

    assert shared.embed_queries(["a"]).vectors.shape == (1, embedder.dimension)


def test_only_the_last_vectors_are_remembered(
    embedder: SlowEmbedder, shared: SharedQueries
) -> None:
    embedder.may_go.set()
    for start in range(0, REMEMBERED + 1, MAX_TOGETHER):
        shared.embed_queries([f"text {n}" for n in range(start, start + MAX_TOGETHER)])
    passes = len(embedder.passes)

    shared.embed_queries([f"text {REMEMBERED}"])
    shared.embed_queries(["text 0"])

    assert len(embedder.passes) == passes + 1
