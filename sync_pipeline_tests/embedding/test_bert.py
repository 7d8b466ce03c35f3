"""The closed list: which models may be computed without torch."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sync_pipeline.embedding.bert import UnknownModelError, map_weights, read_bert
from sync_pipeline.embedding.model_folder import BUNDLED, find_model
from sync_pipeline_tests.embedding.bert_folders import CLS, FIRST, make_bert


def test_the_bundled_model_is_on_it() -> None:
    model = read_bert(find_model(BUNDLED, revision=None))

    assert (model.layers, model.heads, model.hidden, model.intermediate) == (6, 12, 384, 1536)
    assert (model.pooling, model.window, model.lowers) == ("mean", 256, False)


def test_what_newer_files_say_is_understood(tmp_path: Path) -> None:
    first = {
        "transformer_task": "feature-extraction",
        "modality_config": {
            "text": {"method": "forward", "method_output_name": "last_hidden_state"}
        },
        "module_output_name": "token_embeddings",
    }

    model = read_bert(make_bert(tmp_path / "model", first=first, pooling={"pooling_mode": "cls"}))

    assert (model.pooling, model.window) == ("cls", 80)


def test_weights_are_those_of_the_file_by_their_names(tmp_path: Path) -> None:
    plain = map_weights(read_bert(make_bert(tmp_path / "plain")))

    prefixed = map_weights(read_bert(make_bert(tmp_path / "prefixed", prefix="bert.")))

    assert plain.keys() == prefixed.keys()
    assert all(np.array_equal(plain[name], prefixed[name]) for name in plain)
    assert not plain["embeddings.LayerNorm.bias"].flags.writeable


def with_json(file: str, **changes: Any) -> Callable[[Path], None]:
    """Change keys of a file of the model."""

    def change(folder: Path) -> None:
        place = folder / file
        said = json.loads(place.read_text(encoding="utf-8")) if place.exists() else {}
        place.write_text(json.dumps({**said, **changes}), encoding="utf-8")

    return change


def with_modules(*kinds: str) -> Callable[[Path], None]:
    """Have other modules."""

    def change(folder: Path) -> None:
        modules = json.loads((folder / "modules.json").read_text(encoding="utf-8"))
        listed = [{**module, "type": kind} for module, kind in zip(modules, kinds, strict=False)]
        (folder / "modules.json").write_text(json.dumps(listed), encoding="utf-8")

    return change


def without_end(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[: weights.stat().st_size // 2])


def with_a_huge_header(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"\xff" * 100)


OURS = "sentence_transformers.models."
OTHERS = [
    pytest.param(with_json("config.json", model_type="roberta"), "model_type", id="RoBERTa"),
    pytest.param(with_json("config.json", hidden_act="relu"), "hidden_act", id="activation"),
    pytest.param(with_json("config.json", hidden_act="gelu_new"), "hidden_act", id="other gelu"),
    pytest.param(
        with_json("config.json", position_embedding_type="relative_key"),
        "position_embedding_type",
        id="relative positions",
    ),
    pytest.param(with_json("config.json", is_decoder=True), "is_decoder", id="decoder"),
    pytest.param(
        with_json("config.json", quantization_config={"bits": 8}), "quantization", id="quantised"
    ),
    pytest.param(with_json("config.json", pruned_heads={"1": [0]}), "pruned_heads", id="pruned"),
    pytest.param(with_json("config.json", num_attention_heads=5), "heads", id="uneven heads"),
    pytest.param(with_json("config.json", num_hidden_layers=3), "weights", id="layers missing"),
    pytest.param(with_json("config.json", vocab_size=9), "shapes", id="another vocabulary"),
    pytest.param(with_json("config.json", layer_norm_eps=None), "number", id="no epsilon"),
    pytest.param(with_json("1_Pooling/config.json", **CLS), None, id="fits: first token"),
    pytest.param(
        with_json("1_Pooling/config.json", pooling_mode_max_tokens=True),
        "several",
        id="two poolings",
    ),
    pytest.param(
        with_json("1_Pooling/config.json", pooling_mode="lasttoken"), "lasttoken", id="last token"
    ),
    pytest.param(
        with_json("1_Pooling/config.json", pooling_mode=["mean", "cls"]), "pooling", id="joined"
    ),
    pytest.param(
        with_json("1_Pooling/config.json", include_prompt=False), "prompt", id="prompt left out"
    ),
    pytest.param(
        with_json("1_Pooling/config.json", word_embedding_dimension=7), "dimensions", id="width"
    ),
    pytest.param(
        with_json("sentence_bert_config.json", max_seq_length=81), "window", id="too long a window"
    ),
    pytest.param(
        with_json("sentence_bert_config.json", unpad_inputs=True), "unpad_inputs", id="unknown key"
    ),
    pytest.param(
        with_json("sentence_roberta_config.json", max_seq_length=9), "roberta", id="another file"
    ),
    pytest.param(
        with_json("config_sentence_transformers.json", truncate_dim=8), "shortens", id="shortened"
    ),
    pytest.param(
        with_json("2_Normalize/config.json", module_input_name="token_embeddings"),
        "something else",
        id="normalises tokens",
    ),
    pytest.param(
        with_json("tokenizer_config.json", truncation_side="left"), "beginning", id="cut in front"
    ),
    pytest.param(with_json("adapter_config.json", r=8), "adapter_config", id="adapter"),
    pytest.param(
        with_modules(f"{OURS}Transformer", f"{OURS}Pooling", f"{OURS}Dense"), "Dense", id="dense"
    ),
    pytest.param(
        with_modules(f"{OURS}Transformer", f"{OURS}Pooling", "own.Normalize"), "modules", id="own"
    ),
    pytest.param(with_modules(f"{OURS}Transformer"), "modules", id="no pooling"),
    pytest.param(lambda folder: (folder / "modules.json").unlink(), "modules.json", id="bare"),
    pytest.param(lambda folder: (folder / "tokenizer.json").unlink(), "tokenizer", id="tokenizer"),
    pytest.param(without_end, "weights", id="weights cut off"),
    pytest.param(with_a_huge_header, "damaged", id="weights damaged"),
]


@pytest.mark.parametrize(("change", "reason"), OTHERS)
def test_whatever_differs_is_left_to_torch_with_the_reason(
    change: Callable[[Path], object], reason: str | None, tmp_path: Path
) -> None:
    folder = make_bert(tmp_path / "model", first=FIRST)
    read_bert(folder)

    change(folder)

    if reason is None:
        assert read_bert(folder).pooling == "cls"
    else:
        with pytest.raises(UnknownModelError, match=reason):
            read_bert(folder)
