"""What a sync that is asked for comes to: which scopes run, which are left, and why."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sync_pipeline.core.errors import ConfigurationError
from sync_pipeline.core.reports import ScopeReport
from sync_pipeline.operations.asking import kept_of_left_entities
from sync_pipeline.operations.scopes import (
    ScopeChoice,
    ScopeDirectory,
    ScopeWord,
    likened_to_words,
    vanished,
)

if TYPE_CHECKING:
    from sync_pipeline.core.scope import Scope
    from sync_pipeline.engine.context import RunOptions, SyncContext
    from sync_pipeline.engine.questions.due import Dueness


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncWork:
    """A sync that can begin."""

    scopes: Sequence[Scope]
    """All of them, in the order of their reports."""
    due: Sequence[Scope]
    """Those that run, in this order."""
    settled: Mapping[Scope, ScopeReport] = field(default_factory=dict)
    """Scopes that need no run, or that nobody allowed to be emptied: their reports."""
    left_entities: Mapping[str, int] = field(default_factory=dict)
    """Entities that the settings do not name: documents that are kept of each."""

    def reports(self, done: Sequence[ScopeReport]) -> list[ScopeReport]:
        """What became of every scope.

        Args:
            done: Of the scopes that were run.
        """
        by_key = {report.scope_key: report for report in (*self.settled.values(), *done)}
        return [by_key[scope.key] for scope in self.scopes if scope.key in by_key]


def prepare_sync(
    sync: SyncContext,
    *,
    choice: ScopeChoice,
    scopes: Sequence[Scope],
    among: ScopeDirectory,
    options: RunOptions,
    force: bool,
) -> SyncWork:
    """Decide which of the scopes chosen need a run.

    Args:
        sync: The ports.
        choice: What was asked for.
        scopes: What it means, in the order in which they are to run.
        among: What there is.
        options: What the sync is asked for, beyond the settings.
        force: Whether scopes that seem unchanged run too.

    Raises:
        ConfigurationError: an approval of deletions for several scopes.
    """
    require_one_scope(scopes, options=options)
    emptied: dict[Scope, int] = {}
    if not _may_empty(sync, choice, options):
        emptied = vanished(scopes, statuses=among.scope_statuses())
    wanted = [scope for scope in scopes if scope not in emptied]
    are_all = choice.word in (ScopeWord.ALL, ScopeWord.TENANTS)
    left = kept_of_left_entities(sync, among.scope_statuses()) if are_all else {}
    unchanged: dict[Scope, ScopeReport] = {}
    if not force and not options.change_digests:
        leave_out = unchanged_scopes if options.mode == "full" else quiet_scopes
        unchanged = leave_out(sync, wanted, are_all=are_all)
    return SyncWork(
        scopes=[*wanted, *emptied],
        due=[scope for scope in wanted if scope not in unchanged],
        settled=unchanged
        | {scope: _left_alone(scope, points=points) for scope, points in emptied.items()},
        left_entities=left,
    )


def unchanged_scopes(
    sync: SyncContext, scopes: Sequence[Scope], *, are_all: bool
) -> dict[Scope, ScopeReport]:
    """Scopes that need no run, each with its report: what its last full sync found."""
    from sync_pipeline.engine.questions.due import judge_scopes

    judged = judge_scopes(sync, scopes=scopes, are_all=are_all)
    return _skipped(it for it in judged if not it.is_due)


def quiet_scopes(
    sync: SyncContext, scopes: Sequence[Scope], *, are_all: bool
) -> dict[Scope, ScopeReport]:
    """Scopes in which an incremental sync would find nothing, each with its report."""
    from sync_pipeline.engine.questions import quiet

    return _skipped(quiet.quiet_scopes(sync, scopes=scopes, are_all=are_all))


def _skipped(judged: Iterable[Dueness]) -> dict[Scope, ScopeReport]:
    return {it.scope: it.skipped_report() for it in judged}


def require_one_scope(scopes: Sequence[Scope], *, options: RunOptions) -> None:
    """Refuse an approval of deletions that could be about several scopes.

    Raises:
        ConfigurationError: it could.
    """
    if options.approve_deletions is not None and len(scopes) != 1:
        hints = likened_to_words(scope.key for scope in scopes)
        raise ConfigurationError(
            f"--approve-deletions is about one scope, not {len(scopes)}; name the one whose sync "
            f"was refused, as its message does{''.join(f'. {hint}' for hint in hints)}"
        )


def _may_empty(sync: SyncContext, choice: ScopeChoice, options: RunOptions) -> bool:
    """Whether a scope without rows is to be tried, and not left alone."""
    limit = options.max_deleted_fraction
    if limit is None:
        limit = sync.options.cleanup.max_deleted_fraction
    is_named = choice.word in (ScopeWord.TENANT, ScopeWord.GLOBAL)
    return limit >= 1 or is_named or options.approve_deletions is not None


def _left_alone(scope: Scope, *, points: int) -> ScopeReport:
    """Report a tenant whose rows are all gone, and that nobody allowed to be emptied."""
    return ScopeReport(
        scope_key=scope.key,
        status="skipped",
        error=f"has no rows any more; its {points} points stay until the maintenance job removes "
        f"them. To remove them now: `sync-pipeline tenants remove {shlex.quote(scope.key)} --yes`",
    )
