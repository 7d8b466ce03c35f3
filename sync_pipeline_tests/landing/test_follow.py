"""Changes that an origin tells of: the records are read again, and what is there now lands."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import Engine

from sync_pipeline.core.errors import LandingDeletionsRefusedError, OriginUnavailableError
from sync_pipeline.core.landing.fields import parse_field
from sync_pipeline.core.landing.spec import FieldTest
from sync_pipeline.core.ports import ChangeHints
from sync_pipeline_tests.fakes.origin import KEYED, FakeOrigin
from sync_pipeline_tests.landing.site import PRODUCTS, LandingSite, product, products

pytestmark = pytest.mark.process


@pytest.fixture
def site(engine: Engine) -> LandingSite:
    origin = FakeOrigin.of(*products(30), traits=replace(KEYED, follows=True))
    return LandingSite(engine, origin, replace(PRODUCTS, key=parse_field("_id")))


@pytest.fixture(autouse=True)
def with_keys(site: LandingSite) -> None:
    """The origin calls records otherwise than they call themselves."""
    site.origin.records = {
        f"key-{key}": {**record, "_id": f"key-{key}"} for key, record in site.origin.records.items()
    }


def put(site: LandingSite, key: str, **more: object) -> None:
    site.origin.records[key] = {**product(0), "_id": key, **more}


def hint(*keys: str) -> ChangeHints:
    return ChangeHints(keys=frozenset(keys), token={})


def test_what_was_told_is_read_again_and_deleted_where_it_is_gone(site: LandingSite) -> None:
    site.land()
    put(site, "key-p00003", id="p00003", name="changed")
    put(site, "key-new", id="new")
    del site.origin.records["key-p00007"]
    site.origin.hints = [hint("key-p00003"), hint("key-new", "key-p00007")]

    report = site.land("incremental")

    rows = {row["id"]: row for row in site.rows()}
    assert (report.mode, report.fetched, report.new, report.changed, report.deleted) == (
        "incremental",
        2,
        1,
        1,
        1,
    )
    assert rows["p00003"]["name"] == "changed"
    assert "new" in rows
    assert "p00007" not in rows
    assert site.record().token == {"place": 2}


def test_the_place_to_follow_from_is_older_than_the_pass_that_needs_it(site: LandingSite) -> None:
    """What changes while the first full pass reads is told, and read again."""

    def change(number: int) -> None:
        if number == 3:
            put(site, "key-p00001", id="p00001", name="changed meanwhile")
            site.origin.hints.append(hint("key-p00001"))

    site.origin.before_page = change
    site.land()
    missed = site.rows()[1]["name"]
    site.land("incremental")

    assert missed == "Product 1"
    assert site.rows()[1]["name"] == "changed meanwhile"


def test_what_is_told_twice_writes_once(site: LandingSite) -> None:
    site.land()
    before = site.marks()
    site.origin.hints = [hint("key-p00003"), hint("key-p00003")]

    report = site.land("incremental")

    assert (report.fetched, report.changed, report.unchanged) == (2, 0, 2)
    assert site.marks() == before


def test_a_record_that_calls_itself_otherwise_now_is_one_row(site: LandingSite) -> None:
    site.land()
    put(site, "key-p00003", id="renamed")
    site.origin.hints = [hint("key-p00003")]

    report = site.land("incremental")

    assert (report.new, report.deleted, report.rows) == (1, 1, 30)
    assert "p00003" not in site.ids()


def test_a_record_that_leaves_the_filter_goes_with_its_hint(site: LandingSite) -> None:
    site.landing = replace(
        site.landing, where=(FieldTest(field=parse_field("draft"), accepted=(None,)),)
    )
    site.land()
    put(site, "key-p00003", id="p00003", draft=True)
    site.origin.hints = [hint("key-p00003")]

    assert site.land("incremental").deleted == 1
    assert "p00003" not in site.ids()


def test_what_only_a_full_pass_can_find_leads_to_one_under_the_limit(site: LandingSite) -> None:
    site.land()
    site.origin.records.clear()
    site.origin.hints = [
        ChangeHints(keys=frozenset(), token={}, needs_full_pass="the collection was dropped")
    ]

    with pytest.raises(LandingDeletionsRefusedError, match="30 of 30"):
        site.land("incremental")

    record = site.record()
    assert len(site.ids()) == 30
    assert record.needs_full_pass == "the collection was dropped"
    assert record.token == {"place": 1}


def test_until_a_full_pass_has_come_to_its_end_every_pass_is_one(site: LandingSite) -> None:
    site.land()
    site.origin.hints = [
        ChangeHints(keys=frozenset(), token={}, needs_full_pass="the log has forgotten")
    ]
    first = site.land("incremental")
    second = site.land("incremental")

    assert (first.mode, first.complete) == ("full", True)
    assert second.mode == "incremental"


def test_too_many_deletes_of_one_batch_are_refused_and_told_again(site: LandingSite) -> None:
    site.land()
    gone = [f"key-p{number:05}" for number in range(25)]
    for key in gone:
        del site.origin.records[key]
    site.origin.hints = [hint(*gone)]

    with pytest.raises(LandingDeletionsRefusedError, match="25 of 30"):
        site.land("incremental")

    assert len(site.ids()) == 30
    assert site.record().token == {"place": 0}
    assert site.land(approve_deletions=25).deleted == 25
    assert site.land("incremental").deleted == 0
    assert site.record().token == {"place": 1}


def test_an_origin_without_a_stream_lands_in_full_and_says_why(site: LandingSite) -> None:
    site.origin.traits = KEYED
    site.land()

    report = site.land("incremental")

    assert report.mode == "full"
    assert report.notes == ("a full pass, for this origin does not tell changes",)


def test_a_pass_that_began_before_the_place_was_lost_is_not_gone_on_with(
    site: LandingSite,
) -> None:
    site.land()

    def fail(number: int) -> None:
        if number == 2:
            raise OriginUnavailableError("no answer.", landing="products")

    site.origin.before_page = fail
    with pytest.raises(OriginUnavailableError):
        site.land()
    site.origin.before_page = lambda _: None
    put(site, "key-p00000", id="p00000", name="changed while nobody could tell")
    site.origin.hints = [ChangeHints(keys=frozenset(), token={}, needs_full_pass="forgotten")]

    report = site.land("incremental")

    assert (report.mode, report.resumed, report.changed) == ("full", False, 1)
    assert site.sql("SELECT count(*) AS n FROM sync_pipeline.landing_staged_products") == [{"n": 0}]


def test_the_place_of_a_quiet_stream_is_recorded_by_every_run(site: LandingSite) -> None:
    """Others write to the origin's log: an old place falls out of it."""
    site.land()
    site.origin.hints = [hint()]

    report = site.land("incremental")

    assert (report.fetched, site.record().token) == (0, {"place": 1})
