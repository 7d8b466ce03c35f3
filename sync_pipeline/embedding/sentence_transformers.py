"""Models that run in this process (``core.ports.Embedder``)."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
from tokenizers import Tokenizer

from sync_pipeline.core.embedded import Embedded, joined
from sync_pipeline.core.errors import ModelUnavailableError
from sync_pipeline.core.hashing import digest
from sync_pipeline.core.ports import BatchEmbedder
from sync_pipeline.core.spending import FREE
from sync_pipeline.core.vocabulary import TokenCount
from sync_pipeline.embedding.model_folder import BUNDLED, ModelFolder, find_model, read_model
from sync_pipeline.embedding.precision import Dtype, choose_dtype
from sync_pipeline.embedding.vectors import normalised
from sync_pipeline.tuning import reusing_large_blocks

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

PROVIDER: Final = "sentence-transformers"
_CALLS_PER_BATCH: Final = 4
"""A call may hold several passes, so that the pass can be cut by tokens instead of texts."""
_CPU_PASS_TOKENS: Final = 512
"""Most tokens, padding included, that a CPU works on at once.

Measured with the bundled model and English catalogue texts of 22 tokens, texts per second of
CPU time: passes of 384 to 768 tokens 465 in bfloat16 and 160 in float32; the library's
``encode`` with 64 texts each 289 and 74; its best batch size (16) 391 and 129. Beyond that the
activations fall out of the CPU's caches.
"""
_log_loading = logging.getLogger("sync_pipeline.embedding.loading")
"""Tells, before it begins, of what takes seconds without a sign of life; see ``cli.logs``."""
_SPECIAL_TOKENS: Final = 4
"""More than any tokenizer in use puts around a text."""


@dataclass(frozen=True, slots=True)
class _LoadedModel:
    """A model in memory, used by one thread at a time (tokenizers are not thread-safe)."""

    model: SentenceTransformer
    lock: threading.Lock = field(default_factory=threading.Lock)

    def tokens(self, texts: Sequence[str]) -> list[Sequence[int]]:
        """The tokens themselves."""
        if not texts:
            return []
        encoded = self.model.tokenizer(
            list(texts), return_attention_mask=False, return_token_type_ids=False, verbose=False
        )
        ids: list[Sequence[int]] = encoded["input_ids"]
        return ids

    def unknown_counts(self, tokens: Sequence[Sequence[int]]) -> list[TokenCount]:
        """Of each text's tokens, how many stand for something that the vocabulary lacks."""
        tokenizer = self.model.tokenizer
        special, unknown = tokenizer.num_special_tokens_to_add(), tokenizer.unk_token_id
        return [
            TokenCount(tokens=max(0, len(ids) - special), unknown=list(ids).count(unknown))
            for ids in tokens
        ]


_loaded: dict[tuple[object, ...], _LoadedModel] = {}
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
        size = self._load().model.get_embedding_dimension()
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
        loaded = self._load()
        vectors = np.empty((len(texts), self.dimension), dtype=np.float32)
        with loaded.lock, _memory_errors(), reusing_large_blocks():
            tokens = loaded.tokens(texts)
            for places in self._passes(loaded, tokens):
                vectors[places] = loaded.model.encode_document(
                    [texts[place] for place in places],
                    prompt=self._document_prompt,
                    batch_size=len(places),
                    show_progress_bar=False,
                )
        return Embedded(
            vectors=normalised(vectors),
            counts=loaded.unknown_counts(tokens),
            truncated=self.find_truncated(texts),
            provider=PROVIDER,
        )

    def embed_queries(self, texts: Sequence[str]) -> Embedded:
        """Embed search texts with the query prompt."""
        if not texts:
            return joined([], dimension=self.dimension, provider=PROVIDER)
        loaded = self._load()
        with loaded.lock, _memory_errors():
            vectors = loaded.model.encode_query(
                list(texts), prompt=self._query_prompt, show_progress_bar=False
            )
            tokens = loaded.tokens(texts)
        return Embedded(
            vectors=normalised(np.asarray(vectors, dtype=np.float32)),
            counts=loaded.unknown_counts(tokens),
            truncated=[False] * len(texts),
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
        window: int | None = self._load().model.max_seq_length
        return window

    def _token_counts(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text, the special ones included, before anything is cut off."""
        if not texts:
            return []
        if self._tokenizer is not None:
            return [len(encoding.ids) for encoding in self._tokenizer.encode_batch_fast(texts)]
        loaded = self._load()
        with loaded.lock:
            return [len(tokens) for tokens in loaded.tokens(texts)]

    def count_tokens(self, texts: Sequence[str]) -> int:
        """Count with the model's own tokenizer, without the model.

        Estimated at 3 bytes a token for the rare model without a fast tokenizer.
        """
        prompted = [self._document_prompt + text for text in texts]
        if self._tokenizer is None:
            return sum(-(-len(text.encode()) // 3) for text in prompted)
        return sum(len(encoding.ids) for encoding in self._tokenizer.encode_batch_fast(prompted))

    def most_tokens(self, texts: Sequence[str]) -> int:
        """As many as it counts."""
        return sum(count.tokens for count in self.count_unknown(texts))

    def count_unknown(self, texts: Sequence[str]) -> list[TokenCount]:
        """Count tokens and unknown ones, without the model and without prompts.

        Nothing is unknown for the rare model without a fast tokenizer.
        """
        if self._tokenizer is None:
            return [TokenCount(tokens=-(-len(text.encode()) // 3), unknown=0) for text in texts]
        encoded = self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        unknown = _unknown_token(self._tokenizer)
        return [
            TokenCount(
                tokens=len(encoding.ids),
                unknown=0 if unknown is None else encoding.ids.count(unknown),
            )
            for encoding in encoded
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

    def _passes(self, loaded: _LoadedModel, tokens: Sequence[Sequence[int]]) -> Iterator[list[int]]:
        """Positions of the texts of each pass through the model."""
        is_cpu = loaded.model.device.type == "cpu"
        window = loaded.model.max_seq_length
        lengths = [min(len(ids), window or len(ids)) for ids in tokens]
        return plan_passes(
            lengths,
            max_texts=self._batch_size,
            max_tokens=_CPU_PASS_TOKENS if is_cpu else None,
        )

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

    def _load(self) -> _LoadedModel:
        """The model in memory, shared by all embedders of this process that use it alike."""
        key = (self._folder.path, self._folder.content, self._dtype, self._device)
        with _loading:
            if key not in _loaded:
                _loaded[key] = _LoadedModel(self._read_weights())
            return _loaded[key]

    def _read_weights(self) -> SentenceTransformer:
        _log_loading.info("loading the model %s", self._model)
        try:
            import torch  # noqa: PLC0415 - 4 s
            from sentence_transformers import SentenceTransformer  # noqa: PLC0415 - 5 s

            with _quiet_loading():
                return SentenceTransformer(
                    str(self._folder.path),
                    device=None if self._device == "auto" else self._device,
                    trust_remote_code=False,
                    local_files_only=True,
                    model_kwargs={"dtype": getattr(torch, self._dtype), "use_safetensors": True},
                )
        except Exception as error:
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            raise ModelUnavailableError(model=self._model, reason=reason) from error


def _unknown_token(tokenizer: Tokenizer) -> int | None:
    """The token for what the vocabulary lacks, if there is one: some fall back on bytes."""
    names = (getattr(tokenizer.model, "unk_token", None), "[UNK]", "<unk>")
    ids = (tokenizer.token_to_id(name) for name in names if name)
    return next((token for token in ids if token is not None), None)


def plan_passes(
    lengths: Sequence[int], *, max_texts: int, max_tokens: int | None
) -> Iterator[list[int]]:
    """Cut texts into passes of like length.

    Args:
        lengths: Tokens of each text.
        max_texts: Most texts in a pass.
        max_tokens: Most tokens in a pass when each text is padded to its longest; None for no
            limit. A single text may have more.

    Yields:
        Positions in ``lengths``, longest texts first.
    """
    held: list[int] = []
    for place in sorted(range(len(lengths)), key=lambda place: -lengths[place]):
        too_wide = (
            max_tokens is not None and held and (len(held) + 1) * lengths[held[0]] > max_tokens
        )
        if too_wide or len(held) == max_texts:
            yield held
            held = []
        held.append(place)
    if held:
        yield held


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
        if not _is_out_of_memory(error):
            raise
        raise MemoryError("the model ran out of memory; embed fewer texts at once") from error


def _is_out_of_memory(error: RuntimeError) -> bool:
    # torch 2.13 has a class for accelerators (torch.OutOfMemoryError) and none for the CPU,
    # whose allocator says "can't allocate memory" on Linux, "not enough memory" on Windows.
    text = str(error)
    return type(error).__name__ == "OutOfMemoryError" or any(
        sign in text for sign in ("can't allocate memory", "not enough memory")
    )
