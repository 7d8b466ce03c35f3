"""``tenants``: which there are, and removing one for good."""

from __future__ import annotations

import shlex
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Annotated

import typer

from sync_pipeline.cli import render
from sync_pipeline.cli.command import command, group_command
from sync_pipeline.cli.failures import WRONG_USAGE
from sync_pipeline.cli.invocation import Invocation
from sync_pipeline.cli.options import ConfirmEnv
from sync_pipeline.cli.signals import run_stoppable
from sync_pipeline.core.scope import GLOBAL_KEY
from sync_pipeline.operations.removing import remove_tenant, tenant_status
from sync_pipeline.operations.scopes import known_tenant, likened_to_words

if TYPE_CHECKING:
    from sync_pipeline.core.ports import StopSignal
    from sync_pipeline.core.scope import Scope
    from sync_pipeline.engine.questions.status import ScopeStatusReport
    from sync_pipeline.engine.removal.offboard import Removal

tenants_app = typer.Typer()


@group_command(tenants_app)
def tenants(invocation: Invocation) -> None:
    """List the tenants that have rows or points."""
    statuses = [
        status
        for status in invocation.scopes.scope_statuses()
        if status.scope_key != GLOBAL_KEY
        and (status.source_rows or status.points or status.other_points)
    ]
    listed = [
        {
            "tenant_id": status.scope_key,
            "source_rows": status.source_rows,
            "points": status.points + status.other_points,
        }
        for status in statuses
    ]
    invocation.answer({"tenants": listed})
    invocation.show(render.tenants_table(statuses))
    for line in likened_to_words(status.scope_key for status in statuses):
        invocation.say(line)


@command(tenants_app, "remove")
def remove(
    invocation: Invocation,
    *,
    tenant_id: Annotated[str, typer.Argument(metavar="ID", help="The tenant.")],
    yes: Annotated[
        bool, typer.Option("--yes", help="Do it; without, only say what would be removed.")
    ] = False,
    even_with_rows: Annotated[
        bool,
        typer.Option(
            "--even-with-rows",
            help="Also while the source has rows of it; the next sync makes its documents again.",
        ),
    ] = False,
    confirm_env: ConfirmEnv = None,
) -> None:
    """Remove everything that belongs to a tenant whose rows are gone from the source.

    Its points, records, quarantine, pending changes, staged files, cached vectors and
    partition. Points are counted and sampled afterwards. Its rows in the source and
    Dagster's history of its runs stay.
    """
    scope = known_tenant(tenant_id, among=invocation.scopes)
    if not yes:
        _only_tell(invocation, tenant_status(invocation.installation.sync, scope))
    invocation.confirm(f"removing tenant {scope.key}", said=confirm_env)
    removal = _remove(invocation, scope, even_with_rows=even_with_rows)
    invocation.orchestrator.forget_scope(invocation.settings, scope)
    invocation.answer({"ok": True, **asdict(removal)})
    invocation.say(
        f"Tenant {scope.key} is removed: {removal.points} points, {removal.records} records, "
        f"{removal.quarantined} quarantined rows, {removal.events} pending changes, "
        f"{removal.vectors} cached vectors, of all entities, also those that the settings do not "
        "name. The index was counted: none of its points is left."
    )
    if even_with_rows:
        invocation.say("If the source still has rows of it, the next sync brings it back.")


def _only_tell(invocation: Invocation, status: ScopeStatusReport) -> None:
    """Say what would go, and end."""
    command_line = f"sync-pipeline tenants remove {shlex.quote(status.scope_key)} --yes"
    counts = {
        "source_rows": status.source_rows,
        "points": status.points + status.other_points,
        "documents": status.documents,
        "quarantined": status.quarantined,
    }
    others = ""
    if status.other_points:
        others = f", and {status.other_points} points of entities that the settings do not name"
    invocation.answer({"ok": False, "would_remove": counts, "next_step": command_line})
    invocation.say(
        f"This would remove {status.points} points, {status.documents} records and "
        f"{status.quarantined} quarantined rows of tenant {status.scope_key}{others}. Nothing was "
        f"removed; to do it: `{command_line}`"
    )
    if status.source_rows:
        invocation.say(
            f"The source still has {status.source_rows} rows of it: delete them first, or the "
            "next sync makes its documents again."
        )
    raise typer.Exit(WRONG_USAGE)


def _remove(invocation: Invocation, scope: Scope, *, even_with_rows: bool) -> Removal:
    def work(should_stop: StopSignal) -> Removal:
        sync = replace(invocation.installation.sync, should_stop=should_stop)
        return remove_tenant(sync, scope, even_with_rows=even_with_rows)

    return run_stoppable(work, tell=invocation.tell)
