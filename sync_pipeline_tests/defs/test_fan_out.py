"""One scope's missing texts, shared out by parts among mapped steps of its run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any

import dagster as dg
import pytest

from sync_pipeline.core.canaries import CANARY_TEXTS
from sync_pipeline.core.embedded import Embedded
from sync_pipeline.core.errors import ConfigurationError, TransientError
from sync_pipeline.core.scope import Scope
from sync_pipeline.core.spending import BudgetPolicy, Limit, Tariff
from sync_pipeline.defs.run_scopes import BIG_SCOPE_JOB
from sync_pipeline.engine.context import SyncContext
from sync_pipeline.engine.staged import StagedExport
from sync_pipeline.engine.steps.compare import Comparison, iter_comparisons
from sync_pipeline_tests.defs.conftest import metadata_of, run_job, set_rows
from sync_pipeline_tests.engine.world import World
from sync_pipeline_tests.fakes.embedder import POISON

pytestmark = pytest.mark.dagster

ACME = Scope("acme")


@pytest.fixture
def world(world: World) -> World:
    """Twenty texts in four parts, more than are embedded where they are compared."""
    set_rows(world, acme=[str(number) for number in range(20)])
    world.set_options(part_rows=7, part_texts=5, fan_out_texts=19)
    return world


def test_in_the_job_of_all_other_scopes_nothing_is_mapped(
    world: World, instance: dg.DagsterInstance
) -> None:
    """One process does all of it, and shows it as one."""
    result = run_job(instance, world.sync, scope_key="acme")

    assert mapped(result) == []
    assert metadata_of(result, "embedded_documents")["embedded_texts"] == 20
    assert world.is_clean()


def mapped(result: dg.ExecuteInProcessResult) -> list[str]:
    """Mapping keys of the parts that were embedded by steps of their own."""
    return sorted(
        str(event.step_key).partition("[")[2].rstrip("]")
        for event in result.all_events
        if event.is_step_success and "embed_texts[" in str(event.step_key)
    )


def test_missing_texts_are_embedded_by_a_step_for_each_part(
    world: World, instance: dg.DagsterInstance
) -> None:
    result = run_job(instance, world.sync, scope_key="acme", job_name=BIG_SCOPE_JOB)

    assert result.success
    assert mapped(result) == ["part_0000", "part_0001", "part_0002", "part_0003"]
    assert sorted(world.embedder.embedded) == sorted({f"cement {n} kg" for n in range(20)})
    shown = metadata_of(result, "embedded_documents")
    assert (shown["new"], shown["embedded_texts"], shown["parts"]) == (20, 20, 4)
    assert world.is_clean()
    assert world.sync.leases.holder(scope=ACME) is None


def test_each_part_shows_who_embedded_it_how_much_and_for_how_long(
    world: World, instance: dg.DagsterInstance
) -> None:
    result = run_job(instance, world.sync, scope_key="acme", job_name=BIG_SCOPE_JOB)

    outputs = [
        event.step_output_data
        for event in result.all_events
        if event.is_successful_output and "embed_texts[" in str(event.step_key)
    ]
    assert len(outputs) == 4
    for output in outputs:
        facts: dict[str, Any] = {name: fact.value for name, fact in output.metadata.items()}
        assert facts["texts"] == facts["embedded_texts"] == 5
        assert facts["seconds"] >= 0
        assert ":" in str(facts["worker"])


def test_where_nothing_is_missing_nothing_is_mapped_and_the_scope_is_compared_once(
    world: World, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_job(instance, world.sync, scope_key="acme", job_name=BIG_SCOPE_JOB)
    compared: list[str] = []

    def look(sync: SyncContext, *, export: StagedExport) -> Iterator[Comparison]:
        compared.append(export.scope_key)
        return iter_comparisons(sync, export=export)

    monkeypatch.setattr("sync_pipeline.engine.steps.change_set.iter_comparisons", look)

    result = run_job(instance, world.sync, scope_key="acme", job_name=BIG_SCOPE_JOB)

    assert mapped(result) == []
    assert metadata_of(result, "embedded_documents")["unchanged"] == 20
    assert compared == ["acme"]


def test_as_few_texts_as_the_limit_are_embedded_where_they_were_compared(
    world: World, instance: dg.DagsterInstance
) -> None:
    world.remove("19")

    result = run_job(instance, world.sync, scope_key="acme", job_name=BIG_SCOPE_JOB)

    assert mapped(result) == []
    assert "parts" not in metadata_of(result, "embedded_documents")
    assert world.is_clean()


def test_a_text_that_one_part_finds_refused_is_blamed_and_the_rest_is_written(
    world: World, instance: dg.DagsterInstance
) -> None:
    world.put("20", name=f"bad {POISON}")

    result = run_job(instance, world.sync, scope_key="acme", job_name=BIG_SCOPE_JOB)

    assert result.success
    assert metadata_of(result, "embedded_documents")["failed"] == 1
    assert len(world.ids("acme")) == 20


def test_a_part_that_fails_for_good_fails_the_run_and_the_next_one_embeds_what_is_left(
    world: World, instance: dg.DagsterInstance
) -> None:
    world.embedder.failures = {
        call: ConfigurationError("the key is wrong") for call in range(3, 60)
    }
    failed = run_job(instance, world.sync, scope_key="acme", job_name=BIG_SCOPE_JOB)
    assert not failed.success
    (recorded,) = world.runs.list_recent(limit=10)
    assert recorded.status == "failed"
    kept = len(world.cache.vectors)
    assert 0 < kept < 20

    world.embedder.failures = {}
    world.clock.advance(seconds=61)
    result = run_job(instance, world.sync, scope_key="acme", job_name=BIG_SCOPE_JOB)

    assert result.success
    assert metadata_of(result, "embedded_documents")["embedded_texts"] == 20 - kept
    assert world.is_clean()


def test_a_run_that_takes_the_scope_while_parts_are_embedded_is_not_undone(
    world: World, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was compared before it is out of date: the run compares again when it is its turn."""
    embed = world.embedder.embed
    taken: list[str] = []

    def then_another_run(texts: Sequence[str]) -> Embedded:
        embedded = embed(texts)
        if not taken and world.embedder.embedded:
            taken.append("taken")
            for lease in list(world.leases.held):
                world.leases.release_dead(owner=world.leases.held[lease].owner)
            world.put("new")
            world.run()
        return embedded

    monkeypatch.setattr(world.embedder, "embed", then_another_run)

    result = run_job(instance, world.sync, scope_key="acme", job_name=BIG_SCOPE_JOB)

    assert result.success
    assert taken
    assert world.is_clean()
    assert "new" in world.ids("acme")


def test_a_transient_error_in_a_part_is_tried_again_there_alone(
    world: World, instance: dg.DagsterInstance
) -> None:
    world.embedder.failures = {2: TransientError("busy", retry_after_seconds=0.0)}

    result = run_job(instance, world.sync, scope_key="acme", job_name=BIG_SCOPE_JOB)

    retried = [str(event.step_key) for event in result.all_events if event.is_step_up_for_retry]
    assert result.success
    assert len(retried) == 1
    assert len(world.embedder.embedded) == len(set(world.embedder.embedded)) == 20


@pytest.mark.parametrize("job_name", [BIG_SCOPE_JOB, "sync_scope_job"])
def test_parts_share_a_budget_and_what_is_left_waits_wherever_it_was_embedded(
    world: World, instance: dg.DagsterInstance, job_name: str
) -> None:
    world.embedder.tariff = Tariff(Decimal(1), is_service=True)
    limit = world.embedder.count_tokens(CANARY_TEXTS) + 32
    world.set_options(budgets=BudgetPolicy(month=Limit(tokens=limit)))

    result = run_job(instance, world.sync, scope_key="acme", job_name=job_name)

    shown = metadata_of(result, "embedded_documents")
    assert result.success
    assert shown["embedded_texts"] + shown["pending"] == 20
    assert 0 < shown["pending"] < 20
    assert "the budget of 2026-01 is used up" in shown["note"]
    assert world.ledger.spent_of["month", "2026-01"].tokens <= limit
    assert len(world.points) == 20
