"""Any sentence-transformers model in torch: every architecture, number format and device."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sync_pipeline.embedding.passes import CPU_PASS_TOKENS
from sync_pipeline.embedding.precision import Dtype
from sync_pipeline.embedding.runtimes.runtime import Side


class TorchRuntime:
    """See ``Runtime``.

    Args:
        folder: Of the model.
        dtype: Number format that it works in.
        device: ``auto``, or one of torch's.
    """

    def __init__(self, folder: Path, *, dtype: Dtype, device: str) -> None:
        import torch  # noqa: PLC0415 - 4 s
        from sentence_transformers import SentenceTransformer  # noqa: PLC0415 - 5 s

        with _quiet_loading():
            self.model = SentenceTransformer(
                str(folder),
                device=None if device == "auto" else device,
                trust_remote_code=False,
                local_files_only=True,
                model_kwargs={"dtype": getattr(torch, dtype), "use_safetensors": True},
            )
        self.pass_tokens = CPU_PASS_TOKENS if self.model.device.type == "cpu" else None

    def encode(self, texts: Sequence[str], *, prompt: str, side: Side) -> NDArray[np.float32]:
        """See ``Runtime``."""
        encode = self.model.encode_document if side == "document" else self.model.encode_query
        with _memory_errors():
            vectors = encode(
                list(texts), prompt=prompt, batch_size=len(texts), show_progress_bar=False
            )
        return np.asarray(vectors, dtype=np.float32)

    def tokens(self, texts: Sequence[str]) -> list[Sequence[int]]:
        """The tokens of each text, the special ones included, before anything is cut off."""
        if not texts:
            return []
        encoded = self.model.tokenizer(
            list(texts), return_attention_mask=False, return_token_type_ids=False, verbose=False
        )
        ids: list[Sequence[int]] = encoded["input_ids"]
        return ids


@contextmanager
def _quiet_loading() -> Iterator[None]:
    """Keep transformers from drawing a progress bar for files that are on this disk."""
    from transformers.utils import logging  # noqa: PLC0415 - comes with sentence_transformers

    was_drawn = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # transformers 5.23
    try:
        yield
    finally:
        if was_drawn:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]  # transformers 5.23


@contextmanager
def _memory_errors() -> Iterator[None]:
    """Turn torch's ways to say that memory ran out into ``MemoryError``."""
    try:
        yield
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        raise MemoryError("the model ran out of memory; embed fewer texts at once") from error


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether torch says so."""
    # torch 2.13 has a class for accelerators (torch.OutOfMemoryError) and none for the CPU,
    # whose allocator says "can't allocate memory" on Linux, "not enough memory" on Windows.
    text = str(error)
    return type(error).__name__ == "OutOfMemoryError" or any(
        sign in text for sign in ("can't allocate memory", "not enough memory")
    )
