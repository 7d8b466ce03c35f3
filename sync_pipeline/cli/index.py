"""``index``: generations of the index, going live and back, and making one anew."""

from __future__ import annotations

import shlex
import time
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Annotated

import typer

from sync_pipeline.cli import render
from sync_pipeline.cli.command import command
from sync_pipeline.cli.failures import FAILED, WRONG_USAGE
from sync_pipeline.cli.invocation import Invocation
from sync_pipeline.cli.options import ConfirmEnv
from sync_pipeline.cli.progress import open_bars
from sync_pipeline.cli.signals import run_stoppable
from sync_pipeline.cli.sync import run_sync, show_reports
from sync_pipeline.operations.answers import all_done, sync_summary
from sync_pipeline.operations.generations import (
    clear_collection,
    drop_generation,
    droppable_points,
    generations,
    held_points,
    plan_of_settings,
    roll_back,
    switch,
)
from sync_pipeline.operations.scopes import ScopeChoice, ScopeWord, choose_scopes

if TYPE_CHECKING:
    from sync_pipeline.core.ports import StopSignal
    from sync_pipeline.engine.questions.generations import GenerationPlan
    from sync_pipeline.engine.switching import Switched

index_app = typer.Typer(help="Generations of the index: a new model beside the one that serves.")

_ALL = ScopeChoice(ScopeWord.ALL)


@command(index_app, "status")
def status(invocation: Invocation) -> None:
    """List the generations of the index: which one serves, and how far a new one is."""
    found = generations(invocation.installation.sync)
    invocation.answer({"ok": True, "generations": found})
    invocation.show(render.generations_table(found))
    for line in render.generation_remarks(found):
        invocation.say(line)


@command(index_app, "plan")
def plan(invocation: Invocation) -> None:
    """Show what the settings would cost: texts to embed, tokens, seconds; writes nothing."""
    chosen = choose_scopes(_ALL, among=invocation.scopes)
    with open_bars(invocation.err, scopes=len(chosen)) as bars:

        def work(should_stop: StopSignal) -> GenerationPlan:
            sync = replace(invocation.installation.sync, progress=bars, should_stop=should_stop)
            return plan_of_settings(sync, scopes=chosen)

        made = run_stoppable(work, tell=invocation.tell)
    invocation.answer({"ok": True, **asdict(made)})
    for line in render.generation_plan(made):
        invocation.say(line)


@command(index_app, "switch")
def switch_now(invocation: Invocation) -> None:
    """Let the generation of the settings serve, if it is filled, verifies and finds its documents.

    The first time this happens by itself, once the last scope is filled. By hand it is for a
    generation that was refused, or that was gone back from.
    """

    def work(should_stop: StopSignal) -> Switched:
        return switch(replace(invocation.installation.sync, should_stop=should_stop))

    done = run_stoppable(work, tell=invocation.tell)
    invocation.answer({"ok": done.reason is None, **asdict(done)})
    if done.reason is not None:
        invocation.say(f"{done.collection} does not serve yet: {done.reason}")
        raise typer.Exit(FAILED)
    was = "serves from now on" if done.went_live else "serves already"
    invocation.say(f"{done.collection} {was}.")


@command(index_app, "rollback")
def rollback(invocation: Invocation) -> None:
    """Let the generation serve that did so before, at once.

    Both are kept in step. The settings still ask for the newer one: put the old model back, or
    let the newer one serve again with `index switch`.
    """
    record, in_step_to = roll_back(invocation.installation.sync)
    invocation.answer({"ok": True, "serves": record.collection, "in_sync_to": in_step_to})
    since = "not known to be in step, so sync all scopes"
    if in_step_to is not None:
        since = f"in step to {in_step_to:%Y-%m-%d %H:%M:%S} UTC"
    invocation.say(f"{record.collection} serves from now on, {since}.")
    invocation.say(f"It was made with {record.description}.")


@command(index_app, "drop")
def drop(
    invocation: Invocation,
    *,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The generation's collection.")],
    yes: Annotated[
        bool, typer.Option("--yes", help="Do it; without, only say what would be removed.")
    ] = False,
    confirm_env: ConfirmEnv = None,
) -> None:
    """Remove a generation that does not serve, with its files and records."""
    if not yes:
        points = droppable_points(invocation.installation.sync, name)
        next_step = f"sync-pipeline index drop {shlex.quote(name)} --yes"
        invocation.answer({"ok": False, "would_remove": {"points": points}, "next_step": next_step})
        invocation.say(
            f"This would remove the {points:,} points of {name}. Nothing was removed; to do it: "
            f"`{next_step}`"
        )
        raise typer.Exit(WRONG_USAGE)
    invocation.confirm(f"removing the generation {name}", said=confirm_env)
    gone = drop_generation(invocation.installation.sync, name)
    invocation.answer({"ok": True, **asdict(gone)})
    invocation.say(f"{gone.collection} is removed, with {gone.documents:,} records of documents.")


@command(index_app, "rebuild")
def rebuild(
    invocation: Invocation,
    *,
    yes: Annotated[
        bool, typer.Option("--yes", help="Also where there are points: they are removed first.")
    ] = False,
    confirm_env: ConfirmEnv = None,
) -> None:
    """Make a lost or damaged collection anew, from the source and the embedding cache.

    What is in the cache is not embedded again. Searches find what is there so far.
    """
    from sync_pipeline.engine.context import RunOptions

    sync = invocation.installation.sync
    points = held_points(sync)
    if points and not yes:
        next_step = "sync-pipeline index rebuild --yes"
        invocation.answer({"ok": False, "points": points, "next_step": next_step})
        invocation.say(
            f"{sync.spec.collection} has {points:,} points. `sync-pipeline verify all --repair` "
            "mends differences while it serves; to remove and make it anew, with incomplete "
            f"answers meanwhile: `{next_step}`"
        )
        raise typer.Exit(WRONG_USAGE)
    if points:
        invocation.confirm(f"removing {points:,} points", said=confirm_env)
    began = time.perf_counter()
    chosen = choose_scopes(_ALL, among=invocation.scopes)
    clear_collection(sync)
    reports = run_sync(invocation, chosen, RunOptions())
    duration_seconds = time.perf_counter() - began
    invocation.answer(
        sync_summary(reports, mode="full", duration_seconds=duration_seconds, left_entities={})
    )
    show_reports(invocation, reports, duration_seconds=duration_seconds)
    if not all_done(reports):
        raise typer.Exit(FAILED)
