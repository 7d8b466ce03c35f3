"""What every ``Breakers`` promises."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Engine, text

from sync_pipeline.core.breaker import Breaker
from sync_pipeline.core.ports import Breakers
from sync_pipeline.database.breakers import PostgresBreakers


def fail(
    breakers: Breakers,
    provider: str = "a",
    *,
    wait_seconds: float | None = None,
    is_lasting: bool = False,
) -> None:
    breakers.note_failure(
        provider,
        error_code="TransientError",
        error="no answer",
        wait_seconds=wait_seconds,
        is_lasting=is_lasting,
    )


def test_a_provider_of_which_nothing_is_known_is_asked(breakers: Breakers) -> None:
    assert breakers.may_ask("a")
    assert breakers.list_all(["b", "a"]) == [Breaker(provider="b"), Breaker(provider="a")]


def test_one_failure_alone_stops_nobody_and_the_second_does(breakers: Breakers) -> None:
    fail(breakers)
    assert breakers.may_ask("a")
    fail(breakers)

    assert not breakers.may_ask("a")
    assert breakers.may_ask("b")


def test_an_answer_closes_it(breakers: Breakers) -> None:
    fail(breakers)
    breakers.note_success("a")
    fail(breakers)

    assert breakers.may_ask("a")
    (breaker,) = breakers.list_all(["a"])
    assert (breaker.failures, breaker.retry_at) == (1, None)


def test_who_asks_to_wait_or_has_to_be_mended_is_left_alone_at_once(breakers: Breakers) -> None:
    fail(breakers, "asks", wait_seconds=600)
    fail(breakers, "mend", is_lasting=True)

    assert not breakers.may_ask("asks")
    assert not breakers.may_ask("mend")


def test_after_its_pause_one_call_tries_and_the_others_wait(breakers: Breakers) -> None:
    fail(breakers, wait_seconds=0)

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: breakers.may_ask("a"), range(8)))

    assert sorted(answers) == [False] * 7 + [True]


def test_what_was_wrong_is_kept(breakers: Breakers) -> None:
    fail(breakers, wait_seconds=60)

    (breaker,) = breakers.list_all(["a"])
    assert (breaker.error_code, breaker.error) == ("TransientError", "no answer")
    assert breaker.retry_at is not None
    assert breaker.failed_at is not None
    assert 59 < (breaker.retry_at - breaker.failed_at).total_seconds() < 61


@pytest.mark.process
def test_all_processes_share_it(engine: Engine) -> None:
    fail(PostgresBreakers(engine), wait_seconds=600)

    assert not PostgresBreakers(engine).may_ask("a")
    with engine.begin() as connection:
        connection.execute(text("UPDATE sync_pipeline.embedding_provider SET retry_at = now()"))
    assert PostgresBreakers(engine).may_ask("a")
    assert not PostgresBreakers(engine).may_ask("a")
