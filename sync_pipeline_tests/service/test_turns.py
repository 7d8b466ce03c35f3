"""Searches ask the index in turn: in their order, and none waits for what another waited for."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial

import pytest

from sync_pipeline.core.errors import StoreLockedError
from sync_pipeline.service.problems import BusyError
from sync_pipeline.service.timing import timed_search
from sync_pipeline.service.turns import Turns

LOCKED = StoreLockedError(path="index", holder="a sync", waited_seconds=1.5)


@pytest.fixture
def refused() -> list[str]:
    return []


@pytest.fixture
def turns(refused: list[str]) -> Turns:
    return Turns(1, on_busy=lambda: refused.append("index"))


def start(work: Callable[[], None], *, until: Callable[[], bool]) -> threading.Thread:
    """Begin in a thread, and go on here once that has come so far."""
    thread = threading.Thread(target=work)
    thread.start()
    for _ in range(1_000):
        if until():
            return thread
        time.sleep(0.005)
    raise AssertionError("it did not come so far")


def _wait(turns: Turns, number: int) -> bool:
    return len(turns._waiting) == number


def _enter(turns: Turns) -> None:
    with turns.turn():
        pass


def test_turns_are_had_one_after_the_other_in_the_order_of_asking(turns: Turns) -> None:
    had: list[int] = []

    def ask(number: int) -> None:
        with turns.turn():
            had.append(number)

    with turns.turn():
        threads = [start(partial(ask, it), until=partial(_wait, turns, it + 1)) for it in range(5)]
        assert had == []
    for thread in threads:
        thread.join(10)

    assert had == [0, 1, 2, 3, 4]
    with turns.turn():
        pass


def test_who_waited_takes_a_breath_and_who_did_not_does_not(
    refused: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    turns = Turns(1, on_busy=lambda: refused.append("index"), breath_seconds=0.0125)
    sleep, breaths = time.sleep, []

    def noting(seconds: float) -> None:
        if seconds == 0.0125:
            breaths.append(threading.current_thread())
        sleep(seconds)

    monkeypatch.setattr(time, "sleep", noting)
    with turns.turn():
        thread = start(partial(_enter, turns), until=partial(_wait, turns, 1))
        before = list(breaths)
    thread.join(10)

    assert before == []
    assert breaths == [thread]


def test_several_may_have_a_turn_at_once(refused: list[str]) -> None:
    turns = Turns(2, on_busy=lambda: refused.append("index"))

    with turns.turn(), turns.turn():
        thread = start(partial(_enter, turns), until=partial(_wait, turns, 1))
    thread.join(10)

    assert not thread.is_alive()


def test_a_turn_that_fails_is_given_back(turns: Turns) -> None:
    with pytest.raises(ZeroDivisionError), turns.turn():
        raise ZeroDivisionError
    with turns.turn():
        pass


def test_who_waited_while_the_index_was_another_processs_is_told_at_once(
    turns: Turns, refused: list[str]
) -> None:
    told: list[Exception] = []

    def ask() -> None:
        try:
            with turns.turn():
                raise AssertionError("it waits for the index once more")
        except BusyError as error:
            told.append(error)

    threads: list[threading.Thread] = []

    def find_it_locked() -> None:
        with turns.turn():
            threads.extend(start(ask, until=partial(_wait, turns, it)) for it in (1, 2))
            raise LOCKED

    with pytest.raises(StoreLockedError):
        find_it_locked()
    for thread in threads:
        thread.join(10)

    assert len(told) == 2
    assert refused == ["index", "index"]


def test_who_comes_later_tries_the_index_again(turns: Turns) -> None:
    with pytest.raises(StoreLockedError), turns.turn():
        raise LOCKED

    with turns.turn():
        pass


def test_waiting_for_a_turn_shows_as_waiting(turns: Turns) -> None:
    spent: list[float] = []

    def ask() -> None:
        with timed_search() as parts, turns.turn():
            pass
        spent.append(parts.seconds["waiting"])

    with turns.turn():
        thread = start(ask, until=partial(_wait, turns, 1))
        time.sleep(0.2)
    thread.join(10)

    assert spent[0] > 0.19
