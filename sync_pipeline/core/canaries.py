"""Canary vectors: a few fixed texts whose vectors show which model really answers.

A model id is a name. A service can put another model behind it, and two names can
stand for one model: another dtype, another runtime, a rename. The vectors of a few
texts tell both apart, because two models agree about none of them.

The tolerances lie between what one model does and what another one does, measured by
``benchmarks/canaries.py`` (docs/embedding-cache.md has the figures).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

import numpy as np

from sync_pipeline.core.hashing import digest
from sync_pipeline.core.point import Vector

_LONG: Final = " ".join(
    (
        "The gypsum plaster is mixed with clean water, applied by hand or machine, and levelled.",
        "Смесь затворяют чистой водой, наносят вручную или машиной и выравнивают правилом.",
        "Der Putz wird in einer Lage von 10 bis 50 mm aufgetragen und nach 45 Minuten geglättet.",
    )
    * 10
)
"""Beyond the window of most small models: one that suddenly reads less of a text shows here."""

CANARY_TEXTS: Final = (
    "Gypsum plaster",
    "Штукатурка гипсовая Ротбанд 30 кг Knauf",
    "Hex bolt M8 x 40 mm DIN 933, 8.8, zinc plated, 100 pcs",
    '1/2" 3.5 kW 230 V 50 Hz −20…+45 °C 12,5 м²',
    "plain",
    "PVC-Rohr DN50 für Abwasser, GRAU, Länge 2 m",
    "🔧 Žluťoučký kůň & 新しい道具",
    _LONG,
)
"""Embedded as documents. A text that changes is another canary, by its key."""

QUERY_CANARY: Final = CANARY_TEXTS[0]
"""Embedded as a search text too, where the model treats those otherwise."""

SAME_MODEL_COSINE: Final = 0.9995
"""Two model ids are one model where every canary agrees at least so well."""
CHANGED_MODEL_COSINE: Final = 0.999
"""A model has changed where any canary agrees less; lower than the other, so that a model that was
just recognised is not taken for a changed one by the noise of its next answer."""
ENOUGH_CANARIES: Final = 4
"""Two models are compared by at least so many texts; a provider may refuse some."""

Side = Literal["document", "query"]

Canaries = Mapping[str, Vector]
"""Vectors by ``canary_key``."""


def canary_key(text: str, *, side: Side = "document") -> str:
    """Name a canary: its side and a hash of its text."""
    return f"{side}:{digest(text)}"


QUERY_KEY: Final = canary_key(QUERY_CANARY, side="query")
DOCUMENT_KEYS: Final = tuple(canary_key(text) for text in CANARY_TEXTS)


def cosines(reference: Canaries, measured: Canaries) -> dict[str, float]:
    """Cosine of each canary that both have; 0 where the lengths of two vectors differ."""
    return {
        key: _cosine(reference[key], measured[key])
        for key in sorted(reference.keys() & measured.keys())
    }


def _cosine(one: Vector, other: Vector) -> float:
    if one.shape != other.shape:
        return 0.0
    return float(one @ other / (np.linalg.norm(one) * np.linalg.norm(other)))


def lowest_cosine(reference: Canaries, measured: Canaries) -> float | None:
    """Of the canaries embedded as documents; None where they have none in common."""
    common = cosines(reference, measured)
    return min((common[key] for key in DOCUMENT_KEYS if key in common), default=None)


def find_same_model(measured: Canaries, known: Mapping[str, Canaries]) -> str | None:
    """Find the known model that a model is under another name, if it is one.

    Args:
        measured: Canaries of the model.
        known: Of each known model, by id.

    Returns:
        The id of the closest one that agrees about every canary, at least ``ENOUGH_CANARIES`` of
        them; the first by name where several are equally close.
    """
    found: list[tuple[float, str]] = []
    for model_id, reference in known.items():
        lowest = lowest_cosine(reference, measured)
        common = reference.keys() & measured.keys() & set(DOCUMENT_KEYS)
        if lowest is not None and lowest >= SAME_MODEL_COSINE and len(common) >= ENOUGH_CANARIES:
            found.append((-lowest, model_id))
    return min(found)[1] if found else None
