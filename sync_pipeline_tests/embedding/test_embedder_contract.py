"""What every embedder promises (``core.ports.Embedder``)."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest

from sync_pipeline.core.point import check_vectors
from sync_pipeline.core.ports import Embedder
from sync_pipeline.embedding.hashing import HashingEmbedder
from sync_pipeline.embedding.openai import OpenAIEmbedder
from sync_pipeline.embedding.precision import Dtype
from sync_pipeline.embedding.runtimes.runtime import RuntimeName
from sync_pipeline.embedding.sentence_transformers import SentenceTransformersEmbedder
from sync_pipeline.engine.embedders import KnownEmbedder
from sync_pipeline_tests.embedding.service import DIMENSION, running_service
from sync_pipeline_tests.fakes.embedder import DriftingEmbedder, FakeEmbedder

TEXTS = [
    "Штукатурка гипсовая Ротбанд 30кг Knauf кг",
    "Gypsum plaster",
    "Цемент М500 мешок 50 кг " * 20,
    "a",
    "Dübel 8x40 mm, 100 Stück",
    "Краска фасадная белая «Tikkurila» 9 л",
]

MAKERS = {
    "fake": "sync_pipeline_tests.fakes.embedder import FakeEmbedder as make",
    "hashing": "sync_pipeline.embedding.hashing import HashingEmbedder as make",
    "bundled": (
        "sync_pipeline.embedding.sentence_transformers import SentenceTransformersEmbedder as make"
    ),
}

LOCAL: dict[str, tuple[RuntimeName, Dtype]] = {
    "bundled by numpy": ("numpy", "float32"),
    "bundled by onnx": ("onnx", "float32"),
    "bundled by torch": ("torch", "float32"),
    "bundled by torch in bfloat16": ("torch", "bfloat16"),
}


@pytest.fixture(
    params=[
        "fake",
        "drifting",
        "known",
        "hashing",
        pytest.param("openai", marks=pytest.mark.process),
        pytest.param("bundled", marks=pytest.mark.model),
        pytest.param("bundled by numpy", marks=pytest.mark.model),
        pytest.param("bundled by onnx", marks=pytest.mark.model),
        pytest.param("bundled by torch", marks=pytest.mark.model),
        pytest.param("bundled by torch in bfloat16", marks=pytest.mark.model),
    ]
)
def embedder(request: pytest.FixtureRequest) -> Iterator[Embedder]:
    if request.param == "fake":
        yield FakeEmbedder()
    elif request.param == "drifting":
        drifted = DriftingEmbedder()
        drifted.drift()
        yield drifted
    elif request.param == "known":
        yield KnownEmbedder(FakeEmbedder(), model_id="known")
    elif request.param == "hashing":
        yield HashingEmbedder()
    elif request.param == "bundled":
        yield SentenceTransformersEmbedder(device="cpu")
    elif request.param in LOCAL:
        runtime, dtype = LOCAL[request.param]
        yield SentenceTransformersEmbedder(device="cpu", runtime=runtime, dtype=dtype)
    else:
        with running_service() as service:
            client = OpenAIEmbedder(model="stub", base_url=service.url, dimension=DIMENSION)
            yield client
            client.close()


def test_vectors_are_normalised_float32_rows_of_the_announced_dimension(
    embedder: Embedder,
) -> None:
    vectors = embedder.embed(TEXTS).vectors

    assert vectors.shape == (len(TEXTS), embedder.dimension)
    assert vectors.dtype == np.float32
    check_vectors(vectors, dimension=embedder.dimension, origin="the test")
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)


def test_order_is_kept_and_batches_do_not_matter(embedder: Embedder) -> None:
    together = embedder.embed(TEXTS).vectors

    alone = np.concatenate([embedder.embed([text]).vectors for text in TEXTS])

    cosines = (together * alone).sum(axis=1)
    # bfloat16 rounds a little differently for each shape of a batch.
    assert cosines.min() > 0.999
    assert (together @ alone.T).argmax(axis=1).tolist() == list(range(len(TEXTS)))


def test_the_same_text_twice_gets_the_same_vector(embedder: Embedder) -> None:
    vectors = embedder.embed([TEXTS[0], TEXTS[1], TEXTS[0]]).vectors

    assert vectors[0] @ vectors[2] > 0.9999
    assert vectors[0] @ vectors[1] < 0.99


def test_queries_are_normalised_rows_in_their_order(embedder: Embedder) -> None:
    vectors = embedder.embed_queries(TEXTS[:2]).vectors

    assert vectors.shape == (2, embedder.dimension)
    assert vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)
    for text, vector in zip(TEXTS[:2], vectors, strict=True):
        assert embedder.embed_queries([text]).vectors[0] @ vector > 0.999
    assert embedder.embed_queries([]).vectors.shape == (0, embedder.dimension)


def test_a_full_batch_is_accepted(embedder: Embedder) -> None:
    texts = [f"{TEXTS[place % 2]} {place}" for place in range(embedder.max_batch)]

    assert embedder.embed(texts).vectors.shape == (embedder.max_batch, embedder.dimension)


def test_no_texts_give_no_vectors(embedder: Embedder) -> None:
    assert embedder.embed([]).vectors.shape == (0, embedder.dimension)
    assert embedder.find_truncated([]) == []
    assert embedder.count_unknown([]) == []


def test_an_answer_says_per_text_what_it_took_as_counting_and_looking_at_it_alone_do(
    embedder: Embedder,
) -> None:
    answer = embedder.embed(TEXTS)

    assert answer.counts == embedder.count_unknown(TEXTS)
    assert answer.truncated == embedder.find_truncated(TEXTS)
    assert all(count.tokens > 0 for count in answer.counts)
    assert [count.unknown for count in answer.counts] == [0] * len(TEXTS)
    assert answer.tokens >= sum(count.tokens for count in answer.counts) > 0
    assert answer.tokens <= embedder.most_tokens(TEXTS)
    assert answer.provider


def test_a_search_text_s_answer_says_what_it_took_too(embedder: Embedder) -> None:
    answer = embedder.embed_queries(TEXTS[:2])

    assert answer.counts == embedder.count_unknown(TEXTS[:2])
    assert len(answer.truncated) == 2
    assert answer.tokens > 0


@pytest.mark.process
@pytest.mark.parametrize("name", [*MAKERS])
def test_id_and_dimension_are_known_without_loading_and_the_same_in_every_process(
    name: str,
) -> None:
    program = (
        f"from {MAKERS[name]}\nimport sys\nmade = make()\n"
        "print(made.model_id, made.dimension, 'torch' in sys.modules)"
    )

    def asked() -> str:
        command = [sys.executable, "-c", program]
        return subprocess.run(
            command, capture_output=True, text=True, check=True, timeout=60
        ).stdout

    first = asked()

    assert first == asked()
    assert first.endswith(" False\n")
