"""Any service with OpenAI's embeddings interface (``core.ports.Embedder``).

OpenAI itself, Mixedbread, Ollama, Text Embeddings Inference, vLLM and others
answer ``POST {base_url}/embeddings`` in the same way.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Final
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from sync_pipeline.core.batching import batched_by_size
from sync_pipeline.core.embedded import Embedded, joined
from sync_pipeline.core.errors import (
    PermanentError,
    RateLimitedError,
    SyncPipelineError,
    TransientError,
)
from sync_pipeline.core.hashing import digest
from sync_pipeline.core.point import check_vectors
from sync_pipeline.core.ports import BatchEmbedder, RateLimiter
from sync_pipeline.core.rate_limits import (
    NOTHING_STATED,
    UNSTATED_BLOCK_SECONDS,
    StatedLimits,
)
from sync_pipeline.core.retrying import Retries
from sync_pipeline.core.spending import Tariff
from sync_pipeline.core.vocabulary import BYTES_PER_TOKEN, TokenCount
from sync_pipeline.core.waiting import wait
from sync_pipeline.embedding.openai_batches import OpenAIBatches
from sync_pipeline.embedding.openai_client import Answer, EmbeddingsClient, EncodingFormat
from sync_pipeline.embedding.openai_interface import checked_url, read_tokens, read_vectors
from sync_pipeline.embedding.rate_limits import LocalRateLimiter, await_turn, settle
from sync_pipeline.embedding.stated_limits import stated_limits
from sync_pipeline.embedding.vectors import normalised

OPENAI_URL: Final = "https://api.openai.com/v1"

_KNOWN_DIMENSIONS: Final = {
    "text-embedding-3-small": 1536,
    "text-embedding-3-large": 3072,
    "text-embedding-ada-002": 1536,
}
_MAX_REQUEST_BYTES: Final = 300_000
"""OpenAI takes 300,000 tokens a request, and a token is never less than a byte."""
_TOKENS_AROUND_A_TEXT: Final = 8
_ANY_TEXT: Final = "dimension"
"""Embedded to see how long vectors are."""
_QUERY_ATTEMPTS: Final = 2
_QUERY_WAIT_SECONDS: Final = 0.5
_REQUESTS_PER_MINUTE_AT_LEAST: Final = 12
"""So many requests should a minute's allowance of tokens be good for, so that they spread."""


@dataclass(frozen=True, slots=True)
class _Kind:
    """What is asked for: documents, or searches."""

    prompt: str
    fields: Mapping[str, object]
    goes_ahead: bool = False


class OpenAIEmbedder:
    """Asks a service for vectors; transient failures are retried here.

    Args:
        model: As the service names it.
        base_url: Up to and without ``/embeddings``; None for OpenAI itself.
        api_key: Sent as a bearer token, over https or to this machine only.
        allows_plain_http: Send it over http to another machine too.
        dimension: Length of the vectors. Where it is None and the model is not one of
            OpenAI's, the first question for it embeds one word to find out.
        shorten: Ask the service for vectors of ``dimension`` (``text-embedding-3`` can).
        revision: Anything that names the model's version; a new one embeds all texts anew.
        query_prompt: Put before search texts, for models that are trained so.
        document_prompt: Put before documents.
        query_fields: Of the request for search texts besides, which only this service knows.
        document_fields: The same for documents.
        encoding_format: How the service is to write vectors.
        max_batch: Most texts per request.
        concurrency: Calls worth having under way at the same time.
        tokens_per_minute: What the service allows, where that is known; requests are cut so
            that none takes much of it.
        timeout_seconds: Longest wait for an answer.
        batch_from_texts: From so many missing texts on, they are embedded by the batch; None:
            never.
        limiter: Says when a request may be sent; None: this embedder keeps to what the service
            states by itself.
        retries: How often and how long to wait.

    Raises:
        ConfigurationError: the address is unusable or unsafe.
    """

    def __init__(
        self,
        *,
        model: str,
        base_url: str | None = None,
        api_key: str | None = None,
        allows_plain_http: bool = False,
        dimension: int | None = None,
        shorten: bool = False,
        revision: str | None = None,
        query_prompt: str | None = None,
        document_prompt: str | None = None,
        query_fields: Mapping[str, object] | None = None,
        document_fields: Mapping[str, object] | None = None,
        encoding_format: EncodingFormat = "float",
        max_batch: int = 64,
        concurrency: int = 4,
        tokens_per_minute: int | None = None,
        timeout_seconds: float = 60.0,
        batch_from_texts: int | None = None,
        limiter: RateLimiter | None = None,
        retries: Retries = Retries(),  # noqa: B008 - frozen
    ) -> None:
        self.max_batch = max_batch
        self.concurrency = concurrency
        self.tariff = Tariff(is_service=True)
        self._batch_from_texts = batch_from_texts
        self._model = model
        self._url = checked_url(
            base_url or OPENAI_URL,
            has_key=api_key is not None,
            allows_plain_http=allows_plain_http,
        )
        self._host = urlsplit(self._url).hostname or ""
        self._known_dimension = dimension or _KNOWN_DIMENSIONS.get(model)
        self._untold: deque[Embedded] = deque()
        """What finding out the dimension took, until the next answer counts it in."""
        self._shorten = shorten and dimension is not None
        self._revision = revision or ""
        self._queries = _Kind(query_prompt or "", query_fields or {}, goes_ahead=True)
        self._documents = _Kind(document_prompt or "", document_fields or {})
        self._encoding_format: EncodingFormat = encoding_format
        self._request_bytes = _request_bytes(tokens_per_minute)
        prompts = max_batch * len(self._documents.prompt.encode())
        self.max_batch_bytes: int | None = max(1, self._request_bytes - prompts)
        self._limiter: RateLimiter = limiter or LocalRateLimiter()
        self._sleep = partial(wait, sleep=retries.sleep)
        self._retries = replace(retries, sleep=self._sleep)
        # Somebody waits for a search.
        self._query_retries = replace(
            self._retries,
            attempts=min(retries.attempts, _QUERY_ATTEMPTS),
            first_wait_seconds=min(retries.first_wait_seconds, _QUERY_WAIT_SECONDS),
        )
        self._client = EmbeddingsClient(
            url=self._url, api_key=api_key, timeout_seconds=timeout_seconds
        )

    @property
    def dimension(self) -> int:
        """Length of the vectors; asks the service where nobody has said it."""
        if self._known_dimension is None:
            answer = self._ask([_ANY_TEXT], self._documents)
            self._untold.append(answer)
            self._known_dimension = answer.vectors.shape[1]
        return self._known_dimension

    @cached_property
    def model_id(self) -> str:
        """Model, dimension, revision, document prompt and fields; not where the service is."""
        fields = self._documents.fields
        told = [json.dumps(fields, sort_keys=True)] if fields else []
        fingerprint = digest(self._revision, self._documents.prompt, *told)[:8]
        return f"openai:{self._model}:{self.dimension}:{fingerprint}"

    def embed(self, texts: Sequence[str]) -> Embedded:
        """Embed documents, keeping their order.

        Raises:
            ConfigurationError: key refused, unknown model, no embeddings service there.
            PermanentError: the service refuses one of the texts.
            TransientError: it kept failing; ``RateLimitedError`` if it asked to wait.
            StoppedError: asked to stop while waiting.
        """
        return self._embed(texts, self._documents)

    def embed_queries(self, texts: Sequence[str]) -> Embedded:
        """Embed search texts with the query prompt; they do not queue behind documents."""
        return self._embed(texts, self._queries)

    def find_truncated(self, texts: Sequence[str]) -> list[bool]:
        """None: these services refuse a text beyond the window and do not say how long it is.

        (Some can be told to cut silently; nothing in their answer tells.)
        """
        return [False] * len(texts)

    def count_tokens(self, texts: Sequence[str]) -> int:
        """Estimate: the service's tokenizer is not at hand."""
        return sum(count.tokens for count in self.count_unknown(texts))

    def most_tokens(self, texts: Sequence[str]) -> int:
        """A token is at least a byte, and a service may put a few of its own around a text."""
        prompt = max(len(kind.prompt.encode()) for kind in (self._documents, self._queries))
        charged = [*texts, _ANY_TEXT] if self._untold else texts
        return sum(len(text.encode()) + prompt + _TOKENS_AROUND_A_TEXT for text in charged)

    def count_unknown(self, texts: Sequence[str]) -> list[TokenCount]:
        """Nothing is known to be unknown: the service's tokenizer is not at hand."""
        return [TokenCount.estimated(text) for text in texts]

    @cached_property
    def by_batch(self) -> BatchEmbedder | None:
        """The same model by the batch, where that is wanted."""
        if self._batch_from_texts is None:
            return None
        return OpenAIBatches(
            self._client,
            model=self._model,
            dimension=self.dimension,
            prompt=self._documents.prompt,
            fields={
                **self._documents.fields,
                **({"dimensions": self.dimension} if self._shorten else {}),
            },
            from_texts=self._batch_from_texts,
            retries=self._retries,
        )

    def close(self) -> None:
        """Close the connections; a later call opens new ones."""
        self._client.close()

    def _embed(self, texts: Sequence[str], kind: _Kind) -> Embedded:
        prompt_bytes = len(kind.prompt.encode())
        parts: list[Embedded] = []
        try:
            for batch in batched_by_size(
                texts,
                max_items=self.max_batch,
                max_bytes=self._request_bytes,
                size_of=lambda text: prompt_bytes + len(text.encode()),
            ):
                parts.append(self._ask(batch, kind))  # noqa: PERF401 - what there was is counted
        except TransientError as error:
            error.unanswered_calls += _calls_of(parts)
            raise
        except PermanentError as error:
            error.charged_calls += _calls_of(parts)
            raise
        answer = joined(parts, dimension=self.dimension, provider=self._host)
        try:
            return answer.besides(self._untold.pop()) if parts else answer
        except IndexError:
            return answer

    def _ask(self, texts: Sequence[str], kind: _Kind) -> Embedded:
        """The answer to one request, checked, after as many attempts as it takes."""
        inputs = [kind.prompt + text for text in texts]
        lost = 0

        def attempt() -> Answer:
            nonlocal lost
            try:
                return self._attempt(inputs, kind)
            except TransientError as error:
                lost += error.unanswered_calls
                error.unanswered_calls = lost
                raise

        retries = self._query_retries if kind.goes_ahead else self._retries
        try:
            answer = retries.call(attempt)
        except PermanentError as error:
            error.charged_calls = lost
            raise
        try:
            vectors = self._vectors(answer, count=len(inputs))
        except PermanentError as error:
            error.charged_calls = lost + 1
            raise
        return Embedded(
            vectors=vectors,
            counts=self.count_unknown(texts),
            truncated=self.find_truncated(texts),
            provider=self._host,
            stated_tokens=read_tokens(answer.body, texts=inputs),
            unanswered_calls=lost,
        )

    def _vectors(self, answer: Answer, *, count: int) -> NDArray[np.float32]:
        """One per text, or nothing is used."""
        vectors = normalised(
            read_vectors(answer.body, count=count, is_base64=self._encoding_format == "base64")
        )
        if self._known_dimension is None:
            self._known_dimension = vectors.shape[1]
        check_vectors(vectors, dimension=self._known_dimension, origin=f"the model {self._model}")
        return vectors

    def _attempt(self, inputs: Sequence[str], kind: _Kind) -> Answer:
        """Send one request when it may be sent, and tell the limiter what became of it."""
        expected = self.count_tokens(inputs)
        await_turn(
            self._limiter,
            tokens=expected,
            goes_ahead=kind.goes_ahead,
            service=self._url,
            sleep=self._sleep,
        )
        try:
            answer = self._client.embed(
                inputs,
                model=self._model,
                dimensions=self._known_dimension if self._shorten else None,
                encoding_format=self._encoding_format,
                fields=kind.fields,
            )
        except SyncPipelineError as error:
            self._settle_failure(error, expected=expected)
            raise
        taken = read_tokens(answer.body, texts=inputs)
        settle(
            self._limiter,
            expected=expected,
            taken=expected if taken is None else taken,
            stated=stated_limits(answer.headers),
        )
        return answer

    def _settle_failure(self, error: SyncPipelineError, *, expected: int) -> None:
        """Give back what was refused, and have everybody wait where the service asked to."""
        if not isinstance(error, TransientError):
            settle(self._limiter, expected=expected, taken=0, stated=NOTHING_STATED)
            return
        closed_seconds = error.retry_after_seconds
        if closed_seconds is None:
            closed_seconds = UNSTATED_BLOCK_SECONDS if isinstance(error, RateLimitedError) else 0.0
        settle(
            self._limiter,
            expected=expected,
            # A refused request is no reason to ask sooner: the pace stays as it was.
            taken=expected if error.unanswered_calls or closed_seconds else 0,
            stated=StatedLimits(closed_seconds=closed_seconds),
        )


def _calls_of(parts: Sequence[Embedded]) -> int:
    """Requests that were answered, or may have been, and are lost with the rest of a call."""
    return sum(part.calls + part.unanswered_calls for part in parts)


def _request_bytes(tokens_per_minute: int | None) -> int:
    """Most bytes of a request."""
    if tokens_per_minute is None:
        return _MAX_REQUEST_BYTES
    tokens = tokens_per_minute // _REQUESTS_PER_MINUTE_AT_LEAST
    return max(1, min(_MAX_REQUEST_BYTES, tokens * BYTES_PER_TOKEN))
