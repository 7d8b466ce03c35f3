"""What the index stores: points, their collection, and searches over them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sync_pipeline.core.conditions import plan_conditions
from sync_pipeline.core.errors import InvalidVectorError
from sync_pipeline.core.filters import Filters, FilterValue, Range
from sync_pipeline.core.fusion import Fusion
from sync_pipeline.core.hashing import RENDERING_VERSION, digest
from sync_pipeline.core.payload import (
    DB_ID,
    DOCUMENT_ID,
    ENTITY_TYPE,
    PAYLOAD_HASH,
    SCOPE_KEY,
    SYNCED_AT,
    TEXT,
    embed_hashes_of,
    revision_of,
    text_field,
)
from sync_pipeline.core.row_dataclass import row_dataclass
from sync_pipeline.core.views import ViewSpec

BM25_VECTOR: Final = "bm25"
"""Name of the sparse vector."""
MAX_PREFIX: Final = 20
"""Most characters by which a word is completed."""

NORM_TOLERANCE: Final = 0.01
"""How far a vector's length may be from 1 (bfloat16 models differ by up to 0.004)."""

Vector = NDArray[np.float32]
"""One dense vector, shape ``(dimension,)``; of a point's long view several, ``(n, dimension)``."""
MAX_NUMBERS_PER_VIEW: Final = 2**20
"""Of one point: what the engines take of a multivector, rows times dimensions."""


@row_dataclass(frozen=True, slots=True)
class SparseVector:
    """Term weights: parallel arrays, indices distinct."""

    indices: tuple[int, ...]
    values: tuple[float, ...]


@row_dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One document as the index stores it."""

    point_id: str
    vectors: Mapping[str, Vector]
    """Per view with a text its vector; of a long view one per passage, ``(n, dimension)``."""
    sparse: SparseVector
    payload: Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectionSpec:
    """What a physical collection is made for; two specs never share one."""

    alias: str
    model_id: str
    dimension: int
    views: tuple[str, ...]
    sparse_id: str
    """Names the BM25 settings (language, parameters)."""
    special: tuple[ViewSpec, ...] = ()
    """Views with a model of their own, or with several vectors per document; all others have one
    vector of ``model_id``."""

    def view(self, name: str) -> ViewSpec:
        """One of its views."""
        for view in self.special:
            if view.name == name:
                return view
        return ViewSpec(name=name, model_id=self.model_id, dimension=self.dimension)

    @property
    def long_views(self) -> tuple[str, ...]:
        """Those with a vector per passage."""
        return tuple(view.name for view in self.view_specs if view.is_long)

    @property
    def hash_ids(self) -> dict[str, str]:
        """Per view what its embed hashes stand for besides the text."""
        return {view.name: view.hash_id for view in self.view_specs}

    @property
    def view_specs(self) -> tuple[ViewSpec, ...]:
        """All of them, in order."""
        return tuple(map(self.view, self.views))

    @property
    def fingerprint(self) -> str:
        """12 hexadecimal digits that differ when vectors cannot be compared."""
        special = (
            part
            for view in sorted(self.special, key=lambda view: view.name)
            for part in (view.name, view.hash_id, str(view.dimension))
        )
        return digest(
            self.model_id,
            str(self.dimension),
            *self.views,
            self.sparse_id,
            RENDERING_VERSION,
            *special,
        )[:12]

    @property
    def collection(self) -> str:
        """Name of the physical collection: ``<alias>_<fingerprint>``."""
        return f"{self.alias}_{self.fingerprint}"

    def describe(self) -> str:
        """One line for people: model, dimension, views."""
        special = "".join(f", {view.describe()}" for view in self.special)
        return (
            f"model {self.model_id} ({self.dimension} dimensions), views {', '.join(self.views)}, "
            f"{self.sparse_id}, text rendering {RENDERING_VERSION}{special}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredPoint:
    """A point read back, and what it says of itself: None or empty where it does not."""

    point_id: str
    payload: Mapping[str, object]
    vectors: Mapping[str, Vector] = field(default_factory=dict)

    @property
    def document_id(self) -> str:
        """The document's id, or the point's own."""
        return text_field(self.payload, DOCUMENT_ID) or self.point_id

    @property
    def entity_type(self) -> str:
        """Name of the entity."""
        return text_field(self.payload, ENTITY_TYPE) or ""

    @property
    def row_id(self) -> str:
        """Id of its row in the source table; empty where it says none."""
        return text_field(self.payload, DB_ID) or ""

    @property
    def scope_key(self) -> str | None:
        """Whose it is."""
        return text_field(self.payload, SCOPE_KEY)

    @property
    def text(self) -> str:
        """What is shown, and what BM25 ranks."""
        return text_field(self.payload, TEXT) or ""

    @property
    def embed_hashes(self) -> Mapping[str, str]:
        """Per view the hash of the text that its vector was made of."""
        return embed_hashes_of(self.payload)

    @property
    def payload_hash(self) -> str:
        """Hash of the rest of the payload."""
        return text_field(self.payload, PAYLOAD_HASH) or ""

    @property
    def revision(self) -> int | None:
        """Of which snapshot it is, see ``core.payload.revision_at``."""
        return revision_of(self.payload)

    @property
    def synced_at(self) -> str | None:
        """When it was written, as ISO text."""
        return text_field(self.payload, SYNCED_AT)


@dataclass(frozen=True, slots=True, kw_only=True)
class PointDigests:
    """What points say about themselves, in ascending order of point id.

    Arrays of equal length; texts as fixed-width bytes, so that a million of
    them cost 130 MB and compare without a Python loop.
    """

    point_ids: NDArray[np.bytes_]
    """``S36``: canonical UUIDs."""
    contents: NDArray[np.bytes_]
    """``S32``: one digest of all embed hashes, see ``core.payload.content_digest``."""
    payloads: NDArray[np.bytes_]
    """``S32``: payload hashes."""

    def __len__(self) -> int:
        return len(self.point_ids)


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchQuery:
    """A search that has been authorised: the scope keys come from a Scope, never from a caller.

    Raises:
        ValueError: nobody to search as, nothing to rank by, or filters that ask too much.
    """

    scope_keys: tuple[str, ...]
    vectors: Mapping[str, Vector]
    """Per view searched the query vector."""
    sparse: SparseVector | None
    """BM25 query weights; None searches by meaning alone."""
    limit: int
    equals: Mapping[str, Sequence[FilterValue]] = field(default_factory=dict)
    """Per payload field the accepted values, see ``Filters``; inside the scope filter."""
    ranges: Mapping[str, Sequence[Range]] = field(default_factory=dict)
    """Per payload field ranges that have to hold a value."""
    excluded: Mapping[str, Sequence[FilterValue]] = field(default_factory=dict)
    """Per payload field values that must not be there."""
    fusion: Fusion = field(default_factory=Fusion)
    """How several rankings become one."""
    exact: bool = False
    """Whether vectors are compared with every visible point, past the search index; to measure
    what the index finds."""

    def __post_init__(self) -> None:
        if not self.scope_keys:
            raise ValueError("a search needs at least one scope key")
        if not self.vectors and self.sparse is None:
            raise ValueError("a search needs a vector or BM25 weights")
        plan_conditions(self.filters)

    @property
    def filters(self) -> Filters:
        """What the caller asks for, to be applied inside the scopes."""
        return Filters(equals=self.equals, ranges=self.ranges, excluded=self.excluded)


@dataclass(frozen=True, slots=True, kw_only=True)
class BestPassage:
    """What of a long text is nearest to a search."""

    view: str
    start: int
    """Place of its first character in the document's text."""
    stop: int
    """Place behind its last one."""
    text: str
    score: float
    """Cosine with the search text."""


@dataclass(frozen=True, slots=True)
class Hit:
    """One search result."""

    document_id: str
    score: float
    text: str
    payload: Mapping[str, object]
    passages: tuple[BestPassage, ...] | None = None
    """Where asked for: the best one of each long view that was searched."""


def check_vectors(vectors: NDArray[np.float32], *, dimension: int, origin: str) -> None:
    """Refuse vectors that would spoil a collection.

    Args:
        vectors: Shape ``(n, dimension)``.
        dimension: Expected length of each.
        origin: Who made them; named in the error.

    Raises:
        InvalidVectorError: wrong shape, NaN or infinity, zero or not normalised.
    """
    if vectors.ndim != 2 or vectors.shape[1] != dimension:  # noqa: PLR2004 - a matrix
        raise InvalidVectorError(
            f"{origin} returned an array of shape {vectors.shape}, expected (n, {dimension}).",
            remedy="Check `embedding.model` and `embedding.dimension`.",
        )
    if not np.isfinite(vectors).all():
        bad = int((~np.isfinite(vectors).all(axis=1)).sum())
        raise InvalidVectorError(
            f"{origin} returned {bad} of {len(vectors)} vectors with NaN or infinity; "
            "one of them can make a collection unreadable, so none was written"
        )
    norms = np.linalg.norm(vectors, axis=1)
    off = int((np.abs(norms - 1) > NORM_TOLERANCE).sum())
    if off:
        raise InvalidVectorError(
            f"{origin} returned {off} of {len(vectors)} vectors that are not of length 1 "
            f"(shortest {norms.min():.3f}, longest {norms.max():.3f}); none was written"
        )
