"""What numpy and ONNX Runtime compute is what sentence-transformers computes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sync_pipeline.core.canaries import CANARY_TEXTS
from sync_pipeline.embedding.bert import UnknownModelError, read_bert
from sync_pipeline.embedding.model_folder import BUNDLED, find_model
from sync_pipeline.embedding.runtimes.agreement import TOLERANCE
from sync_pipeline.embedding.runtimes.local_model import FORWARDS
from sync_pipeline.embedding.runtimes.onnx_graph import bert_graph
from sync_pipeline.embedding.runtimes.runtime import LEAN, RuntimeName
from sync_pipeline.embedding.runtimes.tokens import TokenRuntime
from sync_pipeline.embedding.vectors import normalised
from sync_pipeline_tests.embedding.bert_folders import CLS, MEAN, make_bert

# Threads of a math library that wait for a busy core count as CPU: a second alone is ten then.
pytestmark = pytest.mark.model

TEXTS = ["Gypsum plaster 30 kg", "a", "Цемент М500", "Hex bolt M8 x 40 " * 20, "x" * 300]

lean = pytest.mark.parametrize("name", LEAN)


def vectors_of(name: RuntimeName, folder: Path, *, prompt: str = "") -> NDArray[np.float32]:
    """Of ``TEXTS`` in one pass, normalised."""
    model = read_bert(folder)
    runtime = TokenRuntime(model, FORWARDS[name](model))
    return normalised(runtime.encode(TEXTS, prompt=prompt, side="document"))


def reference_of(folder: Path, *, prompt: str = "") -> NDArray[np.float32]:
    """The same by sentence-transformers, in float32."""
    from sync_pipeline.embedding.runtimes.torch import TorchRuntime  # noqa: PLC0415

    runtime = TorchRuntime(folder, dtype="float32", device="cpu")
    return normalised(runtime.encode(TEXTS, prompt=prompt, side="document"))


MODELS = [
    pytest.param({}, id="mean of the tokens"),
    pytest.param({"pooling": CLS}, id="first token"),
    pytest.param({"pooling": {"pooling_mode": "cls"}}, id="first token, as newer files say it"),
    pytest.param({"normalises": False}, id="not normalised"),
    pytest.param({"config": {"num_hidden_layers": 5}}, id="five layers"),
    pytest.param({"config": {"num_attention_heads": 1, "hidden_size": 40}}, id="one head"),
    pytest.param({"config": {"layer_norm_eps": 0.1}}, id="another epsilon"),
    pytest.param({"lowers": False}, id="capitals count"),
    pytest.param(
        {"lowers": False, "first": {"max_seq_length": 48, "do_lower_case": True}},
        id="lower-cased by the first module",
    ),
    pytest.param({"first": {"max_seq_length": 12}}, id="a window shorter than the tokenizer's"),
    pytest.param({"first": {}}, id="no window but the tokenizer's"),
    pytest.param({"unigram": True}, id="unigram, as multilingual models have it"),
    pytest.param({"prefix": "bert."}, id="weights with a prefix"),
]


@pytest.mark.model
@pytest.mark.parametrize("files", MODELS)
def test_a_model_of_a_known_kind_has_the_vectors_of_sentence_transformers(
    files: dict[str, Any], tmp_path: Path
) -> None:
    folder = make_bert(tmp_path / "model", **files)
    expected = reference_of(folder)

    for name in LEAN:
        assert np.abs(vectors_of(name, folder) - expected).max() <= TOLERANCE


@pytest.mark.model
def test_a_prompt_is_part_of_the_text(tmp_path: Path) -> None:
    folder = make_bert(tmp_path / "model")
    expected = reference_of(folder, prompt="passage: ")

    for name in LEAN:
        found = vectors_of(name, folder, prompt="passage: ")
        assert np.abs(found - expected).max() <= TOLERANCE
        assert np.abs(vectors_of(name, folder) - expected).max() > TOLERANCE


def test_both_compute_the_same_without_anything_else(tmp_path: Path) -> None:
    folder = make_bert(tmp_path / "model", pooling=MEAN)

    difference = np.abs(vectors_of("numpy", folder) - vectors_of("onnx", folder)).max()

    assert difference <= TOLERANCE


@lean
def test_a_text_has_its_vector_in_any_company(name: RuntimeName, tmp_path: Path) -> None:
    model = read_bert(make_bert(tmp_path / "model"))
    runtime = TokenRuntime(model, FORWARDS[name](model))

    together = runtime.encode(TEXTS, prompt="", side="document")

    alone = [runtime.encode([text], prompt="", side="document")[0] for text in TEXTS]
    assert np.abs(normalised(together) - normalised(np.stack(alone))).max() <= TOLERANCE


def test_the_graph_has_no_weights_in_it() -> None:
    model = read_bert(find_model(BUNDLED, revision=None))

    assert len(bert_graph(model)) < 40_000


@lean
def test_the_bundled_model_reads_as_far_as_its_window_not_as_its_tokenizer_file(
    name: RuntimeName,
) -> None:
    model = read_bert(find_model(BUNDLED, revision=None))
    runtime = TokenRuntime(model, FORWARDS[name](model))
    words = "plaster " * 200

    beyond_128 = runtime.encode([words, words + "copper pipe"], prompt="", side="document")
    beyond_256 = runtime.encode([words * 2, words * 2 + "copper"], prompt="", side="document")

    assert np.abs(np.subtract(*beyond_128)).max() > 1e-3
    assert np.abs(np.subtract(*beyond_256)).max() <= TOLERANCE


RUNS_OUT_OF_MEMORY = """
import resource
from sync_pipeline.embedding.bert import read_bert
from sync_pipeline.embedding.model_folder import find_model
from sync_pipeline.embedding.runtimes.onnx import OnnxForward
forward = OnnxForward(read_bert(find_model("bundled", revision=None)))
forward([[101, 102]])
resource.setrlimit(resource.RLIMIT_AS, (3 * 2**30, 3 * 2**30))
try:
    forward([[101] * 256] * 2000)
except MemoryError as error:
    print(error)
"""


@pytest.mark.process
@pytest.mark.skipif(sys.platform != "linux", reason="other systems limit no address space")
def test_onnx_runtime_runs_out_of_memory_in_words_that_are_known() -> None:
    done = subprocess.run(
        [sys.executable, "-c", RUNS_OUT_OF_MEMORY], capture_output=True, text=True, check=True
    )

    assert done.stdout == "the model ran out of memory; embed fewer texts at once\n"


def test_a_tokenizer_that_may_give_no_token_is_refused(tmp_path: Path) -> None:
    folder = make_bert(tmp_path / "model")
    said = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    (folder / "tokenizer.json").write_text(json.dumps({**said, "post_processor": None}))
    model = read_bert(folder)

    with pytest.raises(UnknownModelError, match="no token"):
        TokenRuntime(model, FORWARDS["numpy"](model))


@lean
def test_a_text_without_words_has_a_vector(name: RuntimeName, tmp_path: Path) -> None:
    model = read_bert(make_bert(tmp_path / "model"))
    runtime = TokenRuntime(model, FORWARDS[name](model))

    vectors = runtime.encode(["\u200b", CANARY_TEXTS[0]], prompt="", side="query")

    assert np.isfinite(vectors).all()
