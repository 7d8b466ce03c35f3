"""``serve`` and ``token create``: the HTTP service."""

from __future__ import annotations

import re
from typing import Annotated, Final

import typer

from sync_pipeline.cli.command import command
from sync_pipeline.cli.invocation import Invocation
from sync_pipeline.cli.options import Tenant
from sync_pipeline.core.errors import ConfigurationError

app = typer.Typer()
token_app = typer.Typer(help="Tokens to try the service with.", no_args_is_help=True)

_UNITS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_TTL: Final = re.compile(r"([0-9]{1,6})([smhd])")
MAX_TTL_SECONDS: Final = 400 * 86_400


@command(app, "serve")
def serve(
    invocation: Invocation,
    *,
    host: Annotated[
        str | None, typer.Option(help="Address to listen on instead of service.host.")
    ] = None,
    port: Annotated[
        int | None, typer.Option(help="Port instead of service.port.", min=1, max=65535)
    ] = None,
) -> None:
    """Run the HTTP service and the operations page until stopped.

    Without service.secret or service.key_file nobody has to sign in, and only this machine is
    answered.
    """
    settings = invocation.settings
    code = invocation.surroundings.service()(
        settings,
        host=host or settings.service.host,
        port=port or settings.service.port,
        on_ready=lambda address: invocation.tell(f"Serving at {address}; stop with Ctrl-C."),
    )
    raise typer.Exit(code)


@command(token_app, "create")
def create(
    invocation: Invocation,
    *,
    role: Annotated[str, typer.Option(metavar="ROLE", help="tenant, worker or admin.")] = "tenant",
    tenant: Tenant = None,
    ttl: Annotated[
        str, typer.Option(metavar="TIME", help="How long it is good: 30m, 1h, 7d.")
    ] = "1h",
    subject: Annotated[
        str, typer.Option(help="Whom it is for, as logs name them.")
    ] = "command-line",
) -> None:
    """Print a token that `serve` accepts, signed with the key of the settings."""
    seconds = read_ttl(ttl)
    token = invocation.surroundings.tokens()(
        invocation.settings.service,
        subject=subject,
        role=role,
        tenant_id=tenant,
        ttl_seconds=seconds,
    )
    invocation.answer({"ok": True, "token": token, "expires_in": seconds})
    invocation.say(token)


def read_ttl(text: str) -> int:
    """Seconds.

    Raises:
        ConfigurationError: no number with a unit, nothing, or more than 400 days.
    """
    read = _TTL.fullmatch(text)
    seconds = int(read[1]) * _UNITS[read[2]] if read else 0
    if not 0 < seconds <= MAX_TTL_SECONDS:
        raise ConfigurationError(f"--ttl {text!r}: say 30m, 1h or 7d, at most 400d")
    return seconds
