"""BERT encoders on disk: which models can be computed without torch, and their weights.

The list is closed. A model that is anything else than described here, in any file, is left to
sentence-transformers: a wrong guess about a model gives plausible, wrong vectors.
"""

from __future__ import annotations

import json
import mmap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

Pooling = Literal["mean", "cls"]
Weights = Mapping[str, NDArray[np.float32]]
"""By the names of ``weight_shapes``."""

_WEIGHTS: Final = "model.safetensors"
_MOST_HEADER_BYTES: Final = 100 * 2**20
"""As the safetensors library has it."""
_PREFIXES: Final = ("", "bert.")
"""Of the names of weights: an encoder alone, and one that was part of something else."""
_MODULES: Final = ("Transformer", "Pooling", "Normalize")
"""What a model consists of; the last one may be missing, for every vector is normalised anyway."""
_CONFIG: Final[Mapping[str, object]] = {
    "model_type": "bert",
    "hidden_act": "gelu",
    "position_embedding_type": "absolute",
    "is_decoder": False,
    "add_cross_attention": False,
    "pruned_heads": {},
    "quantization_config": None,
}
"""What a configuration has to say, or may leave out; all but the first are defaults."""
_FIRST_MODULE: Final[Mapping[str, object]] = {
    "transformer_task": "feature-extraction",
    "modality_config": {"text": {"method": "forward", "method_output_name": "last_hidden_state"}},
    "module_output_name": "token_embeddings",
}
"""What the configuration of the first module may say, besides its window and letters."""
_WINDOW_KEYS: Final = frozenset({"max_seq_length", "do_lower_case"})
_OTHER_POOLING: Final = (
    "pooling_mode_max_tokens",
    "pooling_mode_mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens",
    "pooling_mode_lasttoken",
)
_FEWEST_TOKENS: Final = 3
"""Of a window: a text's first and last one, and one of its own."""
_OTHER_FILES: Final = ("adapter_config.json", "model.safetensors.index.json")


class UnknownModelError(ValueError):
    """A model is no BERT encoder of the known kind; the message says in what."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BertModel:
    """A BERT encoder: embeddings, layers, one vector of a text by its tokens' last states."""

    folder: Path
    layers: int
    heads: int
    hidden: int
    intermediate: int
    epsilon: float
    """Of the layer norms."""
    vocabulary: int
    positions: int
    types: int
    pooling: Pooling
    window: int
    """Most tokens of a text, the special ones included."""
    lowers: bool
    """Whether texts are lower-cased before they are tokenized."""

    def weight_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of all weights that vectors depend on, by name; dense ones are (out, in)."""
        shapes: dict[str, tuple[int, ...]] = {
            "embeddings.word_embeddings.weight": (self.vocabulary, self.hidden),
            "embeddings.position_embeddings.weight": (self.positions, self.hidden),
            "embeddings.token_type_embeddings.weight": (self.types, self.hidden),
            **_norm("embeddings.LayerNorm", self.hidden),
        }
        for layer in map(layer_name, range(self.layers)):
            for part in ("query", "key", "value"):
                shapes |= _dense(f"{layer}.attention.self.{part}", self.hidden, self.hidden)
            shapes |= _dense(f"{layer}.attention.output.dense", self.hidden, self.hidden)
            shapes |= _norm(f"{layer}.attention.output.LayerNorm", self.hidden)
            shapes |= _dense(f"{layer}.intermediate.dense", self.intermediate, self.hidden)
            shapes |= _dense(f"{layer}.output.dense", self.hidden, self.intermediate)
            shapes |= _norm(f"{layer}.output.LayerNorm", self.hidden)
        return shapes


def layer_name(place: int) -> str:
    """What the names of a layer's weights begin with."""
    return f"encoder.layer.{place}"


def read_bert(folder: Path) -> BertModel:
    """Understand the files of a model; weights are looked at, not read.

    Raises:
        UnknownModelError: it is something else.
    """
    for name in _OTHER_FILES:
        _require(not (folder / name).exists(), f"it has {name}")
    config = _read(folder / "config.json")
    for key, expected in _CONFIG.items():
        default = None if key == "model_type" else expected
        found = config.get(key, default)
        _require(found == expected or (not found and not expected), f"its {key} is {found!r}")
    pooling = _pooling(folder, config)
    first = _first_module(folder)
    try:
        model = BertModel(
            folder=folder,
            layers=int(config["num_hidden_layers"]),
            heads=int(config["num_attention_heads"]),
            hidden=int(config["hidden_size"]),
            intermediate=int(config["intermediate_size"]),
            epsilon=float(config["layer_norm_eps"]),
            vocabulary=int(config["vocab_size"]),
            positions=int(config["max_position_embeddings"]),
            types=int(config["type_vocab_size"]),
            pooling=pooling,
            window=_window(folder, first, positions=int(config["max_position_embeddings"])),
            lowers=bool(first.get("do_lower_case")),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise UnknownModelError(f"its configuration lacks a number ({error})") from error
    _require(model.hidden % model.heads == 0, "its heads do not share its width evenly")
    _require(
        _FEWEST_TOKENS <= model.window <= model.positions, f"its window is {model.window} tokens"
    )
    _require((folder / "tokenizer.json").is_file(), "it has no tokenizer.json")
    _check_header(model)
    return model


def map_weights(model: BertModel) -> Weights:
    """The weights, on pages of the file that all processes share; read-only.

    Raises:
        UnknownModelError: another file than when the model was read.
    """
    header, start = _header(model.folder / _WEIGHTS)
    prefix = _check_header(model)
    with (model.folder / _WEIGHTS).open("rb") as file:
        pages = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    return {
        name: np.frombuffer(
            pages,
            dtype="<f4",
            count=int(np.prod(shape)),
            offset=start + header[prefix + name]["data_offsets"][0],
        ).reshape(shape)
        for name, shape in model.weight_shapes().items()
    }


def _dense(name: str, outputs: int, inputs: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def _norm(name: str, width: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def _require(holds: object, otherwise: str) -> None:
    if not holds:
        raise UnknownModelError(otherwise)


def _read(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_bytes())
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise UnknownModelError(f"{file.name} is not JSON") from error
    _require(isinstance(content, dict), f"{file.name} is no object")
    found: dict[str, Any] = content
    return found


def _modules(folder: Path) -> list[tuple[str, Path]]:
    """Class and folder of each module, in the order they run."""
    try:
        listed: Any = json.loads((folder / "modules.json").read_bytes())
        return [
            (str(module["type"]), folder / str(module["path"]))
            for module in sorted(listed, key=lambda module: int(module["idx"]))
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UnknownModelError(f"its modules.json cannot be read ({error})") from error


def _pooling(folder: Path, config: Mapping[str, Any]) -> Pooling:
    """How the states of a text's tokens become one vector; checks what modules there are."""
    modules = _modules(folder)
    names = tuple(kind.rpartition(".")[2] for kind, _ in modules)
    ours = all(kind.startswith("sentence_transformers.") for kind, _ in modules)
    _require(ours and names in {_MODULES, _MODULES[:2]}, f"its modules are {', '.join(names)}")
    _require(modules[0][1] == folder, "its first module has a folder of its own")
    _require(
        not _read(folder / "config_sentence_transformers.json").get("truncate_dim"),
        "it shortens its vectors",
    )
    if len(modules) == len(_MODULES):
        keys = _read(modules[2][1] / "config.json")
        given = {keys.get("module_input_name"), keys.get("module_output_name")}
        _require(given <= {None, "sentence_embedding"}, "it normalises something else")
    said = _read(modules[1][1] / "config.json")
    width = said.get("embedding_dimension", said.get("word_embedding_dimension"))
    _require(width == config.get("hidden_size"), f"its pooling expects {width} dimensions")
    _require(said.get("include_prompt", True), "its pooling leaves the prompt out")
    return _pooling_mode(said)


def _pooling_mode(said: Mapping[str, Any]) -> Pooling:
    mode = said.get("pooling_mode")
    if mode is None:
        means, first = (
            bool(said.get(f"pooling_mode_{kind}", False)) for kind in ("mean_tokens", "cls_token")
        )
        _require(means != first, "its pooling is neither mean nor first token")
        _require(not any(map(said.get, _OTHER_POOLING)), "its pooling joins several vectors")
        mode = "mean" if means else "cls"
    if mode == "mean":
        return "mean"
    _require(mode == "cls", f"its pooling is {mode}")
    return "cls"


def _first_module(folder: Path) -> dict[str, Any]:
    more = [file.name for file in folder.glob("sentence_*_config.json")]
    _require(more in ([], ["sentence_bert_config.json"]), f"it has {', '.join(more)}")
    said = _read(folder / "sentence_bert_config.json")
    for key in sorted(said.keys() - _WINDOW_KEYS):
        expected = key in _FIRST_MODULE and said[key] == _FIRST_MODULE[key]
        _require(expected, f"sentence_bert_config.json says {key}: {said[key]!r}")
    return said


def _window(folder: Path, first: Mapping[str, Any], *, positions: int) -> int:
    """Most tokens of a text: what the first module says, or else its tokenizer."""
    said = _read(folder / "tokenizer_config.json")
    sides = {said.get("padding_side", "right"), said.get("truncation_side", "right")}
    _require(sides == {"right"}, "its tokenizer pads or cuts texts at their beginning")
    window = first.get("max_seq_length")
    return int(window) if window else min(int(said["model_max_length"]), positions)


def _header(file: Path) -> tuple[dict[str, Any], int]:
    """What a safetensors file says of its tensors, and where their bytes begin."""
    try:
        with file.open("rb") as source:
            size = int.from_bytes(source.read(8), "little")
            _require(size <= _MOST_HEADER_BYTES, "its weights are damaged")
            header: Any = json.loads(source.read(size))
    except (OSError, ValueError) as error:
        raise UnknownModelError(f"its weights cannot be read ({error})") from error
    _require(isinstance(header, dict), "its weights are damaged")
    return header, 8 + size


def _check_header(model: BertModel) -> str:
    """What the names of the weights begin with; all are there, as float32, in their shapes."""
    file = model.folder / _WEIGHTS
    header, start = _header(file)
    size = file.stat().st_size
    for prefix in _PREFIXES:
        if f"{prefix}embeddings.word_embeddings.weight" in header:
            _require(
                all(
                    _fits(header.get(prefix + name), shape, room=size - start)
                    for name, shape in model.weight_shapes().items()
                ),
                "its weights have other names, shapes or number formats",
            )
            return prefix
    raise UnknownModelError("its weights have other names")


def _fits(said: Any, shape: Sequence[int], *, room: int) -> bool:
    """Whether a tensor is what it should be, within the bytes of the file."""
    if not isinstance(said, dict):
        return False
    first, last = said.get("data_offsets", (0, -1))
    is_whole = first >= 0 and last - first == 4 * int(np.prod(shape)) and last <= room
    return is_whole and said.get("dtype") == "F32" and said.get("shape") == list(shape)
