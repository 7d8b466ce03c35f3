"""Signals inside a step."""

from __future__ import annotations

import signal
import threading

import pytest

from sync_pipeline.core.errors import StoppedError
from sync_pipeline.core.scope import Scope
from sync_pipeline.defs.stopping import stopping_on_signals
from sync_pipeline_tests.engine.world import World


@pytest.mark.parametrize(
    "number",
    [pytest.param(signal.SIGINT, id="SIGINT"), pytest.param(signal.SIGTERM, id="SIGTERM")],
)
def test_the_first_signal_stops_at_the_next_checkpoint(
    world: World, number: signal.Signals
) -> None:
    batches = []

    def step() -> None:
        with stopping_on_signals(world.sync) as sync:
            for batch in range(3):
                sync.checkpoint(scope=Scope("acme"))
                batches.append(batch)
                signal.raise_signal(number)

    with pytest.raises(StoppedError, match="after the batch in flight"):
        step()

    assert batches == [0]


def test_the_second_signal_gets_the_handler_that_was_there_before(world: World) -> None:
    def step() -> None:
        with stopping_on_signals(world.sync):
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt, match=r"^$"):
        step()


def test_handlers_are_put_back(world: World) -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)

    with stopping_on_signals(world.sync):
        during = signal.getsignal(signal.SIGINT)

    assert during is not before[0]
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_a_signal_at_the_very_end_of_a_step_still_ends_the_run(world: World) -> None:
    with pytest.raises(StoppedError, match="after this step"), stopping_on_signals(world.sync):
        signal.raise_signal(signal.SIGTERM)


def test_another_thread_leaves_signals_alone(world: World) -> None:
    before, given = signal.getsignal(signal.SIGINT), world.sync
    seen: list[object] = []

    def step() -> None:
        with stopping_on_signals(given) as sync:
            seen.extend([sync is given, signal.getsignal(signal.SIGINT)])

    thread = threading.Thread(target=step)
    thread.start()
    thread.join()

    assert seen == [True, before]
