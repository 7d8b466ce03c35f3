"""What assets, jobs, schedules and pools of landings are called."""

from __future__ import annotations

from typing import Final

import dagster as dg

_ASSET: Final = "landed_"
_JOB: Final = ("land_", "_job")

FRESH: Final = "landing_is_fresh"
"""The check of every landed asset."""
DEFERRED: Final = "deferred_landings_sensor"
"""The sensor that starts landings again whose origin asked to wait."""


def asset_name(landing: str) -> str:
    """The asset of a landing."""
    return f"{_ASSET}{landing}"


def asset_key(landing: str) -> dg.AssetKey:
    """Its key."""
    return dg.AssetKey(asset_name(landing))


def job_name(landing: str) -> str:
    """The job that lands it."""
    return landing.join(_JOB)


def schedule_name(landing: str, *, mode: str) -> str:
    """The schedule that asks for that job in a mode."""
    return f"land_{landing}_{mode}_schedule"


def pool_name(connection: str) -> str:
    """Dagster's pool of the landings of one connection: its limit is how many run at once."""
    return f"landing_{connection}"


def is_landed(asset: str) -> bool:
    """Whether this is the asset of some landing."""
    return asset.startswith(_ASSET)


def landing_of_job(job: str) -> str | None:
    """Which landing a job lands; None of another job."""
    start, end = _JOB
    if not (job.startswith(start) and job.endswith(end)):
        return None
    return job.removeprefix(start).removesuffix(end)
