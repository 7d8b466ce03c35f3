"""``entities``: what each holds, and removing one that left the settings."""

from __future__ import annotations

import shlex
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Annotated

import typer

from sync_pipeline.cli import render
from sync_pipeline.cli.command import command, group_command
from sync_pipeline.cli.failures import FAILED, WRONG_USAGE
from sync_pipeline.cli.invocation import Invocation
from sync_pipeline.cli.options import ConfirmEnv
from sync_pipeline.cli.signals import run_stoppable
from sync_pipeline.operations import asking
from sync_pipeline.operations.removing import left_entity, remove_left_entity

if TYPE_CHECKING:
    from sync_pipeline.core.ports import StopSignal
    from sync_pipeline.engine.removal.entities import EntityRemoval

entities_app = typer.Typer()


@group_command(entities_app)
def entities(invocation: Invocation) -> None:
    """List the entities of the settings, and those that left them and still have documents."""
    reports = asking.entities(invocation.installation.sync)
    invocation.answer({"entities": reports})
    invocation.show(render.entities_table(reports))
    left = {
        report.entity_type: max(report.points, report.documents)
        for report in reports
        if not report.in_settings
    }
    for line in render.left_remarks(left):
        invocation.say(line)


@command(entities_app, "remove")
def remove(
    invocation: Invocation,
    *,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The entity.")],
    yes: Annotated[
        bool, typer.Option("--yes", help="Do it; without, only say what would be removed.")
    ] = False,
    confirm_env: ConfirmEnv = None,
) -> None:
    """Remove everything of an entity that the settings do not name any more.

    Its points, records, quarantine and pending changes, of all scopes. Points are counted
    afterwards. Cached vectors stay, so that an entity that comes back embeds nothing again.
    """
    if not yes:
        _only_tell(invocation, name)
    invocation.confirm(f"removing entity {name}", said=confirm_env)
    removal = _remove(invocation, name)
    is_done = not removal.busy and not removal.left
    invocation.answer({"ok": is_done, **asdict(removal)})
    counts = (
        f"{removal.points} points, {removal.records} records, {removal.quarantined} quarantined "
        f"rows, {removal.events} pending changes in {removal.scopes} scopes"
    )
    if is_done:
        invocation.say(
            f"Entity {name} is removed: {counts}. The index was counted: none of its points is "
            "left."
        )
        return
    busy = ", ".join(removal.busy[: render.NAMED]) or "none"
    invocation.say(
        f"Entity {name} is removed in part: {counts}; {removal.left} points are left. Scopes that "
        f"another run was writing: {len(removal.busy)} ({busy}). Run the same command again."
    )
    raise typer.Exit(FAILED)


def _only_tell(invocation: Invocation, name: str) -> None:
    """Say what would go, and end."""
    left = left_entity(invocation.installation.sync, name)
    command_line = f"sync-pipeline entities remove {shlex.quote(name)} --yes"
    counts = {
        "points": left.points,
        "documents": left.documents,
        "failed": left.failed,
        "quarantined": left.quarantined,
    }
    invocation.answer({"ok": False, "would_remove": counts, "next_step": command_line})
    invocation.say(
        f"This would remove {left.points} points, {left.documents + left.failed} records and "
        f"{left.quarantined} quarantined rows of entity {name}. If another settings file on this "
        f"index names it, its next sync makes them again. Nothing was removed; to do it: "
        f"`{command_line}`"
    )
    raise typer.Exit(WRONG_USAGE)


def _remove(invocation: Invocation, name: str) -> EntityRemoval:
    def work(should_stop: StopSignal) -> EntityRemoval:
        sync = replace(invocation.installation.sync, should_stop=should_stop)
        return remove_left_entity(sync, name)

    return run_stoppable(work, tell=invocation.tell)
