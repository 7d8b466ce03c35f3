"""How our errors reach Dagster."""

from __future__ import annotations

import re
from collections.abc import Callable
from types import TracebackType
from typing import cast

import dagster as dg
import pytest
from dagster._serdes import serialize_value
from dagster._utils.error import serializable_error_info_from_exc_info

from sync_pipeline.core.errors import (
    MassDeletionRefusedError,
    PermanentError,
    RateLimitedError,
    SettingsError,
    StoppedError,
    StoreUnavailableError,
    SyncPipelineError,
)
from sync_pipeline.defs.failures import MAX_WAIT_SECONDS, as_dagster_failures, error_facts
from sync_pipeline_tests.defs.conftest import run_job
from sync_pipeline_tests.engine.world import World


def test_a_transient_error_is_left_to_the_retry_policy() -> None:
    error = StoreUnavailableError("no answer")

    with (
        pytest.raises(StoreUnavailableError, match="no answer"),
        as_dagster_failures(retry_number=0),
    ):
        raise error


@pytest.mark.parametrize(
    ("asked", "waited"),
    [
        pytest.param(3.0, 3.0, id="as long as asked"),
        pytest.param(86_400.0, MAX_WAIT_SECONDS, id="a day is not waited for"),
    ],
)
def test_the_other_side_says_how_long_to_wait(asked: float, waited: float) -> None:
    error = StoreUnavailableError("too many requests", retry_after_seconds=asked)

    with pytest.raises(dg.RetryRequested) as raised, as_dagster_failures(retry_number=0):
        raise error

    assert (raised.value.max_retries, raised.value.seconds_to_wait) == (5, waited)


@pytest.mark.parametrize(
    ("asked", "raised"),
    [
        pytest.param(MAX_WAIT_SECONDS, dg.RetryRequested, id="as long as a step waits"),
        pytest.param(MAX_WAIT_SECONDS + 1, dg.Failure, id="longer ends the run"),
    ],
)
def test_a_long_wait_can_be_left_to_a_later_run(asked: float, raised: type[Exception]) -> None:
    error = RateLimitedError("too many requests", retry_after_seconds=asked)

    with (
        pytest.raises(raised) as found,
        as_dagster_failures(retry_number=0, defers_long_waits=True),
    ):
        raise error

    assert found.value.__cause__ is error


@pytest.mark.parametrize(
    ("error", "retry_number"),
    [
        pytest.param(StoreUnavailableError("gone"), 5, id="no retry is left"),
        pytest.param(SettingsError(origin="x.yaml", mistakes=["wrong"]), 0, id="configuration"),
        pytest.param(StoppedError("asked to stop"), 0, id="asked to stop"),
    ],
)
def test_what_no_retry_can_help_fails_at_once(error: SyncPipelineError, retry_number: int) -> None:
    with (
        pytest.raises(dg.Failure, match=re.escape(str(error))) as raised,
        as_dagster_failures(retry_number=retry_number),
    ):
        raise error

    assert raised.value.allow_retries is False
    assert raised.value.metadata["error"].value == type(error).__name__


def test_a_defect_fails_at_once_and_its_text_is_not_repeated() -> None:
    with (
        pytest.raises(dg.Failure, match="not foreseen: KeyError; please report") as raised,
        as_dagster_failures(retry_number=0),
    ):
        raise KeyError("a text that may be personal")

    assert "personal" not in str(raised.value.description)
    assert raised.value.allow_retries is False


def test_facts_are_the_attributes_that_metadata_can_hold() -> None:
    refused = MassDeletionRefusedError(
        scope_key="acme",
        entity_type="material",
        stale=30,
        indexed=40,
        allowed=20,
        total=31,
        total_indexed=90,
    )
    settings = SettingsError(origin="x.yaml", mistakes=["one", "two"])

    facts = [error_facts(refused), error_facts(settings)]

    assert facts == [
        {
            "scope_key": "acme",
            "entity_type": "material",
            "stale": 30,
            "indexed": 40,
            "allowed": 20,
            "total": 31,
            "total_indexed": 90,
        },
        {"origin": "x.yaml", "mistakes": "one; two"},
    ]


# --- what Dagster keeps -----------------------------------------------------------------

CANARY = "hunter2-and-a-text-of-a-document"


def foreign(*, cause: Exception | None = None) -> Exception:
    """An error of some library that quotes what it should not."""
    try:
        raise ValueError(f"DETAIL: {CANARY}") from cause
    except ValueError as error:
        return error


def raise_from(error: Exception, cause: Exception | None) -> None:
    raise error from cause


def raise_while_handling(error: Exception, other: Exception) -> None:
    try:
        raise other
    except ValueError:
        raise error  # noqa: B904 - a careless adapter


@pytest.mark.parametrize(
    "go_wrong",
    [
        pytest.param(
            lambda: raise_from(StoreUnavailableError("no answer"), foreign()), id="transient"
        ),
        pytest.param(lambda: raise_from(StoppedError("stopped"), foreign()), id="permanent"),
        pytest.param(
            lambda: raise_from(
                StoppedError("stopped"), foreign(cause=StoreUnavailableError("no answer"))
            ),
            id="between two of ours",
        ),
        pytest.param(
            lambda: raise_while_handling(StoppedError("stopped"), foreign()), id="as context"
        ),
        pytest.param(lambda: raise_from(foreign(), None), id="a defect"),
        pytest.param(lambda: raise_from(foreign(), foreign()), id="a defect with a cause"),
    ],
)
@pytest.mark.parametrize("retry_number", [0, 5], ids=["first try", "last try"])
def test_no_message_of_a_library_gets_into_the_chain(
    go_wrong: Callable[[], None], retry_number: int
) -> None:
    with (
        pytest.raises((dg.Failure, StoreUnavailableError)) as raised,
        as_dagster_failures(retry_number=retry_number),
    ):
        go_wrong()

    kept = serializable_error_info_from_exc_info(
        (raised.type, raised.value, cast(TracebackType, raised.value.__traceback__))
    ).to_string()
    assert CANARY not in kept
    assert "ValueError" in kept, "its class and traceback stay"
    assert "foreign" in kept or "raise_while_handling" in kept or "raise_from" in kept


@pytest.mark.dagster
@pytest.mark.parametrize("method", ["upsert", "iter_digests", "count"])
@pytest.mark.parametrize(
    "error",
    [
        pytest.param(ValueError(CANARY), id="a defect"),
        pytest.param(PermanentError("refused"), id="one of ours"),
    ],
)
def test_nothing_of_a_document_and_no_password_is_in_the_run_history(
    world: World, instance: dg.DagsterInstance, method: str, error: Exception
) -> None:
    error.__cause__ = foreign()
    for number in (1, 2):
        world.put(f"c{number}", name=f"{CANARY} {number}")
    world.store.fail_next(method, error)

    result = run_job(instance, world.sync, scope_key="acme")

    kept = [serialize_value(entry) for entry in instance.all_logs(result.run_id)]
    kept += [str(entry.user_message) for entry in instance.all_logs(result.run_id)]
    assert kept
    assert CANARY not in "\n".join(kept)
