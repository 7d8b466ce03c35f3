"""OpenAI's batch interface: half the price, within a day (``core.ports.BatchEmbedder``)."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from typing import Any, Final

from sync_pipeline.core.errors import PermanentError, SyncPipelineError
from sync_pipeline.core.point import check_vectors
from sync_pipeline.core.ports import BatchAnswer, BatchProgress
from sync_pipeline.core.retrying import Retries
from sync_pipeline.embedding.openai_client import EmbeddingsClient
from sync_pipeline.embedding.openai_interface import read_vectors
from sync_pipeline.embedding.vectors import normalised

_OVER: Final = frozenset({"completed", "failed", "expired", "cancelled"})
_QUEUE_FULL: Final = "token_limit_exceeded"
"""What a batch failed with because as many tokens as the account may have wait already."""
_OK: Final = 200

_log: Final = logging.getLogger(__name__)


class OpenAIBatches:
    """One model by the batch.

    Each text is a request of its own, whose id is the hash of the text: so nothing is matched by
    its place.

    Args:
        client: Of the service.
        model: As the service names it.
        dimension: Length of the vectors.
        prompt: Put before documents.
        fields: Of each request besides.
        from_texts: Fewer are not worth a batch.
        retries: For what may be asked twice; handing over is not.
    """

    max_batch_texts = 50_000

    def __init__(
        self,
        client: EmbeddingsClient,
        *,
        model: str,
        dimension: int,
        prompt: str,
        fields: Mapping[str, object],
        from_texts: int,
        retries: Retries,
    ) -> None:
        self._client = client
        self._model = model
        self._dimension = dimension
        self._prompt = prompt
        self._fields = dict(fields)
        self.from_texts = from_texts
        self._retries = retries

    def submit(self, texts: Mapping[str, str], *, name: str) -> str:
        """Hand texts over, once."""
        lines = "\n".join(json.dumps(self._request(key, text)) for key, text in texts.items())
        return self._client.start_batch(lines.encode(), name=name)

    def find(self, name: str) -> str | None:
        """The batch of a name, among the newest of the account."""
        return self._retries.call(lambda: self._client.find_batch(name))

    def look(self, batch_id: str) -> BatchProgress:
        """How far it is."""
        batch = self._retries.call(lambda: self._client.look_at_batch(batch_id))
        if batch is None:
            return BatchProgress(is_over=True)
        errors = batch.errors.data if batch.errors and batch.errors.data else []
        return BatchProgress(
            is_over=batch.status in _OVER,
            is_queue_full=any(error.code == _QUEUE_FULL for error in errors),
            done=batch.request_counts.completed if batch.request_counts else 0,
        )

    def iter_answers(self, batch_id: str) -> Iterator[BatchAnswer]:
        """The answers, in any order; an unusable one is no vector."""
        batch = self._retries.call(lambda: self._client.look_at_batch(batch_id))
        if batch is None or batch.output_file_id is None:
            return
        seen: set[str] = set()
        for line in self._client.read_lines(batch.output_file_id):
            answer = self._read(line)
            if answer is not None and answer.text_hash not in seen:
                seen.add(answer.text_hash)
                yield answer

    def discard(self, batch_id: str) -> None:
        """Remove its files; they would go by themselves after a month."""
        try:
            batch = self._client.look_at_batch(batch_id)
            if batch is None:
                return
            for file_id in (batch.input_file_id, batch.output_file_id, batch.error_file_id):
                if file_id is not None:
                    self._client.delete_file(file_id)
        except SyncPipelineError as error:
            _log.warning("the files of a collected batch stay at the service: %s", error)

    def _request(self, text_hash: str, text: str) -> dict[str, object]:
        return {
            "custom_id": text_hash,
            "method": "POST",
            "url": "/v1/embeddings",
            "body": {
                **self._fields,
                "model": self._model,
                "input": [self._prompt + text],
                "encoding_format": "base64",
            },
        }

    def _read(self, line: str) -> BatchAnswer | None:
        """The answer of a line; None for a line of nobody."""
        said: Any = _parsed(line)
        text_hash = said.get("custom_id") if isinstance(said, dict) else None
        if not isinstance(text_hash, str):
            return None
        response = said.get("response")
        if not isinstance(response, dict) or response.get("status_code") != _OK:
            return BatchAnswer(text_hash=text_hash, vector=None, tokens=0)
        body = response.get("body")
        tokens = _tokens(body)
        try:
            vectors = normalised(read_vectors(body, count=1, is_base64=True))
            check_vectors(
                vectors, dimension=self._dimension, origin=f"a batch of the model {self._model}"
            )
        except PermanentError as error:
            _log.warning("an answer of a batch is not used: %s", error)
            return BatchAnswer(text_hash=text_hash, vector=None, tokens=tokens)
        return BatchAnswer(text_hash=text_hash, vector=vectors[0], tokens=tokens)


def _parsed(line: str) -> object:
    try:
        return json.loads(line)
    except ValueError:
        return None


def _tokens(body: object) -> int:
    usage = body.get("usage") if isinstance(body, dict) else None
    stated = usage.get("total_tokens") if isinstance(usage, dict) else None
    return stated if type(stated) is int and stated > 0 else 0
