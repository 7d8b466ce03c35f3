from __future__ import annotations

from pathlib import Path

import pytest

from sync_pipeline_tests.cli.installed import CommandLine


@pytest.fixture
def run(tmp_path: Path) -> CommandLine:
    """The program, with nothing synced yet."""
    return CommandLine(tmp_path)


@pytest.fixture
def synced(run: CommandLine) -> CommandLine:
    """The program after ``sync all``."""
    assert run("sync", "all").exit_code == 0
    return run
