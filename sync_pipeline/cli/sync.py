"""``sync``: bring scopes in step."""

from __future__ import annotations

import shlex
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sync_pipeline.cli import json_output, render
from sync_pipeline.cli.command import command
from sync_pipeline.cli.failures import FAILED
from sync_pipeline.cli.invocation import Invocation
from sync_pipeline.cli.options import ApproveDeletions, MaxDeletedFraction, Mode, ModeOption, Scopes
from sync_pipeline.cli.plan_file import read_plan_file
from sync_pipeline.cli.progress import open_bars
from sync_pipeline.cli.scopes import (
    ScopeChoice,
    ScopeWord,
    choose_scopes,
    read_choice,
    vanished,
)
from sync_pipeline.cli.signals import run_stoppable
from sync_pipeline.core.errors import ConfigurationError
from sync_pipeline.core.reports import ScopeReport

if TYPE_CHECKING:
    from sync_pipeline.core.scope import Scope
    from sync_pipeline.engine.context import RunOptions
    from sync_pipeline.engine.questions.status import ScopeStatusReport

app = typer.Typer()


@command(app, "sync")
def sync(
    invocation: Invocation,
    *,
    scopes: Scopes,
    mode: ModeOption = Mode.FULL,
    force: Annotated[
        bool, typer.Option("--force", help="Also scopes whose rows are as they were synced.")
    ] = False,
    max_deleted_fraction: MaxDeletedFraction = None,
    approve_deletions: ApproveDeletions = None,
    plan: Annotated[
        Path | None,
        typer.Option(help="Apply exactly this saved plan, or nothing where it is out of date."),
    ] = None,
) -> None:
    """Bring the index in step with the source.

    Each scope is one run in Dagster's history. Scopes whose rows are as they
    were at their last full sync are skipped. A scope that fails does not keep the
    others from being synced; the exit code is 1 then.
    """
    from sync_pipeline.engine.context import RunOptions
    from sync_pipeline.engine.questions.entities import left_entities

    choice = read_choice(scopes)
    looked_at = _LookedAt(invocation)
    chosen = choose_scopes(choice, known_scopes=looked_at)
    _require_one_scope(chosen, approve_deletions=approve_deletions)
    options = RunOptions(
        mode=mode.value,
        max_deleted_fraction=max_deleted_fraction,
        approve_deletions=approve_deletions,
        change_digests={} if plan is None else read_plan_file(plan, invocation, scopes=chosen),
    )
    began = time.perf_counter()
    kept: dict[Scope, int] = {}
    if not _may_empty(invocation, choice, options):
        kept = vanished(chosen, statuses=looked_at.scope_statuses())
    remaining = [scope for scope in chosen if scope not in kept]
    is_due_anyway = force or plan is not None or mode is not Mode.FULL
    are_all = choice.word in (ScopeWord.ALL, ScopeWord.TENANTS)
    left: dict[str, int] = {}
    if are_all and any(status.other_points for status in looked_at.scope_statuses()):
        left = left_entities(invocation.installation.sync)
    skipped: dict[Scope, ScopeReport] = {}
    if not is_due_anyway:
        skipped = unchanged_scopes(invocation, remaining, are_all=are_all)
    done = run_sync(invocation, [scope for scope in remaining if scope not in skipped], options)
    reports = [
        *_in_order(remaining, [*skipped.values(), *done]),
        *(_left_alone(scope, points=points) for scope, points in kept.items()),
    ]
    duration_seconds = time.perf_counter() - began
    invocation.answer(
        json_output.sync_summary(
            reports, mode=mode.value, duration_seconds=duration_seconds, left_entities=left
        )
    )
    show_reports(invocation, reports, duration_seconds=duration_seconds)
    for line in render.left_remarks(left):
        invocation.say(line)
    if not json_output.all_done(reports):
        raise typer.Exit(FAILED)


def run_sync(
    invocation: Invocation, scopes: Sequence[Scope], options: RunOptions
) -> list[ScopeReport]:
    """Have the orchestrator sync scopes, with progress bars, until done or asked to stop."""
    if not scopes:
        return []
    settings, orchestrator = invocation.settings, invocation.orchestrator
    with open_bars(invocation.err, scopes=len(scopes)) as bars:
        return run_stoppable(
            lambda should_stop: orchestrator.run_scopes(
                settings,
                scopes,
                options=options,
                progress=bars,
                should_stop=should_stop,
                on_report=lambda _report: bars.finish_scope(),
            ),
            tell=invocation.tell,
        )


def unchanged_scopes(
    invocation: Invocation, scopes: Sequence[Scope], *, are_all: bool
) -> dict[Scope, ScopeReport]:
    """Scopes that need no run, each with its report: what its last full sync found."""
    from sync_pipeline.engine.questions.due import judge_scopes

    return {
        dueness.scope: dueness.skipped_report()
        for dueness in judge_scopes(invocation.installation.sync, scopes=scopes, are_all=are_all)
        if not dueness.is_due
    }


def show_reports(
    invocation: Invocation, reports: Sequence[ScopeReport], *, duration_seconds: float
) -> None:
    """Print the result of a sync for people."""
    invocation.show(render.sync_table(reports))
    for remark in render.sync_remarks(reports, duration_seconds=duration_seconds):
        invocation.say(remark)


@dataclass(slots=True)
class _LookedAt:
    """Looks at all scopes once at most, for several questions."""

    invocation: Invocation
    _statuses: list[ScopeStatusReport] | None = None

    def unknown_scopes(self, scopes: Sequence[Scope]) -> list[Scope]:
        return self.invocation.unknown_scopes(scopes)

    def scope_statuses(self) -> list[ScopeStatusReport]:
        if self._statuses is None:
            self._statuses = self.invocation.scope_statuses()
        return self._statuses


def _require_one_scope(chosen: Sequence[Scope], *, approve_deletions: int | None) -> None:
    if approve_deletions is not None and len(chosen) != 1:
        raise ConfigurationError(
            f"--approve-deletions is about one scope, not {len(chosen)}; name the one whose sync "
            "was refused, as its message does"
        )


def _may_empty(invocation: Invocation, choice: ScopeChoice, options: RunOptions) -> bool:
    """Whether a scope without rows is to be tried, and not left alone."""
    limit = options.max_deleted_fraction
    if limit is None:
        limit = invocation.installation.sync.options.cleanup.max_deleted_fraction
    is_named = choice.word in (ScopeWord.TENANT, ScopeWord.GLOBAL)
    return limit >= 1 or is_named or options.approve_deletions is not None


def _in_order(scopes: Sequence[Scope], reports: Sequence[ScopeReport]) -> list[ScopeReport]:
    by_key = {report.scope_key: report for report in reports}
    return [by_key[scope.key] for scope in scopes if scope.key in by_key]


def _left_alone(scope: Scope, *, points: int) -> ScopeReport:
    """Report a tenant whose rows are all gone, and that nobody allowed to be emptied."""
    return ScopeReport(
        scope_key=scope.key,
        status="skipped",
        error=f"has no rows any more; its {points} points stay until the maintenance job removes "
        f"them. To remove them now: `sync-pipeline tenants remove {shlex.quote(scope.key)} --yes`",
    )
