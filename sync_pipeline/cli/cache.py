"""``cache``: what the embedding cache holds, and forgetting what nobody uses."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Annotated

import typer

from sync_pipeline.cli import render
from sync_pipeline.cli.command import command
from sync_pipeline.cli.invocation import Invocation
from sync_pipeline.cli.options import ConfirmEnv
from sync_pipeline.cli.signals import run_stoppable
from sync_pipeline.core.errors import ConfigurationError
from sync_pipeline.operations import caching

if TYPE_CHECKING:
    from sync_pipeline.core.ports import StopSignal
    from sync_pipeline.engine.removal.cache import PruneReport

DEFAULT_DAYS = 30.0

cache_app = typer.Typer(help="Vectors that need not be made again.", no_args_is_help=True)


@command(cache_app, "stats")
def stats(invocation: Invocation) -> None:
    """Show per model the cached vectors, their size, and how many documents use them.

    The last line says how many texts a lost index would not have to embed again.
    """
    report = caching.cache_stats(invocation.installation.sync)
    invocation.answer({"ok": True, **asdict(report)})
    invocation.show(render.cache_table(report))
    for line in render.cache_remarks(report):
        invocation.say(line)


@command(cache_app, "prune")
def prune(
    invocation: Invocation,
    *,
    older_than: Annotated[
        float | None,
        typer.Option(
            metavar="DAYS",
            min=0,
            help=f"Only vectors that were made so many days ago.  [default: {DEFAULT_DAYS:.0f}]",
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="ID",
            help="All vectors of this model instead, whatever their age; it must not be in use.",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be deleted.")
    ] = False,
    wait_seconds: Annotated[
        float,
        typer.Option(min=0, help="How long to wait for syncs that may need what is unused."),
    ] = 30.0,
    confirm_env: ConfirmEnv = None,
) -> None:
    """Delete cached vectors of texts that no document has any more, in any collection.

    Syncs may run meanwhile and lose nothing: what a running one may need stays until the next
    prune, after a while of waiting for it.
    """
    if model is not None and older_than is not None:
        raise ConfigurationError(
            "--model deletes all vectors of a model, whatever their age.",
            remedy="Say either --model or --older-than.",
        )

    if not dry_run:
        invocation.confirm("deleting cached vectors", said=confirm_env)

    def work(should_stop: StopSignal) -> PruneReport:
        sync = replace(invocation.installation.sync, should_stop=should_stop)
        if model is not None:
            return caching.prune_model(sync, model_id=model, is_dry_run=dry_run)
        return caching.prune_unused(
            sync,
            older_than_days=DEFAULT_DAYS if older_than is None else older_than,
            is_dry_run=dry_run,
            wait_seconds=wait_seconds,
        )

    report = run_stoppable(work, tell=invocation.tell)
    invocation.answer({"ok": True, **asdict(report)})
    if report.models:
        invocation.show(render.pruned_table(report))
    for line in render.pruned_remarks(report):
        invocation.say(line)
