"""A pass that is cut off at any place goes on there, and nothing of it shows before its end."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from sqlalchemy import Engine, text

from sync_pipeline.core.errors import (
    LandingBusyError,
    LandingSupersededError,
    OriginUnavailableError,
    RateLimitedError,
    StagedRowsLostError,
    StoppedError,
)
from sync_pipeline.core.landing.absence import AbsentRows, judge_deletions
from sync_pipeline.core.landing.passes import Page
from sync_pipeline.core.landing.records import map_records
from sync_pipeline.core.ports import ApplyOrder
from sync_pipeline.engine.landing.land import LandRequest, land, owner_name
from sync_pipeline.processes import process_name
from sync_pipeline_tests.fakes.origin import KEYED, FakeOrigin
from sync_pipeline_tests.landing.site import PRODUCTS, LandingSite, product, products

pytestmark = pytest.mark.process


@pytest.fixture
def site(engine: Engine) -> LandingSite:
    return LandingSite(engine, FakeOrigin.of(*products(95)))


def failing_at(number: int, error: Exception) -> object:
    def fail(page: int) -> None:
        if page == number:
            raise error

    return fail


def cut_off(site: LandingSite, *, at: int) -> None:
    """Have a pass fail before this page."""
    site.origin.before_page = failing_at(
        at, OriginUnavailableError("no answer.", landing="products")
    )
    with pytest.raises(OriginUnavailableError, match="What was fetched is kept"):
        site.land()
    site.origin.before_page = lambda _: None


def test_a_pass_that_was_cut_off_goes_on_at_its_page(site: LandingSite) -> None:
    cut_off(site, at=4)
    seen = site.ids()
    opened = site.record().open_pass

    report = site.land()

    assert seen == []
    assert opened is not None
    assert (opened.pages, opened.records) == (3, 30)
    assert (report.resumed, report.rows, report.fetched, report.pages) == (True, 95, 95, 10)
    assert site.origin.pages_cut == 10


def test_what_failed_is_recorded_until_something_is_landed(site: LandingSite) -> None:
    cut_off(site, at=2)
    failed = site.record()
    site.land()

    assert failed.error is not None
    assert "no answer" in failed.error
    assert failed.failed_at is not None
    assert (site.record().error, site.record().failed_at) == (None, None)


def test_an_origin_that_asks_to_be_left_alone_is_remembered(site: LandingSite) -> None:
    site.origin.before_page = failing_at(
        3, RateLimitedError("asks to wait 1000 s.", retry_after_seconds=1000)
    )
    with pytest.raises(RateLimitedError):
        site.land()

    record = site.record()
    assert record.not_before is not None
    assert record.failed_at is not None
    assert (record.not_before - record.failed_at).total_seconds() == pytest.approx(1000, abs=1)


def test_a_stop_ends_after_the_page_in_flight(site: LandingSite) -> None:
    site.should_stop = lambda: site.origin.pages_cut >= 3
    with pytest.raises(StoppedError, match="the next run goes on there"):
        site.land()
    site.should_stop = lambda: False

    report = site.land()

    assert (report.resumed, report.rows, site.origin.pages_cut) == (True, 95, 10)


def test_an_origin_that_cannot_resume_begins_anew(site: LandingSite) -> None:
    site.origin.traits = replace(KEYED, resumes=False)
    cut_off(site, at=4)

    report = site.land()

    assert (report.resumed, report.rows, report.fetched) == (False, 95, 95)
    assert site.origin.pages_cut == 3 + 10


def test_a_pass_of_another_mapping_begins_anew(site: LandingSite) -> None:
    cut_off(site, at=4)
    site.landing = replace(PRODUCTS, columns=PRODUCTS.columns[:2])

    assert site.land().resumed is False
    assert site.origin.pages_cut == 3 + 10


def test_a_pass_that_was_asked_for_otherwise_begins_anew(site: LandingSite) -> None:
    """Pages of another size or overlap do not join those that came."""
    cut_off(site, at=4)
    site.landing = replace(PRODUCTS, request_digest="pages of 20")

    assert site.land().resumed is False


def test_a_pass_that_is_too_old_begins_anew(site: LandingSite) -> None:
    cut_off(site, at=4)
    site.sql("UPDATE sync_pipeline.landing_pass SET started_at = now() - interval '7 hours'")

    assert site.land().resumed is False
    assert site.origin.pages_cut == 3 + 10


def test_a_pass_whose_staged_rows_are_gone_begins_anew(site: LandingSite) -> None:
    """The server crashed between two pages: an unlogged table is empty afterwards."""
    cut_off(site, at=4)
    site.sql("TRUNCATE sync_pipeline.landing_staged_products")

    assert site.land().resumed is False
    assert site.ids() == [product(n)["id"] for n in range(95)]


def test_two_runs_of_one_landing_do_not_meet(site: LandingSite) -> None:
    site.store.prepare([site.landing])
    site.store.acquire("products", owner="somebody|run", ttl_seconds=60)

    with pytest.raises(LandingBusyError, match=r"being landed by somebody\|run; its lease ends"):
        site.land()


def test_a_run_waits_for_one_that_soon_gives_the_landing_back(site: LandingSite) -> None:
    site.store.prepare([site.landing])
    site.store.acquire("products", owner="somebody|run", ttl_seconds=1)

    context = replace(site.context, patience_seconds=20.0)
    report = land(context, site.landing, request=LandRequest(), owner="test")

    assert report.rows == 95


def test_the_lease_of_a_process_that_is_gone_is_taken_at_once(site: LandingSite) -> None:
    site.store.prepare([site.landing])
    machine = process_name().rsplit(":", 2)[0]
    site.store.acquire("products", owner=f"{machine}:999999:1|run", ttl_seconds=3600)

    assert site.land().rows == 95


def test_whoever_lost_the_lease_lands_nothing(site: LandingSite) -> None:
    def lose(page: int) -> None:
        if page == 3:
            site.sql("UPDATE sync_pipeline.landing_cursor SET owner = 'x', token = token + 1")

    site.origin.before_page = lose

    with pytest.raises(LandingSupersededError, match="its lease went to x"):
        site.land()

    assert site.ids() == []


def test_a_page_and_an_apply_whose_answer_was_lost_are_done_once(site: LandingSite) -> None:
    site.store.prepare([site.landing])
    fence = site.store.acquire("products", owner="test", ttl_seconds=60)
    state = site.store.open_pass(fence, site.landing, mode="full", since=None, resumes=True)
    page = Page(records=[*products(5), {"name": "x"}], resume={"after": "p"}, is_last=True)
    mapped = map_records(site.landing, page.records)
    order = ApplyOrder(
        absent=AbsentRows.STAY,
        judge=lambda n, rows: judge_deletions(
            n, table_rows=rows, policy=site.landing.deletions.policy
        ),
    )

    first = site.store.commit_page(fence, site.landing, state, page, mapped)
    second = site.store.commit_page(fence, site.landing, state, page, mapped)
    applied = site.store.apply(fence, site.landing, second, order)
    again = site.store.apply(fence, site.landing, second, order)

    assert first == second
    assert (applied.new, applied.table_rows) == (5, 5)
    assert again == applied
    assert len(list(site.store.iter_rejected("products"))) == 1


def test_pages_that_a_crash_of_the_server_took_are_noticed_by_whoever_brings_the_next(
    site: LandingSite,
) -> None:
    """Nobody waits until a page is on disk: its rows would be lost all the same."""

    def crash(page: int) -> None:
        if page == 4:
            site.sql("UPDATE sync_pipeline.landing_pass SET pages = 1, staged = 10")
            site.sql("TRUNCATE sync_pipeline.landing_staged_products")

    site.origin.before_page = crash
    with pytest.raises(StagedRowsLostError, match="of 30 staged rows 10 are left"):
        site.land()
    site.origin.before_page = lambda _: None

    report = site.land()

    assert (report.resumed, report.rows) == (False, 95)


@contextmanager
def child(site: LandingSite, *, count: int, kill_at: int = 0) -> Iterator[subprocess.Popen[str]]:
    url = site.engine.url.render_as_string(hide_password=False)
    command = [sys.executable, "-m", "sync_pipeline_tests.landing.child", url]
    with subprocess.Popen(
        [*command, str(count), str(kill_at)], stdout=subprocess.PIPE, text=True
    ) as process:
        yield process


@pytest.mark.slow
def test_killed_at_any_page_it_goes_on_there_and_fetches_none_twice(site: LandingSite) -> None:
    pages = 0
    for kill_at in (1, 2, 4):
        with child(site, count=150, kill_at=kill_at) as process:
            assert process.wait(timeout=60) == -signal.SIGKILL
        pages += kill_at - 1
        assert site.ids() == []
    with child(site, count=150) as process:
        said = process.communicate(timeout=60)[0].split()

    assert [int(it) for it in said] == [15 - pages, 150, 0, 150]


@pytest.mark.slow
def test_killed_in_the_apply_nothing_shows_and_the_next_run_asks_for_nothing(
    site: LandingSite,
) -> None:
    site.land()
    with site.engine.begin() as holder:
        # Its deletion waits for this; new and changed rows were written before it.
        holder.execute(text("SELECT FROM landing.products WHERE id = 'p00093' FOR UPDATE"))
        with child(site, count=90) as process:
            wait_for_a_lock(site)
            process.kill()
            process.wait()
    during = len(site.ids())

    with child(site, count=90) as process:
        said = process.communicate(timeout=60)[0].split()

    assert during == 95
    assert [int(it) for it in said] == [0, 0, 5, 90]


def wait_for_a_lock(site: LandingSite) -> None:
    """Until a session waits for another one's lock."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        waiting = site.sql(
            "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' "
            "AND datname = current_database()"
        )
        if waiting:
            return
        time.sleep(0.05)
    raise AssertionError("nobody waits for a lock")


def test_a_run_names_itself_so_that_others_can_judge_whether_it_lives() -> None:
    name = owner_name(process="host:12:34", run_id="abc")

    assert name == "host:12:34|abc"
