"""Tokens of a REST system: got at first need, and once for each that expires."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from sync_pipeline.core.errors import OriginConfigurationError, OriginUnavailableError
from sync_pipeline.core.landing.origin_options import Login
from sync_pipeline_tests.origins.rest_server import (
    HTML,
    Catalogue,
    Credentials,
    Erp,
    Reply,
    refusal,
    running_erp,
)
from sync_pipeline_tests.origins.rest_support import LOGIN, ids_of, opened, read, until

pytestmark = pytest.mark.process


@pytest.fixture
def erp() -> Iterator[Erp]:
    with running_erp(Catalogue.of(1_000), credentials=Credentials()) as running:
        yield running


def test_a_token_is_got_once_and_shown_with_every_request(erp: Erp) -> None:
    with opened(erp) as origin:
        assert not erp.targets
        pages = read(origin)

    assert set(ids_of(pages)) == set(erp.catalogue.ids())
    assert erp.requests["users/authenticate"] == erp.logins == 1
    assert {headers.get("x-token") for headers in erp.headers[1:]} == {erp.tokens[0]}
    assert pages[0].requests == 2


def test_each_expired_token_is_replaced_once_however_many_requests_are_under_way(erp: Erp) -> None:
    erp.credentials = Credentials(requests_per_token=7)
    erp.latency_seconds = 0.005
    with opened(erp, concurrent_requests=3) as origin:
        pages = read(origin)

    served = len(erp.pages)
    assert set(ids_of(pages)) == set(erp.catalogue.ids())
    assert erp.most_in_flight == 3
    assert erp.requests["users/authenticate"] == erp.logins == -(-served // 7)


def test_a_token_that_is_taken_back_under_three_workers_is_replaced_by_one_login(
    erp: Erp,
) -> None:
    erp.latency_seconds = 0.01
    with opened(erp, concurrent_requests=3) as origin:
        pages = origin.pages(since=None, start=None)
        taken = [next(pages)]
        assert until(lambda: len(erp.pages) == 4)
        erp.expire_tokens()
        taken += pages

    assert set(ids_of(taken)) == set(erp.catalogue.ids())
    assert erp.logins == 2


def test_a_fresh_token_that_is_refused_is_told_and_not_tried_again(erp: Erp) -> None:
    erp.faults.logins = [Reply(body=b'{"token": "of-another-system"}')]
    with (
        opened(erp) as origin,
        pytest.raises(OriginConfigurationError, match="just got is not accepted") as caught,
    ):
        read(origin)

    assert erp.requests["users/authenticate"] == 1
    assert len(erp.headers) == 2
    assert "of-another-system" not in str(caught.value)


@pytest.mark.parametrize("status", [400, 401, 403, 404])
def test_a_login_that_is_refused_is_tried_once_by_all_workers_together(
    erp: Erp, status: int
) -> None:
    erp.faults.logins = [refusal(status)] * 9
    with opened(erp) as origin:
        for _ in range(2):
            with pytest.raises(
                OriginConfigurationError, match=rf"users/authenticate answered {status}\."
            ):
                read(origin)

    assert erp.requests == {"users/authenticate": 1}


def test_a_login_that_fails_for_now_is_tried_again(erp: Erp) -> None:
    erp.faults.logins = [refusal(500), refusal(429, retry_after="3"), HTML]
    with opened(erp) as origin:
        assert set(ids_of(read(origin))) == set(erp.catalogue.ids())

    assert erp.requests["users/authenticate"] == 4


def test_a_login_that_fails_for_good_is_tried_as_often_as_a_page(erp: Erp) -> None:
    erp.faults.logins = [refusal(500)] * 20
    with (
        opened(erp, attempts=3) as origin,
        pytest.raises(OriginUnavailableError, match="users/authenticate answered 500"),
    ):
        read(origin)

    assert erp.requests == {"users/authenticate": 3}


def test_an_answer_without_a_token_is_told_with_the_names_that_are_there(erp: Erp) -> None:
    erp.faults.logins = [Reply(body=b'{"status": 1, "data": {"jwt": "secret-of-the-answer"}}')]
    with (
        opened(erp) as origin,
        pytest.raises(
            OriginConfigurationError, match="without a token at `token`; there are data, status"
        ) as caught,
    ):
        read(origin)

    assert "secret-of-the-answer" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "header", "shown"),
    [
        ({"header": "Authorization", "scheme": "Bearer"}, "authorization", "Bearer the-token"),
        ({"header": "X-Session"}, "x-session", "the-token"),
    ],
    ids=["with a scheme", "alone"],
)
def test_a_token_is_shown_as_the_settings_say(
    erp: Erp, options: dict[str, Any], header: str, shown: str
) -> None:
    erp.credentials = None
    erp.faults.logins = [Reply(body=b'{"token": "the-token"}')]
    login = replace(LOGIN, **options)
    with opened(erp, login=login) as origin:
        read(origin, most=1)

    assert erp.headers[1][header] == shown


@pytest.mark.parametrize(
    "login",
    [
        replace(LOGIN, json=None, form={"tokenID": "id-of-the-token", "tokenHash": "h"}),
        Login(path="users/authenticate", method="GET", form={"user": "me"}, token=("token",)),
    ],
    ids=["a form", "an address"],
)
def test_a_login_is_sent_as_the_settings_say(erp: Erp, login: Login) -> None:
    erp.credentials = None
    erp.faults.logins = [Reply(body=b'{"token": "the-token"}')]
    with opened(erp, login=login) as origin:
        read(origin, most=1)

    if login.method == "POST":
        assert erp.bodies[0] == {"tokenID": "id-of-the-token", "tokenHash": "h"}
    else:
        assert erp.targets[0].endswith("users/authenticate?user=me")


@pytest.mark.parametrize(
    ("logins", "script"),
    [([], [refusal(500)] * 9), ([refusal(403)], []), ([HTML] * 9, []), ([], [refusal(401)])],
    ids=["pages fail", "login refused", "login fails", "page refused"],
)
def test_what_a_login_sends_and_gets_is_in_no_message_log_or_repr(
    erp: Erp, logins: list[Reply], script: list[Reply], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    erp.faults.logins, erp.faults.script = logins, script
    with opened(erp) as origin:
        with pytest.raises((OriginUnavailableError, OriginConfigurationError)) as caught:
            read(origin)
        told = "".join(traceback.format_exception(caught.value))
        shown = f"{caught.value!r} {told} {origin!r} {caplog.text}"

    assert "id-of-the-token" not in shown
    assert "nobody-may-see" not in shown
