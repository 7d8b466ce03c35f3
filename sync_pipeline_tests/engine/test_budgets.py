"""A sync whose budget ends: what is written, what waits, and how it goes on."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from sync_pipeline.core.ports import ScopePage
from sync_pipeline.core.reports import ScopeReport
from sync_pipeline.core.scope import Scope
from sync_pipeline.core.spending import BudgetPolicy, Limit, Purpose, Tariff
from sync_pipeline.engine.questions.due import judge_scopes
from sync_pipeline.engine.questions.plan import plan_scope
from sync_pipeline.engine.questions.status import scope_status
from sync_pipeline.operations.answers import all_done
from sync_pipeline_tests.engine.world import World
from sync_pipeline_tests.fakes.embedder import POISON

ACME = Scope("acme")


@pytest.fixture
def world() -> World:
    world = World()
    world.embedder.tariff = Tariff(Decimal(1_000_000), is_service=True)
    world.embedder.max_batch = 2
    for number in range(6):
        world.put(str(number), name=f"cement {number}", unit="kg")
    return world


def allow(world: World, **limits: int) -> None:
    world.set_options(
        budgets=BudgetPolicy(
            run=Limit(tokens=limits.get("run")),
            month=Limit(tokens=limits.get("month")),
            tenant=Limit(tokens=limits.get("tenant")),
        )
    )


def spent(world: World, purpose: Purpose = Purpose.DOCUMENTS) -> int:
    return sum(
        taken.tokens for (entry, _), taken in world.ledger.taken.items() if entry.purpose is purpose
    )


def canary_tokens(world: World) -> int:
    """What the canaries take, measured in a world of its own."""
    other = World()
    other.embedder.tariff = world.embedder.tariff
    other.put("1")
    other.run()
    return spent(other, Purpose.CANARIES)


def test_a_budget_holds_to_the_token_and_the_rest_is_pending_and_found_by_words(
    world: World,
) -> None:
    allow(world, run=canary_tokens(world) + 10)

    report = world.run()

    # Three tokens a text: of ten, three texts.
    assert (report.embedded_texts, report.pending, report.failed) == (3, 3, 0)
    assert spent(world) == 9
    assert len(world.points) == 6
    assert sum(not point.vectors for point in world.points.values()) == 3
    assert len(world.found("acme", "cement")) == 6
    assert not all_done([report])
    assert "the budget of one run is used up" in str(report.note)


def test_the_next_run_embeds_what_waited_and_nothing_else(world: World) -> None:
    allow(world, run=canary_tokens(world) + 10)
    world.run()
    embedded = list(world.embedder.embedded)
    allow(world)

    report = world.run()

    assert sorted(world.embedder.embedded) == sorted({*embedded, *world.embedder.embedded})
    assert (report.embedded_texts, report.changed, report.unchanged) == (3, 3, 3)
    assert world.is_clean()
    assert scope_status(world.sync, scope=ACME).pending == 0


def test_an_incremental_run_takes_up_what_waited_once_it_is_due(world: World) -> None:
    allow(world, month=canary_tokens(world) + 10)
    world.run()
    world.set_options(budgets=BudgetPolicy(), incremental_overlap_seconds=0)

    early = world.run(mode="incremental")
    world.sync.state.retry_now()
    late = world.run(mode="incremental")

    assert (early.embedded_texts, early.pending) == (0, 0)
    assert (late.embedded_texts, late.pending) == (3, 0)
    assert world.is_clean()


def test_a_scope_with_documents_that_wait_is_due_and_says_so(world: World) -> None:
    allow(world, month=canary_tokens(world) + 10)

    world.run()

    (judged,) = judge_scopes(world.sync, scopes=[ACME])
    status = scope_status(world.sync, scope=ACME)
    assert judged.is_due
    assert (status.pending, status.failed, status.documents) == (3, 0, 3)
    assert status.views["text"].pending == 3
    (line,), _ = world.sync.overview.list_scopes(
        entity_types=world.sync.entity_names, page=ScopePage(containing="acme")
    )
    assert (line.pending, line.synced, line.severity) == (3, 3, 2)


def test_a_changed_document_that_waits_says_the_new_words_and_has_no_old_vector(
    world: World,
) -> None:
    world.run()
    allow(world, run=0)
    world.put("1", name="gravel", unit="t")

    report = world.run()

    (point,) = [it for it in world.points.values() if it.payload["dbId"] == "1"]
    assert (report.pending, report.unchanged) == (1, 5)
    assert (point.vectors, point.payload["text"]) == ({}, "gravel t")


def test_nothing_is_embedded_where_not_even_the_canaries_are_admitted(world: World) -> None:
    limit = canary_tokens(world) - 1
    allow(world, month=limit)

    report = world.run()

    assert (report.embedded_texts, report.pending) == (0, 6)
    assert world.embedder.embedded == []
    assert world.ledger.spent_of["month", "2026-01"].tokens <= limit


def test_a_tenant_s_budget_leaves_the_others_alone(world: World) -> None:
    world.put("7", name="sand", tenant_id="globex", is_global=False)
    allow(world, tenant=canary_tokens(world) + 3)

    world.run()
    globex = world.run("globex")

    assert (globex.embedded_texts, globex.pending) == (1, 0)


def test_a_refused_text_beside_waiting_ones_fails_and_they_wait(world: World) -> None:
    world.put("bad", name=f"{POISON} cement that is quite long", unit="kg")
    allow(world, run=canary_tokens(world) + 12)

    report = world.run()

    assert report.failed == 1
    assert report.pending + report.embedded_texts == 6
    assert report.pending > 0


def test_a_payload_is_written_whatever_the_budget(world: World) -> None:
    world.run()
    allow(world, run=0)
    world.put("1", name="cement 1", unit="kg", price=5)

    report = world.run()

    assert (report.payload_changed, report.payloads_written, report.pending) == (1, 1, 0)


def test_several_calls_are_under_way_at_a_time_and_the_vectors_are_right(world: World) -> None:
    world.embedder.concurrency = 3
    world.put_many(*(f"more-{number}" for number in range(40)))

    report = world.run()

    assert report.pending == report.failed == 0
    assert world.is_clean()
    assert spent(world) == report.embedded_tokens


def test_several_calls_at_once_hold_a_budget_to_the_token(world: World) -> None:
    world.embedder.concurrency = 4
    for number in range(40):
        world.put(f"more-{number}", name=f"gravel {number}", unit="t")
    allow(world, run=canary_tokens(world) + 50)

    report = world.run()

    assert report.embedded_texts == 16
    assert spent(world) == 48
    assert report.pending == 30


def test_a_plan_prices_each_model_s_tokens(world: World) -> None:
    plan = plan_scope(world.sync, scope=ACME)

    assert (plan.tokens, plan.estimated_cost) == (18, 18.0)


def test_a_report_with_waiting_documents_is_not_ok() -> None:
    report = ScopeReport(scope_key="acme", status="success", pending=1)

    assert not all_done([report])
    assert all_done([replace(report, pending=0)])
