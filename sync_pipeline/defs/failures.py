"""The one place where our errors become Dagster's retries and failures."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import dagster as dg

from sync_pipeline.core.errors import (
    MESSAGE_PARTS,
    RateLimitedError,
    StoppedError,
    SyncPipelineError,
    TransientError,
)

RETRIES: Final = dg.RetryPolicy(
    max_retries=5, delay=2, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS
)
"""After 2, 4, 8, 16 and 32 seconds, more or less, on top of what the adapters retry themselves."""

MAX_WAIT_SECONDS: Final = 120.0
"""Longest wait that the other side can ask of a run; later attempts are the next run's."""

ERROR_FACT: Final = "error"
"""Metadata key of a failure with the class name of our error."""

STOPPED_FACT: Final = "stopped_reason"
"""Metadata key of the failure of a run that was stopped: why."""

COUNTS_FACT: Final = "counts"
"""Metadata key of such a failure: what the run had done by then, by name, without zeros."""

Fact = str | int | float


@contextmanager
def as_dagster_failures(*, retry_number: int, defers_long_waits: bool = False) -> Iterator[None]:
    """Ask for a retry when one can help, and fail at once when none can.

    A transient error is left to the ``RetryPolicy``, unless the other side said how
    long to wait.

    Args:
        retry_number: How often this step has been retried in this run.
        defers_long_waits: Whether a wait that the other side asks for, and that is longer than
            ``MAX_WAIT_SECONDS``, ends the run: somebody starts it again then.

    Raises:
        dagster.RetryRequested: wait as long as the other side asked for, then try again.
        dagster.Failure: no retry can help, or none is left; with the error's facts.
    """
    try:
        with withholding_foreign_messages():
            yield
    except TransientError as error:
        is_deferred = defers_long_waits and _asks_for_long(error)
        if is_deferred or retry_number >= RETRIES.max_retries:
            raise as_failure(error) from error
        if error.retry_after_seconds is None:
            raise
        raise dg.RetryRequested(
            max_retries=RETRIES.max_retries,
            seconds_to_wait=min(error.retry_after_seconds, MAX_WAIT_SECONDS),
        ) from error
    except SyncPipelineError as error:
        raise as_failure(error) from error
    except WithheldError as error:
        # A defect: adapters translate what may pass. Tried again it would only be shown later.
        raise dg.Failure(
            description=f"not foreseen: {error.name}; please report it with the "
            "traceback in this run's events",
            metadata={ERROR_FACT: error.name},
            allow_retries=False,
        ) from error


def _asks_for_long(error: TransientError) -> bool:
    wait_seconds = error.retry_after_seconds
    if not isinstance(error, RateLimitedError) or wait_seconds is None:
        return False
    return wait_seconds > MAX_WAIT_SECONDS


class WithheldError(Exception):
    """Stands for an error that is not ours: its class and traceback, without its message.

    Dagster keeps every error with all its causes for as long as the run, and messages
    of libraries may quote rows, requests and addresses.
    """

    def __init__(self, error: BaseException) -> None:
        self.name = type(error).__name__
        super().__init__(
            f"{type(error).__module__}.{type(error).__qualname__} (its message is withheld, for "
            "it may quote data)"
        )


@contextmanager
def withholding_foreign_messages() -> Iterator[None]:
    """Raise errors of ours with causes, and others themselves, as ``WithheldError``."""
    try:
        yield
    except (SyncPipelineError, WithheldError) as error:
        _withhold_causes(error, cause=_cause(error))
        raise
    except Exception as error:  # noqa: BLE001 - it goes on as a WithheldError
        withheld = WithheldError(error).with_traceback(error.__traceback__)
        _withhold_causes(withheld, cause=_cause(error))
        raise withheld from withheld.__cause__


def _withhold_causes(error: BaseException, *, cause: BaseException | None) -> None:
    """Make ``cause``, without foreign messages along its chain, the only cause of an error."""
    if cause is not None and not isinstance(cause, SyncPipelineError | WithheldError):
        withheld = WithheldError(cause).with_traceback(cause.__traceback__)
        _withhold_causes(withheld, cause=_cause(cause))
        cause = withheld
    elif cause is not None:
        _withhold_causes(cause, cause=_cause(cause))
    error.__cause__, error.__context__ = cause, None


def _cause(error: BaseException) -> BaseException | None:
    return error.__cause__ if error.__suppress_context__ else error.__context__


def as_failure(error: SyncPipelineError) -> dg.Failure:
    """Show an error in Dagster: its message, and its facts as metadata."""
    return dg.Failure(
        description=str(error),
        metadata={ERROR_FACT: type(error).__name__, **error_facts(error), **_counts(error)},
        allow_retries=False,
    )


def _counts(error: SyncPipelineError) -> dict[str, dict[str, int]]:
    if not isinstance(error, StoppedError) or error.counts is None:
        return {}
    numbers = error.counts.numbers()
    return {COUNTS_FACT: {name: count for name, count in numbers.items() if count}}


def error_facts(error: SyncPipelineError) -> dict[str, Fact]:
    """The numbers and names that an error carries, by attribute; not the parts of its text."""
    facts: dict[str, Fact] = {}
    for name, value in vars(error).items():
        if name in MESSAGE_PARTS:
            continue
        if isinstance(value, str | int | float):
            facts[name] = value
        elif isinstance(value, tuple):
            facts[name] = "; ".join(map(str, value))
    return facts
