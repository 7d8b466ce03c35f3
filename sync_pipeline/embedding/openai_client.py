"""The official client of OpenAI's interface, as far as embeddings need it."""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import urlsplit

from sync_pipeline.core.addresses import is_this_machine
from sync_pipeline.core.errors import TransientError, UnusableProxyError
from sync_pipeline.embedding.openai_interface import read_json, refusal

if TYPE_CHECKING:
    import openai
    from openai.types import Batch

_NAME_OF_BATCH: Final = "sync_pipeline"
_BATCHES_LOOKED_AT: Final = 2000
"""Newest batches of an account that are searched for one of ours."""

EncodingFormat = Literal["float", "base64"]

_CONNECT_SECONDS: Final = 10.0
_NOT_SENT: Final = frozenset(
    {"ConnectError", "ConnectTimeout", "PoolTimeout", "ProxyError", "UnsupportedProtocol"}
)
"""Failures of httpx before a request was on its way; after others nobody knows whether the
service did what was asked."""
_SENT_HEADERS: Final = frozenset(
    {
        "accept", "accept-encoding", "authorization", "connection", "content-length",
        "content-type", "host", "user-agent", "x-stainless-raw-response",
    }
)  # fmt: skip
"""All that a service is told. The client adds what it finds in the environment, which may be
meant for another service (``OPENAI_CUSTOM_HEADERS``, ``OPENAI_ORG_ID``), and what machine it runs
on; by the last one it knows its own requests again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a service answered."""

    body: object
    """Its JSON, unchecked."""
    headers: Mapping[str, str]
    """Whatever the case of their names."""


class EmbeddingsClient:
    """Sends requests, each once: whether to try again is decided elsewhere.

    It is the client of the package ``openai`` without what it would take from the environment:
    keys, headers and addresses are those given here, proxies are those of the environment where
    the service is another machine and asked over https. No redirect is followed.

    Args:
        url: Of the embeddings, as ``openai_interface.checked_url`` gives it.
        api_key: Sent as a bearer token.
        timeout_seconds: Longest wait for an answer.
    """

    def __init__(self, *, url: str, api_key: str | None, timeout_seconds: float) -> None:
        self._url = url
        self._api_key = api_key
        self._timeout_seconds = timeout_seconds
        self._lock = threading.Lock()
        self._opened: openai.OpenAI | None = None

    def embed(
        self,
        texts: Sequence[str],
        *,
        model: str,
        dimensions: int | None,
        encoding_format: EncodingFormat = "float",
        fields: Mapping[str, object] | None = None,
    ) -> Answer:
        """Ask for the vectors of texts.

        Args:
            texts: Non-empty strings.
            model: As the service names it.
            dimensions: Length to cut the vectors to; None: as the model has them.
            encoding_format: How the vectors are to be written.
            fields: Of the request besides, which only this service knows.

        Raises:
            ConfigurationError: key refused, unknown model, no embeddings service there.
            PermanentError: the service refuses a text.
            TransientError: no answer, or one that can be another later.
        """
        client = self._client()
        import openai  # noqa: PLC0415 - 1.2 s

        with self._errors(model):
            raw = client.embeddings.with_raw_response.create(
                input=list(texts),
                model=model,
                encoding_format=encoding_format,
                dimensions=openai.omit if dimensions is None else dimensions,
                extra_body=fields or None,
            )
        return Answer(body=read_json(raw.content, url=self._url), headers=raw.headers)

    def start_batch(self, lines: bytes, *, name: str) -> str:
        """Hand a file of requests over; what the service calls the batch.

        Args:
            lines: A request per line, as JSON.
            name: Kept with the batch.

        Raises:
            SyncPipelineError: as ``embed``.
        """
        client = self._client()
        with self._errors("the batch"):
            file = client.files.create(file=(f"{name}.jsonl", lines), purpose="batch")
            batch = client.batches.create(
                input_file_id=file.id,
                endpoint="/v1/embeddings",
                completion_window="24h",
                metadata={_NAME_OF_BATCH: name},
            )
        return batch.id

    def find_batch(self, name: str) -> str | None:
        """The newest batch that was handed over under a name; None for none."""
        with self._errors("the batches"):
            for batch in islice(self._client().batches.list(limit=100), _BATCHES_LOOKED_AT):
                if (batch.metadata or {}).get(_NAME_OF_BATCH) == name:
                    return batch.id
        return None

    def look_at_batch(self, batch_id: str) -> Batch | None:
        """What the service says of a batch; None where it knows none of that id."""
        import openai  # noqa: PLC0415 - 1.2 s

        with self._errors("the batch"):
            try:
                return self._client().batches.retrieve(batch_id)
            except openai.NotFoundError:
                return None

    def read_lines(self, file_id: str) -> Iterator[str]:
        """A file of the service, line by line."""
        files = self._client().files.with_streaming_response
        with self._errors("the answers"), files.content(file_id) as response:
            yield from response.iter_lines()

    def delete_file(self, file_id: str) -> None:
        """Remove a file from the service."""
        with self._errors("a file"):
            self._client().files.delete(file_id)

    def close(self) -> None:
        """Close the connections; a later call opens new ones."""
        with self._lock:
            if self._opened is not None:
                self._opened.close()
                self._opened = None

    @contextmanager
    def _errors(self, what: str) -> Iterator[None]:
        """Translate the client's errors."""
        import httpx2  # noqa: PLC0415 - comes with it
        import openai  # noqa: PLC0415 - 1.2 s

        try:
            yield
        except openai.APIStatusError as error:
            raise refusal(error.response, url=self._url, model=what) from error
        except (openai.APIConnectionError, httpx2.HTTPError) as error:
            # The client translates nothing while a file is being read.
            raise self._unanswered(error) from error

    def _unanswered(self, error: Exception) -> TransientError:
        reason = type(error.__cause__ or error).__name__
        return TransientError(
            f"{self._url} did not answer ({reason}).",
            remedy="Check that the embedding "
            "service is running and can be reached from here, then run it again.",
            unanswered_calls=int(reason not in _NOT_SENT),
        )

    def _client(self) -> openai.OpenAI:
        with self._lock:
            if self._opened is None:
                client = self._new_client()
                # Whoever forgets to close it leaves no open sockets behind.
                weakref.finalize(self, client.close)
                self._opened = client
            return self._opened

    def _new_client(self) -> openai.OpenAI:
        import openai  # noqa: PLC0415 - 1.2 s

        # At DEBUG the client logs whole requests, which are texts of documents; OPENAI_LOG, which
        # it reads when it is imported, may have asked for that.
        logger = logging.getLogger("openai")
        logger.setLevel(max(logger.level, logging.INFO))
        parts = urlsplit(self._url)
        host = parts.hostname or ""
        # A proxy named in the environment must not see a key sent to this machine.
        may_use_proxy = parts.scheme == "https" and not is_this_machine(host)
        timeout = openai.Timeout(
            self._timeout_seconds, connect=min(_CONNECT_SECONDS, self._timeout_seconds)
        )
        try:
            http_client = openai.DefaultHttpxClient(
                timeout=timeout,
                follow_redirects=False,
                trust_env=may_use_proxy,
                event_hooks={"request": [_with_own_headers(self._api_key)]},
            )
        except (ImportError, ValueError) as error:
            # About the proxy: without `socksio` httpx has no SOCKS.
            if not may_use_proxy:
                raise
            raise UnusableProxyError(host=host) from error
        return openai.OpenAI(
            base_url=self._url.removesuffix("/embeddings"),
            # What is given is not looked for in the environment; the hook has the last word.
            api_key=self._api_key or "none",
            organization="",
            project="",
            timeout=timeout,
            max_retries=0,
            http_client=http_client,
        )


def _with_own_headers(api_key: str | None) -> Callable[[Any], None]:
    """What is done to each request before it is sent."""

    def hook(request: Any) -> None:
        for name in [name for name in request.headers if name.lower() not in _SENT_HEADERS]:
            del request.headers[name]
        if api_key is None:
            request.headers.pop("Authorization", None)
        else:
            request.headers["Authorization"] = f"Bearer {api_key}"

    return hook
