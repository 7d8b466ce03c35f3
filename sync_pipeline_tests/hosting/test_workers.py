"""Workers: what Dagster is told of them, and what they do."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml

from sync_pipeline.core.environment import NamedEnvironment
from sync_pipeline.core.errors import ConfigurationError
from sync_pipeline.hosting.instance import instance_settings
from sync_pipeline.hosting.worker import _run_together, make_app, require_celery
from sync_pipeline.settings import Settings, load_settings

pytestmark = pytest.mark.dagster

BROKER = "redis://:s3cret@broker:6379/0"


def scaled(**scale: object) -> Settings:
    return load_settings(env={}, overrides={"scale": scale})


def told(settings: Settings, **environment: str) -> dict[str, Any]:
    """What Dagster reads."""
    text = instance_settings(settings, environment=environment)
    found: dict[str, Any] = yaml.safe_load(text)
    return found


CELERY = scaled(executor="celery", broker_url=BROKER)


def test_whole_runs_are_tasks_where_there_are_workers_and_no_password_is_written() -> None:
    launcher = told(CELERY)["run_launcher"]

    assert launcher["class"] == "CeleryRunLauncher"
    assert launcher["config"]["default_queue"] == "runs"
    assert "s3cret" not in instance_settings(CELERY, environment={})


@pytest.mark.parametrize(
    ("settings", "seconds"),
    [
        pytest.param(Settings(), 180, id="on this machine"),
        pytest.param(CELERY, 3600, id="for a worker"),
        pytest.param(
            scaled(executor="celery", broker_url=BROKER, start_timeout_seconds=900), 900, id="said"
        ),
    ],
)
def test_a_run_may_wait_longer_where_it_waits_for_others(settings: Settings, seconds: int) -> None:
    assert told(settings)["run_monitoring"]["start_timeout_seconds"] == seconds


def test_containers_get_the_variables_of_the_settings_and_no_others() -> None:
    settings = scaled(executor="docker", image="registry/sync-pipeline:1", network="inner")

    config = told(
        settings,
        DATABASE_URL="postgresql://u:s3cret@db/x",
        SYNC_PIPELINE__SEARCH__FUSION="rrf",
        AWS_REGION="eu",
        PATH="/usr/bin",
    )["run_launcher"]["config"]

    assert (config["image"], config["network"]) == ("registry/sync-pipeline:1", "inner")
    assert config["env_vars"] == [
        "DAGSTER_HOME",
        "SYNC_PIPELINE_DAGSTER_URL",
        "AWS_REGION",
        "DATABASE_URL",
        "SYNC_PIPELINE__SEARCH__FUSION",
    ]


def test_containers_get_the_environment_and_the_variables_that_the_file_itself_names() -> None:
    settings = scaled(executor="docker", image="registry/sync-pipeline:1").located(
        NamedEnvironment(name="prod"), references=("PROD_DATABASE_URL",)
    )

    config = told(settings, SYNC_PIPELINE_ENV="prod", PROD_DATABASE_URL="x", OTHER="y")

    assert config["run_launcher"]["config"]["env_vars"][2:] == [
        "PROD_DATABASE_URL",
        "SYNC_PIPELINE_ENV",
    ]


@pytest.mark.parametrize("executor", ["in_process", "multiprocess", "k8s"])
def test_others_start_runs_as_dagster_or_its_chart_does(executor: str) -> None:
    assert "run_launcher" not in told(scaled(executor=executor))


@pytest.fixture
def launcher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The launcher as Dagster makes it from the file, with a broker in this process."""
    monkeypatch.setenv("SYNC_PIPELINE_BROKER_URL", "memory://")
    monkeypatch.setenv("SYNC_PIPELINE_RESULT_URL", "cache+memory://")
    launched = {"run_launcher": told(CELERY)["run_launcher"]}
    (tmp_path / "dagster.yaml").write_text(yaml.safe_dump(launched))
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        yield instance.run_launcher


def run_of(launcher: Any, **tags: str) -> dg.DagsterRun:
    @dg.job
    def any_job() -> None:
        """Does nothing."""

    instance: dg.DagsterInstance = launcher._instance
    return instance.create_run_for_job(any_job, status=dg.DagsterRunStatus.STARTED, tags=tags)


def test_a_run_that_is_no_task_is_not_asked_for_and_not_stopped(launcher: Any) -> None:
    """Those of the command line and of the follower are in the same history."""
    run = run_of(launcher)

    assert launcher.check_run_worker_health(run).status.value == "RUNNING"
    assert launcher.terminate(run.run_id) is False
    assert launcher.terminate("no such run") is False


def test_a_task_that_celery_has_forgotten_is_left_to_its_signs_of_life(launcher: Any) -> None:
    run = run_of(launcher, **{"dagster-celery/task_id": "forgotten"})

    assert launcher.check_run_worker_health(run).status.value == "RUNNING"


def test_a_task_that_failed_has_failed(launcher: Any) -> None:
    launcher.celery.backend.store_result("task-1", RuntimeError("killed"), "FAILURE")
    run = run_of(launcher, **{"dagster-celery/task_id": "task-1"})

    assert launcher.check_run_worker_health(run).status.value == "FAILED"


def test_a_run_that_is_stopped_is_seen_to_be_stopping(launcher: Any) -> None:
    run = run_of(launcher, **{"dagster-celery/task_id": "task-2"})

    launcher.terminate(run.run_id)

    found = launcher._instance.get_run_by_id(run.run_id)
    assert found.status is dg.DagsterRunStatus.CANCELING


def test_a_worker_does_runs_and_steps_and_keeps_no_second_task_waiting() -> None:
    app = make_app(CELERY, queue="steps")

    assert {"execute_job", "resume_job", "execute_plan"} <= set(app.tasks)
    assert app.conf.task_default_queue == "steps"
    assert app.conf.task_acks_late is False
    assert app.conf.worker_prefetch_multiplier == 1
    assert app.conf.worker_max_tasks_per_child is None


def test_a_worker_that_nobody_would_ask_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="no run is ever given to a worker") as refused:
        require_celery(Settings())

    assert "Set `scale.executor: celery`" in str(refused.value)


STUBBORN = """
import pathlib, signal, sys, time
asked = []
signal.signal(signal.SIGTERM, lambda *_: asked.append(1))
pathlib.Path(sys.argv[1]).touch()
while not asked:
    time.sleep(0.01)
time.sleep(float(sys.argv[2]))
pathlib.Path(sys.argv[1]).write_text(str(len(asked)))
"""
"""Ends some seconds after it was asked to, and leaves how often it was."""


def stubborn(file: Path, *, seconds: float) -> list[str]:
    return [sys.executable, "-c", STUBBORN, str(file), str(seconds)]


@pytest.mark.process
@pytest.mark.timeout(60)
def test_the_worker_that_takes_longer_to_stop_is_not_hurried_by_the_one_that_is_idle(
    tmp_path: Path,
) -> None:
    idle, busy = tmp_path / "idle", tmp_path / "busy"

    def stop_once_both_are_up() -> None:
        while not (idle.exists() and busy.exists()):
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGTERM)

    stopper = threading.Thread(target=stop_once_both_are_up, daemon=True)
    stopper.start()
    commands = [stubborn(idle, seconds=0), stubborn(busy, seconds=1)]

    code = _run_together(commands, environment=os.environ)

    stopper.join()
    assert code == 0
    assert (idle.read_text(), busy.read_text()) == ("1", "1")


@pytest.mark.process
@pytest.mark.timeout(60)
def test_a_worker_that_dies_takes_the_other_along_so_that_both_are_started_again(
    tmp_path: Path,
) -> None:
    dies = [sys.executable, "-c", "import sys; sys.exit(7)"]

    code = _run_together([dies, stubborn(tmp_path / "other", seconds=0)], environment=os.environ)

    assert code == 7
