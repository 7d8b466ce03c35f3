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
    from sync_pipeline.engine.questions.entities import left_entities

    statuses = invocation.scope_statuses()
    has_others = any(status.other_points for status in statuses)
    left = left_entities(invocation.installation.sync) if has_others else {}
    invocation.answer({"scopes": statuses, **({"left_entities": left} if left else {})})
    invocation.show(render.status_table(statuses, now=datetime.now(tz=UTC)))
    for line in (*render.surplus_remarks(statuses), *render.left_remarks(left)):
        invocation.say(line)
    if any(status.quarantined for status in statuses):
        invocation.say(f"Some rows cannot become documents; {render.LIST_QUARANTINE}.")
    if any(status.failed for status in statuses):
        invocation.say(f"Some documents have failed; {render.LIST_FAILED}.")
