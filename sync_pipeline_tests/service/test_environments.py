"""A service of a named environment: where it says so, and approving a deletion there."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from sync_pipeline.core.environment import NamedEnvironment
from sync_pipeline.core.ports import SyncRun
from sync_pipeline.core.reports import Counts
from sync_pipeline_tests.service.served import Served, serving

PROD = NamedEnvironment(name="prod", is_protected=True)
NOW = datetime.now(tz=UTC)


@pytest.fixture
def prod(tmp_path: Path) -> Iterator[Served]:
    """A protected environment with a deletion that waits for approval."""
    with serving(tmp_path, environment=PROD) as service:
        service.run.sync.runs.record(
            SyncRun(
                run_id="r1",
                scope_key="acme",
                mode="full",
                started_at=NOW,
                finished_at=NOW,
                status="failed",
                counts=Counts(),
                error="refused",
                facts={"error": "MassDeletionRefusedError", "total": 3, "total_indexed": 4},
            )
        )
        yield service


def approve(served: Served, **more: Any) -> Any:
    return served.client.post(
        "/api/sync/approve",
        json={"scope": "acme", "deletions": 3, **more},
        headers=served.headers("admin", None),
    )


@pytest.mark.parametrize("said", [None, "dev"])
def test_an_approval_in_a_protected_environment_takes_its_name(
    prod: Served, said: str | None
) -> None:
    refused = approve(prod, **({} if said is None else {"confirm_environment": said}))

    assert refused.status_code == 400
    assert "nothing was changed" in refused.json()["detail"]
    assert prod.run.sync.requests.list_recent(limit=10) == []


def test_with_its_name_the_deletion_is_asked_for(prod: Served) -> None:
    answer = approve(prod, confirm_environment="prod")

    assert answer.status_code == 202, answer.text
    [request] = prod.run.sync.requests.list_recent(limit=10)
    assert request.approve_deletions == 3


def test_the_page_names_the_environment_and_asks_for_it_beside_the_number(prod: Served) -> None:
    page = prod.client.get("/", headers=prod.headers("admin", None)).text

    assert "<title>prod · Overview" in page
    assert '<span class="environment protected">' in page
    assert 'name="confirm_environment"' in page


def test_programs_and_monitoring_are_told_the_environment(prod: Served) -> None:
    headers = prod.headers("admin", None)
    status = prod.client.get("/api/sync/status", headers=headers).json()
    metrics = prod.client.get("/metrics", headers=headers).text

    assert status["environment"] == "prod"
    assert 'sync_pipeline_environment{environment="prod",protected="true"} 1.0' in metrics


def test_without_an_environment_the_page_looks_as_before(tmp_path: Path) -> None:
    with serving(tmp_path) as service:
        headers = service.headers("admin", None)
        page = service.client.get("/", headers=headers).text
        status = service.client.get("/api/sync/status", headers=headers).json()

    assert "<title>Overview" in page
    assert "environment" not in page.partition("<main")[0]
    assert status["environment"] is None
