"""``status``, ``tenants`` and ``quarantine list``: how things stand."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import typer

from sync_pipeline.cli import render
from sync_pipeline.cli.command import command
from sync_pipeline.cli.invocation import Invocation
from sync_pipeline.operations.answers import status_answer
from sync_pipeline.operations.asking import (
    kept_of_left_entities,
    landing_ages,
    statuses_by_view,
)
from sync_pipeline.operations.costing import unasked_providers
from sync_pipeline.operations.filling import recorded_generations

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sync_pipeline.engine.landing.ages import LandingAge

app = typer.Typer()


@command(app, "status", reports=True)
def status(invocation: Invocation) -> None:
    """Show per scope what is searchable, and what is not yet; and how old what landed is."""
    statuses = statuses_by_view(invocation.installation.sync)
    left = kept_of_left_entities(invocation.installation.sync, statuses)
    landings = landing_ages(invocation.installation.sync)
    invocation.answer(status_answer(statuses, landings=landings, left_entities=left))
    now = datetime.now(tz=UTC)
    invocation.show(render.status_table(statuses, now=now))
    _show_landings(invocation, landings, now=now)
    if any(len(status.views) > 1 for status in statuses):
        invocation.show(render.views_table(statuses))
    for line in (*render.surplus_remarks(statuses), *render.left_remarks(left)):
        invocation.say(line)
    if any(status.quarantined for status in statuses):
        invocation.say(f"Some rows cannot become documents; {render.LIST_QUARANTINE}.")
    archived = sum(status.archived for status in statuses)
    if archived:
        invocation.say(f"{archived:,} documents are archived: found by their words alone.")
    for line in render.truncated_remarks(statuses):
        invocation.say(line)
    for told in unasked_providers(invocation.installation.sync):
        invocation.say(f"{told}.")
    if any(status.failed for status in statuses):
        invocation.say(f"Some documents have failed; {render.LIST_FAILED}.")
    for line in render.filling_remarks(recorded_generations(invocation.installation.sync)):
        invocation.say(line)


def _show_landings(
    invocation: Invocation, landings: Sequence[LandingAge], *, now: datetime
) -> None:
    if landings:
        invocation.show(render.landings_table(landings, now=now))
    for line in render.landing_remarks(landings):
        invocation.say(line)
