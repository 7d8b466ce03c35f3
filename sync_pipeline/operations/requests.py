"""Asking for syncs that somebody else runs: which scopes, within which limits, and what came of it.

Nothing here syncs. A request is a row; Dagster's ``sync_request_sensor`` makes runs of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sync_pipeline.core.errors import ConfigurationError, MassDeletionRefusedError
from sync_pipeline.core.reports import SyncMode
from sync_pipeline.core.scope import Scope
from sync_pipeline.engine.context import RunOptions
from sync_pipeline.engine.roles import serving_by_record
from sync_pipeline.engine.telling import span_facts
from sync_pipeline.operations.repairing import require_entity_name
from sync_pipeline.operations.scopes import (
    InstalledScopes,
    ScopeChoice,
    ScopeDirectory,
    ScopeWord,
    choose_scopes,
    tenant_named,
)
from sync_pipeline.operations.syncing import prepare_sync

if TYPE_CHECKING:
    from sync_pipeline.core.ports import SyncRequest, SyncRun
    from sync_pipeline.core.reports import ScopeReport
    from sync_pipeline.engine.context import SyncContext

LOOK_BACK_RUNS: Final = 100
"""Runs of a scope among which a refused deletion is looked for: its every run is refused again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedSync:
    """A sync that was asked for."""

    request: SyncRequest
    """Only of the scopes that need a run; of none it is done already."""
    left_out: Mapping[str, str]
    """Scope keys that were meant and get no run, with the reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowedRequest:
    """A request, and what is recorded of some of its runs."""

    request: SyncRequest
    scope_keys: Sequence[str]
    """The scopes of this page, in their order."""
    runs: Mapping[tuple[str, str], SyncRun]
    """By run id and scope key, those that have ended."""


def read_scope_words(words: Sequence[str], *, among: ScopeDirectory) -> list[ScopeChoice]:
    """Read a list of ``all``, ``global``, ``tenants`` and tenants; what is in another goes.

    A tenant is named by its id, or by ``tenant:ID``, which is the way where the id is such a word.

    Raises:
        ConfigurationError: it is empty.
    """
    if not words:
        raise ConfigurationError(
            "scopes is a list of all, global, tenants, ids of tenants, or tenant:ID"
        )
    named = set(words)
    if ScopeWord.ALL in named or {ScopeWord.GLOBAL, ScopeWord.TENANTS} <= named:
        return [ScopeChoice(ScopeWord.ALL)]
    choices = [ScopeChoice(ScopeWord.GLOBAL)] if ScopeWord.GLOBAL in named else []
    if ScopeWord.TENANTS in named:
        return [*choices, ScopeChoice(ScopeWord.TENANTS)]
    others = [word for word in words if word != ScopeWord.GLOBAL]
    ids = tuple(dict.fromkeys(tenant_named(word, among=among) for word in others))
    return [*choices, *([ScopeChoice(ScopeWord.TENANT, ids)] if ids else [])]


def request_sync(
    sync: SyncContext,
    words: Sequence[str],
    *,
    mode: SyncMode,
    force: bool,
    requested_by: str,
) -> AskedSync:
    """Ask for a sync of the scopes that need one.

    Args:
        sync: The ports.
        words: As in ``read_scope_words``.
        mode: Which rows the runs look at.
        force: Whether scopes that seem unchanged run too.
        requested_by: Who asks.

    Raises:
        ConfigurationError: no scope is named.
        UnknownScopeError: a tenant that there is not.
    """
    installed = InstalledScopes(sync)
    due: dict[str, None] = {}
    settled: dict[Scope, ScopeReport] = {}
    for choice in read_scope_words(words, among=installed):
        work = prepare_sync(
            sync,
            choice=choice,
            scopes=choose_scopes(choice, among=installed),
            among=installed,
            options=RunOptions(mode=mode),
            force=force,
        )
        due |= dict.fromkeys(scope.key for scope in work.due)
        settled |= work.settled
    request = traced(
        sync,
        sync.requests.add(requested_by=requested_by, scope_keys=list(due), mode=mode, force=force),
    )
    left_out = {scope.key: report.error or report.status for scope, report in settled.items()}
    return AskedSync(request=request, left_out=left_out)


def waiting_deletion(runs: Sequence[SyncRun]) -> SyncRun | None:
    """The run whose deletion waits for approval; a success since has settled it.

    Args:
        runs: Of one scope, the last one first.
    """
    for run in runs:
        if run.status == "success":
            return None
        if run.facts.get("error") == MassDeletionRefusedError.__name__:
            return run
    return None


def approve_deletions(
    sync: SyncContext, *, scope: Scope, deletions: int, requested_by: str
) -> SyncRequest:
    """Ask for a sync that may delete what the last one refused to: exactly so much.

    The run counts again, and is refused if there is another number by then.

    Raises:
        ConfigurationError: nothing of this scope waits for approval, or another number does.
    """
    refused = waiting_deletion(sync.runs.list_recent(limit=LOOK_BACK_RUNS, scope_key=scope.key))
    if refused is None:
        raise ConfigurationError(f"no deletion of scope {scope.key!r} waits for approval")
    if refused.facts.get("total") != deletions:
        raise ConfigurationError(
            f"{refused.facts.get('total')} deletions of scope {scope.key!r} wait for approval, not "
            f"{deletions}; look at them again"
        )
    request = sync.requests.add(
        requested_by=requested_by,
        scope_keys=[scope.key],
        force=True,
        approve_deletions=deletions,
    )
    return traced(sync, request)


def retry_document(
    sync: SyncContext, document_id: str, *, scope: Scope | None, requested_by: str
) -> SyncRequest | None:
    """Let one failed document be tried again at once.

    Args:
        sync: The ports.
        document_id: Which one; of an id that ``core.document.split_document_id`` can read.
        scope: Whose it has to be; None for anybody's.
        requested_by: Who asks.

    Returns:
        None where there is no such document, or it is none of ``scope``: the two look alike.

    Raises:
        ConfigurationError: it has not failed.
    """
    from sync_pipeline.core.document import split_document_id

    parts = split_document_id(document_id)
    if parts is None or parts[1] not in sync.entity_names:
        return None
    sync = serving_by_record(sync)
    record = sync.state.get(document_id=document_id)
    if record is None or (scope is not None and record.scope_key != scope.key):
        return None
    owner = Scope.from_key(record.scope_key)
    due = sync.state.retry_now(scope=owner, document_ids=[document_id])
    if not due:
        raise ConfigurationError(f"{document_id} has not failed: there is nothing to try again")
    return _request_retries(sync, due, requested_by=requested_by)


def retry_failed_documents(
    sync: SyncContext, *, scope: Scope | None, entity: str | None, requested_by: str
) -> SyncRequest:
    """Let all failed documents of a scope, an entity, or all of them be tried again at once.

    Raises:
        ConfigurationError: no such entity.
    """
    if entity is not None:
        require_entity_name(sync, entity)
    names = sync.entity_names if entity is None else (entity,)
    due = serving_by_record(sync).state.retry_now(scope=scope, entity_types=names)
    return _request_retries(sync, due, requested_by=requested_by)


def follow_request(
    sync: SyncContext,
    request_id: str,
    *,
    scope: Scope | None,
    limit: int,
    offset: int = 0,
) -> FollowedRequest | None:
    """How far a request is, with a page of its scopes.

    Args:
        sync: The ports.
        request_id: Which one.
        scope: As whom; of requests that are about more than this scope nothing is said.
        limit: Most scopes.
        offset: Scopes to leave out.

    Returns:
        None where there is no such request, or none for ``scope``: the two look alike.
    """
    request = sync.requests.get(request_id)
    if request is None or (scope is not None and not {*request.scope_keys} <= {scope.key}):
        return None
    keys = request.scope_keys[offset : offset + limit]
    run_ids = [request.run_ids[key] for key in keys if key in request.run_ids]
    runs = sync.runs.get_many([*set(run_ids)]) if run_ids else []
    return FollowedRequest(
        request=request, scope_keys=keys, runs={(run.run_id, run.scope_key): run for run in runs}
    )


def _request_retries(
    sync: SyncContext, due: Mapping[str, int], *, requested_by: str
) -> SyncRequest:
    """An incremental sync looks at the documents that are due, and at what changed meanwhile."""
    request = sync.requests.add(
        requested_by=requested_by, scope_keys=list(due), mode="incremental", force=True
    )
    return traced(sync, request)


def traced(sync: SyncContext, request: SyncRequest) -> SyncRequest:
    """Leave a span where the request was asked for: the spans of its runs name it too."""
    facts = span_facts(sync_request=request.request_id, scopes=len(request.scope_keys))
    with sync.tracer.span("sync request", facts):
        return request
