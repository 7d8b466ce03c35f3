"""A BERT encoder in numpy: slower than others, and ready in a fifth of a second.

Texts are laid end to end instead of padded, so a text's vector depends on no other text.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sync_pipeline.embedding.bert import BertModel, Weights, layer_name, map_weights

Array = NDArray[np.float32]

# Abramowitz and Stegun 7.1.26: erf by a polynomial, at most 1.5e-7 off.
_ERF_SCALE: Final = np.float32(0.3275911)
_ERF: Final = tuple(
    map(np.float32, (1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592))
)
_ROOT_HALF: Final = np.float32(0.5**0.5)


class NumpyForward:
    """See ``Forward``; the weights are mapped from the model's file."""

    def __init__(self, model: BertModel) -> None:
        self._model = model
        self._weights: Weights = map_weights(model)

    def __call__(self, tokens: Sequence[Sequence[int]]) -> Array:
        """See ``Forward``."""
        lengths = [len(ids) for ids in tokens]
        states = self._embedded(tokens)
        for layer in map(layer_name, range(self._model.layers)):
            attended = self._attended(states, lengths, layer)
            states = self._norm(states + attended, f"{layer}.attention.output.LayerNorm")
            inner = _gelu(self._dense(states, f"{layer}.intermediate.dense"))
            states = self._norm(
                states + self._dense(inner, f"{layer}.output.dense"), f"{layer}.output.LayerNorm"
            )
        starts = np.cumsum([0, *lengths[:-1]])
        if self._model.pooling == "cls":
            first: Array = states[starts]
            return first
        sums: Array = np.add.reduceat(states, starts, axis=0)
        return sums / np.asarray(lengths, dtype=np.float32)[:, None]

    def _embedded(self, tokens: Sequence[Sequence[int]]) -> Array:
        """The first states of all tokens, text after text, shape ``(tokens, hidden)``."""
        weights = self._weights
        ids = np.concatenate([np.asarray(text, dtype=np.int64) for text in tokens])
        places = np.concatenate([np.arange(len(text)) for text in tokens])
        states = (
            weights["embeddings.word_embeddings.weight"][ids]
            + weights["embeddings.position_embeddings.weight"][places]
            + weights["embeddings.token_type_embeddings.weight"][0]
        )
        return self._norm(states, "embeddings.LayerNorm")

    def _attended(self, states: Array, lengths: Sequence[int], layer: str) -> Array:
        """What each token gathers from the tokens of its text."""
        query, key, value = (
            self._dense(states, f"{layer}.attention.self.{part}")
            for part in ("query", "key", "value")
        )
        gathered = np.empty_like(states)
        for rows, texts, length in _runs(lengths):
            split = (texts, length, self._model.heads, self._model.hidden // self._model.heads)
            q, k, v = (
                part[rows].reshape(split).transpose(0, 2, 1, 3) for part in (query, key, value)
            )
            scores = q @ k.transpose(0, 1, 3, 2)
            scores *= np.float32(split[3] ** -0.5)
            heads = _softmax(scores) @ v
            gathered[rows] = heads.transpose(0, 2, 1, 3).reshape(-1, self._model.hidden)
        return self._dense(gathered, f"{layer}.attention.output.dense")

    def _dense(self, states: Array, name: str) -> Array:
        product: Array = states @ self._weights[f"{name}.weight"].T
        product += self._weights[f"{name}.bias"]
        return product

    def _norm(self, states: Array, name: str) -> Array:
        states -= states.mean(axis=1, keepdims=True)
        variance = np.einsum("ij,ij->i", states, states) / np.float32(states.shape[1])
        states /= np.sqrt(variance + np.float32(self._model.epsilon))[:, None]
        states *= self._weights[f"{name}.weight"]
        states += self._weights[f"{name}.bias"]
        return states


def _runs(lengths: Sequence[int]) -> Iterator[tuple[slice, int, int]]:
    """Neighbours of equal length: the rows of their tokens, how many they are, their length."""
    start = 0
    for length, run in groupby(lengths):
        texts = len(list(run))
        yield slice(start, start + texts * length), texts, length
        start += texts * length


def _softmax(scores: Array) -> Array:
    scores -= scores.max(axis=-1, keepdims=True)
    np.exp(scores, out=scores)
    scores /= scores.sum(axis=-1, keepdims=True)
    return scores


def _gelu(values: Array) -> Array:
    """``x * (1 + erf(x / sqrt(2))) / 2`` of each."""
    size = np.abs(values)
    root = size * _ROOT_HALF
    part = np.float32(1) / (np.float32(1) + _ERF_SCALE * root)
    tail = np.full_like(part, _ERF[0])
    for factor in _ERF[1:]:
        tail *= part
        tail += factor
    tail *= part
    root *= root
    np.negative(root, out=root)
    np.exp(root, out=root)
    tail *= root
    tail *= size
    tail *= np.float32(0.5)
    positive: Array = np.maximum(values, np.float32(0))
    return positive - tail
