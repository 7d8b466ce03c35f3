"""From texts to tokens, as sentence-transformers does it, for runtimes that compute tokens."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer
from tokenizers.normalizers import Lowercase
from tokenizers.normalizers import Sequence as Normalizers

from sync_pipeline.embedding.bert import BertModel, UnknownModelError
from sync_pipeline.embedding.passes import CPU_PASS_TOKENS
from sync_pipeline.embedding.runtimes.runtime import Forward, Side


class TokenRuntime:
    """See ``Runtime``: tokenizes, and has a forward pass computed.

    The tokenizer's own file may cut and pad at another length than the model reads (that of the
    bundled model at 128, where it reads 256): both are set anew.

    Raises:
        UnknownModelError: a text may have no token at all.
    """

    def __init__(self, model: BertModel, forward: Forward) -> None:
        self.pass_tokens: int | None = CPU_PASS_TOKENS
        self._forward = forward
        self._tokenizer = Tokenizer.from_file(str(model.folder / "tokenizer.json"))
        if not self._tokenizer.num_special_tokens_to_add(is_pair=False):
            raise UnknownModelError("its tokenizer gives a text without words no token")
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(model.window)
        if model.lowers:
            own = self._tokenizer.normalizer
            self._tokenizer.normalizer = Normalizers([Lowercase(), *([own] if own else [])])

    def encode(self, texts: Sequence[str], *, prompt: str, side: Side) -> NDArray[np.float32]:
        """See ``Runtime``."""
        del side
        prompted = [prompt + text for text in texts] if prompt else list(texts)
        return self._forward([each.ids for each in self._tokenizer.encode_batch_fast(prompted)])
