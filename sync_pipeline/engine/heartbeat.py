"""Signs of life of a run, for as long as this process is at work on it."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final

from sync_pipeline.core.errors import SyncPipelineError
from sync_pipeline.core.liveness import BEATS_PER_LEASE, WHOLE_RUN
from sync_pipeline.core.ports import RunHeartbeats
from sync_pipeline.engine.repeating import repeating

_log: Final = logging.getLogger(__name__)
_whole_runs: Final[set[tuple[int, str]]] = set()
"""Process and run id of those that this process gives signs of life of as a whole."""


@contextmanager
def beating(
    heartbeats: RunHeartbeats,
    *,
    run_id: str,
    step_key: str = WHOLE_RUN,
    lease_ttl_seconds: float,
) -> Iterator[None]:
    """Give signs of life inside the ``with``, three per lease time.

    At its end those of a step end too. Those of a whole run stay and grow old, for a moment
    passes until its end is recorded; they are forgotten when it is. Where this process gives
    signs of the whole run already, a step has none of its own: they would say the same.

    Nothing fails because of them: a database that cannot be reached shows in the work itself.
    """
    whole_run = os.getpid(), run_id
    if step_key != WHOLE_RUN and whole_run in _whole_runs:
        yield
        return
    beat = partial(heartbeats.beat, run_id=run_id, step_key=step_key)
    every_seconds = lease_ttl_seconds / BEATS_PER_LEASE
    _try(beat)
    if step_key == WHOLE_RUN:
        _whole_runs.add(whole_run)
    try:
        with repeating(beat, every_seconds=every_seconds, name="sync-pipeline-heartbeat"):
            yield
    finally:
        if step_key == WHOLE_RUN:
            _whole_runs.discard(whole_run)
        else:
            _try(partial(heartbeats.end, run_id=run_id, step_key=step_key))


def _try(work: partial[None]) -> None:
    try:
        work()
    except SyncPipelineError as error:
        _log.warning("no sign of life could be given: %s", error)
