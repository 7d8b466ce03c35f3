"""What an index really holds, read from its files, whoever wrote them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import psycopg
import qdrant_edge as edge

from benchmarks.bare import READ

PAGE: Final = 5000
STAMPS: Final = ("synced_at", "source_revision")
"""Payload fields that every write of the pipeline renews."""

Facts = dict[tuple[str, str], tuple[str, float | None]]
"""Per entity and row id the text and the price."""


def collection_folder(index: Path) -> Path:
    """The one collection of an index of the pipeline."""
    aliases = json.loads((index / "aliases.json").read_text(encoding="utf-8"))
    return index / "collections" / str(aliases["documents"])


def iter_payloads(folder: Path, fields: list[str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Scroll a shard: ids and payloads, in ascending order of id."""
    shard = edge.EdgeShard.load(str(folder))
    try:
        offset = None
        while True:
            request = edge.ScrollRequest(
                offset=offset, limit=PAGE, with_payload=fields, with_vector=False
            )
            records, offset = shard.scroll(request)
            for record in records:
                yield str(record.id), record.payload or {}
            if offset is None:
                return
    finally:
        shard.close()


def write_stamps(folder: Path) -> str:
    """A digest that changes when any point is written, added or removed."""
    told = hashlib.blake2b(digest_size=16)
    for point_id, payload in iter_payloads(folder, list(STAMPS)):
        told.update(f"{point_id} {[payload.get(field) for field in STAMPS]}\n".encode())
    return told.hexdigest()


def count_differences(url: str, folder: Path) -> int:
    """Rows whose document is missing, stale, wrong or there twice."""
    indexed: Facts = {}
    twice = 0
    for _, payload in iter_payloads(folder, ["type", "dbId", "text", "price"]):
        key = (payload["type"], payload["dbId"])
        twice += key in indexed
        indexed[key] = (payload["text"], payload.get("price"))
    source = _source_facts(url)
    keys = source.keys() | indexed.keys()
    return twice + sum(source.get(key) != indexed.get(key) for key in keys)


def _source_facts(url: str) -> Facts:
    with psycopg.connect(url) as connection:
        return {
            (entity, row_id): (" ".join(filter(None, columns)), price)
            for entity, row_id, _, _, *columns, price in connection.execute(READ)
        }
