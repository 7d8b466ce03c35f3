"""The contenders run with the same versions as the pipeline, and without its settings."""

import re
import sys
from pathlib import Path

import pytest

from benchmarks.child import BenchmarkError, ChildFailedError, kill_after, run_child
from benchmarks.home import Home, clean_environment, require
from sync_pipeline_tests.conftest import REPOSITORY


def pins(path: Path) -> dict[str, str]:
    found = re.findall(r"^([\w.-]+)(?:\[\w+\])?==(\S+)$", path.read_text(), flags=re.MULTILINE)
    return {name.lower(): version for name, version in found}


def test_shared_libraries_have_the_versions_of_the_pipeline() -> None:
    ours, theirs = (
        pins(REPOSITORY / "constraints.txt"),
        pins(REPOSITORY / "benchmarks/requirements.txt"),
    )

    shared = ours.keys() & theirs.keys()

    assert {"numpy", "qdrant-edge-py", "sentence-transformers", "sqlalchemy"} <= shared
    assert {name: theirs[name] for name in shared} == {name: ours[name] for name in shared}


def test_settings_of_this_shell_do_not_reach_what_is_measured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SYNC_PIPELINE__SYNC__PART_ROWS", "1")
    monkeypatch.setenv("QDRANT_URL", "http://elsewhere:6333")

    cleaned = clean_environment()

    assert not cleaned.keys() & {"SYNC_PIPELINE__SYNC__PART_ROWS", "QDRANT_URL"}


def test_an_installation_under_test_has_its_own_settings(tmp_path: Path) -> None:
    home = Home(folder=tmp_path, database_url="postgresql://u@h/d", provider="hashing")

    environment = home.environment

    assert environment["DATABASE_URL"] == "postgresql://u@h/d"
    assert environment["SYNC_PIPELINE_HOME"] == str(tmp_path)
    assert environment["SYNC_PIPELINE__EMBEDDING__PROVIDER"] == "hashing"


@pytest.mark.process
def test_a_program_is_measured_to_its_end(tmp_path: Path) -> None:
    code = "import time; held = bytearray(80 * 2**20); time.sleep(0.4); print('done')"

    finished = run_child(
        [sys.executable, "-c", code], environment={}, folder=tmp_path, is_watched=True
    )

    assert finished.output == "done\n"
    assert finished.seconds > 0.4
    assert finished.peak_bytes > 80 * 2**20


@pytest.mark.process
def test_a_program_that_fails_stops_the_benchmark_and_says_what_it_said(tmp_path: Path) -> None:
    with pytest.raises(ChildFailedError, match="ended with code 3: no luck"):
        run_child(
            [sys.executable, "-c", "import sys; print('no luck'); sys.exit(3)"],
            environment={},
            folder=tmp_path,
        )


@pytest.mark.process
@pytest.mark.parametrize(
    ("code", "was_running"),
    [
        pytest.param("import time; time.sleep(60)", True, id="still at work"),
        pytest.param("pass", False, id="done before"),
    ],
)
def test_killing_tells_whether_there_was_something_to_kill(
    *, tmp_path: Path, code: str, was_running: bool
) -> None:
    killed = kill_after([sys.executable, "-c", code], environment={}, folder=tmp_path, seconds=2.0)

    assert killed is was_running


def test_a_claim_that_does_not_hold_stops_the_benchmark() -> None:
    require(1, "one is something")

    with pytest.raises(BenchmarkError, match="nothing is something"):
        require(0, "nothing is something")
