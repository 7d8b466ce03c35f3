"""The batch interface of the stub service: files, batches, and what becomes of them."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from sync_pipeline_tests.fakes.embedder import FakeEmbedder

Change = Callable[[list[str]], list[str]]
"""Turns the lines of a right answer file into another one."""


@dataclass(slots=True)
class BatchDesk:
    """Batches that were handed over; a test says when and how each ends."""

    files: dict[str, bytes] = field(default_factory=dict)
    batches: dict[str, dict[str, Any]] = field(default_factory=dict)

    def texts(self) -> list[str]:
        """Every text of every batch that was handed over."""
        return [
            text
            for batch in self.batches.values()
            for request in _requests(self.files[batch["input_file_id"]])
            for text in request["body"]["input"]
        ]

    def finish(
        self, *, status: str = "completed", change: Change = list, error: str | None = None
    ) -> None:
        """End every batch that is under way.

        Args:
            status: What becomes of it.
            change: Applied to the lines of its answers.
            error: Its code, for one that failed.
        """
        for batch in self.batches.values():
            if batch["status"] != "in_progress":
                continue
            batch["status"] = status
            if error is not None:
                batch["errors"] = {"object": "list", "data": [{"code": error, "message": "no"}]}
                continue
            requests = _requests(self.files[batch["input_file_id"]])
            lines = change([json.dumps(_answered(request)) for request in requests][::-1])
            batch["output_file_id"] = f"{batch['id']}-answers"
            self.files[batch["output_file_id"]] = "\n".join(lines).encode()

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        """What is said to a request of a path, and with what status."""
        match method, path.partition("?")[0].removeprefix("/v1/").split("/"):
            case "POST", ["files"]:
                return 200, _json(self._take_file(body))
            case "POST", ["batches"]:
                return 200, _json(self._take_batch(json.loads(body)))
            case "GET", ["batches"]:
                newest = list(self.batches.values())[::-1]
                return 200, _json({"object": "list", "data": newest, "has_more": False})
            case "GET", ["batches", name] if name in self.batches:
                return 200, _json(self.batches[name])
            case "GET", ["files", name, "content"] if name in self.files:
                return 200, self.files[name]
            case "DELETE", ["files", name] if name in self.files:
                del self.files[name]
                return 200, _json({"id": name, "object": "file", "deleted": True})
        return 404, _json({"error": {"code": "not_found"}})

    def _take_file(self, body: bytes) -> dict[str, Any]:
        name = f"file-{len(self.files) + len(self.batches)}"
        found = re.search(rb"name=\"file\".*?\r\n\r\n(.*?)\r\n--", body, flags=re.DOTALL)
        assert found is not None
        assert b"batch" in body
        self.files[name] = found[1]
        return {"id": name, "object": "file", "purpose": "batch", "filename": "x", "bytes": 1}

    def _take_batch(self, request: dict[str, Any]) -> dict[str, Any]:
        name = f"batch-{len(self.batches)}"
        self.batches[name] = {
            "id": name,
            "object": "batch",
            "status": "in_progress",
            "completion_window": request["completion_window"],
            "endpoint": request["endpoint"],
            "input_file_id": request["input_file_id"],
            "metadata": request["metadata"],
            "created_at": 0,
        }
        return self.batches[name]


def _requests(file: bytes) -> Iterator[dict[str, Any]]:
    return (json.loads(line) for line in file.decode().splitlines())


def _answered(request: dict[str, Any]) -> dict[str, Any]:
    (text,) = request["body"]["input"]
    vector = FakeEmbedder(dimension=16).vector(text) * 3
    written = base64.b64encode(vector.astype("<f4").tobytes()).decode()
    body = {
        "data": [{"index": 0, "embedding": written}],
        "usage": {"total_tokens": len(text), "prompt_tokens": len(text)},
    }
    return {
        "custom_id": request["custom_id"],
        "response": {"status_code": 200, "body": body},
        "error": None,
    }


def _json(value: object) -> bytes:
    return json.dumps(value).encode()
