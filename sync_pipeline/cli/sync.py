"""``sync``: bring scopes in step."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sync_pipeline.cli import render
from sync_pipeline.cli.command import command
from sync_pipeline.cli.failures import FAILED
from sync_pipeline.cli.invocation import Invocation
from sync_pipeline.cli.options import (
    ApproveDeletions,
    ConfirmEnv,
    MaxDeletedFraction,
    Mode,
    ModeOption,
    Scopes,
)
from sync_pipeline.cli.plan_file import read_plan_file
from sync_pipeline.cli.progress import open_bars
from sync_pipeline.cli.signals import run_stoppable
from sync_pipeline.operations.answers import all_done, sync_summary
from sync_pipeline.operations.plans import planned_changes
from sync_pipeline.operations.protection import lifts_limit
from sync_pipeline.operations.scopes import choose_scopes, read_choice
from sync_pipeline.operations.syncing import prepare_sync

if TYPE_CHECKING:
    from sync_pipeline.core.reports import ScopeReport
    from sync_pipeline.core.scope import Scope
    from sync_pipeline.engine.context import RunOptions

app = typer.Typer()


@command(app, "sync", reports=True)
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
    confirm_env: ConfirmEnv = None,
    plan: Annotated[
        Path | None,
        typer.Option(help="Apply exactly this saved plan, or nothing where it is out of date."),
    ] = None,
    submit: Annotated[
        bool,
        typer.Option(
            "--submit",
            help="Leave it to the instance's queue and workers, and follow it from here.",
        ),
    ] = False,
) -> None:
    """Bring the index in step with the source.

    Each scope is one run in Dagster's history. Scopes whose rows are as they
    were at their last full sync are skipped; with --mode incremental those of which
    the change feed, where it is installed, names no change. A scope that fails does not keep the
    others from being synced; the exit code is 1 then.

    With --submit Dagster's daemon starts the runs, on this machine or another. Ctrl-C ends the
    waiting and not the runs.
    """
    from sync_pipeline.engine.context import RunOptions

    choice = read_choice(scopes)
    installed = invocation.scopes
    chosen = choose_scopes(choice, among=installed)
    options = RunOptions(
        mode=mode.value,
        max_deleted_fraction=max_deleted_fraction,
        approve_deletions=approve_deletions,
        change_digests={} if plan is None else _planned(plan, invocation, scopes=chosen),
    )
    if lifts_limit(options, invocation.settings):
        invocation.confirm("deleting more than the settings allow", said=confirm_env)
    began = time.perf_counter()
    work = prepare_sync(
        invocation.installation.sync,
        choice=choice,
        scopes=chosen,
        among=installed,
        options=options,
        force=force,
    )
    done = (
        follow_submitted(invocation, work.due, options, force=force)
        if submit
        else run_sync(invocation, work.due, options)
    )
    reports = work.reports(done)
    duration_seconds = time.perf_counter() - began
    invocation.answer(
        sync_summary(
            reports,
            mode=mode.value,
            duration_seconds=duration_seconds,
            left_entities=work.left_entities,
        )
    )
    show_reports(invocation, reports, duration_seconds=duration_seconds)
    for line in render.left_remarks(work.left_entities):
        invocation.say(line)
    if not all_done(reports):
        raise typer.Exit(FAILED)


def _planned(path: Path, invocation: Invocation, *, scopes: Sequence[Scope]) -> dict[str, str]:
    content = read_plan_file(path)
    return planned_changes(content, invocation.installation.sync, scopes=scopes, name=str(path))


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


def follow_submitted(
    invocation: Invocation, scopes: Sequence[Scope], options: RunOptions, *, force: bool
) -> list[ScopeReport]:
    """Leave scopes to the queue, and wait for them with progress bars until done or interrupted."""
    from sync_pipeline.operations.submitting import follow_sync, submit_sync

    if not scopes:
        return []
    sync = invocation.installation.sync
    request = submit_sync(sync, scopes, options=options, force=force)
    invocation.tell(f"Asked for {len(scopes)} runs: request {request.request_id}.")
    with open_bars(invocation.err, scopes=len(scopes)) as bars:
        return run_stoppable(
            lambda should_stop: follow_sync(
                sync,
                request,
                should_stop=should_stop,
                on_report=lambda _report: bars.finish_scope(),
                tell=invocation.tell,
            ),
            tell=invocation.tell,
            stopping="Not waiting any longer; the runs go on.",
        )


def show_reports(
    invocation: Invocation, reports: Sequence[ScopeReport], *, duration_seconds: float
) -> None:
    """Print the result of a sync for people."""
    invocation.show(render.sync_table(reports))
    for remark in render.sync_remarks(reports, duration_seconds=duration_seconds):
        invocation.say(remark)
