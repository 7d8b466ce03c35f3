"""``python -m sync_pipeline``, installed as ``sync-pipeline``: the command line with Dagster."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sync_pipeline.cli.invocation import Surroundings
from sync_pipeline.cli.logs import configure_logging
from sync_pipeline.cli.main import app
from sync_pipeline.cli.signals import answer_signals
from sync_pipeline.tuning import importing_for_good, keep_own_rights

if TYPE_CHECKING:
    from sync_pipeline.cli.ports import Orchestrator


def main() -> None:
    """Run one command and exit with its code."""
    keep_own_rights()
    configure_logging()
    answer_signals()
    app(prog_name="sync-pipeline", obj=Surroundings(orchestrator=_dagster))


def _dagster() -> Orchestrator:
    # Measured: importing dagster takes 0.6 s, so commands that run nothing do without.
    with importing_for_good():
        from sync_pipeline.defs.orchestrator import DagsterOrchestrator
    return DagsterOrchestrator()


if __name__ == "__main__":
    main()
