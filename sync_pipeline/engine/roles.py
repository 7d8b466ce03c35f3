"""Which generation serves, and which ones are kept in step beside that of the settings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from sync_pipeline.core.errors import (
    ConfigurationError,
    IndexMismatchError,
    NothingSyncedError,
)
from sync_pipeline.core.ports import GenerationRecord
from sync_pipeline.engine.generation import Generation
from sync_pipeline.engine.reading import Reading

R = TypeVar("R", bound=Reading)


def serving(sync: R) -> R | None:
    """The context of the generation that the alias points at now.

    Returns:
        ``sync`` itself where that is its own; None where the alias points at nothing yet.

    Raises:
        IndexMismatchError: it points at a collection of which nobody knows with what it was made.
    """
    with sync.store() as store:
        name = store.alias_target(sync.alias)
    if name is None or name == sync.spec.collection:
        return None if name is None else sync
    record = known_generations(sync).get(name)
    generation = None if record is None else sync.open_generation(record)
    if generation is None:
        raise IndexMismatchError(
            alias=sync.alias,
            serves=name,
            built_with="other settings" if record is None else record.description,
            asked_for=sync.spec.describe(),
        )
    return sync.over(generation)


def require_serving(sync: R) -> R:
    """The same, where there has to be one.

    Raises:
        NothingSyncedError: the alias points at nothing yet.
        IndexMismatchError: see ``serving``.
    """
    found = serving(sync)
    if found is None:
        raise NothingSyncedError(alias=sync.alias)
    return found


def generation_called(sync: R, collection: str) -> R:
    """The context of any generation, by the name of its collection, whether it serves or not.

    Raises:
        ConfigurationError: there is none of that name, or nobody knows with what it was made.
    """
    if collection == sync.spec.collection:
        return sync
    records = known_generations(sync)
    if collection not in records:
        raise ConfigurationError(
            f"there is no generation {collection!r} behind {sync.alias!r}; "
            f"there are {', '.join(records) or 'none'}"
        )
    generation = sync.open_generation(records[collection])
    if generation is None:
        raise ConfigurationError(
            f"generation {collection!r} was made by a release that did not record its settings, so "
            "nothing can be asked of it."
        )
    return sync.over(generation)


def known_generations(sync: Reading) -> dict[str, GenerationRecord]:
    """What is recorded of every generation of the alias, by collection, oldest first."""
    return {record.collection: record for record in sync.generations.list_all(alias=sync.alias)}


def serving_by_record(sync: R) -> R:
    """The context of the generation that serves as far as is recorded; asks no store.

    ``sync`` itself where none is recorded, or the one that is cannot be opened.
    """
    record = recorded_as_serving(sync.generations.list_all(alias=sync.alias))
    if record is None or record.collection == sync.spec.collection:
        return sync
    generation = sync.open_generation(record)
    return sync if generation is None else sync.over(generation)


def recorded_as_serving(records: Sequence[GenerationRecord]) -> GenerationRecord | None:
    """The one that is recorded as serving."""
    return next((record for record in records if record.is_serving), None)


def beside(sync: R) -> list[R]:
    """Contexts of the other generations that have to be kept in step.

    Those that serve or served, the one that serves first, and those that stand by. One that
    was never finished is not among them, nor one that was dropped, or that nobody can open any
    more.
    """
    opened = (kept_in_step(sync, record) for record in others(sync))
    return [sync.over(generation) for generation in opened if generation is not None]


def kept_in_step(sync: Reading, record: GenerationRecord) -> Generation | None:
    """The generation of a record, if it is one that is kept in step."""
    for standby in sync.standbys:
        if standby.spec.collection == record.collection:
            return standby
    return sync.open_generation(record) if record.served_at is not None else None


def standby_collections(sync: Reading) -> set[str]:
    """Names of the collections of fallbacks of other models."""
    return {standby.spec.collection for standby in sync.standbys}


def has_new_standby(sync: Reading) -> bool:
    """Whether a generation is to stand by that was never made."""
    if not sync.standbys:
        return False
    return not standby_collections(sync) <= known_generations(sync).keys()


def others(sync: Reading) -> list[GenerationRecord]:
    """Every generation but this one that is in the store; the one that serves comes first."""
    records = sync.generations.list_all(alias=sync.alias)
    if all(record.collection == sync.spec.collection for record in records):
        return []
    with sync.store() as store:
        target = store.alias_target(sync.alias)
        existing = store.list_collections()
    found = [
        record
        for record in records
        if record.collection != sync.spec.collection and record.collection in existing
    ]
    return sorted(found, key=lambda record: record.collection != target)
