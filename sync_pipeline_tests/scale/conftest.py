"""A bed of hosts for each test, on a database of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import s3fs

from sync_pipeline_tests.scale.bed import Bed
from sync_pipeline_tests.scale.bed import bed as open_bed


@pytest.fixture
def bed(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bed]:
    """A broker, an object store, an index and a model that all hosts of the test reach."""
    with open_bed(database_url, tmp_path) as made:
        for name, value in made.environment.items():
            # This process looks at the same files.
            if name.startswith("AWS_"):
                monkeypatch.setenv(name, value)
        # One is kept per process, with the address of the store that it found first.
        s3fs.S3FileSystem.clear_instance_cache()
        yield made
