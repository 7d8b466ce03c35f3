"""How old what landed is, and that nothing is said to be in sync beyond it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest
from sqlalchemy import Engine, text

from sync_pipeline.core.entity import Entity
from sync_pipeline.core.errors import OriginUnavailableError, TransientError
from sync_pipeline.core.landing.completions import Completion
from sync_pipeline.core.landing.spec import Landing
from sync_pipeline.core.ports import LandingRecord, ScopePage
from sync_pipeline.core.scope import GLOBAL, Scope
from sync_pipeline.engine.context import SyncContext
from sync_pipeline.engine.landing.ages import (
    KNOWN_SECONDS,
    UNREADABLE_SECONDS,
    KnownPasses,
    LandingAge,
    read_landings,
)
from sync_pipeline.engine.questions.explain import explain_document, explain_row
from sync_pipeline.engine.questions.search import SearchRequest, SearchResult, search
from sync_pipeline.operations.answers import explanation_answer
from sync_pipeline.operations.monitoring import watch
from sync_pipeline.operations.overview import all_problems, recorded_status
from sync_pipeline.sources.postgres import PostgresRowSource
from sync_pipeline_tests.engine.world import MATERIAL, World
from sync_pipeline_tests.fakes.landing_records import FakeLandingRecords, completions_of
from sync_pipeline_tests.landing.installed import landed
from sync_pipeline_tests.landing.site import PRODUCTS, LandingSite, product, products

PRODUCT: Final = Entity(
    name="product",
    table=PRODUCTS.table,
    updated_at="updated_at",
    views=(("text", ("name",)),),
    payload=(("price", "price"),),
)
LONG_AGO: Final = datetime(2026, 1, 1, tzinfo=UTC)
ACME: Final = Scope("acme")

pytestmark = pytest.mark.process


@pytest.fixture
def site(engine: Engine) -> LandingSite:
    site = LandingSite(engine)
    site.origin.put(*products(3))
    site.store.prepare([site.landing])
    return site


@dataclass(slots=True)
class Shop:
    """Products that land in PostgreSQL and are synced from there; the rest is in memory."""

    site: LandingSite
    world: World = field(default_factory=lambda: World(entities=(PRODUCT,)))

    @property
    def sync(self) -> SyncContext:
        sync = replace(self.world.sync, source=PostgresRowSource(self.site.engine))
        return landed(sync, self.site)

    def run(self, *keys: str) -> None:
        for key in keys or ("global", "acme"):
            assert self.world.run(key, sync=self.sync).error is None

    def search(self, sync: SyncContext | None = None, **asked: Any) -> SearchResult:
        return search(sync or self.sync, scope=ACME, request=SearchRequest(text="Product", **asked))

    def age(self) -> LandingAge:
        (age,) = read_landings(self.sync).ages
        return age

    def set_back(self, **ago: float) -> datetime:
        """Let the last complete pass be older than it is."""
        moment = datetime.now(tz=UTC) - timedelta(**ago)
        with self.site.engine.begin() as connection:
            statement = text(
                "UPDATE sync_pipeline.landing_cursor SET complete_at = "
                "CAST(:moment AS timestamptz), content_at = CAST(:moment AS timestamptz), "
                "completions = "
                "jsonb_build_array(jsonb_build_array(CAST(:moment AS text), CAST(:moment AS text)))"
            )
            connection.execute(statement, {"moment": moment.isoformat()})
        return moment


@pytest.fixture
def shop(site: LandingSite) -> Shop:
    return Shop(site)


def test_a_landing_that_never_ran_has_no_age_and_is_not_fresh(shop: Shop) -> None:
    assert shop.age() == LandingAge(
        name="products",
        table="landing.products",
        connection="erp",
        rows=0,
        complete_at=None,
        age_seconds=None,
        is_fresh=False,
        applied_at=None,
        changed_at=None,
        failed_at=None,
        error=None,
        not_before=None,
        needs_full_pass=None,
        rejected=0,
        open_pass=None,
    )


def test_the_age_is_that_of_the_last_complete_pass(shop: Shop) -> None:
    shop.site.land()
    complete_at = shop.set_back(hours=30)
    shop.site.origin.traits = replace(shop.site.origin.traits, tells_changes=True)
    shop.site.land("incremental")

    age = shop.age()

    assert (age.rows, age.complete_at, age.is_fresh) == (3, complete_at, True)
    assert age.applied_at is not None
    assert age.applied_at > complete_at + timedelta(hours=29)
    assert age.age_seconds == pytest.approx(30 * 3600, abs=60)


def test_a_pass_that_is_longer_ago_than_the_settings_allow_is_old(shop: Shop) -> None:
    shop.site.land()
    shop.set_back(hours=30)
    shop.site.landing = replace(shop.site.landing, fresh_seconds=3600)

    assert not shop.age().is_fresh


def test_a_failure_and_a_pass_that_was_cut_off_are_told(shop: Shop) -> None:
    shop.site.origin.put(*products(25))

    def break_off(page: int) -> None:
        if page == 2:
            raise OriginUnavailableError("does not answer", landing="products")

    shop.site.origin.before_page = break_off
    with pytest.raises(OriginUnavailableError, match="does not answer"):
        shop.site.land()

    age = shop.age()

    assert age.error is not None
    assert "does not answer" in age.error
    assert age.failed_at is not None
    assert age.open_pass is not None
    assert (age.open_pass.mode, age.open_pass.pages) == ("full", 1)
    assert (age.open_pass.records, age.open_pass.total) == (10, 25)


def test_a_clock_of_the_database_that_is_ahead_makes_no_negative_age(shop: Shop) -> None:
    shop.site.land()
    shop.set_back(hours=-1)

    assert shop.age().age_seconds == 0


def test_a_search_is_in_sync_to_the_last_complete_pass_at_most(shop: Shop) -> None:
    shop.site.land()
    complete_at = shop.set_back(hours=30)
    shop.run()

    result = shop.search()

    assert len(result.hits) == 3
    assert result.in_sync_by_scope["global"] == complete_at
    # Rows of this landing are global; what is acme's own is as new as its sync.
    own = result.in_sync_by_scope["acme"]
    assert own is not None
    assert own > complete_at + timedelta(hours=29)
    assert result.in_sync_to == complete_at


def test_after_a_landing_it_takes_a_sync_until_a_search_is_in_sync_to_it(shop: Shop) -> None:
    shop.site.land()
    shop.run()
    (synced,) = shop.sync.scopes.list_entities(scopes=[GLOBAL])
    shop.site.land()

    result = shop.search()

    assert result.in_sync_by_scope["global"] == synced.source_snapshot_at


def test_a_search_is_in_sync_to_nothing_while_no_pass_was_complete(shop: Shop) -> None:
    shop.run()

    result = shop.search()

    assert result.in_sync_by_scope["global"] is None
    assert result.in_sync_to is None


def test_entities_whose_table_nothing_lands_in_are_as_new_as_their_sync(shop: Shop) -> None:
    world = World(entities=(MATERIAL,))
    world.put("1", tenant_id=None, is_global=True)
    world.run_all()
    world.run("acme")
    sync = landed(world.sync, shop.site)

    assert shop.search(sync).in_sync_to == shop.search(world.sync).in_sync_to is not None


def test_a_page_of_scopes_is_bounded_and_names_what_is_old(shop: Shop) -> None:
    shop.site.land()
    complete_at = shop.set_back(days=3)
    shop.run()

    recorded = recorded_status(shop.sync, page=ScopePage())

    moments = {line.scope.scope_key: line.scope.in_sync_to for line in recorded.lines}
    assert moments["global"] == recorded.totals.in_sync_to == complete_at
    assert all(line.scope.severity == 0 for line in recorded.lines)
    assert all_problems(recorded) == ["landing products was last complete 3 days ago"]


def test_a_landing_that_was_never_complete_is_no_scope_that_was_never_synced(shop: Shop) -> None:
    shop.site.origin.before_page = _fail
    with pytest.raises(OriginUnavailableError, match="nobody there"):
        shop.site.land()
    shop.run()

    recorded = recorded_status(shop.sync, page=ScopePage())

    assert recorded.totals.never_synced == 0
    assert [line.scope.in_sync_to is None for line in recorded.lines] == [False, True]
    assert all_problems(recorded) == [
        "landing products was never complete and failed when it last ran"
    ]


def _fail(page: int) -> None:
    raise OriginUnavailableError("nobody there", landing="products")


def test_callers_who_may_not_know_of_all_scopes_know_of_no_landing(shop: Shop) -> None:
    shop.site.land()
    complete_at = shop.set_back(days=3)
    shop.run()

    recorded = recorded_status(shop.sync, page=ScopePage(), visible=[GLOBAL, ACME])

    assert (recorded.landings, all_problems(recorded)) == ((), [])
    assert recorded.totals.in_sync_to == complete_at


def test_a_wait_counts_from_the_last_sync_and_not_from_the_landing(shop: Shop) -> None:
    shop.site.land()
    shop.set_back(days=3)
    shop.run()
    shop.world.state.documents.clear()

    watched = watch(shop.sync)

    assert [age.name for age in watched.landings] == ["products"]
    assert watched.longest_wait_seconds == 0


def test_an_explanation_says_where_a_row_comes_from(shop: Shop) -> None:
    shop.site.landing = replace(shop.site.landing, key=("code",))
    shop.site.origin.records = {"p1": product(1, code="A-17")}
    shop.site.land()
    complete_at = shop.set_back(hours=30)
    shop.run()

    explanation = explain_row(shop.sync, entity_type="product", row_id="p00001")
    by_id = explain_document(
        shop.sync, document_id=explanation.documents[0].document_id, scope=GLOBAL
    )

    assert explanation.landing is not None
    assert explanation.landing.source_key == "A-17"
    assert (explanation.landing.complete_at, explanation.landing.is_fresh) == (complete_at, True)
    assert explanation.documents[0].scope.in_sync_to == complete_at
    assert explanation_answer(explanation)["landing"] == explanation.landing
    assert by_id is not None
    assert by_id.landing == explanation.landing


def test_an_explanation_of_a_row_that_is_not_there_still_says_how_old_the_landing_is(
    shop: Shop,
) -> None:
    shop.site.land()
    shop.run()

    explanation = explain_row(shop.sync, entity_type="product", row_id="nowhere")

    assert explanation.landing is not None
    assert explanation.landing.complete_at is not None
    assert explanation.landing.source_key is None


def test_a_row_that_landed_since_the_last_sync_is_told_as_not_synced_since(shop: Shop) -> None:
    shop.run()
    shop.site.land()
    shop.site.sql("UPDATE sync_pipeline.landing_cursor SET complete_at = NULL, completions = '[]'")

    explanation = explain_row(shop.sync, entity_type="product", row_id="p00001")

    assert "was last synced as of" in explanation.verdict.reason
    assert explanation.documents[0].scope.in_sync_to is None


VIEWS: Final = {
    "a view": ("CREATE VIEW goods AS SELECT * FROM landing.products",),
    "a view over a view": (
        "CREATE VIEW landing.named AS SELECT * FROM landing.products WHERE name IS NOT NULL",
        "CREATE VIEW goods AS SELECT n.* FROM landing.named n LEFT JOIN units u USING (id)",
    ),
    "a materialized view": ("CREATE MATERIALIZED VIEW goods AS SELECT * FROM landing.products",),
}


@pytest.mark.parametrize("statements", VIEWS.values(), ids=VIEWS)
def test_nothing_that_is_read_through_a_view_is_in_sync_beyond_what_landed(
    site: LandingSite, statements: tuple[str, ...]
) -> None:
    site.land()
    for statement in ("CREATE TABLE units (id text PRIMARY KEY)", *statements):
        site.sql(statement)
    shop = Shop(site, World(entities=(replace(PRODUCT, table="public.goods"),)))
    shop.run()
    complete_at = shop.set_back(hours=3)

    assert shop.search().in_sync_to == complete_at
    assert recorded_status(shop.sync, page=ScopePage()).totals.in_sync_to == complete_at


def test_a_table_that_reads_nothing_of_a_landing_is_as_new_as_its_last_sync(
    site: LandingSite,
) -> None:
    site.land()
    site.sql("CREATE TABLE goods AS SELECT * FROM landing.products")
    # Of that one, its name is all that they share.
    site.sql("CREATE VIEW landing.goods AS SELECT * FROM landing.products")
    shop = Shop(site, World(entities=(replace(PRODUCT, table="goods"),)))
    shop.run()
    complete_at = shop.set_back(hours=3)

    moment = shop.search().in_sync_to

    assert moment is not None
    assert moment > complete_at + timedelta(hours=2)


class Seconds:
    """A clock that a test turns."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def told(records: Mapping[str, LandingRecord]) -> dict[str, tuple[Completion, ...]]:
    return {name: record.completions for name, record in records.items()}


def recorded(complete_at: datetime) -> FakeLandingRecords:
    record = LandingRecord(
        landing="products",
        rows=1,
        complete_at=complete_at,
        completions=completions_of(complete_at),
    )
    return FakeLandingRecords({"products": record})


def test_searches_go_by_what_was_read_some_seconds_ago() -> None:
    records, seconds = recorded(LONG_AGO), Seconds()
    known = KnownPasses(seconds=seconds)
    first = known.records([PRODUCTS], records)
    records.records = recorded(LONG_AGO + timedelta(days=1)).records

    seconds.now += KNOWN_SECONDS - 1
    meanwhile = known.records([PRODUCTS], records)
    seconds.now += 1
    later = known.records([PRODUCTS], records)

    assert told(first) == told(meanwhile) == {"products": completions_of(LONG_AGO)}
    assert told(later) == {"products": completions_of(LONG_AGO + timedelta(days=1))}
    assert records.reads == 2


def test_while_nothing_can_be_read_searches_go_by_the_last_answer() -> None:
    records, seconds = recorded(LONG_AGO), Seconds()
    known = KnownPasses(seconds=seconds)
    known.records([PRODUCTS], records)
    records.error = TransientError("the database does not answer")

    seconds.now += KNOWN_SECONDS
    meanwhile = known.records([PRODUCTS], records)
    seconds.now += UNREADABLE_SECONDS - 1
    known.records([PRODUCTS], records)

    assert told(meanwhile) == {"products": completions_of(LONG_AGO)}
    assert records.reads == 2


def test_where_nothing_could_ever_be_read_nothing_is_known() -> None:
    records = recorded(LONG_AGO)
    records.error = TransientError("the database does not answer")

    assert told(KnownPasses().records([PRODUCTS], records)) == {"products": ()}


def test_whoever_asks_while_another_reads_is_told_what_was_known() -> None:
    seconds = Seconds()
    known = KnownPasses(seconds=seconds)
    asked: list[Any] = []

    class Asking(FakeLandingRecords):
        def get(self, landing: Landing) -> LandingRecord:
            if self.reads:
                asked.append(told(known.records([PRODUCTS], self)))
            return FakeLandingRecords.get(self, landing)

    records = Asking(recorded(LONG_AGO).records)
    known.records([PRODUCTS], records)
    seconds.now += KNOWN_SECONDS
    known.records([PRODUCTS], records)

    assert asked == [{"products": completions_of(LONG_AGO)}]
    assert records.reads == 2
