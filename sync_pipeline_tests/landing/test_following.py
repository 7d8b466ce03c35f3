"""Following changes beside whoever else lands, and bringing them in step at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest
from sqlalchemy import Engine

from sync_pipeline.core.changes import Operation
from sync_pipeline.core.entity import Entity
from sync_pipeline.core.errors import (
    ConfigurationError,
    LandingBusyError,
    LandingDeletionsRefusedError,
    OriginUnavailableError,
    RateLimitedError,
    StoppedError,
    StoreUnavailableError,
    SyncPipelineError,
)
from sync_pipeline.core.landing.report import LandingReport
from sync_pipeline.core.ports import ChangeHints, LandingFence
from sync_pipeline.core.reports import ScopeReport
from sync_pipeline.core.scope import Scope
from sync_pipeline.engine.landing import context, watch
from sync_pipeline.operations import landing as landing_work
from sync_pipeline.operations.landing import Follower, check_follower, follow_landing
from sync_pipeline_tests.engine.world import World
from sync_pipeline_tests.fakes.feed import FakeChangeFeed
from sync_pipeline_tests.fakes.origin import FakeOrigin
from sync_pipeline_tests.landing.installed import landed
from sync_pipeline_tests.landing.script import ScriptedOrigin, scripted
from sync_pipeline_tests.landing.site import LandingSite, product, products

pytestmark = pytest.mark.process

PRODUCT = Entity(name="product", table="landing.products", views=(("text", ("name",)),))


@dataclass(slots=True)
class Watched:
    """A follower, and everything that it told."""

    site: LandingSite
    feed: FakeChangeFeed = field(default_factory=FakeChangeFeed)
    syncs: bool = False
    reports: list[LandingReport] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    synced: list[list[str]] = field(default_factory=list)
    full_passes: int = 0
    sync_errors: list[SyncPipelineError] = field(default_factory=list)

    @property
    def origin(self) -> ScriptedOrigin:
        found = self.site.origin
        assert isinstance(found, ScriptedOrigin)
        return found

    @property
    def follower(self) -> Follower:
        sync = World(entities=(PRODUCT,)).sync
        return Follower(
            name="products",
            sync=replace(landed(sync, self.site), feed=self.feed),
            land=self.land,
            sync_scopes=self.sync if self.syncs else None,
            on_report=self.reports.append,
            tell=self.lines.append,
            should_stop=lambda: self.origin.is_over,
        )

    def run(self) -> int:
        return follow_landing(self.follower)

    def land(self) -> LandingReport:
        self.full_passes += 1
        try:
            return self.site.land("incremental")
        except SyncPipelineError as error:
            report = LandingReport(name="products", mode="incremental", error=str(error))
            if isinstance(error, StoppedError):
                return replace(report, status="stopped")
            is_deferral = isinstance(error, RateLimitedError)
            return replace(report, status="deferred" if is_deferral else "failed")

    def sync(self, scopes: Sequence[Scope]) -> list[ScopeReport]:
        self.synced.append([scope.key for scope in scopes])
        if self.sync_errors:
            raise self.sync_errors.pop()
        self.feed.events.clear()
        return [ScopeReport(scope_key=scope.key, status="success") for scope in scopes]


@pytest.fixture
def watched(engine: Engine) -> Watched:
    return Watched(LandingSite(engine, scripted(25)))


@pytest.fixture(autouse=True)
def without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(landing_work, "PAUSES", (0.0,))
    monkeypatch.setattr(landing_work, "SYNC_AGAIN_SECONDS", 0.0)


def test_a_full_pass_comes_first_and_then_what_is_told(watched: Watched) -> None:
    origin = watched.origin
    origin.steps = [
        lambda: origin.change(product(3, name="changed"), product(77)),
        lambda: origin.change(gone=("p00004",)),
    ]

    batches = watched.run()

    rows = {row["id"]: row["name"] for row in watched.site.rows()}
    assert (batches, watched.full_passes) == (2, 1)
    assert [(it.new, it.changed, it.deleted) for it in watched.reports] == [
        (25, 0, 0),
        (1, 1, 0),
        (0, 0, 1),
    ]
    assert (rows["p00003"], "p00077" in rows, "p00004" in rows) == ("changed", True, False)
    assert origin.is_closed


def test_what_was_followed_before_needs_no_full_pass(watched: Watched) -> None:
    origin = watched.origin
    watched.site.land()
    origin.change(product(3, name="while nobody followed"))

    watched.run()

    rows = {row["id"]: row["name"] for row in watched.site.rows()}
    assert watched.full_passes == 0
    assert rows["p00003"] == "while nobody followed"


def test_others_may_land_while_nothing_is_told(watched: Watched) -> None:
    fences: list[LandingFence] = []

    def land_beside() -> None:
        fence = watched.site.store.acquire("products", owner="nightly", ttl_seconds=60)
        watched.site.store.release(fence)
        fences.append(fence)

    watched.origin.steps = [land_beside]

    watched.run()

    assert len(fences) == 1


def test_the_right_of_another_run_is_waited_for(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    origin, site = watched.origin, watched.site
    held: list[LandingFence] = []

    def change_beside_another() -> None:
        held.append(site.store.acquire("products", owner="nightly", ttl_seconds=60))
        origin.change(product(3, name="changed"))

    def go_on(error: object, failures: int) -> float:
        assert isinstance(error, LandingBusyError)
        site.store.release(held[0])
        return float(failures)

    monkeypatch.setattr(landing_work, "_pause", go_on)
    monkeypatch.setattr(context, "PATIENCE_SECONDS", 0.5)
    origin.steps = [change_beside_another]

    watched.run()

    rows = {row["id"]: row["name"] for row in site.rows()}
    assert "are being landed by nightly" in watched.lines[0]
    assert rows["p00003"] == "changed"


def test_where_changes_were_lost_a_full_pass_is_landed_and_following_goes_on(
    watched: Watched,
) -> None:
    origin = watched.origin

    def lose_one() -> None:
        origin.put(product(88))
        origin.lose("the collection was renamed")

    origin.steps = [lose_one, lambda: origin.change(product(99))]

    watched.run()

    assert watched.full_passes == 2
    assert {"p00088", "p00099"} <= set(watched.site.ids())
    assert watched.site.record().needs_full_pass is None


def test_an_origin_that_does_not_answer_is_told_and_tried_again(watched: Watched) -> None:
    origin = watched.origin

    def fail() -> None:
        raise OriginUnavailableError("no primary", landing="products")

    origin.steps = [fail, lambda: origin.change(product(99))]

    batches = watched.run()

    assert batches == 1
    assert "products has to wait for 0 s: landing 'products': no primary" in watched.lines[0]
    assert "p00099" in watched.site.ids()


def test_a_full_pass_that_fails_is_tried_again(watched: Watched) -> None:
    origin = watched.origin
    failures = iter([OriginUnavailableError("503", landing="products")])

    def fail_once(_: int) -> None:
        for error in failures:
            raise error

    origin.before_page = fail_once

    watched.run()

    assert [it.status for it in watched.reports] == ["failed", "success"]
    assert len(watched.site.ids()) == 25


def test_a_deferred_full_pass_is_waited_for_as_long_as_asked(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    origin = watched.origin
    failures = iter([RateLimitedError("asked to wait", retry_after_seconds=600)])
    waits: list[float] = []

    def fail_once(_: int) -> None:
        for error in failures:
            raise error

    monkeypatch.setattr(landing_work, "_rest", lambda seconds, **_: waits.append(seconds))
    origin.before_page = fail_once

    watched.run()

    assert [590 < wait <= 600 for wait in waits] == [True]
    assert len(watched.site.ids()) == 25


def test_too_many_deletes_end_it_and_are_recorded(watched: Watched) -> None:
    origin = watched.origin
    gone = tuple(str(row["id"]) for row in products(25))
    origin.steps = [lambda: origin.change(gone=gone)]

    with pytest.raises(LandingDeletionsRefusedError, match="refused to delete 25 of 25 rows"):
        watched.run()

    assert len(watched.site.ids()) == 25
    assert "refused to delete 25 of 25 rows" in str(watched.site.record().error)


def test_the_place_of_a_quiet_stream_is_recorded(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "TOKEN_EVERY_SECONDS", 0.0)
    watched.site.land()
    token = watched.site.record().token
    # As an origin does whose other collections change.
    watched.origin.hints.append(ChangeHints(keys=frozenset(), token={}))
    watched.origin.steps = [lambda: None]

    watched.run()

    assert watched.site.record().token != token


def test_a_place_that_somebody_else_has_gone_on_from_is_left_alone(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "TOKEN_EVERY_SECONDS", 0.0)
    site = watched.site
    site.land()

    def land_beside() -> None:
        fence = site.store.acquire("products", owner="nightly", ttl_seconds=60)
        site.store.note_token(fence, {"place": 0, "by": "nightly"})
        site.store.release(fence)

    watched.origin.steps = [land_beside]

    watched.run()

    assert site.record().token == {"place": 0, "by": "nightly"}


def test_scopes_that_the_feed_names_are_synced_after_each_batch(watched: Watched) -> None:
    origin, feed = watched.origin, watched.feed
    watched.syncs = True
    feed.install([PRODUCT])

    def change() -> None:
        feed.record(Operation.INSERT, entity_type="product", db_id="p00099", new="acme")
        origin.change(product(99))

    origin.steps = [change]

    watched.run()

    assert watched.synced == [["acme"]]


def test_a_sync_that_cannot_be_done_is_tried_again_in_the_next_silence(watched: Watched) -> None:
    origin, feed = watched.origin, watched.feed
    watched.syncs = True
    watched.sync_errors = [StoreUnavailableError("the index does not answer")]
    feed.install([PRODUCT])
    feed.record(Operation.INSERT, entity_type="product", db_id="p00001", new="acme")
    origin.steps = [lambda: None, lambda: None]

    watched.run()

    assert watched.synced == [["acme"], ["acme"]]
    assert watched.lines == ["the changes have to wait: the index does not answer"]


def test_only_an_origin_that_tells_of_changes_can_be_followed(watched: Watched) -> None:
    watched.site.origin = FakeOrigin.of(*products(3))
    follower = Watched(watched.site).follower

    with pytest.raises(ConfigurationError, match="nothing tells of the changes of landing"):
        check_follower(follower)


@pytest.mark.parametrize(
    ("entities", "message"),
    [
        pytest.param((PRODUCT,), "the change feed, which product does not have", id="no feed"),
        pytest.param((), "no entity reads landing.products", id="no entity"),
    ],
)
def test_what_nobody_would_tell_of_is_not_synced(
    watched: Watched, entities: tuple[Entity, ...], message: str
) -> None:
    watched.syncs = True
    follower = watched.follower
    follower = replace(follower, sync=follower.sync.rebound(entities=entities))

    with pytest.raises(ConfigurationError, match=message):
        check_follower(follower)


def test_what_can_be_followed_and_synced_is(watched: Watched) -> None:
    watched.syncs = True
    watched.feed.install([PRODUCT])

    check_follower(watched.follower)
