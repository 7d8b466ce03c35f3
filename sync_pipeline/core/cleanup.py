"""Which points go, and how many one run may delete."""

from __future__ import annotations

import math
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from itertools import chain

from sync_pipeline.core.errors import MassDeletionRefusedError
from sync_pipeline.core.scope import Scope


@dataclass(frozen=True, slots=True, kw_only=True)
class CleanupPolicy:
    """How much of one entity of a scope one run may delete.

    Up to ``min_deletions_guarded`` points always go; beyond that at most
    ``max_deleted_fraction`` of the entity's. Emptying an entity altogether needs a
    fraction of 1, whatever its size or its share of the scope. Somebody who has
    looked may approve a number beyond that: exactly so many of the whole scope, for
    one run.
    """

    max_deleted_fraction: float = 0.1
    min_deletions_guarded: int = 20
    approved_deletions: int | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.max_deleted_fraction <= 1:
            raise ValueError("max_deleted_fraction lies between 0 and 1")
        if self.min_deletions_guarded < 0:
            raise ValueError("min_deletions_guarded is 0 or more")
        if self.approved_deletions is not None and self.approved_deletions < 1:
            raise ValueError("approved_deletions is 1 or more")

    def allowance(self, indexed: int) -> int:
        """Most points of ``indexed`` that may be deleted at once without an approval."""
        if self.max_deleted_fraction >= 1:
            return indexed
        allowed = max(self.min_deletions_guarded, math.floor(indexed * self.max_deleted_fraction))
        return max(0, min(allowed, indexed - 1))


def plan_cleanup(
    *,
    scope: Scope,
    stale: Mapping[str, AbstractSet[str]],
    indexed: Mapping[str, int],
    policy: CleanupPolicy,
) -> list[str]:
    """Name the points to delete, or refuse all of it.

    Args:
        scope: Named in the error.
        stale: Per entity the ids of points whose row a complete export did not contain.
        indexed: Per entity how many points the scope has now, stale ones included.
        policy: How much may be deleted at once.

    Returns:
        The ids, sorted, so that a repeated run sends the same requests.

    Raises:
        MassDeletionRefusedError: if of some entity more points are stale than ``policy``
            allows, and the number of all is not the one that was approved. It names the
            entity that would lose most.
    """
    total = sum(len(ids) for ids in stale.values())
    refused = [
        name for name, ids in stale.items() if len(ids) > policy.allowance(indexed.get(name, 0))
    ]
    if refused and total != policy.approved_deletions:
        worst = min(refused, key=lambda name: (-len(stale[name]), name))
        raise MassDeletionRefusedError(
            scope_key=scope.key,
            entity_type=worst,
            stale=len(stale[worst]),
            indexed=indexed.get(worst, 0),
            allowed=policy.allowance(indexed.get(worst, 0)),
            total=total,
            total_indexed=sum(indexed.values()),
            approved=policy.approved_deletions,
        )
    return sorted(chain.from_iterable(stale.values()))
