"""``failed``: documents that could not be embedded or written."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from sync_pipeline.cli import render
from sync_pipeline.cli.command import command
from sync_pipeline.cli.invocation import Invocation
from sync_pipeline.cli.options import IsGlobal, Tenant, one_scope
from sync_pipeline.cli.selection import (
    EntityName,
    Everything,
    Now,
    RowId,
    finish,
    read_selection,
    sync_now,
)
from sync_pipeline.operations.asking import failed_documents
from sync_pipeline.operations.repairing import retry_failed, sync_commands

failed_app = typer.Typer(
    help="Documents that could not be embedded or written.", no_args_is_help=True
)

_SHOWN = (
    "scope_key", "entity_type", "db_id", "document_id", "error_code", "error", "attempts",
    "last_attempt_at", "next_retry_at", "last_synced_at",
)  # fmt: skip


@command(failed_app, "list")
def list_failed(
    invocation: Invocation,
    *,
    tenant: Tenant = None,
    is_global: IsGlobal = False,
    limit: Annotated[int | None, typer.Option(min=1, metavar="N", help="Most documents.")] = None,
) -> None:
    """List failed documents with their error and their next try; all scopes by default."""
    scope = one_scope(tenant=tenant, is_global=is_global)
    failed = failed_documents(invocation.installation.sync, scope=scope, limit=limit)
    records = [asdict(record) for record in failed]
    invocation.answer(
        {"documents": [{name: record[name] for name in _SHOWN} for record in records]}
    )
    if failed:
        invocation.show(render.failed_table(failed))
    else:
        invocation.say("No document has failed.")


@command(failed_app, "retry")
def retry(
    invocation: Invocation,
    *,
    entity: EntityName = None,
    row_id: RowId = None,
    tenant: Tenant = None,
    is_global: IsGlobal = False,
    everything: Everything = False,
    now: Now = False,
) -> None:
    """Let failed documents be tried again: those of one row, of a scope, or all.

    Their next try is due then, and Dagster's daemon starts it within a minute. With
    --now their scopes are synced right here.
    """
    chosen = read_selection(
        entity=entity, row_id=row_id, tenant=tenant, is_global=is_global, everything=everything
    )
    due = retry_failed(invocation.installation.sync, chosen)
    if not due:
        invocation.say("Nothing to try again: no such document has failed.")
    elif not now:
        invocation.say(
            f"Due now: {sum(due.values())} documents. The daemon (`sync-pipeline dev`) starts "
            f"their syncs within a minute; without it: {sync_commands(due)}."
        )
    finish(invocation, {"due": due, "sync": sync_now(invocation, due) if now and due else None})
