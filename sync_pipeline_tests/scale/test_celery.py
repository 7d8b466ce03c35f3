"""Runs and steps on workers of two hosts: the acceptance tests of more than one machine."""

from __future__ import annotations

import json
import os
from typing import Final

import dagster as dg
import pytest

from sync_pipeline_tests.scale.bed import (
    Bed,
    facts_of_parts,
    fill,
    needs_redis,
)

IS_LONG: Final = "SYNC_PIPELINE_SCALE"
"""Set by ``make scale``."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.dagster,
    pytest.mark.process,
    pytest.mark.timeout(900),
    needs_redis,
]
long = pytest.mark.skipif(IS_LONG not in os.environ, reason="takes minutes: `make scale` runs it")


def submit(bed: Bed, *words: str) -> dict[str, object]:
    """Leave a sync to the queue, and wait for it."""
    code, out, err = bed.command("--json", "sync", *words, "--submit")
    assert out, err
    answer: dict[str, object] = json.loads(out)
    assert code in {0, 1}, err
    return answer


def test_a_scope_is_synced_by_workers_of_two_hosts_without_a_shared_folder(bed: Bed) -> None:
    fill(bed, acme=6000, everyone=20)
    bed.environment["SYNC_PIPELINE__SCALE__BIG_SCOPE_ROWS"] = "1000"
    bed.start_daemon()
    for name in ("one", "two"):
        bed.start_worker(name)

    answer = submit(bed, "all")

    assert answer["ok"], answer
    with bed.instance() as instance:
        (big,) = instance.get_runs(dg.RunsFilter(job_name="sync_big_scope_job"))
        parts = facts_of_parts(instance, big.run_id)
    workers = {str(part["worker"]).rpartition(":")[0] for part in parts}
    assert len(parts) == 3
    assert len(workers) == 2
    assert set(bed.model.documents().values()) == {1}
    assert bed.verify() == []
