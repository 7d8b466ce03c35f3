"""Models in this process: passes, windows, memory, sharing."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync_pipeline.core.errors import ModelUnavailableError
from sync_pipeline.embedding.model_folder import BUNDLED, find_model
from sync_pipeline.embedding.passes import plan_passes
from sync_pipeline.embedding.runtimes.torch import is_out_of_memory
from sync_pipeline.embedding.sentence_transformers import SentenceTransformersEmbedder

TEXTS = ["Gypsum plaster Rotband 30 kg", "Facade paint white 9 l", "Portland cement M500 bag"]


@given(
    lengths=st.lists(st.integers(1, 300), max_size=60),
    max_texts=st.integers(1, 20),
    max_tokens=st.none() | st.integers(1, 900),
)
def test_passes_hold_every_text_once_and_keep_their_limits(
    lengths: list[int], max_texts: int, max_tokens: int | None
) -> None:
    passes = list(plan_passes(lengths, max_texts=max_texts, max_tokens=max_tokens))

    assert sorted(place for run in passes for place in run) == list(range(len(lengths)))
    for run in passes:
        longest = max(lengths[place] for place in run)
        assert len(run) <= max_texts
        assert len(run) == 1 or max_tokens is None or len(run) * longest <= max_tokens


def test_passes_go_from_long_to_short() -> None:
    assert list(plan_passes([3, 9, 5, 9], max_texts=2, max_tokens=None)) == [[1, 3], [2, 0]]


@pytest.mark.process
def test_importing_and_making_one_reads_and_loads_nothing() -> None:
    program = (
        "import sys; from sync_pipeline.embedding.sentence_transformers import *; "
        "SentenceTransformersEmbedder(model='/no/such/model'); "
        "print({'torch', 'transformers', 'huggingface_hub'} & set(sys.modules))"
    )

    finished = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )

    assert finished.stdout == "set()\n"


@pytest.mark.model
def test_vectors_carry_meaning() -> None:
    plaster, paint, cement = SentenceTransformersEmbedder(device="cpu").embed(TEXTS).vectors

    query = (
        SentenceTransformersEmbedder(device="cpu").embed_queries(["wall coating colour"]).vectors[0]
    )

    assert query @ paint > max(query @ plaster, query @ cement)


@pytest.mark.model
def test_bfloat16_and_float32_agree_and_have_different_ids() -> None:
    exact = SentenceTransformersEmbedder(device="cpu", dtype="float32", runtime="torch")
    rounded = SentenceTransformersEmbedder(device="cpu", dtype="bfloat16", runtime="torch")

    cosines = (exact.embed(TEXTS).vectors * rounded.embed(TEXTS).vectors).sum(axis=1)

    assert cosines.min() > 0.999
    assert exact.model_id != rounded.model_id


@pytest.mark.model
def test_texts_beyond_the_window_are_counted() -> None:
    embedder = SentenceTransformersEmbedder(device="cpu")
    fits, too_long = "plaster " * 254, "plaster " * 255

    assert embedder.find_truncated([fits, too_long, "a" * 1000, TEXTS[0]]) == [
        False,
        True,
        False,
        False,
    ]


@pytest.mark.parametrize(
    ("script", "tokens", "unknown"),
    [
        pytest.param("ሲሚንቶ", 1, 1, id="Amharic"),
        pytest.param("ស៊ីម៉ងត៍ 50 kg", 3, 1, id="Khmer"),
        pytest.param("ປູນຊີມັງ", 1, 1, id="Lao"),
        pytest.param("Цемент М500", 8, 0, id="Russian"),
        pytest.param("Cement 50 kg", 3, 0, id="English"),
    ],
)
def test_what_the_vocabulary_lacks_is_counted_without_the_model(
    script: str, tokens: int, unknown: int
) -> None:
    [count] = SentenceTransformersEmbedder(device="cpu").count_unknown([script])

    assert (count.tokens, count.unknown) == (tokens, unknown)


@pytest.mark.model
def test_the_document_prompt_counts_towards_the_window_and_changes_vectors() -> None:
    plain = SentenceTransformersEmbedder(device="cpu")
    prompted = SentenceTransformersEmbedder(device="cpu", document_prompt="passage: ")

    assert prompted.find_truncated(["plaster " * 254]) == [True]
    assert plain.embed(TEXTS[:1]).vectors[0] @ prompted.embed(TEXTS[:1]).vectors[0] < 0.99
    assert plain.embed_queries(["a"]).vectors[0] @ prompted.embed_queries(["a"]).vectors[0] > 0.9999


@pytest.mark.model
def test_embedders_of_one_process_share_the_model() -> None:
    one = SentenceTransformersEmbedder(device="cpu")
    two = SentenceTransformersEmbedder(device="cpu", document_prompt="passage: ", batch_size=8)

    assert one._load() is two._load()


@pytest.mark.model
def test_threads_can_embed_at_the_same_time() -> None:
    embedder = SentenceTransformersEmbedder(device="cpu")
    expected = embedder.embed(TEXTS).vectors
    found: list[float] = []

    def embed() -> None:
        for _ in range(5):
            vectors = embedder.embed(TEXTS).vectors
            embedder.embed_queries([TEXTS[0]])
            embedder.find_truncated(["plaster " * 300])
            found.append(float((vectors * expected).sum(axis=1).min()))

    threads = [threading.Thread(target=embed) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(found) == 20
    assert min(found) > 0.9999


@pytest.mark.model
@pytest.mark.parametrize(
    "message",
    [
        pytest.param(
            "[enforce fail at alloc_cpu.cpp:121] err == 0. DefaultCPUAllocator: can't allocate "
            "memory: you tried to allocate 123 bytes. Error code 12 (Cannot allocate memory)",
            id="Linux",
        ),
        pytest.param("[enforce fail] data. DefaultCPUAllocator: not enough memory", id="Windows"),
    ],
)
def test_running_out_of_memory_is_a_memory_error(
    message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedder = SentenceTransformersEmbedder(device="cpu", runtime="torch")

    def fail(*args: object, **kwargs: object) -> None:
        raise RuntimeError(message)

    monkeypatch.setattr(embedder._load().torch().model, "encode", fail)

    with pytest.raises(MemoryError, match="embed fewer texts at once"):
        embedder.embed(TEXTS)


@pytest.mark.model
def test_torch_says_out_of_memory_in_words_that_are_known() -> None:
    import torch  # noqa: PLC0415 - seconds

    with pytest.raises(RuntimeError, match="memory") as on_cpu:
        torch.empty(2**50)

    assert is_out_of_memory(on_cpu.value)
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA"))
    assert not is_out_of_memory(RuntimeError("shape mismatch"))


@pytest.mark.model
def test_damaged_weights_are_a_reason(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(find_model(BUNDLED, revision=None), folder)
    (folder / "model.safetensors").write_bytes(b"\x10\x00\x00\x00\x00\x00\x00\x00nonsense")

    with pytest.raises(ModelUnavailableError, match=r"cannot be loaded: .*Safetensor"):
        SentenceTransformersEmbedder(model=str(folder), device="cpu").embed(TEXTS)


@pytest.mark.model
def test_a_model_that_wants_to_run_its_own_code_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(find_model(BUNDLED, revision=None), folder)
    (folder / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()")
    modules = (folder / "modules.json").read_text()
    (folder / "modules.json").write_text(
        modules.replace("sentence_transformers.models.Normalize", "own.Normalize")
    )

    with pytest.raises(ModelUnavailableError, match="cannot be loaded"):
        SentenceTransformersEmbedder(model=str(folder), device="cpu").embed(TEXTS)

    assert not (tmp_path / "ran").exists()


@pytest.mark.model
def test_a_copy_elsewhere_gives_the_same_vectors(tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(find_model(BUNDLED, revision=None), folder)

    vectors = SentenceTransformersEmbedder(model=str(folder), device="cpu").embed(TEXTS).vectors

    expected = SentenceTransformersEmbedder(device="cpu").embed(TEXTS).vectors
    assert np.allclose(vectors, expected, atol=1e-6)
