"""An installation of fakes for each test."""

from __future__ import annotations

import pytest

from sync_pipeline_tests.engine.world import World


@pytest.fixture
def world() -> World:
    """Empty tables, an empty index, nothing synced yet."""
    return World()
