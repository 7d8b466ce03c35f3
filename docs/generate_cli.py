"""The reference of the command line, from the program itself; ``generate.py`` writes it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer

from sync_pipeline.cli.main import app

EVERYWHERE = ("--config", "--env", "--json", "--debug", "--log-file")
"""Options of every command, listed once."""

_PAGE = """\
# Command line

<!-- {generated} -->

`sync-pipeline COMMAND --help` shows the same. These options may stand before or after every
command:

{everywhere}

Results go to standard output; with `--json` one JSON object alone, errors included
(`{{"ok": false, "error": {{"type": ..., "message": ...}}}}`). Everything else goes to standard
error: errors, warnings, and on a terminal progress bars. Where an environment of the settings file
is chosen, it is named first there, and as `environment` in the JSON object.

| Exit code | Means |
| --- | --- |
| 0 | done |
| 1 | something failed, differs, or was stopped |
| 2 | the command line or the settings have to be changed |

SIGINT (Ctrl-C) and SIGTERM end a command after the batch in flight, with exit code 1; a second one
ends it at once. Either way the same command goes on where it stopped. `sync --json` has
`stopped_reason` for the scope that the first one stopped, null for all others, and in its counts
what was done by then: `embedded_texts`, `points_written`, `payloads_written`, `points_deleted`.

SCOPES is `all` (the global scope, then every tenant), `global` (the rows that every tenant shares),
`tenants`, or `tenant ID`, also with several ids. `tenant:ID` means the same, and is how the service
and its requests name a tenant whose id is `all` or `tenants`: there these words alone mean many.

{commands}
"""


def cli_page(generated: str) -> str:
    """The page, with the line that says how it was made."""
    program = typer.main.get_command(app)
    top = typer.Context(program, info_name="sync-pipeline")
    _, first = next(_walk(program, top))
    everywhere = _rows(first, is_common=True)
    commands = [_section(command, context) for command, context in _walk(program, top)]
    return _PAGE.format(
        generated=generated, everywhere="\n".join(everywhere), commands="\n\n".join(commands)
    )


def _walk(group: Any, context: typer.Context) -> Iterator[tuple[Any, typer.Context]]:
    """Every command with its context, those of groups included, in the order of the help."""
    for name, command in group.commands.items():
        inner = typer.Context(command, info_name=name, parent=context)
        if not hasattr(command, "commands") or command.invoke_without_command:
            yield command, inner
        if hasattr(command, "commands"):
            yield from _walk(command, inner)


def _section(command: Any, context: typer.Context) -> str:
    usage = context.get_usage().removeprefix("Usage: ")
    title = context.command_path.removeprefix("sync-pipeline ")
    lines = [f"## {title}", "", f"`{usage}`", "", command.help]
    rows = list(_rows(context, is_common=False))
    return "\n".join([*lines, "", *rows] if rows else lines)


def _rows(context: typer.Context, *, is_common: bool) -> Iterator[str]:
    records = [
        record
        for parameter in context.command.params
        if (parameter.opts[0] in EVERYWHERE) is is_common
        and (record := parameter.get_help_record(context)) is not None
    ]
    if records:
        yield "| Argument | Meaning |"
        yield "| --- | --- |"
    for name, meaning in records:
        escaped = name.replace("|", "\\|")
        yield f"| `{escaped}` | {' '.join(meaning.split())} |"
