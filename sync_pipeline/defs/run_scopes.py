"""Which scopes a run is about: the one of its partition, or those of its group."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import dagster as dg

from sync_pipeline.defs.dagster_private import PARTITION_NAME_TAG

BIG_SCOPE_JOB: Final = "sync_big_scope_job"
GROUP_JOB: Final = "sync_group_job"
GROUP_STEP: Final = "sync_group"
"""The one op of ``GROUP_JOB``; what it is told is in the run's config, which has no limit of
length, as tags of a run have."""


def scope_keys(run: dg.DagsterRun) -> tuple[str, ...]:
    """Keys of the scopes that a run syncs; none of another run."""
    key = run.tags.get(PARTITION_NAME_TAG)
    if key is not None:
        return (key,)
    keys = group_config(run).get("scope_keys")
    return tuple(map(str, keys)) if isinstance(keys, list) else ()


def group_config(run: dg.DagsterRun) -> Mapping[str, Any]:
    """What a run of a group was told; nothing where it is another run."""
    config: Any = run.run_config if run.job_name == GROUP_JOB else None
    for name in ("ops", GROUP_STEP, "config"):
        config = config.get(name) if isinstance(config, Mapping) else None
    return config if isinstance(config, Mapping) else {}
