"""A real ``sync-pipeline dev``, its processes by name, and what a service manager does for it."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

import psutil

from sync_pipeline.core.scope import Scope
from sync_pipeline.engine.context import SyncContext
from sync_pipeline.hosting.instance import instance_settings
from sync_pipeline.settings import Settings, load_settings
from sync_pipeline.wiring import open_installation
from sync_pipeline_tests.ports import free_port
from sync_pipeline_tests.reliability.catalogue import Found
from sync_pipeline_tests.reliability.crash_driver import points
from sync_pipeline_tests.reliability.program import program_environment

T = TypeVar("T")

HOME_VARIABLE: Final = "SYNC_PIPELINE_HOME"
START_SECONDS: Final = 180
"""Longest wait for the user interface and the code; 10 seconds where nothing else runs."""
STOP_SECONDS: Final = 120

FASTER: Final[Mapping[str, int]] = {
    "poll_interval_seconds": 5,
    "start_timeout_seconds": 30,
    "cancel_timeout_seconds": 30,
}
"""Run monitoring, in seconds: what is shipped is 30, 180 and 300."""

PARTS: Final[Mapping[str, re.Pattern[str]]] = {
    "dev": re.compile(r" -m sync_pipeline dev "),
    "feed follower": re.compile(r" -m sync_pipeline feed follow"),
    "service": re.compile(r" -m sync_pipeline serve"),
    "dagster dev": re.compile(r" -m sync_pipeline\.hosting\.dagster_program dev "),
    "webserver": re.compile(r" -m dagster_webserver "),
    "daemon": re.compile(r" -m dagster\._daemon run "),
    "code server proxy": re.compile(r" -m dagster code-server start "),
    "code server": re.compile(r" -m dagster api grpc "),
    "run worker": re.compile(r"multiprocessing\.spawn import spawn_main"),
}
"""Command lines of the processes of ``dev``; there are a few small ones beside them."""

UNFINISHED: Final = "QUEUED, NOT_STARTED, STARTING, STARTED, CANCELING"


def wait_for(found: Callable[[], T | None], *, seconds: float, what: str) -> T:
    """Ask again and again until there is an answer.

    Raises:
        AssertionError: there was none in time.
    """
    deadline = time.monotonic() + seconds
    while (answer := found()) is None:
        assert time.monotonic() < deadline, f"after {seconds:.0f} seconds there was no {what}"
        time.sleep(0.2)
    return answer


class DevInstance:
    """``sync-pipeline dev`` over a database, with settings of its own.

    Args:
        home: Folder to be made; its path finds the processes, also those that lost their parent.
        database: URL of the source, which keeps the state and Dagster's tables too.
    """

    def __init__(self, home: Path, *, database: str) -> None:
        home.mkdir()
        self.log = home.with_suffix(".log")
        self.starts = 0
        self._home = home
        self._process: subprocess.Popen[bytes] | None = None
        dagster_home = home / "dagster"
        dagster_home.mkdir()
        shipped = instance_settings(Settings(), environment={})
        (dagster_home / "dagster.yaml").write_text(_faster(shipped))
        self._port, self.service_port = free_port(), free_port()
        self._env = {
            **program_environment(home, database=database),
            "DAGSTER_HOME": str(dagster_home),
            "SYNC_PIPELINE__SERVICE__PORT": str(self.service_port),
        }

    # Processes

    def start(self) -> None:
        """Start it; ``wait_until_ready`` waits for it."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "sync_pipeline", "dev", "--port", str(self._port)],
                env=self._env,
                cwd=self._home.parent,
                stdout=log,
                stderr=subprocess.STDOUT,
                process_group=0,
            )
        self.starts += 1

    def ended(self) -> int | None:
        """The exit code of ``dev`` itself; None while it runs."""
        assert self._process is not None
        return self._process.poll()

    def wait_until_ready(self) -> None:
        """Wait until the interface answers and knows the job."""
        wait_for(
            lambda: self.is_ready() or None,
            seconds=START_SECONDS,
            what="user interface with our code",
        )

    def is_ready(self) -> bool:
        """Whether the interface answers and knows our code."""
        query = """query($it: RepositorySelector!) { sensorsOrError(repositorySelector: $it) {
            __typename } }"""
        try:
            found = self.ask(query, it=_selector())
        except OSError:
            return False
        return bool(found["sensorsOrError"]["__typename"] == "Sensors")

    def supervise(self) -> None:
        """As a service manager: where ``dev`` has ended, end what is left of it and start again."""
        if self.ended() is not None:
            self.kill_everything()
            self.start()

    def stop(self) -> int:
        """Ask it to stop; its exit code."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(timeout=STOP_SECONDS)

    def parts(self) -> dict[str, list[psutil.Process]]:
        """Its processes by ``PARTS``; those that are none of them under ``other``."""
        found: dict[str, list[psutil.Process]] = defaultdict(list)
        for process in psutil.process_iter():
            try:
                if process.environ().get(HOME_VARIABLE) != str(self._home):
                    continue
                command = " ".join(process.cmdline()) + " "
            except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
                continue
            name = next((name for name, part in PARTS.items() if part.search(command)), "other")
            found[name].append(process)
        return found

    def kill_everything(self) -> None:
        """SIGKILL to all of its processes, until there is none."""
        while alive := [process for part in self.parts().values() for process in part]:
            for process in alive:
                kill(process)
            psutil.wait_procs(alive, timeout=5)
        if self._process is not None:
            self._process.wait()

    # What it is asked

    def command(self, *arguments: str) -> tuple[int, Any]:
        """Run ``sync-pipeline`` with its settings: exit code, and the JSON that was printed."""
        done = subprocess.run(
            [sys.executable, "-m", "sync_pipeline", "--json", *arguments],
            env=self._env,
            cwd=self._home.parent,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        return done.returncode, json.loads(done.stdout) if done.stdout.strip() else done.stderr

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        """Ask the user interface.

        Raises:
            OSError: nobody answers.
        """
        request = urllib.request.Request(
            f"http://127.0.0.1:{self._port}/graphql",
            data=json.dumps({"query": query, "variables": variables}).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - the same
            found = json.load(answer)
        assert "errors" not in found, found
        data: dict[str, Any] = found["data"]
        return data

    def start_sensor(self, name: str) -> None:
        """Switch a sensor on, as the button does; it stays on over restarts."""
        query = """mutation($it: SensorSelector!) { startSensor(sensorSelector: $it) {
            __typename ... on PythonError { message } } }"""
        started = self.ask(query, it=_selector() | {"sensorName": name})["startSensor"]
        assert started["__typename"] == "Sensor", started

    def launch(self, scope_key: str) -> str:
        """Start a full sync of a scope, as the button does, once the job is there; the run's id."""
        return wait_for(
            lambda: self._launch(scope_key), seconds=START_SECONDS, what="job that can be started"
        )

    def _launch(self, scope_key: str) -> str | None:
        """None where the interface has just lost our code."""
        query = """mutation($it: ExecutionParams!) { launchRun(executionParams: $it) {
            __typename ... on LaunchRunSuccess { run { runId } }
            ... on PythonError { message } } }"""
        tags = [{"key": "dagster/partition", "value": scope_key}]
        asked = {
            "selector": _selector() | {"jobName": "sync_scope_job"},
            "runConfigData": {},
            "executionMetadata": {"tags": tags},
        }
        try:
            launched = self.ask(query, it=asked)["launchRun"]
        except OSError:
            return None
        if launched["__typename"] == "PipelineNotFoundError":
            return None
        assert launched["__typename"] == "LaunchRunSuccess", launched
        run_id: str = launched["run"]["runId"]
        return run_id

    def terminate(self, run_id: str) -> None:
        """Cancel a run, as the button does."""
        query = """mutation($id: String!) { terminateRun(runId: $id) {
            __typename ... on TerminateRunFailure { message } ... on PythonError { message } } }"""
        found = self.ask(query, id=run_id)["terminateRun"]
        assert found["__typename"] == "TerminateRunSuccess", found

    def run_status(self, run_id: str) -> str:
        """Status of a run, by Dagster's name for it."""
        query = "query($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }"
        status: str = self.ask(query, id=run_id)["runOrError"]["status"]
        return status

    def finished(self, run_id: str) -> str | None:
        """Status of a run that has ended; None for others."""
        status = self.run_status(run_id)
        return None if status in UNFINISHED.split(", ") else status

    def unfinished_runs(self) -> list[dict[str, str]]:
        """Id and status of every run that has not ended."""
        query = f"""{{ runsOrError(filter: {{statuses: [{UNFINISHED}]}}) {{
            ... on Runs {{ results {{ runId status }} }} }} }}"""
        runs: list[dict[str, str]] = self.ask(query)["runsOrError"]["results"]
        return runs

    def count_runs(self) -> Counter[str]:
        """How many runs there were, by status."""
        query = "{ runsOrError { ... on Runs { results { status } } } }"
        return Counter(run["status"] for run in self.ask(query)["runsOrError"]["results"])

    def points(self) -> list[Found]:
        """Every point of the index; nothing of ``dev`` may be running."""
        return [Found(*point) for point in points(self.sync())]

    def lease_holder(self, scope_key: str) -> str | None:
        """The run that holds the lease of a scope now."""
        holder = self.sync().leases.holder(scope=Scope.from_key(scope_key))
        return None if holder is None else holder.owner

    def sync(self) -> SyncContext:
        """The ports of its installation, in this process."""
        return open_installation(load_settings(config=None, env=self._env)).sync

    def runs_of_request(self, request_id: str) -> list[str]:
        """Scope keys of the runs that answer a request, each as often as it has one."""
        query = """query($it: RunsFilter!) { runsOrError(filter: $it) {
            ... on Runs { results { tags { key value } } } } }"""
        wanted = {"tags": [{"key": "sync_pipeline/request", "value": request_id}]}
        runs = self.ask(query, it=wanted)["runsOrError"]["results"]
        return sorted(
            tag["value"] for run in runs for tag in run["tags"] if tag["key"] == "dagster/partition"
        )


def kill(process: psutil.Process) -> None:
    """SIGKILL; nothing where it has ended already."""
    try:
        process.kill()
    except psutil.NoSuchProcess:
        return


def _selector() -> dict[str, str]:
    return {
        "repositoryLocationName": "sync_pipeline.definitions",
        "repositoryName": "__repository__",
    }


def _faster(text: str) -> str:
    for name, seconds in FASTER.items():
        text, count = re.subn(rf"(?<={name}: )\d+", str(seconds), text)
        assert count == 1, name
    return text
