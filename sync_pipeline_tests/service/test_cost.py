"""What embedding took, over HTTP, on the page and for monitoring."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from sync_pipeline.core.spending import BudgetPolicy, Limit, Tariff
from sync_pipeline.engine.embedders import PricedEmbedder
from sync_pipeline_tests.cli.installed import CommandLine
from sync_pipeline_tests.service.served import Served


def price(run: CommandLine) -> None:
    """Sync with a model whose tokens cost a thousandth each, within a budget of 10."""
    tariff = Tariff(Decimal(1_000), is_service=True)
    sync = run.sync.rebound(embedder=PricedEmbedder(run.sync.models.main, tariff=tariff))
    budgets = BudgetPolicy(month=Limit(cost=Decimal(10)), tenant=Limit(tokens=1))
    run.sync = replace(sync, options=replace(sync.options, budgets=budgets))
    run.orchestrator._sync = run.sync
    run("sync", "all")


@pytest.fixture
def priced(tmp_path: Path) -> Iterator[Served]:
    served = Served(tmp_path, is_synced=False, prepare=price)
    with served.client:
        yield served


def test_an_operator_is_told_line_by_line(priced: Served) -> None:
    answer = priced.client.get(
        "/api/sync/cost?by=scope&by=purpose", headers=priced.headers("worker", None)
    ).json()

    assert {line["scope"] for line in answer["lines"]} == {"global"}
    assert answer["total"]["cost"] == answer["total"]["tokens"] / 1_000 > 0
    month, *tenants = answer["budgets"]
    assert (month["kind"], month["limit_cost"], month["is_alerting"]) == ("month", 10.0, False)
    assert all(it["spent_tokens"] <= 1 for it in tenants)


def test_a_month_that_is_none_is_a_bad_request(priced: Served) -> None:
    answer = priced.client.get("/api/sync/cost?month=nov", headers=priced.headers("admin"))

    assert answer.status_code == 400
    assert "is no month" in answer.json()["detail"]


def test_the_page_shows_operators_how_much_of_each_budget_is_spent(priced: Served) -> None:
    admin = priced.client.get("/", headers=priced.headers("admin")).text
    tenant = priced.client.get("/", headers=priced.headers()).text

    assert '<meter min="0" max="1" high="0.8"' in admin
    assert "the budget of 20" in admin
    assert "of a cost of" not in tenant
    assert "<meter" not in tenant


def test_what_waits_for_a_budget_is_no_document_in_step(priced: Served) -> None:
    status = priced.client.get("/api/sync/status", headers=priced.headers("admin")).json()
    waiting = priced.client.get(
        "/api/sync/documents?status=pending", headers=priced.headers("admin")
    ).json()["documents"]

    assert status["health_percent"] < 100
    assert {it["error_code"] for it in waiting} == {"BudgetExceededError"}
    assert {it["attempts"] for it in waiting} == {0}


def test_monitoring_sees_what_is_spent_and_what_waits(priced: Served) -> None:
    text = priced.client.get("/metrics", headers=priced.headers("worker", None)).text

    assert 'sync_pipeline_budget_spent_fraction{key="20' in text
    assert 'sync_pipeline_all_documents{status="pending"}' in text
    assert "sync_pipeline_month_cost 0." in text
