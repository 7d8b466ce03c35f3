"""``cost``, and what a sync says where its budget ends."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from sync_pipeline.core.spending import BudgetPolicy, Limit, Tariff
from sync_pipeline.engine.embedders import PricedEmbedder
from sync_pipeline.engine.questions.doctor import Finding, examine
from sync_pipeline_tests.cli.installed import CommandLine

DEAR = Tariff(Decimal(1_000), is_service=True)


@pytest.fixture
def priced(run: CommandLine) -> CommandLine:
    """A model that takes a thousandth for a token."""
    use(run, model=True)
    return run


def use(run: CommandLine, *, model: bool = False, **budgets: Any) -> None:
    sync = run.sync
    if model:
        sync = sync.rebound(embedder=PricedEmbedder(sync.models.main, tariff=DEAR))
    run.sync = replace(sync, options=replace(sync.options, budgets=BudgetPolicy(**budgets)))
    run.installation.sync = run.sync
    run.orchestrator._sync = run.sync


def answer(run: CommandLine, *words: str) -> Any:
    return json.loads(run(*words, "--json").stdout)


def test_what_was_embedded_is_summed_up_by_scope_and_model(priced: CommandLine) -> None:
    synced = answer(priced, "sync", "all")
    told = answer(priced, "cost")

    tokens = sum(line["tokens"] for line in told["lines"])
    assert {line["scope"] for line in told["lines"]} == {"global", "acme", "globex"}
    assert tokens == told["total"]["tokens"] >= synced["totals"]["embedded_tokens"]
    assert told["total"]["cost"] == pytest.approx(tokens / 1_000)
    assert told["budgets"] == []


def test_lines_can_be_about_something_else(priced: CommandLine) -> None:
    priced("sync", "all")

    told = answer(priced, "cost", "--by", "purpose")

    assert [line["purpose"] for line in told["lines"]] == ["canaries", "documents"]


def test_people_see_a_table_the_sum_and_how_much_of_a_budget_is_spent(priced: CommandLine) -> None:
    use(priced, month=Limit(cost=Decimal(1_000)), tenant=Limit(tokens=10_000))
    priced("sync", "all")

    shown = priced("cost", "--by", "scope").stdout

    assert "scope" in shown
    assert "calls," in shown
    assert "of the budget of 20" in shown
    assert "the budget of acme in 20" in shown
    assert "of a cost of 1,000.00" in shown


def test_nothing_embedded_is_said(priced: CommandLine) -> None:
    assert (
        "Nothing was embedded from 2020-02-01 to 2020-02-29."
        in priced("cost", "--month", "2020-02").stdout
    )


def test_a_month_that_is_none_is_refused_with_how_to_write_one(priced: CommandLine) -> None:
    refused = priced("cost", "--month", "November")

    assert refused.exit_code == 2
    assert "'November' is no month. Write it as 20" in refused.stderr


def test_every_month_together_is_all(priced: CommandLine) -> None:
    priced("sync", "all")

    assert answer(priced, "cost", "--month", "all")["total"] == answer(priced, "cost")["total"]


def test_a_sync_without_budget_says_what_waits_and_fails(priced: CommandLine) -> None:
    use(priced, month=Limit(tokens=0))

    done = priced("sync", "all")

    assert done.exit_code == 1
    assert "Documents that wait for vectors, found by their words meanwhile: " in done.stdout
    assert "is used up: 0 tokens, 0.00 of 0 tokens" in done.stdout
    assert "raise `budget.tokens_per_month` and run it again" in done.stdout
    told = answer(priced, "status")
    assert sum(scope["pending"] for scope in told["scopes"]) > 0


def test_doctor_tells_of_a_budget_that_is_nearly_spent(priced: CommandLine) -> None:
    use(priced, month=Limit(tokens=10_000_000))
    priced("sync", "all")
    spent = answer(priced, "cost")["budgets"][0]["spent_tokens"]
    well = budgets_of(priced)
    use(priced, month=Limit(tokens=spent))

    ill = budgets_of(priced)

    assert well.ok
    assert not ill.ok
    assert "100% of the budget of" in ill.detail


def budgets_of(run: CommandLine) -> Finding:
    return next(it for it in examine(run.sync) if it.name == "budgets")
