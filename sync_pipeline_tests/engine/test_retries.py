"""When a failed document is tried again, and what counts as an attempt."""

from __future__ import annotations

from datetime import timedelta

import pytest

from sync_pipeline.core.errors import (
    OutOfSpaceError,
    RateLimitedError,
    StoreUnavailableError,
    TransientError,
)
from sync_pipeline_tests.engine.world import World

FAILING = "tenant-material-1"


@pytest.fixture
def failed(world: World) -> World:
    """Two rows of ``acme``, of which the index refused one an hour ago; now it takes it."""
    world.put_many("1", "2")
    world.source.now += timedelta(hours=1)
    world.store.refused = {FAILING}
    world.run()
    world.store.refused = set()
    world.source.now += timedelta(hours=1)
    return world


def attempts(world: World) -> int:
    record = world.record_of(FAILING)
    assert record is not None
    return record.retry_count


def retry_now(world: World) -> dict[str, int]:
    return world.sync.state.retry_now()


def test_every_full_sync_tries_failed_documents_again(failed: World) -> None:
    report = failed.run()

    assert (report.new, report.failed) == (1, 0)
    assert failed.is_clean()


def test_a_document_that_fails_again_counts_another_attempt(failed: World) -> None:
    failed.store.refused = {FAILING}

    failed.run()

    assert attempts(failed) == 2


def test_an_incremental_sync_leaves_it_alone_until_its_time_comes(failed: World) -> None:
    failed.run(mode="incremental")
    before = failed.ids("acme")
    retry_now(failed)

    report = failed.run(mode="incremental")

    assert before == ["2"]
    assert (report.new, report.failed) == (1, 0)
    assert failed.is_clean()


def test_an_incremental_sync_tries_it_when_its_row_changed(failed: World) -> None:
    failed.put("1", name="mended")["updated_at"] = failed.source.now

    failed.run(mode="incremental")

    assert failed.texts("acme")["1"] == "mended kg"


def test_a_failed_document_whose_row_is_gone_is_forgotten_at_its_time(failed: World) -> None:
    failed.remove("1")
    retry_now(failed)

    failed.run(mode="incremental")

    assert failed.record_of(FAILING) is None
    assert failed.is_clean()


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(RateLimitedError("slow down"), id="a rate limit"),
        pytest.param(TransientError("no answer"), id="a timeout"),
        pytest.param(StoreUnavailableError("down"), id="an outage of the index"),
        pytest.param(OutOfSpaceError("full"), id="a full disk"),
    ],
)
def test_what_is_not_the_documents_fault_costs_no_attempt(failed: World, error: Exception) -> None:
    failed.store.fail_next("upsert", error)

    with pytest.raises(type(error), match=str(error)):
        failed.run()

    assert attempts(failed) == 1


def test_a_rate_limit_of_the_model_costs_no_attempt(world: World) -> None:
    world.put("1")
    world.embedder.failures = {1: RateLimitedError("slow down")}

    with pytest.raises(RateLimitedError, match="slow down"):
        world.run()

    assert world.sync.state.list_failed() == []
