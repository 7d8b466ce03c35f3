"""``init``: first settings for a database of your own."""

from __future__ import annotations

import os
import shlex
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from sync_pipeline.cli import render
from sync_pipeline.cli.command import command
from sync_pipeline.cli.invocation import Invocation
from sync_pipeline.cli.tables import printable
from sync_pipeline.core.errors import ConfigurationError

if TYPE_CHECKING:
    from sync_pipeline.operations.proposing import FirstSettings

app = typer.Typer()

SHOWN_LEFT_OUT: Final = 12


@command(app, "init")
def init(
    invocation: Invocation,
    *,
    database: Annotated[
        str | None,
        typer.Option(
            "--database",
            metavar="URL",
            help="The database to look at; otherwise DATABASE_URL, or on a terminal it is asked "
            "for. Without any, the embedded one.",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            metavar="FILE",
            help="The settings file to write, instead of the one that commands read.",
        ),
    ] = None,
    table: Annotated[
        list[str] | None,
        typer.Option(
            "--table",
            metavar="TABLE",
            help="Only this table, or schema.table; may be given several times.",
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Write the file without asking.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Also where the file is there already: replace it.")
    ] = False,
) -> None:
    """Look at a database and write a settings file for it.

    Proposes an entity per table that people would search, each choice with its reason, says what
    it could not decide, and shows what the first ten documents would look like. The database is
    only read. No password is written into the file.
    """
    from sync_pipeline.operations import proposing
    from sync_pipeline.settings import config_to_write
    from sync_pipeline.wiring import open_unknown_source

    config = config_to_write(invocation.config)
    output = config if output is None else output
    if output.exists() and not force:
        raise ConfigurationError(
            f"{output} is there already; nothing was written.",
            remedy="Say --force to replace it, or --output FILE to write another one.",
        )
    if not config.exists():
        # What is going to be written cannot be read before.
        invocation = replace(invocation, config=Path(os.devnull))
    url = _asked(invocation, database)
    settings = invocation.settings_of(database=url)
    address, remark = proposing.address_for_file(url)
    with open_unknown_source(settings) as source:
        found = proposing.first_settings(source, address=address, tables=table)
    _show(invocation, found)
    if not yes and invocation.can_ask and not _agreed(invocation, output):
        invocation.say("Nothing was written.")
        return
    proposing.write_settings(output, found.text, replaces=force)
    next_steps = _next_steps(output, is_read=output == config)
    invocation.answer({**found.answer(file=str(output)), "next_steps": next_steps})
    invocation.say(f"Written: {output}. Look at it, then:")
    for step in next_steps:
        invocation.say(f"  {step}")
    if remark is not None:
        invocation.say(remark)


def _asked(invocation: Invocation, database: str | None) -> str | None:
    """The address that was given, or typed in; None for what the settings say."""
    if database is not None or not invocation.can_ask:
        return database
    if invocation.settings.source.url is not None:
        return None
    typed = invocation.ask(
        "Address of the database, postgresql://USER:PASSWORD@HOST:5432/DATABASE (empty: the "
        "embedded one): "
    )
    return typed or None


def _agreed(invocation: Invocation, output: Path) -> bool:
    return invocation.ask(f"Write {output}? [Y/n] ").lower() in ("", "y", "yes")


def _show(invocation: Invocation, found: FirstSettings) -> None:
    entities = [one.entity for one in found.proposal.entities]
    if entities:
        invocation.show(render.proposed_table(entities))
    for name, reason in list(found.proposal.left_out.items())[:SHOWN_LEFT_OUT]:
        _say(invocation, f"Left out: {name}: {reason}.")
    more = len(found.proposal.left_out) - SHOWN_LEFT_OUT
    if more > 0:
        _say(invocation, f"Left out: {more} more, named in the file.")
    if found.documents:
        _say(invocation, "The first documents would be:")
        invocation.show(render.preview_table(found.documents))
    for question in found.questions:
        end = "" if question.endswith("?") else "."
        _say(invocation, f"To decide: {question}{end}")


def _say(invocation: Invocation, line: str) -> None:
    """Names come from a database that may hold anything."""
    invocation.say(printable(line).plain)


def _next_steps(output: Path, *, is_read: bool) -> list[str]:
    config = "" if is_read else f" --config {shlex.quote(str(output))}"
    return [f"sync-pipeline{config} {words}" for words in ("doctor", "plan all", "sync all")]
