"""What stored payloads say about their points, and how rankings are joined: no Qdrant here."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Final, Protocol, TypeVar

import numpy as np

from sync_pipeline.core.conditions import plan_conditions
from sync_pipeline.core.errors import NewerPayloadError
from sync_pipeline.core.payload import (
    EMBED_HASH,
    PAYLOAD_HASH,
    PAYLOAD_SCHEMA_VERSION,
    REVISION,
    SCHEMA_VERSION,
    SCOPE_KEY,
    Payload,
    content_digest,
    embed_hashes_of,
    revision_of,
    schema_version_of,
    text_field,
)
from sync_pipeline.core.point import PointDigests, SearchQuery, StoredPoint

T = TypeVar("T")

DIGEST_FIELDS: Final = (EMBED_HASH, PAYLOAD_HASH, SCHEMA_VERSION)
"""Payload fields that ``iter_digests`` reads."""
OWNER_FIELDS: Final = (SCOPE_KEY, REVISION)
"""Payload fields that ``delete`` reads."""

Page = tuple[Sequence[tuple[str, Payload]], str | None]
"""Ids and payloads in ascending order of id, and the id that the next page starts at."""


def has_words(query: SearchQuery) -> bool:
    """Whether there are BM25 weights to rank by; a text of stop words has none."""
    return query.sparse is not None and bool(query.sparse.indices)


def finds_nothing(query: SearchQuery) -> bool:
    """Whether no point can match: a field that accepts no value, or nothing to rank by.

    To an engine an empty list of conditions means "everything", or an error.
    """
    return plan_conditions(query.filters) is None or not (query.vectors or has_words(query))


def require_known_payloads(payloads: Collection[Payload]) -> None:
    """Refuse what was read if a newer program wrote any of it.

    Every payload that leaves a store passes here first.

    Raises:
        NewerPayloadError: saying how many.
    """
    versions = map(schema_version_of, payloads)
    newer = [
        version for version in versions if version is not None and version > PAYLOAD_SCHEMA_VERSION
    ]
    if newer:
        raise NewerPayloadError(
            points=len(newer),
            read=len(payloads),
            newest=max(newer),
            supported=PAYLOAD_SCHEMA_VERSION,
        )


def known_points(points: Iterable[StoredPoint]) -> list[StoredPoint]:
    """Points that were read, if this program knows all of them.

    Raises:
        NewerPayloadError: see ``require_known_payloads``.
    """
    read_points = list(points)
    require_known_payloads([point.payload for point in read_points])
    return read_points


def known_hits(hits: Iterable[tuple[float, StoredPoint]]) -> list[tuple[float, StoredPoint]]:
    """Hits of a search, if this program knows all of them.

    Raises:
        NewerPayloadError: see ``require_known_payloads``.
    """
    read_hits = list(hits)
    require_known_payloads([point.payload for _, point in read_hits])
    return read_hits


def is_written(payload: Payload, *, over: Payload) -> bool:
    """Whether a stored payload shows that ``payload`` was written, or lost to a newer one.

    Args:
        payload: What was sent.
        over: What the point carries now.
    """
    sent, stored = revision_of(payload), revision_of(over)
    if sent is not None and stored is not None and stored > sent:
        return True
    return bool(json.loads(json.dumps(payload)) == over)


def is_deletable(payload: Payload, *, scope_key: str, up_to_revision: int | None) -> bool:
    """Whether a delete means a point that carries this payload.

    Args:
        payload: What the point carries now.
        scope_key: Whose points are deleted.
        up_to_revision: Newer points are spared; None spares none.
    """
    if payload.get(SCOPE_KEY) != scope_key:
        return False
    revision = revision_of(payload)
    return up_to_revision is None or revision is None or revision <= up_to_revision


def by_revision(
    items: Iterable[T], payload_of: Callable[[T], Payload]
) -> dict[int | None, list[T]]:
    """Group what is to be written by its revision: a condition holds for a whole request."""
    groups: dict[int | None, list[T]] = {}
    for item in items:
        groups.setdefault(revision_of(payload_of(item)), []).append(item)
    return groups


def iter_page_digests(
    fetch: Callable[[str | None], Page],
    *,
    views: Sequence[str],
    start: str | None,
    stop: str | None,
) -> Iterator[PointDigests]:
    """Turn the pages of a scroll into digests, up to and without ``stop``.

    Args:
        fetch: Reads the page that starts at an id, inclusive.
        views: See ``VectorStore.iter_digests``.
        start: Where the first page starts.
        stop: First id that no longer belongs to the range.
    """
    offset = start
    while True:
        rows, offset = fetch(offset)
        require_known_payloads([payload for _, payload in rows])
        if stop is not None and (offset is None or offset >= stop):
            rows = [row for row in rows if row[0] < stop]
            offset = None
        if rows:
            yield _digests(rows, views=views)
        if offset is None:
            return


class FacetHit(Protocol):
    """How often a value occurs."""

    @property
    def value(self) -> object:
        """The value."""

    @property
    def count(self) -> int:
        """In how many points."""


def facet_counts(hits: Iterable[FacetHit]) -> dict[str, int]:
    """Points per value; Edge also lists values whose last point is gone."""
    return {str(hit.value): hit.count for hit in hits if hit.count}


def count_pages(fetch: Callable[[str | None], Page], *, field: str) -> dict[str, int]:
    """Count points per value of a field by reading them all: what is true if an index is not.

    Points without the field count under the empty text.
    """
    return dict(Counter(iter_values(fetch, field=field)))


def iter_values(fetch: Callable[[str | None], Page], *, field: str) -> Iterator[str]:
    """A field of every point; the empty text of one without it."""
    offset = None
    while True:
        rows, offset = fetch(offset)
        yield from (str(payload.get(field, "")) for _, payload in rows)
        if offset is None:
            return


def _digests(rows: Sequence[tuple[str, Payload]], *, views: Sequence[str]) -> PointDigests:
    return PointDigests(
        point_ids=np.array([point_id for point_id, _ in rows], dtype="S36"),
        contents=np.array(
            [content_digest(embed_hashes_of(payload), views).encode() for _, payload in rows],
            dtype="S32",
        ),
        payloads=np.array(
            [(text_field(payload, PAYLOAD_HASH) or "").encode() for _, payload in rows],
            dtype="S32",
        ),
    )
