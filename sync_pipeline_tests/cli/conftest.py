from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sync_pipeline.log_file import stop_logging_to_file
from sync_pipeline_tests.cli.installed import CommandLine


@pytest.fixture
def run(tmp_path: Path) -> Iterator[CommandLine]:
    """The program, with nothing synced yet."""
    yield CommandLine(tmp_path)
    stop_logging_to_file()


@pytest.fixture
def synced(run: CommandLine) -> CommandLine:
    """The program after ``sync all``."""
    assert run("sync", "all").exit_code == 0
    return run
