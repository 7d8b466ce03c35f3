"""``feed``: have the source tell which rows change."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from sync_pipeline.cli import render
from sync_pipeline.cli.command import command
from sync_pipeline.cli.invocation import Invocation
from sync_pipeline.cli.options import ConfirmEnv
from sync_pipeline.cli.signals import run_stoppable
from sync_pipeline.core.errors import TransientError
from sync_pipeline.operations.following import change_feed, iter_changed

if TYPE_CHECKING:
    from sync_pipeline.core.ports import StopSignal

feed_app = typer.Typer(help="Triggers that tell which rows change.", no_args_is_help=True)


@command(feed_app, "install")
def install(invocation: Invocation) -> None:
    """Create the triggers on every configured table that can have them, or nothing on an error.

    Tables that cannot (views, foreign tables) are named, and what their incremental syncs
    go by instead. The first sync afterwards looks at every row.
    """
    entities = invocation.installation.sync.entities
    feed = change_feed(invocation.installation.sync)
    made = feed.install(entities)
    statuses = feed.status(entities)
    invocation.answer({"ok": True, "made": made, "entities": statuses})
    for line in made or ["The feed is installed already; nothing had to be changed."]:
        invocation.say(line)
    for line in render.feed_remarks(statuses):
        invocation.say(line)
    if made:
        invocation.say("Now run `sync-pipeline sync all`: changes made before are not in the feed.")


@command(feed_app, "remove")
def remove(invocation: Invocation, *, confirm_env: ConfirmEnv = None) -> None:
    """Remove the triggers and forget pending events; what is not ours stays."""
    invocation.confirm("removing the change feed", said=confirm_env)
    removed = change_feed(invocation.installation.sync).remove()
    invocation.answer({"ok": True, "removed": removed})
    for line in removed or ["No feed is installed; there was nothing to remove."]:
        invocation.say(line)


@command(feed_app, "status")
def status(invocation: Invocation) -> None:
    """Show per entity whether changes leave events, and how many wait."""
    sync = invocation.installation.sync
    statuses = change_feed(sync).status(sync.entities)
    invocation.answer({"ok": True, "entities": statuses})
    invocation.show(render.feed_table(statuses))
    for line in render.feed_remarks(statuses):
        invocation.say(line)


@command(feed_app, "follow")
def follow(
    invocation: Invocation,
    *,
    poll_seconds: Annotated[
        float, typer.Option(help="Look at least this often, also without a notification.", min=0.1)
    ] = 5.0,
) -> None:
    """Sync changed scopes as soon as they are committed, until stopped.

    Each is an incremental run in Dagster's history. The model stays loaded, and no
    process has to start: about a second from commit to searchable.
    """
    from sync_pipeline.engine.context import RunOptions, SilentProgress

    sync = invocation.installation.sync
    change_feed(sync)
    options = RunOptions(mode="incremental")

    def work(should_stop: StopSignal) -> int:
        runs = 0
        for scopes in iter_changed(sync, poll_seconds=poll_seconds, should_stop=should_stop):
            try:
                reports = invocation.orchestrator.run_scopes(
                    invocation.settings,
                    scopes,
                    options=options,
                    progress=SilentProgress(),
                    should_stop=should_stop,
                    on_report=lambda report: invocation.tell(render.followed(report)),
                )
            except TransientError as error:
                # The changes are still pending, and the next look finds them again.
                invocation.tell(f"the changes have to wait: {error}")
                continue
            runs += len(reports)
        return runs

    invocation.tell("Following the change feed; stop with Ctrl-C.")
    runs = run_stoppable(work, tell=invocation.tell)
    invocation.answer({"ok": True, "runs": runs})
