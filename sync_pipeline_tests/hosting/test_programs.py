"""Dagster's own programs in the place of our process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NoReturn

import psycopg
import pytest

from sync_pipeline.core.errors import ConfigurationError
from sync_pipeline.database.urls import driver_url
from sync_pipeline.hosting.instance import prepare_instance
from sync_pipeline.hosting.programs import MODULE, become, command_line
from sync_pipeline.operations.ports import DagsterProgram
from sync_pipeline.wiring import Installation, open_installation
from sync_pipeline_tests.conftest import REPOSITORY
from sync_pipeline_tests.hosting.test_instance import settings_for
from sync_pipeline_tests.ports import free_port

CLI, CODE_SERVER = DagsterProgram.CLI, DagsterProgram.CODE_SERVER
DAEMON, WEBSERVER = DagsterProgram.DAEMON, DagsterProgram.WEBSERVER
EVERY_ADDRESS = "0.0.0.0"  # noqa: S104 - it is refused
WAITING = """SELECT 1 FROM pg_stat_activity
WHERE datname = current_database() AND wait_event_type = 'Lock'"""
START_SECONDS = 120
STOP_SECONDS = 60


@pytest.fixture
def installation(database_url: str, tmp_path: Path) -> Installation:
    return open_installation(settings_for(database_url, home=tmp_path))


def words(program: DagsterProgram, *arguments: str, **environment: str) -> list[str]:
    return command_line(program, arguments, environment=environment, is_behind_proxy=False)


@pytest.mark.parametrize(
    ("program", "arguments", "expected"),
    [
        pytest.param(
            WEBSERVER,
            ["-p", "3000"],
            ["-m", "dagster_webserver", "-p", "3000", "-m", MODULE, "--host", "127.0.0.1"],
            id="webserver",
        ),
        pytest.param(
            WEBSERVER,
            ["-w", "there.yaml", "-h", "localhost"],
            [
                "-m",
                "dagster_webserver",
                "-w",
                "there.yaml",
                "-h",
                "localhost",
                "--host",
                "localhost",
            ],
            id="webserver with a workspace",
        ),
        pytest.param(
            DAEMON, [], ["-m", "dagster._daemon", "run", "-m", MODULE], id="daemon without words"
        ),
        pytest.param(
            DAEMON,
            ["run", "--log-level", "debug"],
            ["-m", "dagster._daemon", "run", "--log-level", "debug", "-m", MODULE],
            id="daemon told to run",
        ),
        pytest.param(
            DAEMON,
            ["--grpc-port", "4000"],
            ["-m", "dagster._daemon", "run", "--grpc-port", "4000"],
            id="daemon with a code server",
        ),
        pytest.param(
            DAEMON,
            ["liveness-check"],
            ["-m", "dagster._daemon", "liveness-check"],
            id="another command of the daemon",
        ),
        pytest.param(
            CODE_SERVER,
            ["-p", "4000"],
            ["-m", "dagster", "code-server", "start", "-p", "4000", "-m", MODULE],
            id="code server",
        ),
        pytest.param(CLI, ["job", "list"], ["-m", "dagster", "job", "list"], id="command line"),
    ],
)
def test_what_a_program_is_started_with(
    program: DagsterProgram, arguments: list[str], expected: list[str]
) -> None:
    assert words(program, *arguments) == expected


@pytest.mark.parametrize(
    ("arguments", "environment"),
    [
        pytest.param(["-h", EVERY_ADDRESS], {}, id="short"),
        pytest.param([f"-h{EVERY_ADDRESS}"], {}, id="short without a space"),
        pytest.param([f"--host={EVERY_ADDRESS}", "--read-only"], {}, id="long"),
        pytest.param(["--host", "localhost", "--host", EVERY_ADDRESS], {}, id="the last counts"),
        pytest.param([], {"DAGSTER_WEBSERVER_HOST": EVERY_ADDRESS}, id="variable"),
        pytest.param([], {"DAGIT_HOST": EVERY_ADDRESS}, id="older variable"),
    ],
)
def test_an_interface_without_a_password_is_not_shown_to_other_machines(
    arguments: list[str], environment: dict[str, str]
) -> None:
    with pytest.raises(ConfigurationError, match=r"has no password.*--behind-auth-proxy"):
        words(WEBSERVER, *arguments, **environment)

    behind = command_line(WEBSERVER, arguments, environment=environment, is_behind_proxy=True)

    assert behind[-2:] == ["--host", EVERY_ADDRESS]


def test_a_program_finds_all_that_dev_makes(installation: Installation, tmp_path: Path) -> None:
    became: list[tuple[Sequence[str], dict[str, str]]] = []

    def note(_path: str, command: list[str], environment: dict[str, str]) -> NoReturn:
        became.append((command, environment))
        raise SystemExit(0)

    with pytest.raises(SystemExit, match="0"):
        become(
            CLI,
            ["--version"],
            installation=installation,
            environment={"KEPT": "as it is"},
            execute=note,
        )

    ((command, environment),) = became
    assert command == [sys.executable, "-m", "dagster", "--version"]
    assert environment["KEPT"] == "as it is"
    assert environment["DAGSTER_HOME"] == str(tmp_path / "dagster")
    assert environment["SYNC_PIPELINE_DAGSTER_URL"] == installation.dagster_storage_url
    assert (tmp_path / "dagster" / "dagster.yaml").is_file()


def test_a_schema_that_another_process_is_making_is_no_failure(
    installation: Installation, database_url: str
) -> None:
    """Webserver, daemon and code server of a deployment start together, on its first day too."""
    address = driver_url(database_url, "libpq")
    with (
        ThreadPoolExecutor(1) as pool,
        psycopg.connect(address) as other,
        psycopg.connect(address, autocommit=True) as watching,
    ):
        other.execute("CREATE SCHEMA dagster")
        prepared = pool.submit(prepare_instance, installation, environment={})
        while not watching.execute(WAITING).fetchone() and not prepared.done():
            time.sleep(0.01)
        other.commit()

        assert "DAGSTER_HOME" in prepared.result(timeout=30)


class Programs:
    """Dagster's programs as a service manager starts them, over one database."""

    def __init__(self, home: Path, *, database: str) -> None:
        self._home = home
        self._started: list[subprocess.Popen[bytes]] = []
        self._env = {
            **os.environ,
            "PYTHONPATH": str(REPOSITORY),
            "SYNC_PIPELINE_HOME": str(home),
            "DATABASE_URL": driver_url(database, "libpq"),
            "SYNC_PIPELINE__EMBEDDING__PROVIDER": "hashing",
        }
        self._env.pop("DAGSTER_HOME", None)

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        with (self._home / f"{len(self._started)}.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "sync_pipeline", "dagster", *arguments],
                cwd=self._home,
                env=self._env,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self._started.append(process)
        return process

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.command("dagster", *arguments)

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run any command of ours with the same settings."""
        return subprocess.run(
            [sys.executable, "-m", "sync_pipeline", *words],
            cwd=self._home,
            env=self._env,
            capture_output=True,
            text=True,
            check=False,
            timeout=START_SECONDS,
        )

    def log_of(self, process: subprocess.Popen[bytes]) -> str:
        number = self._started.index(process)
        return (self._home / f"{number}.log").read_text(errors="replace")

    def end(self) -> None:
        for process in self._started:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
        for process in self._started:
            try:
                process.wait(timeout=STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@pytest.fixture
def programs(database_url: str, tmp_path: Path) -> Iterator[Programs]:
    started = Programs(tmp_path, database=database_url)
    yield started
    started.end()


def sensors(port: int) -> list[str]:
    """Names of the sensors that the user interface knows, [] while it knows none."""
    selector = {"repositoryName": "__repository__", "repositoryLocationName": MODULE}
    query = """query($it: RepositorySelector!) { sensorsOrError(repositorySelector: $it) {
        ... on Sensors { results { name } } } }"""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/graphql",
        data=json.dumps({"query": query, "variables": {"it": selector}}).encode(),
        headers={"Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - the line above
            found = json.load(answer)["data"]["sensorsOrError"]
    except OSError:
        return []
    return [sensor["name"] for sensor in found.get("results", [])]


@pytest.mark.dagster
@pytest.mark.slow
def test_webserver_and_daemon_with_a_code_server_of_their_own_answer_and_end_in_order(
    programs: Programs, tmp_path: Path
) -> None:
    """As the container and the systemd units run them."""
    code_port, port = free_port(), free_port()
    (tmp_path / "workspace.yaml").write_text(
        f"load_from:\n- grpc_server: {{host: localhost, port: {code_port}, "
        f"location_name: {MODULE}}}\n"
    )
    code_server = programs.start("code-server", "-h", "127.0.0.1", "-p", str(code_port))
    webserver = programs.start("webserver", "-p", str(port), "-w", "workspace.yaml")
    daemon = programs.start("daemon", "-w", "workspace.yaml")

    deadline = time.monotonic() + START_SECONDS
    while not (found := sensors(port)) and time.monotonic() < deadline:
        time.sleep(1)
    while (check := programs.run("daemon", "liveness-check")).returncode:
        assert time.monotonic() < deadline, programs.log_of(daemon)
        time.sleep(1)

    assert "sync_request_sensor" in found, programs.log_of(webserver)
    assert "Daemon live" in check.stdout
    for process in (daemon, webserver, code_server):
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=STOP_SECONDS) in {0, -signal.SIGTERM}, programs.log_of(process)


@pytest.mark.dagster
@pytest.mark.slow
def test_maintenance_runs_without_a_daemon(programs: Programs) -> None:
    """As the line of cron has it."""
    assert programs.command("sample", "load", "builtin").returncode == 0

    done = programs.run("cli", "job", "execute", "-m", MODULE, "-j", "maintenance_job")

    assert done.returncode == 0, done.stderr
    assert "RUN_SUCCESS" in done.stderr


@pytest.mark.slow
def test_the_interface_is_refused_before_anything_is_made(
    programs: Programs, database_url: str, tmp_path: Path
) -> None:
    done = programs.run("webserver", "-h", EVERY_ADDRESS)

    assert done.returncode == 2
    assert "has no password" in done.stderr
    assert not (tmp_path / "dagster").exists()
    with psycopg.connect(driver_url(database_url, "libpq")) as connection:
        schemas = connection.execute("SELECT nspname FROM pg_namespace").fetchall()
    assert ("dagster",) not in schemas
