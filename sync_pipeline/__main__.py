"""``python -m sync_pipeline``, installed as ``sync-pipeline``: the command line with Dagster."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from sync_pipeline.cli.invocation import Surroundings
from sync_pipeline.cli.logs import configure_logging
from sync_pipeline.cli.main import app
from sync_pipeline.cli.signals import answer_signals
from sync_pipeline.cli.streams import flush_output, prepare_streams
from sync_pipeline.core.undecodable import recoded
from sync_pipeline.tuning import (
    collect_as_usual,
    collect_seldom,
    importing_for_good,
    keep_own_rights,
)

if TYPE_CHECKING:
    from sync_pipeline.operations.ports import (
        CreateToken,
        Orchestrator,
        RunAssistant,
        RunService,
    )


def main() -> None:
    """Run one command and exit with its code."""
    collect_seldom()
    keep_own_rights()
    prepare_streams()
    configure_logging()
    answer_signals()
    try:
        app(
            [_read(argument) for argument in sys.argv[1:]],
            prog_name="sync-pipeline",
            obj=surroundings_here(),
        )
    finally:
        flush_output()


def surroundings_here() -> Surroundings:
    """What commands work with in this program."""
    return Surroundings(
        orchestrator=_dagster, service=_service, assistant=_assistant, tokens=_tokens
    )


def _read(argument: str) -> str:
    """One word of the command line; the name of a file stays as this locale spells it."""
    return argument if Path(argument).exists() else recoded(argument)


def _dagster() -> Orchestrator:
    # Measured: importing dagster takes 0.6 s, so commands that run nothing do without.
    with importing_for_good():
        from sync_pipeline.hosting.orchestrator import DagsterOrchestrator
    return DagsterOrchestrator()


def _service() -> RunService:
    from sync_pipeline.hosting.service import run_service

    collect_as_usual()
    return run_service


def _assistant() -> RunAssistant:
    from sync_pipeline.hosting.assistant import run_assistant

    collect_as_usual()
    return run_assistant


def _tokens() -> CreateToken:
    from sync_pipeline.service.tokens import create_token

    return create_token


if __name__ == "__main__":
    main()
