"""The program ``sync-pipeline``: its commands, and the options that may stand before them.

To add a command, write it in a module with the commands it belongs to and name it in ``commands``.
"""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from sync_pipeline import __version__
from sync_pipeline.cli.commands import Commands
from sync_pipeline.cli.invocation import Invocation
from sync_pipeline.cli.json_output import as_json
from sync_pipeline.cli.options import Config, Debug, Env, Json, LogFile
from sync_pipeline.operations.answers import error_answer


class Program(TyperGroup):
    """Answers wrong usage as JSON too, where JSON was asked for."""

    def invoke(self, ctx: typer.Context) -> Any:  # type: ignore[override]  # typer's vendored click
        """Run a command."""
        wants_json = ctx.params.get("wants_json") or "--json" in ctx.args
        try:
            return super().invoke(ctx)
        except typer.TyperException as error:
            if wants_json:
                print(as_json(error_answer(error, message=error.format_message())))  # noqa: T201
            raise


class AllCommands(Program):
    """Has every command there is, whose module is imported when it is asked for."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{**options, "commands": Commands()})


app = typer.Typer(
    cls=AllCommands,
    name="sync-pipeline",
    no_args_is_help=True,
    # Rich tracebacks print local variables, and with them passwords.
    pretty_exceptions_enable=False,
)


def _print_version(is_asked: bool) -> None:  # noqa: FBT001 - typer passes the value alone
    if is_asked:
        typer.echo(f"sync-pipeline {__version__}")
        raise typer.Exit


@app.callback()
def program(
    context: typer.Context,
    *,
    config: Config = None,
    environment: Env = None,
    wants_json: Json = False,
    debug: Debug = False,
    log_file: LogFile = None,
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Keep a Qdrant index in step with PostgreSQL, for every tenant.

    Without settings everything runs embedded, under .sync-pipeline/. Start with
    `sync-pipeline demo`.
    """
    del version
    context.obj = Invocation(
        surroundings=context.obj,
        config=config,
        environment=environment,
        wants_json=wants_json,
        debug=debug,
        log_file=log_file,
    )
