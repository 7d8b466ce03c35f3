from __future__ import annotations

from pathlib import Path

import pytest

from sync_pipeline.database.urls import driver_url
from sync_pipeline_tests.cases.installation import Case


@pytest.fixture
def case(database_url: str, tmp_path: Path) -> Case:
    """An empty database and an empty folder."""
    return Case(driver_url(database_url, "libpq"), tmp_path)
