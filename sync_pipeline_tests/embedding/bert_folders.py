"""Small BERT encoders with random weights, in folders as sentence-transformers has them."""

from __future__ import annotations

import json
import string
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers
from tokenizers.processors import TemplateProcessing

LETTERS = (
    string.ascii_letters + string.digits + string.punctuation + "абвгдежзийклмнопрстуфхцчшщъыьэюя"
)
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
SPECIAL_UNIGRAM = ("<s>", "<pad>", "</s>", "<unk>")

CONFIG: Mapping[str, Any] = {
    "architectures": ["BertModel"],
    "hidden_act": "gelu",
    "hidden_size": 24,
    "intermediate_size": 40,
    "layer_norm_eps": 1e-12,
    "max_position_embeddings": 80,
    "model_type": "bert",
    "num_attention_heads": 3,
    "num_hidden_layers": 2,
    "pad_token_id": 0,
    "position_embedding_type": "absolute",
    "type_vocab_size": 2,
}
FIRST: Mapping[str, Any] = {"max_seq_length": 48, "do_lower_case": False}


def make_bert(
    folder: Path,
    *,
    config: Mapping[str, Any] | None = None,
    first: Mapping[str, Any] = FIRST,
    pooling: Mapping[str, Any] | None = None,
    normalises: bool = True,
    unigram: bool = False,
    lowers: bool = True,
    prefix: str = "",
    seed: int = 7,
) -> Path:
    """Write a model; its tokenizer's file cuts and pads at 20 tokens, as no model here does."""
    folder.mkdir(parents=True)
    tokenizer = _unigram() if unigram else _wordpiece(lowers=lowers)
    tokenizer.enable_truncation(20)
    tokenizer.enable_padding(length=20)
    tokenizer.save(str(folder / "tokenizer.json"))
    said = {**CONFIG, "vocab_size": tokenizer.get_vocab_size(), **(config or {})}
    _write(folder / "config.json", said)
    _write(folder / "sentence_bert_config.json", first)
    _write(folder / "tokenizer_config.json", _tokenizer_config(unigram=unigram, lowers=lowers))
    kinds = ["Transformer", "Pooling", *(["Normalize"] if normalises else [])]
    modules = [
        {
            "idx": at,
            "name": str(at),
            "path": f"{at}_{kind}" if at else "",
            "type": f"sentence_transformers.models.{kind}",
        }
        for at, kind in enumerate(kinds)
    ]
    _write(folder / "modules.json", modules)
    _write(
        folder / "1_Pooling" / "config.json",
        {"word_embedding_dimension": said["hidden_size"], **(pooling or MEAN)},
    )
    if normalises:
        (folder / "2_Normalize").mkdir()
    _write_weights(folder, said, prefix=prefix, seed=seed)
    return folder


MEAN = {"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False}
CLS = {"pooling_mode_mean_tokens": False, "pooling_mode_cls_token": True}


def _write_weights(folder: Path, config: Mapping[str, Any], *, prefix: str, seed: int) -> None:
    random = np.random.default_rng(seed)
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (config["vocab_size"], hidden),
        "embeddings.position_embeddings.weight": (config["max_position_embeddings"], hidden),
        "embeddings.token_type_embeddings.weight": (config["type_vocab_size"], hidden),
        "embeddings.LayerNorm.weight": (hidden,),
        "embeddings.LayerNorm.bias": (hidden,),
    }
    for layer in range(config["num_hidden_layers"]):
        start = f"encoder.layer.{layer}"
        for name, outputs, inputs in (
            ("attention.self.query", hidden, hidden),
            ("attention.self.key", hidden, hidden),
            ("attention.self.value", hidden, hidden),
            ("attention.output.dense", hidden, hidden),
            ("intermediate.dense", inner, hidden),
            ("output.dense", hidden, inner),
        ):
            shapes[f"{start}.{name}.weight"] = (outputs, inputs)
            shapes[f"{start}.{name}.bias"] = (outputs,)
        for name in ("attention.output.LayerNorm", "output.LayerNorm"):
            shapes[f"{start}.{name}.weight"] = (hidden,)
            shapes[f"{start}.{name}.bias"] = (hidden,)
    shapes["pooler.dense.weight"], shapes["pooler.dense.bias"] = (hidden, hidden), (hidden,)
    weights = {
        prefix + name: random.normal(size=shape).astype(np.float32)
        for name, shape in shapes.items()
    }
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def _wordpiece(*, lowers: bool) -> Tokenizer:
    pieces = [*SPECIAL, *LETTERS, *(f"##{letter}" for letter in LETTERS), "plaster", "gypsum"]
    vocabulary = {piece: at for at, piece in enumerate(dict.fromkeys(pieces))}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowers)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.add_special_tokens([AddedToken(name, special=True) for name in SPECIAL])
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]",
        special_tokens=[(name, vocabulary[name]) for name in ("[CLS]", "[SEP]")],
    )
    return tokenizer


def _unigram() -> Tokenizer:
    pieces = [*SPECIAL_UNIGRAM, "▁", *LETTERS, "▁plaster", "▁gyp", "sum", "ter"]
    scores = [(piece, -float(at)) for at, piece in enumerate(dict.fromkeys(pieces))]
    tokenizer = Tokenizer(models.Unigram(scores, unk_id=3, byte_fallback=False))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()]
    )
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.add_special_tokens([AddedToken(name, special=True) for name in SPECIAL_UNIGRAM])
    tokenizer.post_processor = TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return tokenizer


def _tokenizer_config(*, unigram: bool, lowers: bool) -> dict[str, Any]:
    if unigram:
        return {
            "tokenizer_class": "XLMRobertaTokenizer",
            "bos_token": "<s>",
            "cls_token": "<s>",
            "eos_token": "</s>",
            "sep_token": "</s>",
            "pad_token": "<pad>",
            "unk_token": "<unk>",
            "model_max_length": 80,
        }
    return {
        "tokenizer_class": "BertTokenizer",
        "do_lower_case": lowers,
        "model_max_length": 80,
        **{f"{name.strip('[]').lower()}_token": name for name in SPECIAL},
    }


def _write(file: Path, content: object) -> None:
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(content), encoding="utf-8")
