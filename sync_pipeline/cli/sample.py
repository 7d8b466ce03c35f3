"""``sample load``: rows to try things with."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sync_pipeline.cli import render
from sync_pipeline.cli.command import command
from sync_pipeline.cli.invocation import Invocation
from sync_pipeline.cli.options import ConfirmEnv
from sync_pipeline.core.errors import ConfigurationError

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from sync_pipeline.sample.loading import LoadReport

sample_app = typer.Typer(help="Rows to try things with.", no_args_is_help=True)


class Catalogue(StrEnum):
    """What can be loaded."""

    BUILTIN = "builtin"
    CWICR = "cwicr"
    CPV = "cpv"
    TOOLS = "tools"


@command(sample_app, "load")
def load(
    invocation: Invocation,
    *,
    catalogue: Annotated[
        Catalogue, typer.Argument(metavar="builtin|cwicr|cpv|tools", help="The catalogue.")
    ],
    path: Annotated[
        Path | None,
        typer.Argument(metavar="[PATH]", help="Its folder or file; builtin needs none."),
    ] = None,
    confirm_env: ConfirmEnv = None,
) -> None:
    """Fill the source tables with a sample catalogue; loading it again changes nothing."""
    check_path(catalogue, path)
    invocation.confirm("writing sample rows into the source", said=confirm_env)
    report = load_catalogue(invocation.installation.source_engine, catalogue, path)
    invocation.answer({"ok": True, **report_object(report)})
    invocation.show(render.load_table(report))
    for line in load_remarks(report):
        invocation.say(line)


def check_path(catalogue: Catalogue, path: Path | None) -> None:
    """Refuse a path for the built-in catalogue, and any other catalogue without one.

    Raises:
        ConfigurationError: saying what to write instead.
    """
    if catalogue is Catalogue.BUILTIN and path is not None:
        raise ConfigurationError("the builtin catalogue is read from no file; leave PATH out")
    if catalogue is not Catalogue.BUILTIN and path is None:
        raise ConfigurationError(
            f"where is the catalogue? Say `sync-pipeline sample load {catalogue.value} PATH`"
        )


def load_catalogue(engine: Engine, catalogue: Catalogue, path: Path | None = None) -> LoadReport:
    """Write a catalogue into the source tables.

    Raises:
        ConfigurationError: the files or the tables are not what is expected.
        SourceUnavailableError: no connection.
    """
    from sync_pipeline.sample import catalogues

    if path is None:
        return catalogues.load_builtin(engine)
    readers = {
        Catalogue.CWICR: catalogues.load_cwicr,
        Catalogue.CPV: catalogues.load_cpv,
        Catalogue.TOOLS: catalogues.load_tools,
    }
    return readers[catalogue](engine, path)


def report_object(report: LoadReport) -> dict[str, object]:
    """A load as JSON."""
    return {
        "catalogue": report.catalogue,
        "rows": report.rows,
        "written": report.written,
        "skipped": report.skipped,
    }


def load_remarks(report: LoadReport) -> list[str]:
    """How much was written, and what was left out."""
    total = sum(count for tables in report.rows.values() for count in tables.values())
    remarks = [f"{total:,} rows, of which {report.written:,} are new or changed."]
    remarks += [
        f"{skipped.rows:,} left out: {skipped.reason} ({', '.join(skipped.examples)} ...)."
        for skipped in report.skipped
    ]
    return remarks
