"""Random histories of changes, faults and runs; see ``machine``.

``SYNC_PIPELINE_SOAK_SECONDS`` makes it go on for that long, printing the seed of each round.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, TypeVar

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import get_state_machine_test

from sync_pipeline.engine.steps import embed, export, upsert
from sync_pipeline_tests.reliability.machine import InstallationMachine
from sync_pipeline_tests.reliability.mutant import VARIABLE

STEPS: Final = 2_000
"""Fewest steps of a test run."""
SOAK_SECONDS: Final = float(os.environ.get("SYNC_PIPELINE_SOAK_SECONDS", "0"))
SEED: Final = os.environ.get("SYNC_PIPELINE_SOAK_SEED")
"""Repeats one round of a soak."""

PHASES: Final = [Phase.generate, *([] if VARIABLE in os.environ else [Phase.shrink])]
"""Of a mutant it is enough to see that it fails: the shortest history takes minutes."""

T = TypeVar("T")


@contextmanager
def record_at_once(record: object) -> Iterator[object]:
    """Stands in for ``overlap.record_behind``: same order, no thread."""
    yield record


def in_turn(items: Iterator[T]) -> Iterator[T]:
    """Stands in for ``overlap.read_ahead``: a history must come out the same when repeated."""
    yield from items


@pytest.mark.timeout(SOAK_SECONDS + 600)
def test_whatever_happens_a_clean_run_converges_and_no_promise_is_broken_on_the_way(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for module in (export, embed, upsert):
        monkeypatch.setattr(module, "read_ahead", in_turn, raising=False)
        monkeypatch.setattr(module, "record_behind", record_at_once, raising=False)
    InstallationMachine.steps = 0
    InstallationMachine.events = {}
    deadline = time.monotonic() + SOAK_SECONDS
    rounds = 0

    while InstallationMachine.steps < STEPS or time.monotonic() < deadline:
        number = int(SEED) if SEED else random.randrange(2**32)  # noqa: S311 - a test seed
        with capsys.disabled():
            if SOAK_SECONDS:
                print(f"round {rounds}: seed {number}, {InstallationMachine.steps} steps so far")  # noqa: T201
        run_round(number)
        rounds += 1

    with capsys.disabled():
        if SOAK_SECONDS:
            print(f"{InstallationMachine.steps} steps: {InstallationMachine.events}")  # noqa: T201
    assert InstallationMachine.steps >= STEPS


def run_round(number: int) -> None:
    """About 500 steps from one seed; a failure names the shortest history that shows it."""
    test = get_state_machine_test(
        InstallationMachine,
        settings=settings(
            max_examples=8,
            stateful_step_count=60,
            deadline=None,
            database=None,
            phases=PHASES,
            suppress_health_check=list(HealthCheck),
            print_blob=False,
            report_multiple_bugs=False,
        ),
    )
    seed(number)(test)()
