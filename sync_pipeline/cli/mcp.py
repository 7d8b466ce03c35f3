"""``mcp``: search for an AI assistant on this machine."""

from __future__ import annotations

import typer

from sync_pipeline.cli.command import command
from sync_pipeline.cli.invocation import Invocation
from sync_pipeline.cli.options import IsGlobal, Tenant, one_scope
from sync_pipeline.core.errors import ConfigurationError

app = typer.Typer()


@command(app, "mcp")
def mcp(invocation: Invocation, *, tenant: Tenant = None, is_global: IsGlobal = False) -> None:
    """Answer an AI assistant (Model Context Protocol) on standard input and output.

    A desktop assistant starts this command by itself and ends it. It searches as one tenant, or
    the shared documents alone, and can ask as nobody else; docs/assistants.md has its
    configuration.
    """
    scope = one_scope(tenant=tenant, is_global=is_global)
    if scope is None:
        raise ConfigurationError("as whom? Say --tenant ID, or --global for shared documents only")
    invocation.surroundings.assistant()(
        invocation.settings,
        scope=scope,
        on_ready=lambda: invocation.tell("Ready for an assistant on standard input"),
    )
