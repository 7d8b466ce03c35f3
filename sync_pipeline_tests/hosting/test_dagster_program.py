"""How ``dev`` greets: nothing that is not so, and every warning that is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sync_pipeline.hosting.dev import PROGRAM
from sync_pipeline.hosting.instance import instance_settings
from sync_pipeline.settings import Settings
from sync_pipeline_tests.conftest import REPOSITORY

FOUND_ANOTHER = "Found a dagster instance configuration value (dagster.yaml)"
SUPERSEDED = "SupersessionWarning"
NO_SETTING = "no_such_setting"
"""What makes it end right after its greeting."""


def greeting(*start: str, folder: Path, home: Path) -> str:
    """What `dagster dev` says before it reads the settings in its folder, which are wrong."""
    home.mkdir()
    (home / "dagster.yaml").write_text(f"{NO_SETTING}: true")
    done = subprocess.run(
        [sys.executable, *start, "dev", "-m", "no_such_module"],
        cwd=folder,
        env={**os.environ, "DAGSTER_HOME": str(home), "PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=120,
    )
    assert NO_SETTING in done.stdout
    return done.stdout


@pytest.mark.dagster
@pytest.mark.slow
def test_dev_says_nothing_of_what_only_its_authors_can_do_something_about(tmp_path: Path) -> None:
    shipped = instance_settings(Settings(), environment={})
    (tmp_path / "dagster.yaml").write_text(shipped, encoding="utf-8")

    said = greeting("-m", PROGRAM, folder=tmp_path, home=tmp_path / "home")

    assert SUPERSEDED not in said
    assert FOUND_ANOTHER not in said


@pytest.mark.dagster
@pytest.mark.slow
def test_a_file_of_somebody_elses_that_dagster_does_not_read_is_still_told(tmp_path: Path) -> None:
    (tmp_path / "dagster.yaml").write_text("run_retries: {enabled: false}", encoding="utf-8")

    said = greeting("-m", PROGRAM, folder=tmp_path, home=tmp_path / "home")

    assert FOUND_ANOTHER in said


@pytest.mark.dagster
@pytest.mark.slow
def test_a_warning_about_anything_else_is_still_shown(tmp_path: Path) -> None:
    warns = (
        "import warnings, dagster; from sync_pipeline.hosting import dagster_program as program\n"
        "program.runpy.run_module = lambda *_, **__: [\n"
        "    warnings.warn(text, dagster.SupersessionWarning)\n"
        "    for text in ('Function `dev_command` is superseded.', 'Another one is superseded.')]\n"
        "program.main()"
    )

    done = subprocess.run(
        [sys.executable, "-c", warns], cwd=tmp_path, capture_output=True, text=True, check=True
    )

    assert "Another one is superseded." in done.stderr
    assert "dev_command" not in done.stderr
