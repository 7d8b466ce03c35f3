"""Any service with OpenAI's embeddings interface (``core.ports.Embedder``).

OpenAI itself, Mixedbread, Ollama, Text Embeddings Inference, vLLM and others
answer ``POST {base_url}/embeddings`` in the same way.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Sequence
from functools import cached_property
from typing import Final

import httpx
import numpy as np
from numpy.typing import NDArray

from sync_pipeline.core.addresses import is_this_machine
from sync_pipeline.core.batching import batched_by_size
from sync_pipeline.core.embedded import Embedded
from sync_pipeline.core.errors import ConfigurationError, TransientError, UnusableProxyError
from sync_pipeline.core.hashing import digest
from sync_pipeline.core.point import check_vectors
from sync_pipeline.core.retrying import Retries
from sync_pipeline.core.spending import Tariff
from sync_pipeline.core.vocabulary import TokenCount
from sync_pipeline.embedding.openai_interface import checked_url, read_vectors, refusal
from sync_pipeline.embedding.vectors import normalised

OPENAI_URL: Final = "https://api.openai.com/v1"

_KNOWN_DIMENSIONS: Final = {
    "text-embedding-3-small": 1536,
    "text-embedding-3-large": 3072,
    "text-embedding-ada-002": 1536,
}
_MAX_REQUEST_CHARACTERS: Final = 200_000
"""OpenAI takes 300,000 tokens a request; a token is rarely less than a character."""
_TOKENS_AROUND_A_TEXT: Final = 8
_TIMEOUT: Final = httpx.Timeout(60, connect=10)


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
        max_batch: Most texts per request.
        retries: How often and how long to wait.
        sleep: Waits; tests replace it.

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
        max_batch: int = 64,
        retries: Retries = Retries(),  # noqa: B008 - frozen
    ) -> None:
        self.max_batch = max_batch
        self.max_batch_bytes: int | None = _MAX_REQUEST_CHARACTERS
        self.concurrency = 1
        self.tariff = Tariff(is_service=True)
        self._model = model
        self._url = checked_url(
            base_url or OPENAI_URL,
            has_key=api_key is not None,
            allows_plain_http=allows_plain_http,
        )
        self._api_key = api_key
        self._known_dimension = dimension or _KNOWN_DIMENSIONS.get(model)
        self._shorten = shorten and dimension is not None
        self._revision = revision or ""
        self._query_prompt = query_prompt or ""
        self._document_prompt = document_prompt or ""
        self._retries = retries
        self._client_lock = threading.Lock()
        self._open_client: httpx.Client | None = None

    @property
    def dimension(self) -> int:
        """Length of the vectors; asks the service where nobody has said it."""
        if self._known_dimension is None:
            self._known_dimension = self._request(["dimension"]).shape[1]
        return self._known_dimension

    @cached_property
    def model_id(self) -> str:
        """Model, dimension, revision and document prompt; not where the service is."""
        fingerprint = digest(self._revision, self._document_prompt)[:8]
        return f"openai:{self._model}:{self.dimension}:{fingerprint}"

    def embed(self, texts: Sequence[str]) -> Embedded:
        """Embed documents, keeping their order.

        Raises:
            ConfigurationError: key refused, unknown model, no embeddings service there.
            PermanentError: the service refuses one of the texts.
            TransientError: it kept failing; ``RateLimitedError`` if it asked to wait.
        """
        return self._embed(texts, prompt=self._document_prompt)

    def embed_queries(self, texts: Sequence[str]) -> Embedded:
        """Embed search texts with the query prompt."""
        return self._embed(texts, prompt=self._query_prompt)

    def _embed(self, texts: Sequence[str], *, prompt: str) -> Embedded:
        parts = [
            self._request(batch)
            for batch in batched_by_size(
                (prompt + text for text in texts),
                max_items=self.max_batch,
                max_bytes=_MAX_REQUEST_CHARACTERS,
                size_of=len,
            )
        ]
        empty = np.empty((0, self.dimension), dtype=np.float32)
        return Embedded(
            vectors=np.concatenate([empty, *parts]),
            counts=self.count_unknown(texts),
            truncated=self.find_truncated(texts),
            provider="openai",
        )

    def find_truncated(self, texts: Sequence[str]) -> list[bool]:
        """None: these services refuse a text beyond the window and do not say how long it is.

        (Some can be told to cut silently; nothing in their answer tells.)
        """
        return [False] * len(texts)

    def count_tokens(self, texts: Sequence[str]) -> int:
        """Estimate: the service's tokenizer is not at hand, and a token is about 3 bytes of UTF-8.

        English has more bytes to a token (4), other languages fewer.
        """
        return sum(-(-len(text.encode()) // 3) for text in texts)

    def most_tokens(self, texts: Sequence[str]) -> int:
        """A token is at least a byte, and a service may put a few of its own around a text."""
        prompt = max(len(self._document_prompt.encode()), len(self._query_prompt.encode()))
        return sum(len(text.encode()) + prompt + _TOKENS_AROUND_A_TEXT for text in texts)

    def count_unknown(self, texts: Sequence[str]) -> list[TokenCount]:
        """Nothing is known to be unknown: the service's tokenizer is not at hand."""
        return [TokenCount(tokens=self.count_tokens([text]), unknown=0) for text in texts]

    def close(self) -> None:
        """Close the connections; a later call opens new ones."""
        with self._client_lock:
            if self._open_client is not None:
                self._open_client.close()
                self._open_client = None

    def _request(self, inputs: Sequence[str]) -> NDArray[np.float32]:
        """Vectors of one request's texts, normalised and checked."""
        answer = self._retries.call(lambda: self._post(inputs))
        vectors = normalised(read_vectors(answer, count=len(inputs)))
        if self._known_dimension is None:
            self._known_dimension = vectors.shape[1]
        check_vectors(vectors, dimension=self._known_dimension, origin=f"the model {self._model}")
        return vectors

    def _post(self, inputs: Sequence[str]) -> object:
        """One attempt: the answer as JSON."""
        body: dict[str, object] = {
            "model": self._model,
            "input": list(inputs),
            "encoding_format": "float",
        }
        if self._shorten:
            body["dimensions"] = self._known_dimension
        try:
            response = self._client().post(self._url, json=body)
        except httpx.RequestError as error:
            raise TransientError(
                f"{self._url} did not answer ({type(error).__name__}).",
                remedy="Check that the embedding "
                "service is running and can be reached from here, then run it again.",
            ) from error
        if response.status_code != httpx.codes.OK:
            raise refusal(response, url=self._url, model=self._model)
        try:
            return response.json()
        except ValueError as error:
            raise ConfigurationError(
                f"{self._url} answered 200 without JSON: no embeddings service is there.",
                remedy="Check `embedding.base_url`; it usually ends in /v1.",
            ) from error

    def _new_client(self) -> httpx.Client:
        key = self._api_key
        host = httpx.URL(self._url).host
        # A proxy named in the environment must not see a key sent to this machine.
        may_use_proxy = self._url.startswith("https:") and not is_this_machine(host)
        try:
            return httpx.Client(
                headers={} if key is None else {"Authorization": f"Bearer {key}"},
                timeout=_TIMEOUT,
                follow_redirects=False,
                trust_env=may_use_proxy,
            )
        except (ImportError, ValueError, httpx.InvalidURL) as error:
            # About the proxy: without `socksio` httpx has no SOCKS.
            if not may_use_proxy:
                raise
            raise UnusableProxyError(host=host) from error

    def _client(self) -> httpx.Client:
        with self._client_lock:
            if self._open_client is None:
                client = self._new_client()
                # Whoever forgets to close it leaves no open sockets behind.
                weakref.finalize(self, client.close)
                self._open_client = client
            return self._open_client
