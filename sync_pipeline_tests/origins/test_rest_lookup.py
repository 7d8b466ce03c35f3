"""Single records of a REST system: there, gone, or unknown."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from sync_pipeline.core.errors import (
    OriginConfigurationError,
    OriginUnavailableError,
    RateLimitedError,
)
from sync_pipeline.core.ports.landing import Sighting
from sync_pipeline_tests.origins.rest_server import (
    HTML,
    Catalogue,
    Credentials,
    Erp,
    Reply,
    product_of,
    refusal,
    running_erp,
)
from sync_pipeline_tests.origins.rest_support import opened, request_of

pytestmark = pytest.mark.process

_REQUEST = request_of(lookup="data/products/{id}")


@pytest.fixture
def erp() -> Iterator[Erp]:
    with running_erp(Catalogue.of(50), credentials=Credentials()) as running:
        yield running


def test_each_key_is_answered_in_its_order_by_its_record_or_none(erp: Erp) -> None:
    keys = [f"{number:08}" for number in (7, 900, 3, 901, 49)]
    with opened(erp, _REQUEST) as origin:
        sightings = list(origin.look_up(keys))

    assert [it.key for it in sightings] == keys
    assert [it.record is None for it in sightings] == [False, True, False, True, False]
    assert sightings[0].record["ID"] == "00000007"  # type: ignore[index]
    assert erp.logins == 1


@pytest.mark.parametrize("status", [404, 410])
def test_a_record_that_is_not_there_is_gone(erp: Erp, status: int) -> None:
    erp.faults.lookups = [refusal(status)]
    with opened(erp, _REQUEST) as origin:
        assert list(origin.look_up(["00000001"])) == [Sighting("00000001", None)]


@pytest.mark.parametrize("key", ["a/b", "..", ".", "ž ?&#%", "a%2Fb", "Дрель"])
def test_a_key_stays_one_part_of_the_address(erp: Erp, key: str) -> None:
    erp.catalogue.insert(product_of(1, ID=key))
    with opened(erp, _REQUEST) as origin:
        (sighting,) = origin.look_up([key])

    assert sighting.record is not None
    assert sighting.record["ID"] == key  # type: ignore[index]


def test_several_are_asked_for_at_the_same_time(erp: Erp) -> None:
    erp.faults.lookups = [Reply(body=b'{"ID": "7"}', hangs_seconds=0.1)] * 6
    began = time.monotonic()
    with opened(erp, _REQUEST, concurrent_requests=3) as origin:
        assert len(list(origin.look_up(["7"] * 6))) == 6

    assert time.monotonic() - began < 0.55


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b'{"ID": "8"}', "answered with the record '8', asked for '7'"),
        (b'{"data": {"ID": "7"}}', "no record with an id; at its top there is an object with data"),
        (b'[{"ID": "7"}, {"ID": "8"}]', "no record at its top; at its top there is a list of 2"),
        (b'"gone"', "no record at its top; at its top there is a text"),
    ],
    ids=["another record", "a record within", "a list", "a text"],
)
def test_another_answer_says_nothing_about_the_record(erp: Erp, body: bytes, told: str) -> None:
    erp.faults.lookups = [Reply(body=body)]
    with (
        opened(erp, _REQUEST) as origin,
        pytest.raises(OriginConfigurationError, match=told),
    ):
        list(origin.look_up(["7"]))


def test_a_record_may_stand_within_an_answer_and_alone_in_a_list(erp: Erp) -> None:
    erp.faults.lookups = [Reply(body=b'{"data": [{"ID": 7}]}')]
    request = request_of(lookup="data/products/{id}", lookup_record=("data",))
    with opened(erp, request) as origin:
        assert list(origin.look_up(["7"])) == [Sighting("7", {"ID": 7})]


@pytest.mark.parametrize("reply", [refusal(500), HTML, Reply(breaks=True)])
def test_what_cannot_be_asked_for_is_tried_again_and_then_an_error(erp: Erp, reply: Reply) -> None:
    erp.faults.lookups = [reply]
    with opened(erp, _REQUEST) as origin:
        assert len(list(origin.look_up(["00000001"]))) == 1
    erp.faults.lookups = [reply] * 9
    with (
        opened(erp, _REQUEST, attempts=2) as origin,
        pytest.raises(OriginUnavailableError, match=r"GET http://\S+/data/products/{id}"),
    ):
        list(origin.look_up(["00000001"]))


@pytest.mark.parametrize("status", [400, 401, 403])
def test_a_refusal_is_not_taken_for_an_absence(erp: Erp, status: int) -> None:
    erp.faults.lookups = [refusal(status)] * 9
    with (
        opened(erp, _REQUEST) as origin,
        pytest.raises(OriginConfigurationError, match="401" if status == 401 else str(status)),
    ):
        list(origin.look_up(["00000001"]))


def test_a_long_wait_defers_what_is_left(erp: Erp) -> None:
    erp.faults.lookups = [refusal(429, retry_after="4000")]
    with opened(erp, _REQUEST) as origin, pytest.raises(RateLimitedError, match="4000 s"):
        list(origin.look_up(["00000001"]))


def test_records_cannot_be_looked_up_where_the_settings_do_not_say_how(erp: Erp) -> None:
    with (
        opened(erp) as origin,
        pytest.raises(OriginConfigurationError, match="no address of single records"),
    ):
        origin.look_up(["7"])
