"""Runs and steps on workers of two hosts: what has to hold where there is more than one machine."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from typing import Any, Final

import dagster as dg
import psutil
import pytest

from sync_pipeline.core.scope import Scope
from sync_pipeline.defs.run_history import close_dead_runs
from sync_pipeline.settings.providers import OpenAIModel
from sync_pipeline_tests.reliability.dev_instance import wait_for
from sync_pipeline_tests.scale.bed import (
    LEASE_SECONDS,
    Bed,
    facts_of_parts,
    fill,
    needs_redis,
)
from sync_pipeline_tests.scale.hosts import Host

pytestmark = [
    pytest.mark.slow,
    pytest.mark.dagster,
    pytest.mark.process,
    pytest.mark.timeout(900),
    needs_redis,
]
long = pytest.mark.skipif(
    "SYNC_PIPELINE_SCALE" not in os.environ, reason="takes minutes: `make scale` runs it"
)

BIG: Final = "sync_big_scope_job"
SECONDS: Final = 240
"""Longest wait for anything that a busy machine does."""
BATCH: Final = 64
"""Texts of a call; see ``bed``."""
IN_HAND: Final = BATCH * OpenAIModel.model_fields["concurrency"].default
"""Texts that a worker has sent to the service, and whose vectors are not kept yet."""


@pytest.fixture
def bed(bed: Bed) -> Bed:
    """Where scopes of more than a thousand rows are big."""
    bed.environment["SYNC_PIPELINE__SCALE__BIG_SCOPE_ROWS"] = "1000"
    return bed


def answer_of(submitted: subprocess.Popen[str]) -> dict[str, Any]:
    """What a submitted sync comes to, once it is over."""
    out, _ = submitted.communicate(timeout=SECONDS)
    answer: dict[str, Any] = json.loads(out)
    return answer


def the_run(instance: dg.DagsterInstance, *, number: int = 0) -> dg.DagsterRun | None:
    """The run of the big scope, the oldest as number 0."""
    runs = list(reversed(instance.get_runs(dg.RunsFilter(job_name=BIG))))
    return runs[number] if len(runs) > number else None


def ended(instance: dg.DagsterInstance, *, number: int = 0) -> dg.DagsterRun | None:
    run = the_run(instance, number=number)
    return run if run is not None and run.is_finished else None


def embedding_children(host: Host) -> list[psutil.Process]:
    """The processes of a host that embed: children of the worker of its queue of steps."""
    workers = [
        process
        for process in host.processes()
        if re.search(r"worker .*--queue steps", " ".join(process.cmdline()))
    ]
    pids = {process.pid for process in workers}
    return [process for process in workers if process.ppid() in pids]


def has_begun(bed: Bed, texts: int) -> bool | None:
    return bed.model.documents().total() >= texts or None


def test_a_scope_is_synced_by_workers_of_two_hosts_without_a_shared_folder(bed: Bed) -> None:
    fill(bed, acme=6000, everyone=20)
    bed.know("acme", "global")
    bed.start_daemon()
    for name in ("one", "two"):
        bed.start_worker(name)

    answer = answer_of(bed.submit("all"))

    assert answer["ok"], answer
    assert answer["totals"]["embedded_texts"] == 6020
    with bed.instance() as instance:
        run = the_run(instance)
        assert run is not None
        parts = facts_of_parts(instance, run.run_id)
    hosts = {str(part["worker"]).partition("/")[0] for part in parts}
    assert len(parts) == 3
    assert sum(part["texts"] for part in parts) == 6000
    assert len(hosts) == 2
    assert set(bed.model.documents().values()) == {1}
    assert bed.verify() == []


@long
def test_a_host_that_is_lost_costs_its_batches_in_flight_and_the_retry_runs_on_the_other(
    bed: Bed,
) -> None:
    """Nobody tells Celery: only the signs of life do, which stop."""
    fill(bed, acme=10_000)
    bed.know("acme", "global")
    bed.start_daemon()
    first = bed.start_worker("one", concurrency=2)
    submitted = bed.submit("tenant", "acme")
    wait_for(lambda: has_begun(bed, 2000), seconds=SECONDS, what="embedded text")
    second = bed.start_worker("two", concurrency=2)

    first.crash()
    lost_at = time.monotonic()

    with bed.instance() as instance:
        failed = wait_for(lambda: ended(instance), seconds=SECONDS, what="end of the lost run")
        seconds = time.monotonic() - lost_at
        assert failed.status is dg.DagsterRunStatus.FAILURE
        # Looks of the sensor come every 15 s at least; the judgement itself takes three leases.
        assert seconds < 3 * LEASE_SECONDS + 30
        again = wait_for(
            lambda: ended(instance, number=1), seconds=SECONDS, what="end of the retry"
        )
        assert again.is_success
        parts = facts_of_parts(instance, again.run_id)
    assert {part["worker"].partition("/")[0] for part in parts} == {second.name}
    assert answer_of(submitted)["ok"]
    twice = [text for text, times in bed.model.documents().items() if times > 1]
    assert len(twice) <= 2 * IN_HAND
    assert bed.verify() == []


@long
def test_a_worker_that_is_killed_leaves_the_other_parts_their_work(bed: Bed) -> None:
    fill(bed, acme=10_000)
    bed.know("acme", "global")
    bed.start_daemon()
    hosts = [bed.start_worker("one"), bed.start_worker("two")]
    submitted = bed.submit("tenant", "acme")
    wait_for(lambda: has_begun(bed, 1000), seconds=SECONDS, what="embedded text")

    for child in embedding_children(hosts[0]):
        child.kill()

    answer = answer_of(submitted)
    with bed.instance() as instance:
        failed = the_run(instance)
        assert failed is not None
        assert failed.status is dg.DagsterRunStatus.FAILURE
    if not answer["ok"]:
        answer = answer_of(bed.submit("tenant", "acme"))
    assert answer["ok"], answer
    twice = [text for text, times in bed.model.documents().items() if times > 1]
    assert len(twice) <= IN_HAND
    assert bed.verify() == []


@long
def test_of_two_runs_of_a_scope_on_two_hosts_one_waits_while_the_other_embeds(bed: Bed) -> None:
    """Embedding takes several lease times; without renewal the second would begin after one."""
    fill(bed, acme=900)
    bed.know("acme", "global")
    bed.model.seconds_per_text = 4 * LEASE_SECONDS / 900
    hosts = [bed.host("one"), bed.host("two")]
    for host in hosts:
        host.environment = {**host.environment, "SYNC_PIPELINE__SCALE__EXECUTOR": "in_process"}
    first = hosts[0].start("sync", "tenant", "acme")
    wait_for(lambda: has_begun(bed, 1), seconds=SECONDS, what="embedded text")

    second = hosts[1].start("sync", "tenant", "acme", "--force")
    codes = [first.wait(SECONDS), second.wait(SECONDS)]

    assert codes[0] == 0
    assert set(bed.model.documents().values()) == {1}
    assert bed.verify() == []


@long
def test_a_run_on_another_host_is_stopped_after_its_batch_and_leaves_the_scope_free(
    bed: Bed,
) -> None:
    fill(bed, acme=10_000)
    bed.know("acme", "global")
    control = bed.start_daemon()
    bed.start_worker("one")
    submitted = bed.submit("tenant", "acme")
    wait_for(lambda: has_begun(bed, 500), seconds=SECONDS, what="embedded text")

    with bed.instance() as instance:
        run = the_run(instance)
        assert run is not None
        stop = f"instance.run_coordinator.cancel_run({run.run_id!r})"
        program = f"import dagster as dg; instance = dg.DagsterInstance.get(); {stop}"
        environment = {**control.environment, **_variables(bed)}
        command = [sys.executable, "-c", program]
        subprocess.run(command, env=environment, check=True, timeout=SECONDS)
        stopped = wait_for(lambda: ended(instance), seconds=SECONDS, what="end of the run")

    assert stopped.status in {dg.DagsterRunStatus.CANCELED, dg.DagsterRunStatus.FAILURE}
    leases = bed.installation().sync.leases
    wait_for(
        lambda: leases.holder(scope=Scope("acme")) is None or None,
        seconds=2 * LEASE_SECONDS,
        what="free scope",
    )
    submitted.communicate(timeout=SECONDS)
    assert answer_of(bed.submit("tenant", "acme", "--force"))["ok"]
    assert bed.verify() == []


@long
def test_a_healthy_run_of_several_processes_is_never_taken_for_dead(bed: Bed) -> None:
    """Between two steps no step has a process; who starts them gives signs of life."""
    fill(bed, acme=3000)
    bed.know("acme", "global")
    bed.environment["SYNC_PIPELINE__SCALE__EXECUTOR"] = "multiprocess"
    bed.start_daemon()
    submitted = bed.submit("tenant", "acme")

    closed = 0
    with bed.instance() as instance:
        sync = bed.installation().sync
        while submitted.poll() is None:
            closed += close_dead_runs(instance, sync)
            time.sleep(0.5)
        run = the_run(instance)
        assert run is not None
        assert run.is_success
        assert len(facts_of_parts(instance, run.run_id)) == 2

    assert closed == 0
    assert answer_of(submitted)["ok"]
    assert bed.verify() == []


@pytest.mark.parametrize(
    ("variable", "key"),
    [
        pytest.param("SYNC_PIPELINE__STAGING__URL", "staging.url", id="files"),
        pytest.param("QDRANT_URL", "index.url", id="index"),
    ],
)
def test_what_leads_to_another_place_on_every_machine_is_refused(
    bed: Bed, variable: str, key: str
) -> None:
    fill(bed, acme=10)
    del bed.environment[variable]

    code, *told = bed.command("sync", "tenant", "acme")
    sound, answer, _ = bed.command("--json", "doctor")

    assert code != 0
    assert f"`{key}` leads to a place of this machine" in " ".join("".join(told).split())
    assert sound == 1
    (finding,) = [it for it in json.loads(answer)["findings"] if it["name"] == "machines"]
    assert key in finding["detail"]
    assert f"Set `{key}`" in finding["fix"]


def _variables(bed: Bed) -> dict[str, str]:
    installation = bed.installation()
    settings = installation.settings
    return {
        "SYNC_PIPELINE_DAGSTER_URL": installation.dagster_storage_url,
        "SYNC_PIPELINE_BROKER_URL": str(settings.broker_url),
        "SYNC_PIPELINE_RESULT_URL": str(settings.result_url),
    }
