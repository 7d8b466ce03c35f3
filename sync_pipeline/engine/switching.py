"""Which generation serves: going live, going back, dropping.

The alias moves by one action of the store, and only then is it recorded; a crash in between is
mended by the next sync. Nothing here deletes what serves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from sync_pipeline.core.cleanup import CleanupPolicy
from sync_pipeline.core.errors import (
    ConfigurationError,
    StoppedError,
    SyncPipelineError,
    TransientError,
)
from sync_pipeline.core.ports import GenerationRecord, StoreReader
from sync_pipeline.core.remedy import (
    Remedy,
    RollBackIndex,
    Show,
    SwitchIndex,
    SyncScopes,
    VerifyScopes,
)
from sync_pipeline.core.reports import ScopeReport
from sync_pipeline.core.scope import Scope
from sync_pipeline.engine.collection import BoundCollection
from sync_pipeline.engine.context import SyncContext
from sync_pipeline.engine.index import read_alias
from sync_pipeline.engine.landing.ages import known_bounds
from sync_pipeline.engine.questions.due import known_scopes
from sync_pipeline.engine.questions.gate import why_not_found, why_worse
from sync_pipeline.engine.questions.verify import Verification, verify_scope
from sync_pipeline.engine.records import ScopeRecord, in_step_to, read_records
from sync_pipeline.engine.roles import known_generations

LOOKS: Final = 3
"""How often a scope is verified, beside the one that serves: both are looked at one after the
other, while somebody writes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Switched:
    """What became of an attempt to let the generation of the settings serve."""

    collection: str
    """The generation of the settings."""
    serves: str | None
    """What the alias points at now."""
    went_live: bool = False
    """Whether it was moved just now."""
    reason: str | None = None
    """Why not; None where it was, or where it pointed there before."""

    def noted(self, report: ScopeReport) -> ScopeReport:
        """The report of the scope that was the last to be filled, with what came of it."""
        said = (
            f"{self.collection} serves from now on"
            if self.went_live
            else f"{self.collection} is filled and does not serve yet: {self.reason}"
        )
        return replace(report, note=said if report.note is None else f"{report.note}; {said}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropped:
    """A generation that is gone, with its records."""

    collection: str
    documents: int
    """Records of documents that were forgotten with it."""


def go_live_when_filled(sync: SyncContext) -> Switched | None:
    """Let a new generation serve once it is filled: asked after every scope, and cheap until then.

    One that has served before, or that was refused, waits for somebody: ``go_live``.

    Returns:
        None where there was nothing to decide.
    """
    if sync.keeps_in_step:
        return None
    own = known_generations(sync).get(sync.spec.collection)
    if own is None or own.served_at is not None or own.refusal is not None:
        return None
    with sync.store() as store:
        target, records = read_alias(sync, store)
    if target in {None, sync.spec.collection}:
        return None
    there = sync.collection(str(target)).records.scopes.list_entities()
    filled = read_records(sync)
    if any(_is_unfilled(filled.get(entity.scope_key)) for entity in there if entity.documents):
        return None
    # Asks the source, and so comes last: a tenant may be new, and nowhere synced yet.
    scopes = known_scopes(sync)
    if _why_unfilled(sync, scopes=scopes) is not None:
        return None
    return _go_live_filled(sync, target, records, scopes=scopes)


def go_live(sync: SyncContext) -> Switched:
    """Let the generation of the settings serve, if nothing is lost by it; say why not otherwise.

    Every scope has to be filled, no document that is searchable now may be missing beyond what
    a cleanup may delete, every scope has to verify, and the gate has to pass. The
    alias then moves at once; the generation before stays, in step, for ``go_back``.

    Raises:
        IndexMismatchError: the alias points at a collection that this installation has not made.
        TransientError: something could not be asked now; nothing was decided.
        StoppedError: asked to stop.
    """
    name = sync.spec.collection
    with sync.store() as store:
        before, records = read_alias(sync, store)
    if before == name:
        return Switched(collection=name, serves=name)
    scopes = known_scopes(sync)
    unfilled = _why_unfilled(sync, scopes=scopes)
    if unfilled is not None:
        # No refusal: once it is filled it goes live by itself.
        return Switched(collection=name, serves=before, reason=unfilled)
    return _go_live_filled(sync, before, records, scopes=scopes)


def _go_live_filled(
    sync: SyncContext,
    before: str | None,
    records: Mapping[str, GenerationRecord],
    *,
    scopes: Sequence[Scope],
) -> Switched:
    """The same once every scope is filled.

    Args:
        sync: The generation of the settings.
        before: The collection that serves.
        records: Of all generations, by collection.
        scopes: All that there are.
    """
    name = sync.spec.collection
    reason = _why_not(sync, None if before is None else records.get(before), scopes=scopes)
    if reason is None:
        with sync.store() as store:
            if store.alias_target(sync.alias) != before:
                reason = "another generation went live meanwhile"
            else:
                store.set_alias(sync.alias, collection=name)
    if reason is not None:
        sync.generations.note_refusal(collection=name, reason=reason)
        return Switched(collection=name, serves=before, reason=reason)
    sync.generations.note_serving(alias=sync.alias, collection=name)
    return Switched(collection=name, serves=name, went_live=True)


def go_back(sync: SyncContext) -> tuple[GenerationRecord, datetime | None]:
    """Let the generation serve that did so before, at once.

    Returns:
        Its record, and up to when it is in step with the source; None where a scope is not
        known to be.

    Raises:
        ConfigurationError: there is none.
    """
    with sync.store() as store:
        target = store.alias_target(sync.alias)
        existing = store.list_collections()
        earlier = [
            record
            for record in sync.generations.list_all(alias=sync.alias)
            if record.retired_at is not None
            and record.collection in existing
            and record.collection != target
        ]
        if not earlier:
            raise ConfigurationError(
                f"there is no generation to go back to behind {sync.alias!r}",
                remedy=Remedy.of(Show("index status"), " lists those that there are."),
            )
        last = max(earlier, key=lambda record: record.retired_at or record.created_at)
        store.set_alias(sync.alias, collection=last.collection)
    sync.generations.note_serving(alias=sync.alias, collection=last.collection)
    filled = read_records(sync, recorded=sync.collection(last.collection).records.scopes)
    return last, in_step_to(filled, scopes=len(filled), landed=known_bounds(sync))


def drop(sync: SyncContext, *, collection: str) -> Dropped:
    """Remove a generation that does not serve: its points, files and records.

    Raises:
        ConfigurationError: it serves, or there is none of that name.
    """
    with sync.store() as store:
        _require_droppable(sync, store, collection)
        store.drop_collection(collection)
    kept = sync.collection(collection).records
    documents = kept.state.clear()
    kept.scopes.clear()
    # Last: a drop that was cut off is found here, and finished by dropping again.
    sync.generations.forget(collection=collection)
    return Dropped(collection=collection, documents=documents)


def droppable_points(sync: SyncContext, *, collection: str) -> int:
    """How many points ``drop`` would remove.

    Raises:
        ConfigurationError: see ``drop``.
    """
    with sync.store() as store:
        _require_droppable(sync, store, collection)
    with sync.collection(collection).index() as index:
        return index.count()


def _require_droppable(sync: SyncContext, store: StoreReader, collection: str) -> None:
    if collection not in known_generations(sync):
        raise ConfigurationError(
            f"there is no generation {collection!r} behind {sync.alias!r}",
            remedy=Remedy.of(Show("index status"), " lists those that there are."),
        )
    if store.alias_target(sync.alias) == collection:
        raise ConfigurationError(
            f"{collection!r} is what searches are answered from; nothing was dropped",
            remedy=Remedy.of(
                "Let another generation serve first: ", RollBackIndex(), ", or ", SwitchIndex(), "."
            ),
        )


def try_again(sync: SyncContext) -> Switched | None:
    """Try once more to let a filled generation serve that was refused, or not yet asked.

    Returns:
        None where there is none, or where somebody went back from it.
    """
    own = known_generations(sync).get(sync.spec.collection)
    if own is None or own.served_at is not None:
        return None
    return go_live(sync)


def drop_expired(sync: SyncContext) -> list[Dropped]:
    """Drop the generations whose time is over, see ``plan_expiry``."""
    expired = plan_expiry(
        sync.generations.list_all(alias=sync.alias),
        wanted=sync.spec.collection,
        keep_seconds=sync.options.keep_generations_seconds,
        now=sync.now(),
    )
    return [drop(sync, collection=name) for name in expired]


def plan_expiry(
    records: Sequence[GenerationRecord], *, wanted: str, keep_seconds: float, now: datetime
) -> list[str]:
    """Name the generations whose time is over.

    Args:
        records: All of an alias.
        wanted: That of the settings, which stays.
        keep_seconds: How long a retired one is kept, and one that was never finished.
        now: Compared with when each retired, or was made.
    """
    return [
        record.collection
        for record in records
        if record.collection != wanted
        and not record.is_serving
        and (now - (record.retired_at or record.created_at)).total_seconds() > keep_seconds
    ]


def _why_unfilled(sync: SyncContext, *, scopes: Sequence[Scope]) -> str | None:
    """Which scopes were not synced in the generation of the settings yet; None where all were."""
    filled = read_records(sync)
    unfilled = [scope.key for scope in scopes if _is_unfilled(filled.get(scope.key))]
    if not unfilled:
        return None
    return (
        f"{len(unfilled)} of {len(scopes)} scopes are not filled: {_some(unfilled)}; "
        f"run `{SyncScopes().words}`"
    )


def _why_not(
    sync: SyncContext, before: GenerationRecord | None, *, scopes: Sequence[Scope]
) -> str | None:
    """Why the generation of the settings may not serve in place of this one; None where it may."""
    try:
        if before is not None:
            there = sync.collection(before.collection)
            lost = _why_lost(sync, there, policy=sync.options.cleanup)
            if lost is not None:
                return lost
        with sync.store() as store:
            if store.capabilities.explicit_optimize:
                store.optimize(sync.spec.collection)
        generation = None if before is None else sync.open_generation(before)
        served = None if generation is None else sync.over(generation)
        gate = sync.options.gate
        return (
            _why_unequal(sync, served, scopes=scopes)
            or why_not_found(sync, scopes=scopes, policy=gate)
            or (None if served is None else why_worse(sync, served, policy=gate))
        )
    except (StoppedError, TransientError):
        raise
    except SyncPipelineError as error:
        return f"it could not be checked: {error}"


def _is_unfilled(record: ScopeRecord | None) -> bool:
    return record is None or bool(record.missing or record.cut_off) or record.last_full_at is None


def _why_lost(sync: SyncContext, served: BoundCollection, *, policy: CleanupPolicy) -> str | None:
    """Which documents that are searchable now would not be any more, beyond what may go."""
    with served.index() as index:
        before = index.count_by_entity()
    left = {name: count for name, count in before.items() if name not in sync.entity_names}
    if left:
        listed = ", ".join(f"{count} of {name or 'no entity'}" for name, count in left.items())
        return (
            f"documents of entities that the settings do not name would vanish from searches: "
            f"{listed}; `sync-pipeline entities remove NAME` removes them"
        )
    for name in sync.entity_names:
        with served.index() as index:
            there = index.count_by_scope(entity_type=name)
        with sync.index() as index:
            here = index.count_by_scope(entity_type=name)
        short = _short_scopes(there, here, policy=policy)
        if short:
            key, missing = next(iter(short.items()))
            return (
                f"{missing} of {there[key]} documents of entity {name!r} of scope {key!r} would "
                f"vanish from searches ({len(short)} such scopes); sync the scope, and where the "
                "rows are really gone, allow their deletion first"
            )
    return None


def _short_scopes(
    there: Mapping[str, int], here: Mapping[str, int], *, policy: CleanupPolicy
) -> dict[str, int]:
    """Per scope the documents that are missing, where they are more than one cleanup may delete."""
    missing = {key: count - here.get(key, 0) for key, count in there.items()}
    return {
        key: number
        for key, number in sorted(missing.items(), key=lambda item: -item[1])
        if number > policy.allowance(there[key])
    }


def _why_unequal(
    sync: SyncContext, served: SyncContext | None, *, scopes: Sequence[Scope]
) -> str | None:
    """Which scopes are not what the source says, and further from it than what serves now.

    A source that somebody writes to is never equal: rows of the last seconds are missing in both.
    """
    for scope in scopes:
        found = _unequal(sync, served, scope=scope)
        if found is not None:
            return (
                f"scope {scope.key!r} does not verify ({_differences(found)}); run "
                f"`{VerifyScopes(scope_key=scope.key).words}`"
            )
    return None


def _unequal(sync: SyncContext, served: SyncContext | None, *, scope: Scope) -> Verification | None:
    """The last of some looks at a scope; None where one of them was good enough."""
    found: Verification | None = None
    for _ in range(LOOKS):
        found = verify_scope(sync, scope=scope)
        if found.is_clean or (served is not None and _is_no_worse(found, served, scope=scope)):
            return None
    return found


def _is_no_worse(found: Verification, served: SyncContext, *, scope: Scope) -> bool:
    """Whether what serves differs as much at this moment, give or take a quarter of that.

    A row that has moved since the last sync is found in its old scope in both; there may not be
    one more than in what serves, for somebody else sees it.
    """
    if found.error is not None:
        return False
    other = verify_scope(served, scope=scope)
    if found.wrong_scope > other.wrong_scope:
        return False
    differences = _difference_count(other)
    return _difference_count(found) <= differences + differences // 4


def _difference_count(found: Verification) -> int:
    return found.missing + found.extra + found.mismatched


def _differences(found: Verification) -> str:
    if found.error is not None:
        return found.error
    return (
        f"{found.missing} missing, {found.extra} extra, {found.wrong_scope} of another scope, "
        f"{found.mismatched} different"
    )


def _some(keys: Sequence[str], *, most: int = 5) -> str:
    shown = ", ".join(keys[:most])
    return shown if len(keys) <= most else f"{shown}, ..."
