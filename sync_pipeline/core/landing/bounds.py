"""Up to when what landed is complete: nothing of a scope is in sync beyond that."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sync_pipeline.core.landing.spec import Landing
from sync_pipeline.core.scope import GLOBAL_KEY


@dataclass(frozen=True, slots=True, kw_only=True)
class LandedUntil:
    """What the last complete pass of one landing says of scopes.

    Attributes:
        complete_at: When it began; None where none was ever landed.
        scope_key: The one scope that its rows can be of; None where a field of the record decides.
    """

    complete_at: datetime | None
    scope_key: str | None = None

    @classmethod
    def of(cls, landing: Landing, complete_at: datetime | None) -> LandedUntil:
        """That of a landing."""
        owner = landing.owner
        return cls(
            complete_at=complete_at,
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
        None where a landing of it was never complete: then it is not in sync to anything yet.
    """
    moments = [snapshot_at]
    moments += [it.complete_at for it in landed if it.scope_key in (None, scope_key)]
    known = [moment for moment in moments if moment is not None]
    return min(known) if len(known) == len(moments) else None
