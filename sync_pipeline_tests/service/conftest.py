from __future__ import annotations

from collections.abc import Iterator

import pytest

from sync_pipeline_tests.service.served import Served, serving


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A service that asks for tokens; tests that share it change nothing."""
    with serving(tmp_path_factory.mktemp("served")) as service:
        yield service
