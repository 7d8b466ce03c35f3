"""What generations of the index there are, how far a new one is, and what it would cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sync_pipeline.core.ports import GenerationRecord
from sync_pipeline.core.scope import Scope
from sync_pipeline.engine.landing.ages import known_bounds
from sync_pipeline.engine.questions.plan import plan_scope
from sync_pipeline.engine.reading import Reading
from sync_pipeline.engine.records import ScopeRecord, in_step_to, read_records
from sync_pipeline.engine.roles import known_generations, standby_collections

Role = Literal["serving", "filling", "replaced", "standby", "unfinished", "missing"]
"""``serving``: searches are answered from it. ``filling``: the settings ask for it and it has not
served yet. ``replaced``: it served before, and is kept in step. ``standby``: of another
model of ``embedding.fallbacks``, and kept in step. ``unfinished``: it never served,
and the settings ask for another one. ``missing``: the store has no such collection any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationStatus:
    """One generation of ``index status --json``."""

    collection: str
    description: str
    role: Role
    is_wanted: bool
    """Whether the settings ask for it."""
    is_kept_in_step: bool
    """Whether syncs write it."""
    points: int
    filled_scopes: int
    """Scopes that were synced in it, of all entities."""
    scopes: int
    """Scopes that are known."""
    progress: float
    """Share of the documents that are searchable now that it holds, 0 to 1."""
    in_sync_to: datetime | None
    """Every change committed before is in it; None while a scope is missing."""
    created_at: datetime | None
    served_at: datetime | None
    retired_at: datetime | None
    refusal: str | None
    """Why it does not serve, as far as that was tried."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationPlan:
    """What ``index plan --json`` says: what it takes until the settings' generation serves."""

    serves: str | None
    """The generation that serves; None where none does."""
    serves_description: str | None
    wanted: str
    """The generation that the settings ask for."""
    wanted_description: str
    is_served: bool
    """Whether that one serves already: nothing more than a sync is needed."""
    scopes: int
    documents: int
    """That would be written."""
    texts_to_embed: int
    """That the cache does not have; a text of several scopes counts in each."""
    tokens: int
    estimated_seconds: float | None
    """For embedding, at the rate last measured; None where the model was never used."""
    estimated_cost: float | None
    """At the provider's price; None where it has none."""
    vector_bytes: int
    """Of the new vectors alone, in float32, while both generations are kept."""


def generation_statuses(sync: Reading) -> list[GenerationStatus]:
    """Every generation of the alias, oldest first; that of the settings too, made or not."""
    with sync.store() as store:
        target = store.alias_target(sync.alias)
        existing = set(store.list_collections())
    generations = known_generations(sync)
    wanted = sync.spec.collection
    filled = {name: _filled(sync, name) for name in {*generations, wanted}}
    scopes = {key for records in filled.values() for key in records}
    searchable = _points(sync, target) if target in existing else 0
    statuses = [
        _status(
            sync,
            record,
            role=role_of(
                record,
                target=target,
                wanted=wanted,
                exists=name in existing,
                stands_by=name in standby_collections(sync),
            ),
            filled=filled[name],
            searchable=searchable,
            scopes=len(scopes),
        )
        for name, record in generations.items()
    ]
    if wanted in generations:
        return statuses
    return [*statuses, _unmade(sync, scopes=len(scopes))]


def plan_generation(sync: Reading, *, scopes: Sequence[Scope]) -> GenerationPlan:
    """What it would cost to fill the generation of the settings; writes nothing.

    Args:
        sync: The generation of the settings.
        scopes: All that there are.
    """
    with sync.store() as store:
        target = store.alias_target(sync.alias)
    plans = [plan_scope(sync, scope=scope) for scope in scopes]
    documents = sum(plan.new + plan.changed for plan in plans)
    seconds = [plan.estimated_seconds for plan in plans]
    costs = [plan.estimated_cost for plan in plans]
    return GenerationPlan(
        serves=target,
        serves_description=None if target is None else sync.generations.describe(target),
        wanted=sync.spec.collection,
        wanted_description=sync.spec.describe(),
        is_served=target == sync.spec.collection,
        scopes=len(scopes),
        documents=documents,
        texts_to_embed=sum(plan.texts_to_embed for plan in plans),
        tokens=sum(plan.tokens for plan in plans),
        estimated_seconds=_total(seconds),
        estimated_cost=_total(costs),
        vector_bytes=sum(plan.vector_bytes for plan in plans),
    )


def _total(numbers: Sequence[float | None]) -> float | None:
    known = [number for number in numbers if number is not None]
    return round(sum(known), 6) if len(known) == len(numbers) else None


def role_of(
    record: GenerationRecord,
    *,
    target: str | None,
    wanted: str,
    exists: bool,
    stands_by: bool = False,
) -> Role:
    """What a generation is there for.

    Args:
        record: Of it.
        target: What the alias points at.
        wanted: What the settings ask for.
        exists: Whether the store has it.
        stands_by: Whether it is of a fallback of the settings.
    """
    if not exists:
        return "missing"
    if record.collection == target:
        return "serving"
    if record.served_at is not None:
        return "replaced"
    if stands_by:
        return "standby"
    return "filling" if record.collection == wanted else "unfinished"


def _status(
    sync: Reading,
    record: GenerationRecord,
    *,
    role: Role,
    filled: Mapping[str, ScopeRecord],
    searchable: int,
    scopes: int,
) -> GenerationStatus:
    points = 0 if role == "missing" else _points(sync, record.collection)
    is_wanted = record.collection == sync.spec.collection
    return GenerationStatus(
        collection=record.collection,
        description=record.description,
        role=role,
        is_wanted=is_wanted,
        is_kept_in_step=role != "missing" and (is_wanted or record.served_at is not None),
        points=points,
        filled_scopes=sum(scope.snapshot_at is not None for scope in filled.values()),
        scopes=scopes,
        progress=min(1.0, points / searchable) if searchable else float(role == "serving"),
        in_sync_to=in_step_to(filled, scopes=scopes, landed=known_bounds(sync)),
        created_at=record.created_at,
        served_at=record.served_at,
        retired_at=record.retired_at,
        refusal=record.refusal,
    )


def _unmade(sync: Reading, *, scopes: int) -> GenerationStatus:
    """The generation of the settings, of which nothing is made yet."""
    return GenerationStatus(
        collection=sync.spec.collection,
        description=sync.spec.describe(),
        role="filling",
        is_wanted=True,
        is_kept_in_step=True,
        points=0,
        filled_scopes=0,
        scopes=scopes,
        progress=0.0,
        in_sync_to=None,
        created_at=None,
        served_at=None,
        retired_at=None,
        refusal=None,
    )


def _points(sync: Reading, collection: str | None) -> int:
    if collection is None:
        return 0
    with sync.collection(collection).index() as index:
        return index.count()


def _filled(sync: Reading, collection: str) -> dict[str, ScopeRecord]:
    """Scopes that are recorded in a collection, by key."""
    return read_records(sync, recorded=sync.collection(collection).records.scopes)
