"""Models that run in this process (``core.ports.Embedder``): what they are and what they are asked.

What computes their vectors is in ``runtimes``.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Final, Literal

import numpy as np
from tokenizers import Tokenizer

from sync_pipeline.core.embedded import Embedded, joined
from sync_pipeline.core.errors import ModelUnavailableError
from sync_pipeline.core.hashing import digest
from sync_pipeline.core.ports import BatchEmbedder
from sync_pipeline.core.spending import FREE
from sync_pipeline.core.vocabulary import TokenCount
from sync_pipeline.embedding.model_folder import BUNDLED, ModelFolder, find_model, read_model
from sync_pipeline.embedding.passes import plan_passes
from sync_pipeline.embedding.precision import Dtype, choose_dtype
from sync_pipeline.embedding.runtimes.local_model import LocalModel, Use
from sync_pipeline.embedding.runtimes.runtime import RuntimeChoice, Side
from sync_pipeline.embedding.vectors import normalised
from sync_pipeline.tuning import reusing_large_blocks

PROVIDER: Final = "sentence-transformers"
_CALLS_PER_BATCH: Final = 4
"""A call may hold several passes, so that the pass can be cut by tokens instead of texts."""
_SPECIAL_TOKENS: Final = 4
"""More than any tokenizer in use puts around a text."""


_loaded: dict[tuple[Path, str, Use], LocalModel] = {}
_loading = threading.Lock()


class SentenceTransformersEmbedder:
    """A sentence-transformers model, loaded once per process and only when something is embedded.

    ``model_id`` and ``dimension`` come from the model's files. The id changes
    with the weights, tokenizer, configuration, dtype and document prompt, and is
    the same on every machine that has the same files and resolves the same dtype: where
    workers differ in CPU, set ``dtype``. Custom code of a model is never run and
    pickled weights are refused.

    Args:
        model: ``bundled``, a folder, or a name on the Hugging Face hub.
        revision: Commit, tag or branch of a hub model.
        dtype: ``auto`` takes bfloat16 where the hardware has it, else float32.
        device: ``auto``, or a torch device such as ``cpu``, ``cuda:1``, ``mps``.
        runtime: What computes; ``auto`` takes what suits the model and the number of texts. No part
            of the model id: all give the same vectors, or are not used.
        is_lasting: Whether the process goes on to answer others, who wait.
        proofs: Folder of what is known about runtimes; None keeps nothing.
        batch_size: Most texts in one pass through the model.
        query_prompt: Put before search texts; None takes the model's own, if it has one.
        document_prompt: Put before documents; None takes the model's own, if it has one.
    """

    def __init__(
        self,
        *,
        model: str = BUNDLED,
        revision: str | None = None,
        dtype: Dtype | Literal["auto"] = "auto",
        device: str = "auto",
        runtime: RuntimeChoice = "auto",
        is_lasting: bool = False,
        proofs: Path | None = None,
        batch_size: int = 64,
        query_prompt: str | None = None,
        document_prompt: str | None = None,
    ) -> None:
        self.max_batch = batch_size * _CALLS_PER_BATCH
        self.max_batch_bytes: int | None = None
        self.concurrency = 1
        self.tariff = FREE
        self.by_batch: BatchEmbedder | None = None
        self._model = model
        self._revision = revision
        self._wanted_dtype = dtype
        self._device = device
        self._runtime: RuntimeChoice = runtime
        self._is_lasting = is_lasting
        self._proofs = proofs
        self._batch_size = batch_size
        self._wanted_query_prompt = query_prompt
        self._wanted_document_prompt = document_prompt

    @cached_property
    def model_id(self) -> str:
        """Name, dtype and 16 hexadecimal digits over all that the vectors depend on."""
        name = Path(self._model).name if Path(self._model).is_dir() else self._model
        meaning = digest(
            self._folder.content, self._dtype, self._document_prompt, str(self.dimension)
        )
        return f"{name}:{self._dtype}:{meaning[:16]}"

    @cached_property
    def dimension(self) -> int:
        """Length of the vectors, read from the configuration (loads rare kinds of model)."""
        if self._folder.dimension is not None:
            return self._folder.dimension
        size = self._load().torch().model.get_embedding_dimension()
        if size is None:
            raise ModelUnavailableError(
                model=self._model, reason="it does not say how long its vectors are"
            )
        return size

    def embed(self, texts: Sequence[str]) -> Embedded:
        """Embed documents, keeping their order.

        Raises:
            MemoryError: the batch is too large; try a smaller one.
            ModelUnavailableError: the model cannot be loaded.
        """
        return self._embed(texts, prompt=self._document_prompt, side="document")

    def embed_queries(self, texts: Sequence[str]) -> Embedded:
        """Embed search texts with the query prompt."""
        return self._embed(texts, prompt=self._query_prompt, side="query")

    def _embed(self, texts: Sequence[str], *, prompt: str, side: Side) -> Embedded:
        if not texts:
            return joined([], dimension=self.dimension, provider=PROVIDER)
        vectors = np.empty((len(texts), self.dimension), dtype=np.float32)
        counts = self.count_unknown(texts)
        window, special = self._window, self._special_tokens
        lengths = [count.tokens + special for count in counts]
        is_full = len(texts) >= self.max_batch
        with self._load().runtime(side=side, texts=len(texts), is_full=is_full) as runtime:
            passes = plan_passes(
                [min(length, window or length) for length in lengths],
                max_texts=self._batch_size,
                max_tokens=runtime.pass_tokens,
            )
            with reusing_large_blocks():
                for places in passes:
                    chosen = [texts[place] for place in places]
                    vectors[places] = runtime.encode(chosen, prompt=prompt, side=side)
        return Embedded(
            vectors=normalised(vectors),
            counts=counts,
            truncated=self.find_truncated(texts),
            provider=PROVIDER,
        )

    def find_truncated(self, texts: Sequence[str]) -> list[bool]:
        """Say per text whether it is longer than the model's window (its tail is ignored).

        Counted with the model's own tokenizer, without the model, where its files say all.
        """
        window = self._window
        if window is None:
            return [False] * len(texts)
        prompted = [self._document_prompt + text for text in texts]
        # A token other than the few special ones is at least a byte: most texts need no counting.
        long = [text for text in prompted if len(text.encode()) > window - _SPECIAL_TOKENS]
        too_long = {
            text
            for text, tokens in zip(long, self._token_counts(long), strict=True)
            if tokens > window
        }
        return [text in too_long for text in prompted]

    @property
    def _window(self) -> int | None:
        """Most tokens that the model reads; None where there is no limit."""
        if self._folder.window is not None:
            return self._folder.window
        return self._load().window

    @property
    def _special_tokens(self) -> int:
        """What the tokenizer puts around a text."""
        if self._tokenizer is None:
            return _SPECIAL_TOKENS
        return self._tokenizer.num_special_tokens_to_add(is_pair=False)

    def _token_counts(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text, the special ones included, before anything is cut off."""
        if not texts:
            return []
        if self._tokenizer is not None:
            return [len(encoding.ids) for encoding in self._tokenizer.encode_batch_fast(texts)]
        return [len(tokens) for tokens in self._load().torch().tokens(texts)]

    def count_tokens(self, texts: Sequence[str]) -> int:
        """Count with the model's own tokenizer, without the model.

        Estimated for the rare model without a fast tokenizer.
        """
        prompted = [self._document_prompt + text for text in texts]
        if self._tokenizer is None:
            return sum(TokenCount.estimated(text).tokens for text in prompted)
        return sum(len(encoding.ids) for encoding in self._tokenizer.encode_batch_fast(prompted))

    def most_tokens(self, texts: Sequence[str]) -> int:
        """As many as it counts."""
        return sum(count.tokens for count in self.count_unknown(texts))

    def count_unknown(self, texts: Sequence[str]) -> list[TokenCount]:
        """Count tokens and unknown ones, without the model and without prompts.

        Nothing is unknown for the rare model without a fast tokenizer.
        """
        if self._tokenizer is None:
            return [TokenCount.estimated(text) for text in texts]
        unknown = _unknown_token(self._tokenizer)
        return [
            TokenCount(
                tokens=len(encoding.ids),
                unknown=0 if unknown is None else encoding.ids.count(unknown),
            )
            for encoding in self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        ]

    @cached_property
    def _tokenizer(self) -> Tokenizer | None:
        path = self._folder.path / "tokenizer.json"
        if not path.is_file():
            return None
        tokenizer = Tokenizer.from_file(str(path))
        tokenizer.no_truncation()
        tokenizer.no_padding()
        return tokenizer

    @cached_property
    def _folder(self) -> ModelFolder:
        path = find_model(self._model, revision=self._revision)
        return read_model(path, model=self._model)

    @cached_property
    def _dtype(self) -> Dtype:
        return choose_dtype(self._wanted_dtype, device=self._device)

    @property
    def _query_prompt(self) -> str:
        prompt = self._wanted_query_prompt
        return self._folder.query_prompt if prompt is None else prompt

    @property
    def _document_prompt(self) -> str:
        prompt = self._wanted_document_prompt
        return self._folder.document_prompt if prompt is None else prompt

    def _load(self) -> LocalModel:
        """The model in memory, shared by all embedders of this process that use it alike."""
        use = Use(
            model=self._model,
            dtype=self._dtype,
            device=self._device,
            runtime=self._runtime,
            is_lasting=self._is_lasting,
            proofs=self._proofs,
        )
        key = (self._folder.path, self._folder.content, use)
        with _loading:
            if key not in _loaded:
                _loaded[key] = LocalModel(self._folder, use)
            return _loaded[key]


def _unknown_token(tokenizer: Tokenizer) -> int | None:
    """The token for what the vocabulary lacks, if there is one: some fall back on bytes."""
    names = (getattr(tokenizer.model, "unk_token", None), "[UNK]", "<unk>")
    ids = (tokenizer.token_to_id(name) for name in names if name)
    return next((token for token in ids if token is not None), None)
