"""``quarantine``: rows that cannot become documents."""

from __future__ import annotations

from dataclasses import asdict

import typer

from sync_pipeline.cli import render
from sync_pipeline.cli.command import command
from sync_pipeline.cli.invocation import Invocation
from sync_pipeline.cli.options import IsGlobal, Tenant
from sync_pipeline.cli.scopes import one_scope
from sync_pipeline.cli.selection import (
    EntityName,
    Everything,
    Now,
    RowId,
    finish,
    read_selection,
    require_entity,
    sync_commands,
    sync_now,
)

quarantine_app = typer.Typer(help="Rows that cannot become documents.", no_args_is_help=True)


@command(quarantine_app, "list")
def list_quarantine(
    invocation: Invocation, *, tenant: Tenant = None, is_global: IsGlobal = False
) -> None:
    """List the rows that cannot become documents, with the reason; all scopes by default."""
    scope = one_scope(tenant=tenant, is_global=is_global)
    rows = invocation.installation.sync.quarantine.list_all(scope=scope)
    invocation.answer({"rows": [{"scope_key": key, **asdict(row)} for key, row in rows]})
    if rows:
        invocation.show(render.quarantine_table(rows))
    else:
        invocation.say("No row is quarantined.")


@command(quarantine_app, "release")
def release(
    invocation: Invocation,
    *,
    entity: EntityName = None,
    row_id: RowId = None,
    tenant: Tenant = None,
    is_global: IsGlobal = False,
    everything: Everything = False,
    now: Now = False,
) -> None:
    """Take rows off the list, so that they are judged anew: one row, a scope, or all.

    The next full sync of their scopes lists those again that are still unusable. A
    row that was mended needs no release: its next sync takes it off.
    """
    chosen = read_selection(
        entity=entity, row_id=row_id, tenant=tenant, is_global=is_global, everything=everything
    )
    sync = invocation.installation.sync
    require_entity(chosen, configured=sync.entities)
    rows = None if chosen.row is None else {chosen.row}
    released = sync.quarantine.release(scope=chosen.scope, rows=rows)
    if not released:
        invocation.say("Nothing to release: no such row is quarantined.")
    elif not now:
        invocation.say(
            f"Released: {sum(released.values())} rows. To judge them now: "
            f"{sync_commands(released)}; those that are still unusable are listed again then."
        )
    synced = sync_now(invocation, released) if now and released else None
    finish(invocation, {"released": released, "sync": synced})
