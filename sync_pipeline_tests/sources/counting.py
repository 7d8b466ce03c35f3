"""How many rows a snapshot says that a scope has."""

from __future__ import annotations

from sync_pipeline.core.entity import Entity
from sync_pipeline.core.ports import SourceSnapshot
from sync_pipeline.core.scope import Scope


def count_rows(snapshot: SourceSnapshot, *, entity: Entity, scope: Scope) -> int:
    """As an export expects them."""
    digests = snapshot.digest(entities=[entity], scope=scope)
    return digests[entity.name].rows if entity.name in digests else 0
