"""Up to when what landed is complete: nothing of a scope is in sync beyond that."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sync_pipeline.core.landing.completions import Completion, complete_before
from sync_pipeline.core.landing.spec import Landing
from sync_pipeline.core.scope import GLOBAL_KEY


@dataclass(frozen=True, slots=True, kw_only=True)
class LandedUntil:
    """What the complete passes of one landing say of scopes.

    Attributes:
        completions: Oldest first; none where none was ever landed.
        scope_key: The one scope that its rows can be of; None where a field of the record decides.
    """

    completions: tuple[Completion, ...]
    scope_key: str | None = None

    @classmethod
    def of(cls, landing: Landing, completions: Sequence[Completion]) -> LandedUntil:
        """Those of a landing."""
        owner = landing.owner
        return cls(
            completions=tuple(completions),
            scope_key=GLOBAL_KEY if owner.is_global else owner.tenant_id,
        )


def in_sync_to(
    snapshot_at: datetime | None, *, scope_key: str, landed: Iterable[LandedUntil]
) -> datetime | None:
    """Up to when a scope is in sync with where its rows come from.

    Args:
        snapshot_at: Of the source, as it was brought into the index; None: it never was.
        scope_key: Of the scope.
        landed: Of every landing that fills a table of its entities.

    Returns:
        None where a landing of it had not been complete by then: it is not in sync to anything
        yet.
    """
    if snapshot_at is None:
        return None
    moments = [
        complete_before(it.completions, snapshot_at)
        for it in landed
        if it.scope_key in (None, scope_key)
    ]
    known = [moment for moment in moments if moment is not None]
    return min([snapshot_at, *known]) if len(known) == len(moments) else None
