"""What a collection costs to keep and to search: choices that leave its vectors comparable."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, Self

Quantization = Literal["none", "scalar", "binary"]
"""``scalar`` keeps a byte per dimension, ``binary`` a bit, beside the vectors themselves."""

MIN_HNSW_LINKS: Final = 4
"""Fewest links per point. None at all, with links inside each scope only, is what Qdrant advises
for many tenants; a search here is for two scopes at once, whose graphs would not be connected."""

_SEARCHING: Final = frozenset({"quantization_rescore", "quantization_oversampling", "hnsw_ef"})


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexOptions:
    """Size, speed and accuracy of a collection's search index; no part of its fingerprint.

    The terms are Qdrant's. The defaults are what a store does when it is told nothing.
    """

    vectors_on_disk: bool = False
    """Read vectors from the disk when they are needed, instead of all at the opening."""
    quantization: Quantization = "none"
    quantization_always_ram: bool = True
    """Quantized vectors stay in memory, wherever the others are."""
    quantization_rescore: bool = True
    """Candidates found by quantized vectors are ranked by the whole ones."""
    quantization_oversampling: float = 2.0
    """So many times as many candidates are rescored as are asked for."""
    hnsw_m: int = 16
    """Links of a point in the search graph."""
    hnsw_ef_construct: int = 100
    """Candidates that are looked at when a point is linked."""
    hnsw_ef: int | None = None
    """Candidates that a search keeps; None for ``hnsw_ef_construct``."""
    hnsw_on_disk: bool = False
    """Read the search graph from the disk when it is needed."""

    @property
    def oversampling(self) -> float | None:
        """As a search asks for it: without rescoring more candidates are no use."""
        return self.quantization_oversampling if self.quantization_rescore else None

    @property
    def built(self) -> Mapping[str, bool | int | str]:
        """What is built into a collection's files; the rest only changes how it is searched."""
        return {name: getattr(self, name) for name in _BUILT}

    @classmethod
    def from_built(cls, built: Mapping[str, Any]) -> Self:
        """Read what ``built`` gave; what another release knew besides is left out.

        Raises:
            TypeError: it is no such mapping, or a value is of another type.
        """
        if not isinstance(built, Mapping):
            raise TypeError(f"a {type(built).__name__}")
        known = {name: built[name] for name in _BUILT if name in built}
        for name, value in known.items():
            if type(value) is not type(getattr(_DEFAULT, name)):
                raise TypeError(f"{name} is {value!r}")
        return cls(**known)


_BUILT: Final = tuple(name for name in IndexOptions.__dataclass_fields__ if name not in _SEARCHING)
_DEFAULT: Final = IndexOptions()
