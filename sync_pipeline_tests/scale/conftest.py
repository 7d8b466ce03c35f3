"""A bed of hosts for each test, on a database of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sync_pipeline_tests.scale.bed import Bed
from sync_pipeline_tests.scale.bed import bed as open_bed


@pytest.fixture
def bed(database_url: str, tmp_path: Path) -> Iterator[Bed]:
    """A broker, an object store, an index and a model that all hosts of the test reach."""
    with open_bed(database_url, tmp_path) as made:
        yield made
