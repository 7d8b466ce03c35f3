"""Arguments and options that several commands share."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

import typer

from sync_pipeline.core.errors import ConfigurationError
from sync_pipeline.core.scope import GLOBAL, Scope
from sync_pipeline.operations.scopes import ScopeWord

Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="Settings file instead of SYNC_PIPELINE_CONFIG or sync_pipeline.yaml.",
    ),
]
Env = Annotated[
    str | None,
    typer.Option(
        "--env",
        metavar="NAME",
        help="Environment of the settings file instead of SYNC_PIPELINE_ENV; see "
        "docs/environments.md.",
    ),
]
ConfirmEnv = Annotated[
    str | None,
    typer.Option(
        "--confirm-env",
        metavar="NAME",
        help="The name of the environment, which deleting in a protected one takes; on a terminal "
        "it is asked for.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object to standard output.")]
LogFile = Annotated[
    Path | None,
    typer.Option(
        "--log-file",
        metavar="FILE",
        help="Append what happens to this file too, one JSON object a line; also of what this "
        "command starts. Instead of logging.file of the settings.",
    ),
]
MetricsFile = Annotated[
    Path | None,
    typer.Option(
        "--metrics-file",
        metavar="FILE",
        help="Write what --json prints to this file too, also of a run that failed or was stopped; "
        "it is replaced in one step.",
    ),
]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]

_SCOPES: Final = typer.Argument(
    metavar="SCOPES",
    help="all, global (the rows that every tenant shares), tenants, tenant ID, or tenant:ID, "
    "which means that tenant whatever its id.",
    autocompletion=lambda: [word.value for word in ScopeWord],
)
Scopes = Annotated[list[str], _SCOPES]
NoScopesOrSome = Annotated[list[str] | None, _SCOPES]


class Mode(StrEnum):
    """Which rows a sync looks at."""

    FULL = "full"
    INCREMENTAL = "incremental"


ModeOption = Annotated[
    Mode,
    typer.Option(
        "--mode",
        help="full compares every row with the index; incremental looks only at rows that the "
        "change feed or their time of change name.",
    ),
]
Tenant = Annotated[str | None, typer.Option("--tenant", metavar="ID", help="One tenant.")]
IsGlobal = Annotated[bool, typer.Option("--global", help="Only the rows that all tenants share.")]
MaxDeletedFraction = Annotated[
    float | None,
    typer.Option(
        "--max-deleted-fraction",
        metavar="F",
        min=0,
        max=1,
        help="How much of a scope may be deleted, 0 to 1; 1 lets a scope be emptied. "
        "Otherwise sync.max_deleted_fraction of the settings.",
    ),
]
ApproveDeletions = Annotated[
    int | None,
    typer.Option(
        "--approve-deletions",
        metavar="N",
        min=1,
        help="Delete exactly N points beyond that limit, as a refused sync of this one scope asks "
        "for; another number is refused again.",
    ),
]


def one_scope(*, tenant: str | None, is_global: bool) -> Scope | None:
    """The scope that ``--tenant ID`` or ``--global`` names, None for neither.

    Raises:
        ConfigurationError: both, or an id that no tenant can have.
    """
    if tenant is None:
        return GLOBAL if is_global else None
    if is_global:
        raise ConfigurationError("--tenant and --global exclude each other")
    try:
        return Scope(tenant)
    except ValueError as error:
        raise ConfigurationError(str(error)) from error
