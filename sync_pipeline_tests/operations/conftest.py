from __future__ import annotations

from pathlib import Path

import pytest

from sync_pipeline_tests.cli.installed import CommandLine


@pytest.fixture
def run(tmp_path: Path) -> CommandLine:
    """An installation of fakes, and its program."""
    return CommandLine(tmp_path / "staging")
