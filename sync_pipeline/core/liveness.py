"""Whether a run is still alive, judged by its signs of life alone: any machine, any executor."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final

WHOLE_RUN: Final = ""
"""Stands in for a step: the process that executes the run, or starts its steps elsewhere."""

SILENT_LEASES: Final = 3.0
"""After so many lease times without a sign of life whoever owed it is dead."""
BEATS_PER_LEASE: Final = 3.0
"""How often a sign of life is given, and a lease renewed, per lease time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """The last sign of life of a step of a run."""

    run_id: str
    step_key: str
    """Of Dagster, or ``WHOLE_RUN``."""
    process: str
    """``machine:pid:started``."""
    age_seconds: float
    """By the database's clock."""
    is_gone: bool
    """Whether its process is known not to exist any more: it was of this machine."""


def why_dead(
    beats: Iterable[Heartbeat], *, silent_seconds: float, ended_steps: Collection[str]
) -> str | None:
    """Say why a run can never end by itself, for people; None where it can.

    A run is dead when the process that executes it is gone, or has been silent for too long; and
    when a step has been silent for too long whose end nobody has recorded: its machine was lost,
    and whoever waits for it waits for ever. A step whose process is gone on this machine is left
    to its executor, which sees that too.

    Args:
        beats: Of this run.
        silent_seconds: Longest silence of whoever is alive.
        ended_steps: Steps whose last attempt has ended.
    """
    for beat in beats:
        if beat.step_key == WHOLE_RUN and beat.is_gone:
            return "its process was killed"
        if beat.age_seconds > silent_seconds and beat.step_key not in ended_steps:
            what = f"step {beat.step_key!r}" if beat.step_key else "its process"
            return f"{what} has given no sign of life for {beat.age_seconds:.0f} s ({beat.process})"
    return None
