"""How far the generations of the index are, from our records alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sync_pipeline.core.remedy import Action, RollBackIndex, SwitchIndex

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sync_pipeline.core.ports import GenerationRecord
    from sync_pipeline.engine.context import SyncContext
    from sync_pipeline.engine.questions.generations import Role


@dataclass(frozen=True, slots=True)
class RecordedGeneration:
    """What is recorded of one generation."""

    collection: str
    role: Role
    documents: int
    """That the last syncs put into it, of the entities of the settings."""
    share: float
    """Of the documents of the generation that serves, 0 to 1."""
    refusal: str | None = None
    """Why it did not go live when that was last tried."""
    action: Action | None = None
    """What can be done with it; None where it serves, or can only be looked at."""


def recorded_generations(sync: SyncContext) -> list[RecordedGeneration]:
    """Every generation, oldest first; asks neither the source nor the index.

    Args:
        sync: The installation.
    """
    from sync_pipeline.engine.questions.generations import role_of
    from sync_pipeline.engine.roles import recorded_as_serving, standby_collections

    records = sync.generations.list_all(alias=sync.alias)
    serving = recorded_as_serving(records)
    target = None if serving is None else serving.collection
    actions = generation_actions(records, target=target, wanted=sync.spec.collection)
    documents = {record.collection: _documents(sync, record.collection) for record in records}
    searchable = documents.get(target or "", 0)
    return [
        RecordedGeneration(
            collection=record.collection,
            role=role_of(
                record,
                target=target,
                wanted=sync.spec.collection,
                exists=True,
                stands_by=record.collection in standby_collections(sync),
            ),
            documents=documents[record.collection],
            share=min(1.0, documents[record.collection] / searchable) if searchable else 0.0,
            refusal=record.refusal,
            action=actions.get(record.collection),
        )
        for record in records
    ]


def generation_actions(
    records: Sequence[GenerationRecord], *, target: str | None, wanted: str
) -> dict[str, Action]:
    """How each generation that does not serve can be let serve, by collection.

    Args:
        records: All of an alias.
        target: The one that serves.
        wanted: That of the settings.
    """
    if target is None:
        return {}
    actions: dict[str, Action] = {}
    retired = [it for it in records if it.retired_at is not None and it.collection != target]
    if retired:
        last = max(retired, key=lambda it: it.retired_at or it.created_at)
        actions[last.collection] = RollBackIndex()
    if wanted != target and any(it.collection == wanted for it in records):
        actions[wanted] = SwitchIndex()
    return actions


def _documents(sync: SyncContext, collection: str) -> int:
    entities = sync.collection(collection).records.scopes.list_entities()
    return sum(it.documents for it in entities if it.entity_type in sync.entity_names)
