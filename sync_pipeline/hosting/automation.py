"""Schedules and sensors that an installation needs, and that somebody has switched off."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from sync_pipeline.defs.dagster_private import stopped_names
from sync_pipeline.defs.landing_names import DEFERRED, schedule_name
from sync_pipeline.defs.schedules import NIGHTLY
from sync_pipeline.defs.sensors import dead_runs_sensor, sync_request_sensor
from sync_pipeline.engine.questions.doctor import Finding
from sync_pipeline.hosting.programs import MODULE

if TYPE_CHECKING:
    import dagster as dg

    from sync_pipeline.settings import Settings

NAME: Final = "schedules, sensors"

_NEEDED: Final[Mapping[str, str]] = {
    sync_request_sensor.name: "no sync is started that is asked for over HTTP or with --submit, "
    "nor groups and big scopes of the night",
    dead_runs_sensor.name: "a run whose process or machine was lost keeps its scope until the next "
    "command",
    NIGHTLY: "no scope is compared in full by itself",
}
"""What it means that one is off."""


def examine_automation(instance: dg.DagsterInstance, settings: Settings) -> Finding:
    """Find what these settings need and nobody starts.

    Args:
        instance: Remembers what was switched.
        settings: Without ``schedule.nightly`` there is no night.
    """
    stopped = stopped_names(instance)
    needed = _needed(settings)
    off = [name for name in needed if name in stopped]
    if not off:
        return Finding(name=NAME, ok=True, detail="none that is needed is switched off")
    detail = "; ".join(f"{name} is switched off in Dagster: {needed[name]}" for name in off)
    commands = " and ".join(f"`{_command(name)}`" for name in off)
    fix = f"Switch it on under Automation in Dagster's interface, or with {commands}"
    return Finding(name=NAME, ok=False, detail=detail, fix=fix)


def _needed(settings: Settings) -> dict[str, str]:
    """What these settings need, and what it means that one is off."""
    needed = dict(_NEEDED)
    if settings.schedule.nightly is None:
        del needed[NIGHTLY]
    for landing in settings.landings:
        for mode in ("full", "incremental"):
            if getattr(landing.schedule, mode) is not None:
                name = schedule_name(landing.name, mode=mode)
                needed[name] = f"{landing.name} is not landed by itself ({mode})"
    if settings.landings:
        needed[DEFERRED] = "a landing whose origin asked to wait is not gone on with"
    return needed


def _command(name: str) -> str:
    kind = "sensor" if name.endswith("_sensor") else "schedule"
    return f"sync-pipeline dagster cli {kind} start {name} -m {MODULE}"
