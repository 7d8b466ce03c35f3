"""``python -m sync_pipeline``, installed as ``sync-pipeline``: the command line with Dagster."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, Final

from sync_pipeline.cli.invocation import Surroundings
from sync_pipeline.cli.logs import configure_logging
from sync_pipeline.cli.main import app
from sync_pipeline.cli.signals import answer_signals

if TYPE_CHECKING:
    from sync_pipeline.cli.ports import Orchestrator

_COLLECT_AFTER: Final = (50_000, 20, 20)
"""Thresholds of the garbage collector; rows come and go by the thousand and form no cycles."""


def main() -> None:
    """Run one command and exit with its code."""
    configure_logging()
    answer_signals()
    app(prog_name="sync-pipeline", obj=Surroundings(orchestrator=_dagster))


def _dagster() -> Orchestrator:
    # Measured: importing dagster takes 0.6 s, so commands that run nothing do without.
    gc.disable()
    from sync_pipeline.defs.orchestrator import DagsterOrchestrator

    # What was imported stays. Looking at it again and again, whenever 700 objects were made,
    # took a fifth of the time of a sync that finds nothing to do.
    gc.freeze()
    gc.set_threshold(*_COLLECT_AFTER)
    gc.enable()
    return DagsterOrchestrator()


if __name__ == "__main__":
    main()
