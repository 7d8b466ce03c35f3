"""Generations of the index: which there are, what a new one costs, which one serves."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sync_pipeline.core.ports import GenerationRecord
    from sync_pipeline.core.scope import Scope
    from sync_pipeline.engine.context import SyncContext
    from sync_pipeline.engine.questions.generations import GenerationPlan, GenerationStatus
    from sync_pipeline.engine.switching import Dropped, Switched


def generations(sync: SyncContext) -> list[GenerationStatus]:
    """Every generation, oldest first, with what it holds and whether it serves."""
    from sync_pipeline.engine.questions.generations import generation_statuses

    return generation_statuses(sync)


def plan_of_settings(sync: SyncContext, *, scopes: Sequence[Scope]) -> GenerationPlan:
    """What it takes until the generation of the settings serves; writes nothing.

    Args:
        sync: The installation.
        scopes: All that there are.
    """
    from sync_pipeline.engine.questions.generations import plan_generation

    return plan_generation(sync, scopes=scopes)


def switch(sync: SyncContext) -> Switched:
    """Let the generation of the settings serve, if it passes the gate.

    Raises:
        IndexMismatchError: the alias points at a collection that this installation has not made.
    """
    from sync_pipeline.engine.switching import go_live

    return go_live(sync)


def roll_back(sync: SyncContext) -> tuple[GenerationRecord, datetime | None]:
    """Let the generation serve that did so before, and say up to when it is in step.

    Raises:
        ConfigurationError: there is none.
    """
    from sync_pipeline.engine.switching import go_back

    return go_back(sync)


def drop_generation(sync: SyncContext, collection: str) -> Dropped:
    """Remove a generation that does not serve.

    Raises:
        ConfigurationError: it serves, or there is none of that name.
    """
    from sync_pipeline.engine.switching import drop

    return drop(sync, collection=collection)


def droppable_points(sync: SyncContext, collection: str) -> int:
    """How many points ``drop_generation`` would remove.

    Raises:
        ConfigurationError: see ``drop_generation``.
    """
    from sync_pipeline.engine import switching

    return switching.droppable_points(sync, collection=collection)


def held_points(sync: SyncContext) -> int:
    """Points of the collection of the settings, 0 where there is none or it cannot be read."""
    from sync_pipeline.core.errors import PermanentError

    try:
        with sync.index() as index:
            return index.count()
    except PermanentError:
        return 0


def clear_collection(sync: SyncContext) -> None:
    """Remove the collection of the settings with all its points, to be made anew by syncs.

    Records and cached vectors stay.
    """
    with sync.store() as store:
        store.drop_collection(sync.spec.collection)
