"""What every store refuses before it writes anything, so that all refuse the same.

The embedded engine accepts NaN, zero vectors and wrong lengths of some kinds, a
server refuses some of them with a message of its own: so we look first.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import orjson

from sync_pipeline.core.document import number_fault
from sync_pipeline.core.errors import (
    ConfigurationError,
    InvalidVectorError,
    PermanentError,
    RejectedPointError,
)
from sync_pipeline.core.payload import DOCUMENT_ID, text_field
from sync_pipeline.core.point import (
    MAX_NUMBERS_PER_VIEW,
    CollectionSpec,
    Point,
    SearchQuery,
    SparseVector,
    Vector,
    check_vectors,
)

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,199}")
_POINT_ID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_QUOTED: Final = re.compile(r'"[^"]*"')
_MAX_REASON_CHARACTERS: Final = 200
_NO_POINT: Final = "00000000-0000-0000-0000-000000000000"
_NO_SPARSE: Final = SparseVector((), ())
_SPARSE_INDICES: Final = range(2**32)


class RefusedError(PermanentError):
    """A store refuses a request for what it says; trying again gives the same answer."""

    def __init__(self, *, store: str, doing: str, reason: str) -> None:
        self.reason = reason
        super().__init__(f"{store} refused {doing}: {reason}. Nothing of it can be assumed written")


@dataclass(frozen=True, slots=True)
class VectorShape:
    """One dense vector of a collection."""

    dimension: int
    is_multi: bool = False
    """Whether a point has any number of them, and a search goes by the nearest one (MaxSim)."""


VectorSchema = Mapping[str, VectorShape]
"""The dense vectors that a collection holds, by view."""


def vector_schema(spec: CollectionSpec) -> VectorSchema:
    """What a collection is made for."""
    return {
        view.name: VectorShape(view.dimension, is_multi=view.is_long) for view in spec.view_specs
    }


def check_name(name: str) -> None:
    """Refuse names of aliases and collections that could leave a folder or a URL segment.

    Raises:
        ConfigurationError: naming the characters that are allowed.
    """
    if not _NAME.fullmatch(name):
        raise ConfigurationError(
            f"{name!r} cannot name an alias or a collection: use letters, digits, '_', '-' and "
            "'.', at most 200, the first a letter or digit.",
            remedy="Correct `index.alias`.",
        )


def check_points(points: Sequence[Point], *, schema: VectorSchema) -> None:
    """Refuse a batch of which one point would be refused, stored wrongly, or spoil others.

    Raises:
        InvalidVectorError: see ``check_vectors``; or an unknown view, or sparse weights that
            are not finite, not parallel or not distinct.
        RejectedPointError: see ``check_payloads``.
    """
    _check_dense(points, schema=schema)
    for point in points:
        fault = sparse_fault(point.sparse)
        if fault is not None:
            raise InvalidVectorError(
                f"the BM25 weights of document {_document_id(point.point_id, point.payload)!r} "
                f"{fault}; nothing was written"
            )
    check_payloads((point.point_id, point.payload) for point in points)


def check_query(query: SearchQuery, *, schema: VectorSchema) -> None:
    """Refuse a search that engines would answer in different ways.

    Raises:
        InvalidVectorError: an unknown view, or a query vector or weights that are no use.
    """
    single = {view: replace(shape, is_multi=False) for view, shape in schema.items()}
    check_points(
        [
            Point(
                point_id=_NO_POINT,
                vectors=query.vectors,
                sparse=query.sparse or _NO_SPARSE,
                payload={},
            )
        ],
        schema=single,
    )


def schema_asked_for(query: SearchQuery) -> VectorSchema:
    """What a collection has at least, if a search in it makes sense."""
    return {view: VectorShape(np.asarray(vector).size) for view, vector in query.vectors.items()}


def check_payloads(payloads: Iterable[tuple[str, Mapping[str, object]]]) -> None:
    """Refuse point ids that are not canonical UUIDs and payloads that JSON cannot hold.

    Several spellings of a UUID would name one and the same point.

    Raises:
        RejectedPointError: naming the document, not its content.
    """
    for point_id, payload in payloads:
        fault = None if _POINT_ID.fullmatch(point_id) else "has an id that is not a canonical UUID"
        fault = fault or payload_fault(payload)
        if fault is not None:
            raise RejectedPointError(
                document_id=_document_id(point_id, payload), reason=f"{fault}; nothing was written"
            )


def check_ids(point_ids: Sequence[str]) -> None:
    """Refuse point ids that are not canonical UUIDs.

    Raises:
        PermanentError: naming the first one.
    """
    for point_id in point_ids:
        if not _POINT_ID.fullmatch(point_id):
            raise PermanentError(f"point id {point_id!r} is not a canonical UUID; nothing was done")


def payload_fault(payload: Mapping[str, object]) -> str | None:
    """Say which part of a payload an index cannot hold, or None."""
    for field, value in payload.items():
        fault = None if type(value) is str else number_fault(value)
        if fault is not None:
            return f"payload {field} {fault}"
    try:
        orjson.dumps(payload)
    except orjson.JSONEncodeError as error:
        is_surrogate = "surrogates" in str(error)
        return "the payload has a lone surrogate" if is_surrogate else "the payload is not JSON"
    return None


def payload_bytes(payload: Mapping[str, object]) -> int:
    """Size of a payload as UTF-8 JSON."""
    return len(orjson.dumps(payload))


def sparse_fault(sparse: SparseVector) -> str | None:
    """Say what is wrong with sparse weights, or None."""
    if len(sparse.indices) != len(sparse.values):
        return f"have {len(sparse.indices)} indices and {len(sparse.values)} values"
    if len(set(sparse.indices)) != len(sparse.indices):
        return "name an index twice"
    if not all(map(_SPARSE_INDICES.__contains__, sparse.indices)):
        return "have an index beyond 32 bits"
    if not all(map(math.isfinite, sparse.values)):
        return "are not finite"
    return None


def redacted(reason: str) -> str:
    """Shorten a foreign message and drop what it quotes: that can be a document's text."""
    return _QUOTED.sub('"..."', " ".join(reason.split()))[:_MAX_REASON_CHARACTERS]


@contextmanager
def blaming_single(points: Sequence[tuple[str, Mapping[str, object]]]) -> Iterator[None]:
    """A refused batch of one point is the refusal of that point.

    Raises:
        RejectedPointError: instead of a ``RefusedError``, if there is exactly one point.
    """
    try:
        yield
    except RefusedError as error:
        if len(points) != 1:
            raise
        point_id, payload = points[0]
        raise RejectedPointError(
            document_id=_document_id(point_id, payload), reason=error.reason
        ) from error


def _check_dense(points: Sequence[Point], *, schema: VectorSchema) -> None:
    views = {view for point in points for view in point.vectors}
    unknown = sorted(views - set(schema))
    if unknown:
        raise InvalidVectorError(
            f"the collection has no view {', '.join(unknown)}, only {', '.join(sorted(schema))}; "
            "nothing was written"
        )
    for view in sorted(views):
        _check_view(
            [point.vectors[view] for point in points if view in point.vectors],
            shape=schema[view],
            origin=f"the embedding of view {view!r}",
        )


def _check_view(vectors: Sequence[Vector], *, shape: VectorShape, origin: str) -> None:
    rows = [np.asarray(vector, dtype=np.float32) for vector in vectors]
    for vector in rows:
        if shape.is_multi:
            _check_passages(vector, dimension=shape.dimension, origin=origin)
        elif vector.shape != (shape.dimension,):
            check_vectors(vector.reshape(1, -1), dimension=shape.dimension, origin=origin)
    joined = np.concatenate(rows) if shape.is_multi else np.stack(rows)
    check_vectors(joined, dimension=shape.dimension, origin=origin)


def _check_passages(vectors: Vector, *, dimension: int, origin: str) -> None:
    if vectors.ndim != 2 or not len(vectors):  # noqa: PLR2004 - a matrix
        raise InvalidVectorError(
            f"{origin} has an array of shape {vectors.shape}, and needs a row per passage"
        )
    if vectors.size > MAX_NUMBERS_PER_VIEW:
        raise InvalidVectorError(
            f"{origin} has {len(vectors)} passages of {dimension} numbers, and the index takes "
            f"{MAX_NUMBERS_PER_VIEW // dimension} of them at most"
        )


def _document_id(point_id: str, payload: Mapping[str, object]) -> str:
    return text_field(payload, DOCUMENT_ID) or point_id
