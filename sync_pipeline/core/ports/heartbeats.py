"""Who is at work on which run, wherever that is (of ``database``)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from sync_pipeline.core.liveness import Heartbeat


class RunHeartbeats(Protocol):
    """Signs of life of runs: of the process that executes a run, and of those of its steps."""

    def beat(self, *, run_id: str, step_key: str) -> None:
        """Say that this process is at work on a step; ``WHOLE_RUN`` on the run itself.

        Of a step that another process had begun it is the work of this one now.
        """

    def end(self, *, run_id: str, step_key: str) -> None:
        """Say that this process has come to the end of a step, however it ended.

        One that another process has taken over goes on.
        """

    def list_all(self) -> list[Heartbeat]:
        """Every step that has not ended, by run and step; ages by the database's clock."""

    def forget(self, run_ids: Sequence[str]) -> int:
        """Remove what is left of runs that are over; how many steps there were."""
