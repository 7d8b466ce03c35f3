"""A BERT encoder in ONNX Runtime: the fastest one in float32 on a CPU."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from sync_pipeline.embedding.bert import BertModel, map_weights
from sync_pipeline.embedding.runtimes.onnx_graph import bert_graph

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

_FATAL: Final = 4
"""Nothing less is logged: everything else is raised."""
_PADDED: Final = np.float32(-1e30)
"""Added to the scores of what is no token: its share is exactly 0, and nothing overflows."""


class OnnxForward:
    """See ``Forward``; the weights are mapped from the model's file."""

    def __init__(self, model: BertModel) -> None:
        self._model = model
        self._session = _session(model)

    def __call__(self, tokens: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """See ``Forward``; shorter texts are padded."""
        lengths = np.array([len(ids) for ids in tokens])
        is_token = np.arange(lengths.max()) < lengths[:, None]
        ids = np.zeros(is_token.shape, dtype=np.int64)
        ids[is_token] = np.concatenate([np.asarray(text, dtype=np.int64) for text in tokens])
        bias = np.where(is_token, np.float32(0), _PADDED)[:, None, None, :]
        inputs = {"ids": ids, "bias": bias, "pooling": self._pooling(is_token, lengths)[:, None, :]}
        with _memory_errors():
            (vectors,) = self._session.run(["vectors"], inputs)
        found: NDArray[np.float32] = np.asarray(vectors)[:, 0, :]
        return found

    def _pooling(
        self, is_token: NDArray[np.bool_], lengths: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """The share that each token has in its text's vector."""
        if self._model.pooling == "cls":
            shares = np.zeros(is_token.shape, dtype=np.float32)
            shares[:, 0] = 1
            return shares
        return (is_token / lengths[:, None]).astype(np.float32)


@contextmanager
def _memory_errors() -> Iterator[None]:
    """Turn what ONNX Runtime says when memory ran out into ``MemoryError``."""
    try:
        yield
    except Exception as error:
        # onnxruntime 1.32 has no class for it, only words.
        if "Failed to allocate memory" not in str(error):
            raise
        raise MemoryError("the model ran out of memory; embed fewer texts at once") from error


def _session(model: BertModel) -> InferenceSession:
    from onnxruntime import InferenceSession, OrtValue, SessionOptions  # noqa: PLC0415 - 0.2 s

    options = SessionOptions()
    options.log_severity_level = _FATAL
    # Threads that wait in a loop take the cores that others need: PostgreSQL is beside every sync.
    # Beside three busy programs on two cores this is 2.1 times as fast for documents.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    weights = map_weights(model)
    options.add_external_initializers(
        list(weights), [OrtValue.ortvalue_from_numpy(value) for value in weights.values()]
    )
    return InferenceSession(bert_graph(model), options, providers=["CPUExecutionProvider"])
