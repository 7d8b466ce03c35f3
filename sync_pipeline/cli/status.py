"""``status``, ``tenants`` and ``quarantine list``: how things stand."""

from __future__ import annotations

from datetime import UTC, datetime

import typer

from sync_pipeline.cli import render
from sync_pipeline.cli.command import command
from sync_pipeline.cli.invocation import Invocation

app = typer.Typer()


@command(app, "status")
def status(invocation: Invocation) -> None:
    """Show per scope what is searchable, and what is not yet."""
    statuses = invocation.scope_statuses()
    invocation.answer({"scopes": statuses})
    invocation.show(render.status_table(statuses, now=datetime.now(tz=UTC)))
    if any(found.quarantined for found in statuses):
        invocation.say(f"Some rows cannot become documents; {render.LIST_QUARANTINE}.")
    if any(found.failed for found in statuses):
        invocation.say(f"Some documents have failed; {render.LIST_FAILED}.")
