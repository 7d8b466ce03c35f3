"""Lists of a REST system, page by page: complete, in order, ahead of who reads, and resumable."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

import pytest

from sync_pipeline.core.errors import (
    OriginConfigurationError,
    OriginUnavailableError,
    ShortAnswerError,
)
from sync_pipeline.core.landing import walking
from sync_pipeline.core.landing.origin_options import (
    ByKey,
    ByLink,
    ByOffset,
    ByPage,
    ChangesSince,
    Paging,
)
from sync_pipeline.core.landing.passes import Order
from sync_pipeline_tests.origins.rest_server import (
    Catalogue,
    Change,
    Credentials,
    Erp,
    Reply,
    product_of,
    running_erp,
)
from sync_pipeline_tests.origins.rest_support import (
    ids_of,
    opened,
    read,
    reading,
    request_of,
    until,
    without_total,
)

pytestmark = pytest.mark.process

_KEY = ByKey(size=50, key=("ID",), sort="ID")
_PAGINGS: Final[dict[str, Paging]] = {
    "offset": ByOffset(size=50),
    "offset without overlap": ByOffset(size=50, overlap=0),
    "page": ByPage(size=50),
    "key": _KEY,
    "link in the body": ByLink(next=("next",), size=50, size_param="limit"),
    "cursor in the body": ByLink(
        next=("cursor",), cursor_param="cursor", size=50, size_param="limit"
    ),
    "link header": ByLink(size=50, size_param="limit"),
}
_BY_POSITION = ["offset", "offset without overlap", "page"]


@pytest.fixture
def erp() -> Iterator[Erp]:
    with running_erp(Catalogue.of(500)) as running:
        yield running


@pytest.mark.parametrize("total", [True, False], ids=["with a total", "without one"])
@pytest.mark.parametrize("name", _PAGINGS)
@pytest.mark.parametrize("count", [0, 1, 50, 51, 333])
def test_every_record_comes_and_the_last_page_says_so(
    *, name: str, total: bool, count: int
) -> None:
    request = request_of(_PAGINGS[name])
    with running_erp(Catalogue.of(count)) as erp:
        with opened(erp, request if total else without_total(request)) as origin:
            pages = read(origin)

        assert list(dict.fromkeys(ids_of(pages))) == erp.catalogue.ids()
        assert [page.is_last for page in pages] == [False] * (len(pages) - 1) + [True]
        assert {page.total for page in pages} == {count if total else None}
        assert sum(page.requests for page in pages) <= erp.requests["data/products"]


@pytest.mark.parametrize(
    ("name", "order"),
    [
        ("offset", Order.SEAMS),
        ("offset without overlap", Order.POSITION),
        ("page", Order.POSITION),
        ("key", Order.KEY),
        ("link header", Order.POSITION),
    ],
)
def test_an_origin_promises_what_its_pages_can_keep(erp: Erp, name: str, order: Order) -> None:
    with opened(erp, request_of(_PAGINGS[name])) as origin:
        traits = origin.traits

    assert traits.order is order
    assert (traits.resumes, traits.signals_end, traits.follows) == (True, False, False)
    assert (traits.looks_up, traits.tells_changes) == (False, False)


def test_an_origin_looks_up_and_tells_changes_where_the_settings_say_how(erp: Erp) -> None:
    request = request_of(lookup="data/products/{id}", since=ChangesSince(param="modified_since"))
    with opened(erp, request) as origin:
        assert origin.traits.looks_up
        assert origin.traits.tells_changes


@pytest.mark.parametrize("name", _BY_POSITION)
def test_no_page_is_asked_for_twice_nor_beyond_the_total(erp: Erp, name: str) -> None:
    with opened(erp, request_of(_PAGINGS[name])) as origin:
        pages = read(origin)

    asked = [page.params.get("offset", page.params.get("page")) for page in erp.pages]
    assert len(asked) == len(set(asked)) == len(pages)
    assert sum(page.requests for page in pages) == len(pages)


def test_requests_run_ahead_of_the_reader_and_pages_stay_in_order(erp: Erp) -> None:
    erp.latency_seconds = 0.01
    with opened(erp) as origin:
        ids = ids_of(read(origin))

    assert erp.most_in_flight == 3
    assert list(dict.fromkeys(ids)) == erp.catalogue.ids()


@pytest.mark.parametrize("name", _BY_POSITION)
@pytest.mark.parametrize("most", [1, 3])
def test_no_more_pages_are_fetched_beyond_the_one_taken_than_requests_run_ahead(
    erp: Erp, name: str, most: int
) -> None:
    with opened(erp, request_of(_PAGINGS[name]), concurrent_requests=most) as origin:
        with reading(origin) as pages:
            for taken in range(1, 4):
                next(pages)
                assert until(lambda: len(erp.pages) >= taken + most)  # noqa: B023 - asked at once
                assert len(erp.pages) == taken + most
        # Nothing is left behind that goes on asking.
        assert len(erp.pages) == 3 + most


@pytest.mark.parametrize("name", ["key", "link header"])
def test_by_key_and_by_link_one_page_is_fetched_meanwhile(erp: Erp, name: str) -> None:
    with (
        opened(erp, request_of(_PAGINGS[name])) as origin,
        reading(origin) as pages,
    ):
        next(pages)

        assert until(lambda: len(erp.pages) == 2)
        assert erp.most_in_flight == 1


def test_a_reader_that_stops_early_leaves_queued_pages_unasked(erp: Erp) -> None:
    erp.latency_seconds = 0.05
    with opened(erp, concurrent_requests=3) as origin:
        read(origin, most=1)
        asked = erp.requests["data/products"]
    assert asked <= 4

    assert not until(lambda: erp.requests["data/products"] > asked, seconds=0.2)


def test_a_record_deleted_before_a_seam_is_noticed_and_mended(erp: Erp) -> None:
    erp.before_page[4] = _deleting(0, 5)
    with opened(erp, concurrent_requests=1) as origin:
        pages = read(origin)

    assert set(erp.catalogue.ids()) <= set(ids_of(pages))
    assert sum(page.mended_seams for page in pages) == 1
    assert [page.overlapping for page in pages[:3]] == [0, 2, 2]


def test_without_overlap_such_a_record_is_missed_which_is_why_nothing_is_promised(
    erp: Erp,
) -> None:
    erp.before_page[4] = lambda catalogue: catalogue.delete("00000000")
    with opened(erp, request_of(ByOffset(size=50, overlap=0)), concurrent_requests=1) as origin:
        pages = read(origin)

    assert set(erp.catalogue.ids()) - set(ids_of(pages)) == {"00000200"}


def test_a_whole_range_deleted_on_a_seam_costs_one_page_back_and_not_the_list(erp: Erp) -> None:
    with opened(erp, concurrent_requests=1) as origin:
        pages = origin.pages(since=None, start=None)
        taken = [next(pages) for _ in range(5)]
        last = [str(record["ID"]) for record in taken[-1].records][-30:]  # type: ignore[index]
        for gone in last:
            erp.catalogue.delete(gone)
        taken += pages

    assert set(erp.catalogue.ids()) <= set(ids_of(taken))
    assert len(erp.pages) <= 14
    assert sum(page.mended_seams for page in taken) == 1


def test_records_without_an_id_and_repeated_ones_do_not_break_the_seams() -> None:
    catalogue = Catalogue.of(200)
    for place in range(45, 55):
        catalogue.insert_without_id(product_of(9_000 + place), before=f"{place:08}")
    catalogue.insert(product_of(120, Nazev="again"))
    with running_erp(catalogue) as erp, opened(erp) as origin:
        pages = read(origin)

    assert set(ids_of(pages)) == set(catalogue.ids())
    assert sum(page.mended_seams for page in pages) == 0


def test_a_list_in_no_order_is_told_instead_of_walked_for_ever(
    erp: Erp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(walking, "MAX_STEPS_BACK", 10)
    dice = erp.faults.dice
    erp.before_each_page = lambda _, catalogue: dice.shuffle(catalogue._entries)
    with (
        opened(erp, request_of(ByOffset(size=5))) as origin,
        pytest.raises(OriginConfigurationError, match="in no fixed order"),
    ):
        read(origin)


@pytest.mark.parametrize("name", _BY_POSITION)
def test_a_system_that_gives_fewer_than_asked_for_is_followed_by_what_it_gives(
    erp: Erp, name: str
) -> None:
    erp.most_per_page = 30
    for request in (request_of(_PAGINGS[name]), without_total(request_of(_PAGINGS[name]))):
        erp.pages.clear()
        with opened(erp, request) as origin:
            pages = read(origin)

        assert list(dict.fromkeys(ids_of(pages))) == erp.catalogue.ids()
        # It is learned once, and not paid for with each page.
        assert len(erp.pages) <= len(pages) + 6


def test_the_total_of_each_page_counts_while_the_list_shrinks_and_grows(erp: Erp) -> None:
    erp.before_page[2] = _deleting(200, 400)
    erp.before_page[5] = _inserting(1_000, 1_100)
    with opened(erp) as origin:
        pages = read(origin)

    assert set(erp.catalogue.ids()) <= set(ids_of(pages))
    assert (pages[0].total, pages[-1].total) == (500, 400)


@pytest.mark.parametrize("name", ["offset", "offset without overlap"])
def test_one_empty_page_before_the_total_heals_when_it_is_asked_for_again(
    erp: Erp, name: str
) -> None:
    step = 48 if name == "offset" else 50
    erp.faults.empty_once_at = {0, 2 * step}
    with opened(erp, request_of(_PAGINGS[name])) as origin:
        pages = read(origin)

    assert list(dict.fromkeys(ids_of(pages))) == erp.catalogue.ids()
    assert erp.faults.counted["empty"] == 2
    assert sum(page.requests for page in pages) == len(pages) + 2


@pytest.mark.parametrize("offset", [0, 144])
def test_a_page_that_stays_empty_before_the_total_ends_the_pass(erp: Erp, offset: int) -> None:
    erp.faults.empty_always_at = {offset}
    with opened(erp) as origin:
        pages = origin.pages(since=None, start=None)

        with pytest.raises(ShortAnswerError, match=f"an empty page at {offset} of 500 records"):
            for _ in pages:
                pass


def test_a_system_that_gives_only_so_many_records_by_offset_is_told(erp: Erp) -> None:
    erp.faults.empty_always_at = {144}
    with (
        opened(erp, without_total(request_of(ByOffset(size=50)))) as origin,
        pytest.raises(OriginUnavailableError, match="nothing at offset 144 again and again"),
    ):
        read(origin)


def test_without_a_total_an_empty_page_is_the_end_only_the_second_time(erp: Erp) -> None:
    erp.faults.empty_once_at = {48, 100}
    request = without_total(request_of(ByOffset(size=50, overlap=0)))
    with opened(erp, request) as origin:
        pages = read(origin)

    assert ids_of(pages) == erp.catalogue.ids()
    assert [page.params["offset"] for page in erp.pages].count("500") == 2


@pytest.mark.parametrize(
    ("name", "param"),
    [("offset", "offset"), ("page", "page"), ("key", "after"), ("cursor in the body", "cursor")],
)
@pytest.mark.parametrize("total", [True, False], ids=["with a total", "without one"])
def test_a_parameter_that_is_ignored_is_told_instead_of_reading_one_page_for_ever(
    *, erp: Erp, name: str, param: str, total: bool
) -> None:
    erp.ignores = {param}
    request = request_of(_PAGINGS[name])
    with (
        opened(erp, request if total else without_total(request)) as origin,
        pytest.raises(OriginConfigurationError, match=f"{param}.*seems to be ignored"),
    ):
        read(origin)


@pytest.mark.parametrize("name", _PAGINGS)
def test_another_process_goes_on_where_one_was_cut_off_and_asks_for_nothing_twice(
    erp: Erp, name: str
) -> None:
    request = request_of(_PAGINGS[name])
    with opened(erp, request) as origin:
        first = read(origin, most=4)
    before = len(erp.pages)
    position = json.loads(json.dumps(first[-1].resume))
    with opened(erp, request) as origin:
        rest = read(origin, start=position)

    assert list(dict.fromkeys(ids_of(first + rest))) == erp.catalogue.ids()
    assert before <= 4 + 3
    assert len(erp.pages) - before <= len(rest) + 1


def test_a_pass_that_goes_on_compares_the_seam_where_it_was_cut_off(erp: Erp) -> None:
    with opened(erp) as origin:
        first = read(origin, most=3)
    for number in range(10):
        erp.catalogue.delete(f"{number:08}")
    with opened(erp) as origin:
        rest = read(origin, start=first[-1].resume)

    assert rest[0].mended_seams == 1
    assert set(erp.catalogue.ids()) <= set(ids_of(first + rest))


def test_a_list_that_gives_the_last_key_again_still_ends(erp: Erp) -> None:
    # A parameter that the stub does not know, and the whole list again and again.
    request = request_of(replace(_KEY, after_param="from"))
    erp.catalogue = Catalogue.of(1)
    with opened(erp, request) as origin:
        assert ids_of(read(origin)) == ["00000000"] * 2


@pytest.mark.parametrize("name", _PAGINGS)
def test_a_position_of_another_way_of_paging_leads_to_the_beginning(erp: Erp, name: str) -> None:
    with opened(erp, request_of(_PAGINGS[name])) as origin:
        assert ids_of(read(origin, start={"other": 7}, most=1))[0] == "00000000"


def test_pages_by_key_need_the_field_that_they_are_cut_by(erp: Erp) -> None:
    request = request_of(replace(_KEY, key=("id",)))
    with (
        opened(erp, request) as origin,
        pytest.raises(OriginConfigurationError, match=r"none of 50 records .* the field id that"),
    ):
        read(origin)


def test_the_list_can_be_asked_for_by_post_with_everything_in_the_body(erp: Erp) -> None:
    request = request_of(ByOffset(size=200), method="POST", params={"fields": "all"})
    with opened(erp, request) as origin:
        pages = read(origin)

    assert list(dict.fromkeys(ids_of(pages))) == erp.catalogue.ids()
    assert erp.bodies[0] == {"fields": "all", "offset": 0, "limit": 200}
    assert {target.partition("?")[2] for target in erp.targets} == {""}


def test_records_given_as_names_and_values_become_objects(erp: Erp) -> None:
    erp.as_pairs = True
    with opened(erp, request_of(pairs=("columns",))) as origin:
        pages = read(origin)

    assert list(dict.fromkeys(ids_of(pages))) == erp.catalogue.ids()
    assert pages[0].records[1]["Sklad"] == {"praha": 1}  # type: ignore[index]


def test_only_what_changed_since_a_moment_is_asked_for(erp: Erp) -> None:
    erp.catalogue.update("00000007", Cena="12,50")
    since = erp.catalogue.now
    erp.catalogue.bury("00000009")
    request = request_of(since=ChangesSince(param="modified_since"))
    with opened(erp, request) as origin:
        pages = read(origin, since=since)
        nothing = read(origin, since=since + timedelta(days=1))

    assert ids_of(pages) == ["00000007", "00000009"]
    assert (ids_of(nothing), len(nothing), nothing[0].is_last) == ([], 1, True)


def test_changes_are_not_asked_for_where_the_settings_do_not_say_how(erp: Erp) -> None:
    with (
        opened(erp) as origin,
        pytest.raises(OriginConfigurationError, match="cannot be asked for changes"),
    ):
        read(origin, since=erp.catalogue.now)


def test_a_rest_system_cannot_be_followed(erp: Erp) -> None:
    with (
        opened(erp) as origin,
        pytest.raises(OriginConfigurationError, match="does not tell of changes by itself"),
    ):
        origin.follow(None, wait_seconds=1)


def test_a_link_to_another_host_gets_no_request_and_no_credentials() -> None:
    catalogue = Catalogue.of(120)
    credentials = Credentials()
    with (
        running_erp(catalogue, credentials=credentials) as erp,
        running_erp(catalogue, address="127.0.0.2") as other,
    ):
        request = request_of(ByLink(next=("away",)))
        away = json.dumps({"data": [product_of(1)], "total": 9, "away": f"{other.url}/x?k=1"})
        erp.faults.script = [_reply(away)]
        with (
            opened(erp, request) as origin,
            pytest.raises(
                OriginConfigurationError, match=r"leads to http://127\.0\.0\.2:\d+,"
            ) as e,
        ):
            read(origin)

        assert "k=1" not in str(e.value)
        assert not other.targets


@pytest.mark.parametrize(
    "link", ["?cursor={}", "products?cursor={}", "/api/v1/data/products?cursor={}"]
)
def test_a_relative_link_is_resolved(erp: Erp, link: str) -> None:
    body = json.dumps({"data": [product_of(0)], "total": 500, "next": link.format("MDAwMDAwMDA=")})
    erp.faults.script = [_reply(body)]
    with opened(erp, request_of(ByLink(next=("next",)))) as origin:
        assert ids_of(read(origin)) == erp.catalogue.ids()


def test_links_that_lead_in_a_circle_are_told(erp: Erp) -> None:
    erp.faults.script = [
        _reply(json.dumps({"data": [product_of(number)], "total": 9, "next": link}))
        for number, link in enumerate(["?cursor=a", "?cursor=b", "?cursor=a"])
    ]
    with (
        opened(erp, request_of(ByLink(next=("next",)))) as origin,
        pytest.raises(OriginConfigurationError, match="lead in a circle"),
    ):
        read(origin)


def test_a_missing_link_on_the_first_of_many_pages_is_a_wrong_setting(erp: Erp) -> None:
    with (
        opened(erp, request_of(ByLink(next=("nxt",)))) as origin,
        pytest.raises(OriginConfigurationError, match="500 records, gives 100, and has no link"),
    ):
        read(origin)


def test_a_link_that_is_kept_holds_no_secret_and_still_leads_on(erp: Erp) -> None:
    secrets: dict[str, Any] = {"params": {"api_key": "key-that-nobody-may-see"}}
    request = request_of(_PAGINGS["link in the body"])
    with opened(erp, request, **secrets) as origin:
        first = read(origin, most=2)
    with opened(erp, request, **secrets) as origin:
        rest = read(origin, start=first[-1].resume)

    assert ids_of(first + rest) == erp.catalogue.ids()
    assert "nobody-may-see" not in json.dumps(first[-1].resume)
    assert all("api_key=key-that-nobody-may-see" in target for target in erp.targets)


def test_a_link_with_a_token_in_it_is_not_kept_at_all() -> None:
    with running_erp(Catalogue.of(3), credentials=Credentials()) as erp:
        link = "?cursor=MDAwMDAwMDA=&t=token-0-that-nobody-may-see"
        body = json.dumps({"data": [product_of(0)], "total": 3, "next": link})
        erp.faults.script = [_reply(body)]
        with opened(erp, request_of(ByLink(next=("next",)))) as origin:
            pages = read(origin)

    assert pages[0].resume is None
    assert ids_of(pages) == erp.catalogue.ids()


def _deleting(begin: int, end: int) -> Change:
    def change(catalogue: Catalogue) -> None:
        for number in range(begin, end):
            catalogue.delete(f"{number:08}")

    return change


def _inserting(begin: int, end: int) -> Change:
    def change(catalogue: Catalogue) -> None:
        for number in range(begin, end):
            catalogue.insert(product_of(number))

    return change


def _reply(body: str) -> Reply:
    return Reply(body=body.encode())
