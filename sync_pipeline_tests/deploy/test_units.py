"""Units of systemd, the crontab and a platform's jobs."""

from __future__ import annotations

import configparser
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from sync_pipeline.defs.schedules import MAINTENANCE_CRON
from sync_pipeline.settings import Settings
from sync_pipeline_tests.deploy.files import CRON, DEPLOY, PLATFORM, UNITS, schedule_lines

INSTALLED = "/opt/sync-pipeline/.venv/bin/"
ENVIRONMENT = DEPLOY / "systemd" / "environment.example"
SERVICES = [path for path in UNITS if path.suffix == ".service"]
HARDENED = {
    "NoNewPrivileges": "yes",
    "ProtectSystem": "strict",
    "ProtectHome": "yes",
    "PrivateTmp": "yes",
    "CapabilityBoundingSet": "",
}


def service(path: Path) -> dict[str, str]:
    """The section [Service] of a unit."""
    return dict(_read(path)["Service"])


def _read(path: Path) -> configparser.ConfigParser:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[method-assign,assignment]  # keys keep their case
    unit.read(path, encoding="utf-8")
    return unit


def verify(folder: Path) -> subprocess.CompletedProcess[str]:
    """Ask systemd about all units in a folder.

    Programs are looked for where this interpreter is: nothing is installed where the units say.
    """
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not installed")
    for path in UNITS:
        text = path.read_text(encoding="utf-8")
        here = text.replace(INSTALLED, f"{Path(sys.executable).parent}/")
        (folder / path.name).write_text(here, encoding="utf-8")
    names = [
        str(folder / path.name.replace("@.", "@1.")) for path in UNITS if path.suffix != ".target"
    ]
    return subprocess.run(
        [program, "verify", "--recursive-errors=no", *names, str(folder / "sync-pipeline.target")],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "SYSTEMD_UNIT_PATH": f"{folder}:"},
    )


@pytest.mark.process
def test_systemd_has_nothing_to_say_about_the_units(tmp_path: Path) -> None:
    """It ends with 0 where it only warns."""
    done = verify(tmp_path)

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.process
def test_systemd_is_listened_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    worse = tmp_path / "worse"
    worse.mkdir()
    text = UNITS[0].read_text(encoding="utf-8").replace("RestartSec", "RestartSeconds")
    (worse / UNITS[0].name).write_text(text, encoding="utf-8")
    monkeypatch.setattr("sync_pipeline_tests.deploy.test_units.UNITS", [worse / UNITS[0].name])
    (tmp_path / "sync-pipeline.target").write_text("[Unit]\nDescription=nothing\n")

    assert "RestartSeconds" in verify(tmp_path).stderr


@pytest.mark.parametrize("path", SERVICES, ids=lambda path: path.stem)
def test_every_unit_is_kept_from_what_it_does_not_need(path: Path) -> None:
    options = service(path)

    assert {name: options.get(name) for name in HARDENED} == HARDENED
    assert options["User"] == "sync-pipeline"
    assert options["EnvironmentFile"] == "/etc/sync-pipeline/environment"
    assert options["ExecStart"].startswith(f"{INSTALLED}sync-pipeline ")


@pytest.mark.parametrize(
    "path", [path for path in SERVICES if "migrate" not in path.name], ids=lambda path: path.stem
)
def test_every_unit_comes_back_but_not_with_wrong_settings(path: Path) -> None:
    options = service(path)

    assert options["Restart"] == "always"
    assert options["RestartPreventExitStatus"] == "2"
    assert _read(path)["Install"]["WantedBy"] == "sync-pipeline.target"


@pytest.mark.process
def test_the_environment_means_the_same_to_a_shell() -> None:
    """The crontab has a shell read it."""
    text = ENVIRONMENT.read_text(encoding="utf-8")
    meant = dict(re.findall(r"^([A-Z_]+)='([^']*)'$", text, flags=re.MULTILINE))

    script = f"set -a; . {ENVIRONMENT}; exec env -0"
    read = subprocess.run(
        ["/bin/sh", "-c", script], env={}, capture_output=True, text=True, check=True
    ).stdout

    assert len(meant) == 8
    assert {f"{name}={value}" for name, value in meant.items()} <= set(read.split("\0"))


def test_the_crontab_runs_when_the_schedules_would() -> None:
    lines = schedule_lines(CRON.read_text(encoding="utf-8"))
    times = {line.split("sync-pipeline set -a", 1)[0].strip() for line in lines}

    assert {Settings().schedule.nightly, MAINTENANCE_CRON} <= times
    assert all("%" not in line for line in lines)


@pytest.mark.slow
@pytest.mark.dagster
@pytest.mark.parametrize("number", [0, 1, 2])
def test_each_line_of_the_crontab_runs(number: int, database_url: str, tmp_path: Path) -> None:
    """As cron does: its shell, its PATH, and nothing else in the environment."""
    programs = Path(sys.executable).parent
    home = tmp_path / "home"
    home.mkdir()
    environment = tmp_path / "environment"
    environment.write_text(
        f"SYNC_PIPELINE_HOME='{home}'\nDATABASE_URL='{database_url}'\n"
        "SYNC_PIPELINE__EMBEDDING__PROVIDER='hashing'\n"
        f"PYTHONPATH='{Path(__file__).parents[2]}'\n"
    )
    text = CRON.read_text(encoding="utf-8").replace(
        "/etc/sync-pipeline/environment", str(environment)
    )
    command = schedule_lines(text)[number].split(None, 6)[6]
    (path,) = re.findall(r"^PATH=(.*)$", text, flags=re.MULTILINE)
    path = path.replace(INSTALLED.rstrip("/"), str(programs))
    load = (
        f"set -a; . {environment}; sync-pipeline sample load builtin && sync-pipeline sync global"
    )
    started = {"env": {"PATH": path, "HOME": str(tmp_path)}, "text": True, "capture_output": True}
    subprocess.run(["/bin/sh", "-c", load], check=True, **started)  # type: ignore[call-overload]

    done = subprocess.run(["/bin/sh", "-c", command], check=False, **started)  # type: ignore[call-overload]

    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert (home / "dagster" / "dagster.yaml").is_file()


def platform_services() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = yaml.safe_load(PLATFORM.read_text(encoding="utf-8"))["services"]
    return found


def test_the_platforms_jobs_run_when_the_schedules_would() -> None:
    schedules = {part["schedule"] for part in platform_services() if part["type"] == "cron"}

    assert schedules == {Settings().schedule.nightly, MAINTENANCE_CRON}


def test_no_secret_stands_in_the_platforms_file() -> None:
    variables = [variable for part in platform_services() for variable in part["envVars"]]

    assert all(
        variable.keys() == {"key", "sync"} and not variable["sync"] for variable in variables
    )
