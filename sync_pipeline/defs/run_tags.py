"""Tags of runs that several places write or read."""

from __future__ import annotations

from typing import Final

from sync_pipeline.defs.dagster_private import PRIORITY_TAG

REQUEST_TAG: Final = "sync_pipeline/request"
"""Run tag that names the request which a run answers."""


def priority_tags(priority: int) -> dict[str, str]:
    """What puts a queued run before others; none has 0."""
    return {PRIORITY_TAG: str(priority)} if priority else {}
