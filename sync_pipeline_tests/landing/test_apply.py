"""What a pass leaves in its table: all of it, no more than changed, and never too little."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from sqlalchemy import Engine, text

from sync_pipeline.core.errors import (
    ConfigurationError,
    LandingDeletionsRefusedError,
    LandingRefusedError,
    LandingTableError,
    StagedRowsLostError,
)
from sync_pipeline.core.landing.fields import parse_field
from sync_pipeline.core.landing.passes import Order, OriginTraits, Page
from sync_pipeline.core.landing.records import map_records
from sync_pipeline.core.landing.spec import (
    ColumnRule,
    ColumnType,
    Confirmation,
    FieldTest,
    Landing,
    Owner,
)
from sync_pipeline.database.engine import make_engine
from sync_pipeline.database.landing_tables import refuse_old_server
from sync_pipeline_tests.fakes.origin import KEYED, FakeOrigin
from sync_pipeline_tests.landing.site import PRODUCTS, LandingSite, product, products

pytestmark = pytest.mark.process


@pytest.fixture
def site(engine: Engine) -> LandingSite:
    return LandingSite(engine, FakeOrigin.of(*products(45)))


def test_records_become_rows_with_exact_values(site: LandingSite) -> None:
    site.origin.put(product(7, name="Hřebík 7×70", price="0.10", tags=["ocel", {"a": 1}]))

    report = site.land()

    row = site.rows()[7]
    assert (report.new, report.rows, report.complete, report.pages) == (45, 45, True, 5)
    assert (row["id"], row["source_key"], row["is_global"], row["tenant_id"]) == (
        "p00007",
        "p00007",
        True,
        None,
    )
    assert (row["name"], str(row["price"]), row["tags"]) == (
        "Hřebík 7×70",
        "0.10",
        ["ocel", {"a": 1}],
    )
    assert row["source_modified_at"] == datetime(2026, 1, 1, tzinfo=UTC)


def test_an_unchanged_pass_writes_no_row_locks_no_row_and_keeps_every_time(
    site: LandingSite,
) -> None:
    site.land()
    before, rows = site.marks(), site.rows()

    report = site.land()

    assert (report.new, report.changed, report.deleted, report.unchanged) == (0, 0, 0, 45)
    assert site.marks() == before
    assert site.rows() == rows


def test_a_record_whose_time_alone_changed_rewrites_nothing(site: LandingSite) -> None:
    site.land()
    before = site.marks()
    site.origin.put(product(3, changed="2026-02-02T00:00:00Z"))

    report = site.land()

    assert report.changed == 0
    assert site.marks() == before


def test_exactly_what_changed_is_written(site: LandingSite) -> None:
    site.land()
    before = {it["id"]: it for it in site.marks()}
    site.origin.put(product(3, price="99"), product(500))
    del site.origin.records["p00011"]

    report = site.land()

    after = {it["id"]: it for it in site.marks()}
    assert (report.new, report.changed, report.deleted, report.unchanged) == (1, 1, 1, 43)
    assert before.keys() - after.keys() == {"p00011"}
    assert {key for key in after if after[key] != before.get(key)} == {"p00003", "p00500"}


def test_of_a_repeated_id_the_newest_counts_and_repeats_are_told(site: LandingSite) -> None:
    twice = {
        "first": product(1, name="old", changed="2026-01-02T00:00:00Z"),
        "second": product(1, name="new", changed="2026-01-03T00:00:00Z"),
        "third": product(1, name="older", changed="2026-01-01T00:00:00Z"),
    }
    site.origin = FakeOrigin(records=twice, page_size=1)

    report = site.land()

    assert (report.rows, report.repeated, site.rows()[0]["name"]) == (1, 2, "new")


def test_a_number_and_its_text_are_one_id(site: LandingSite) -> None:
    site.origin = FakeOrigin(
        records={"a": product(0, id=7, name="one"), "b": product(0, id="7", name="two")}
    )

    report = site.land()

    assert (site.ids(), report.repeated) == (["7"], 1)


def test_a_tombstone_deletes_at_once_and_in_an_incremental_pass_too(site: LandingSite) -> None:
    site.origin.traits = replace(KEYED, tells_changes=True)
    site.land()
    site.origin.put(product(9, gone=True, changed="2026-03-01T00:00:00Z"))

    report = site.land("incremental")

    assert (report.mode, report.deleted) == ("incremental", 1)
    assert "p00009" not in site.ids()


def test_a_record_that_leaves_the_filter_goes_and_comes_back(site: LandingSite) -> None:
    status = FieldTest(field=parse_field("status"), accepted=("published",))
    site.landing = replace(PRODUCTS, where=(status,))
    site.origin = FakeOrigin.of(*(product(n, status="published") for n in range(5)))
    site.land()
    site.origin.put(product(2, status="draft"))
    site.land()
    left = site.ids()
    site.origin.put(product(2, status="published"))
    site.land()

    assert "p00002" not in left
    assert "p00002" in site.ids()


def test_an_incremental_pass_asks_from_the_newest_change_less_the_overlap_and_deletes_nothing(
    site: LandingSite,
) -> None:
    site.origin.traits = replace(KEYED, tells_changes=True)
    site.origin.put(product(4, changed="2026-04-01T12:00:00Z"))
    site.land()
    site.origin.put(product(5, name="x", changed="2026-04-01T12:30:00Z"))
    del site.origin.records["p00006"]

    report = site.land("incremental")

    assert site.origin.asked_since[-1] == datetime(2026, 4, 1, 11, 50, tzinfo=UTC)
    assert (report.fetched, report.changed, report.deleted) == (2, 1, 0)
    assert "p00006" in site.ids()
    assert site.record().changed_at == datetime(2026, 4, 1, 12, 30, tzinfo=UTC)


def test_a_record_of_the_year_2099_does_not_end_all_incremental_passes(site: LandingSite) -> None:
    site.origin.traits = replace(KEYED, tells_changes=True)
    site.origin.put(product(4, changed="2099-01-01T00:00:00Z"))

    site.land()

    changed_at = site.record().changed_at
    assert changed_at is not None
    assert changed_at <= datetime.now(tz=UTC)


def test_without_any_time_of_change_an_incremental_pass_is_a_full_one_and_says_so(
    site: LandingSite,
) -> None:
    site.origin = FakeOrigin.of(
        *(product(n, changed=None) for n in range(3)),
        traits=replace(KEYED, tells_changes=True),
    )
    site.land()

    report = site.land("incremental")

    assert report.mode == "full"
    assert report.notes == ("a full pass, for no record that was landed had a time of change",)


def test_a_table_that_would_lose_too_much_keeps_all_of_it_until_somebody_approves(
    site: LandingSite,
) -> None:
    site.origin = FakeOrigin.of(*products(200))
    site.land()
    complete_at = site.record().complete_at
    site.origin.records = {key: it for key, it in site.origin.records.items() if key < "p00050"}
    site.origin.put(product(3, name="changed"), product(900))

    with pytest.raises(
        LandingDeletionsRefusedError,
        match=r"refused to delete 150 of 200 rows of landing\.products",
    ) as refused:
        site.land()

    assert len(site.ids()) == 201
    assert site.rows()[3]["name"] == "changed"
    assert site.record().complete_at == complete_at
    assert "land products --approve-deletions 150" in str(refused.value)
    with pytest.raises(LandingDeletionsRefusedError, match="approved 149, but 150"):
        site.land(approve_deletions=149)
    assert site.land(approve_deletions=150).deleted == 150
    assert len(site.ids()) == 51


def test_a_table_is_never_emptied_however_small(site: LandingSite) -> None:
    site.origin = FakeOrigin.of(*products(3))
    site.land()
    site.origin.records.clear()

    with pytest.raises(LandingDeletionsRefusedError, match="refused to delete 3 of 3 rows"):
        site.land()

    assert len(site.ids()) == 3
    assert site.land(max_deleted_fraction=1).deleted == 3


def test_looked_up_records_that_are_there_stay(site: LandingSite) -> None:
    site.confirming(Confirmation.LOOKUP)
    site.land()
    site.origin.hidden = {"p00004", "p00005"}
    del site.origin.records["p00005"]

    report = site.land()

    assert (report.absent, report.deleted, report.waiting) == (2, 1, 1)
    assert "p00004" in site.ids()
    assert "p00005" not in site.ids()
    assert any("1 records that the list left out are there" in note for note in report.notes)


def test_more_than_may_go_is_refused_without_asking_for_single_records(site: LandingSite) -> None:
    site.confirming(Confirmation.LOOKUP)
    site.origin = FakeOrigin.of(*products(200))
    site.land()
    site.origin.records = {key: it for key, it in site.origin.records.items() if key < "p00050"}

    with pytest.raises(LandingDeletionsRefusedError, match="150 of 200"):
        site.land()

    assert site.origin.looked_up == []
    assert site.land(approve_deletions=150).deleted == 150


def test_a_second_pass_confirms_and_one_that_came_back_is_not_counted(site: LandingSite) -> None:
    site.confirming(Confirmation.SECOND_PASS)
    site.land()
    site.origin.hidden = {"p00001", "p00002"}
    first = site.land()
    site.origin.hidden = {"p00002"}
    second = site.land()
    site.origin.hidden = {"p00001"}
    third = site.land()

    assert (first.absent, first.deleted, first.waiting) == (2, 0, 2)
    assert (second.absent, second.deleted) == (1, 1)
    assert (third.absent, third.deleted, third.waiting) == (1, 0, 1)
    assert "p00001" in site.ids()


@pytest.mark.parametrize(
    ("traits", "change", "told"),
    [
        pytest.param(
            OriginTraits(order=Order.POSITION, signals_end=False, resumes=True),
            lambda _: None,
            "pages are cut by position",
            id="pages by position without seams",
        ),
        pytest.param(
            OriginTraits(order=Order.SEAMS, signals_end=False, resumes=True),
            lambda origin: setattr(origin, "states_total", False),
            "does not say how many records",
            id="no total",
        ),
        pytest.param(
            OriginTraits(order=Order.SEAMS, signals_end=False, resumes=True),
            lambda origin: setattr(
                origin, "before_page", lambda n: n == 3 and origin.put(product(900))
            ),
            "had 44 records at the start and 45 at the end",
            id="a total that changes",
        ),
        pytest.param(
            KEYED,
            lambda origin: origin.records.update(x={"name": "without an id"}),
            "1 records had no id",
            id="a record without id",
        ),
    ],
)
def test_what_cannot_be_proven_deletes_nothing(
    site: LandingSite, traits: OriginTraits, change: object, told: str
) -> None:
    site.land()
    site.origin.traits = traits
    del site.origin.records["p00002"]
    change(site.origin)  # type: ignore[operator]

    report = site.land()

    assert (report.complete, report.deleted, report.absent) == (False, 0, 1)
    assert "p00002" in site.ids()
    assert any(told in note for note in report.notes), report.notes


def test_a_record_without_id_is_named_and_the_rest_lands(site: LandingSite) -> None:
    site.origin.records["x"] = {"name": "nameless", "price": "1", "changed": None}

    report = site.land()

    (rejected,) = site.store.iter_rejected("products")
    assert (report.rows, report.rejected) == (45, {"no_id": 1})
    assert (rejected.reason, rejected.field, rejected.page) == ("no_id", "id", 5)


def test_a_value_of_another_type_is_null_and_named(site: LandingSite) -> None:
    site.origin.put(product(3, price="12,50"))

    report = site.land()

    (rejected,) = site.store.iter_rejected("products")
    assert report.rejected == {"wrong_type": 1}
    assert site.rows()[3]["price"] is None
    assert (rejected.source_key, rejected.field) == ("p00003", "price")
    assert rejected.detail == "a text that is no number; is its decimal sign a comma?: '12,50'"


def test_where_much_cannot_be_used_nothing_lands(site: LandingSite) -> None:
    site.land()
    before = site.rows()
    site.origin.put(*(product(n, price="12,50", name="x") for n in range(10)))

    with pytest.raises(LandingRefusedError, match="10 of 45 records cannot be used"):
        site.land()

    assert site.rows() == before
    assert site.record().open_pass is None


def test_a_renamed_field_does_not_empty_its_column(site: LandingSite) -> None:
    site.land()
    before = site.rows()
    site.origin = FakeOrigin.of(*(product(n, title="T") for n in range(3)))
    for record in site.origin.records.values():
        del record["name"]

    with pytest.raises(LandingRefusedError, match="has the field of name") as refused:
        site.land()

    assert "title" in str(refused.value)
    assert site.rows() == before


def test_a_column_that_is_added_is_filled_and_the_next_pass_is_full(site: LandingSite) -> None:
    site.origin.traits = replace(KEYED, tells_changes=True)
    site.land()
    unit = ColumnRule(name="unit", fields=(parse_field("unit"),), is_optional=True)
    site.landing = replace(PRODUCTS, columns=(*PRODUCTS.columns, unit))
    site.origin.put(product(1, unit="kg"))

    report = site.land("incremental")

    assert (report.mode, report.changed) == ("full", 1)
    assert report.notes == ("a full pass, for the mapping has changed since the last one",)
    assert site.rows()[1]["unit"] == "kg"


def test_a_column_is_never_retyped(site: LandingSite) -> None:
    site.land()
    text_price = replace(PRODUCTS.columns[1], type=ColumnType.TEXT)
    site.landing = replace(PRODUCTS, columns=(PRODUCTS.columns[0], text_price))

    with pytest.raises(LandingTableError, match="column price is numeric, and the settings say"):
        site.land()


def test_a_table_of_somebody_else_is_left_alone(site: LandingSite) -> None:
    site.sql("CREATE SCHEMA landing")
    site.sql("CREATE TABLE landing.products (id text PRIMARY KEY, name text)")
    site.sql("INSERT INTO landing.products VALUES ('mine', 'x')")

    with pytest.raises(LandingTableError, match="no landing has made it"):
        site.land()

    assert site.sql("SELECT count(*) AS n FROM landing.products") == [{"n": 1}]


def test_a_table_of_another_landing_is_left_alone(site: LandingSite) -> None:
    site.land()
    site.landing = replace(PRODUCTS, name="others")

    with pytest.raises(LandingTableError, match="belongs to the landing 'products'"):
        site.land()


def test_rows_of_a_tenant_that_a_field_names(site: LandingSite) -> None:
    site.landing = replace(PRODUCTS, owner=Owner(tenant_field=parse_field("firm")))
    site.origin = FakeOrigin.of(product(1, firm="acme"), product(2, firm=5), product(3, firm=None))

    report = site.land()

    assert [(row["tenant_id"], row["is_global"]) for row in site.rows()] == [
        ("acme", False),
        ("5", False),
        (None, False),
    ]
    assert report.rejected == {"no_owner": 1}


def test_a_reader_with_an_older_snapshot_sees_all_rows(site: LandingSite) -> None:
    site.land()
    with site.engine.connect() as reader:
        reader.execution_options(isolation_level="REPEATABLE READ")
        count = text("SELECT count(*) FROM landing.products")
        before = reader.scalar(count)
        site.origin.put(*(product(n, name="new") for n in range(20)))
        del site.origin.records["p00030"]
        site.land()
        during = reader.scalar(count)

    assert (before, during) == (45, 45)


def test_a_row_that_was_landed_since_the_pass_began_keeps_what_is_newer(
    site: LandingSite,
) -> None:
    """An incremental pass overtakes a full one, which then applies what it read before."""
    site.origin.traits = replace(KEYED, tells_changes=True)
    site.land()

    def overtake(number: int) -> None:
        if number != 3:
            return
        site.origin.before_page = lambda _: None
        site.origin.put(
            product(1, name="newer", changed="2026-06-01T00:00:00Z"),
            product(0, id="a-new-one", changed="2026-06-01T00:00:00Z"),
        )
        site.sql("UPDATE sync_pipeline.landing_cursor SET expires_at = now()")
        other = replace_origin(site)
        other.land("incremental", owner="other")
        site.sql("UPDATE sync_pipeline.landing_cursor SET owner = 'test', token = token - 1")

    def replace_origin(of: LandingSite) -> LandingSite:
        return LandingSite(of.engine, replace(of.origin), of.landing)

    site.origin.before_page = overtake
    report = site.land()

    rows = {row["id"]: row for row in site.rows()}
    assert rows["p00001"]["name"] == "newer"
    assert "a-new-one" in rows
    assert report.deleted == 0


def test_staged_rows_that_a_crash_of_the_server_took_are_noticed(site: LandingSite) -> None:
    site.store.prepare([site.landing])
    fence = site.store.acquire("products", owner="test", ttl_seconds=60)
    state = site.store.open_pass(fence, site.landing, mode="full", since=None, resumes=True)
    page = Page(records=products(5), resume=None, is_last=True)
    mapped = map_records(site.landing, page.records)
    state = site.store.commit_page(fence, site.landing, state, page, mapped)
    site.sql("TRUNCATE sync_pipeline.landing_staged_products")

    with pytest.raises(StagedRowsLostError, match="of 5 staged rows 0 are left"):
        site.store.survey(site.landing, state)

    site.origin = FakeOrigin.of(*products(5))
    assert site.land().rows == 5


def test_the_landings_of_two_columns_named_like_sql_words_and_with_capitals(
    engine: Engine,
) -> None:
    landing = Landing(
        name="odd",
        connection="erp",
        table="landing.odd_ones",
        id=(parse_field("ID"), parse_field("part")),
        owner=Owner(tenant_id="acme"),
        columns=(
            ColumnRule(name="select", fields=(parse_field('"a.b"'),)),
            ColumnRule(
                name="Größe", fields=(parse_field("dims[].w"),), type=ColumnType.TEXT, join="x"
            ),
        ),
    )
    site = LandingSite(engine, landing=landing)
    site.origin.records = {"1": {"ID": 1, "part": "a/b", "a.b": "x", "dims": [{"w": 2}, {"w": 3}]}}

    site.land()

    (row,) = site.rows()
    assert (row["id"], row["tenant_id"], row["select"], row["Größe"]) == (
        "1/a~1b",
        "acme",
        "x",
        "2x3",
    )


def test_a_server_without_merge_is_named() -> None:
    refuse_old_server(150_000)

    with pytest.raises(ConfigurationError, match=r"PostgreSQL 15 or later, and .* has 14"):
        refuse_old_server(140_012)


def test_a_role_that_may_not_make_the_table_is_told_what_to_let_run(site: LandingSite) -> None:
    site.sql("CREATE ROLE weak LOGIN")
    site.sql("GRANT CONNECT ON DATABASE " + str(site.engine.url.database) + " TO weak")
    weak = LandingSite(make_engine(str(url_of(site, user="weak"))), site.origin)

    with pytest.raises(LandingTableError, match='role "weak" may not make it') as refused:
        weak.land()

    weak.engine.dispose()
    site.sql("DROP OWNED BY weak")
    site.sql("DROP ROLE weak")
    grant = f'`GRANT CREATE ON DATABASE "{site.engine.url.database}" TO "weak"`'
    assert grant in str(refused.value)


def url_of(site: LandingSite, *, user: str) -> str:
    return site.engine.url.set(username=user).render_as_string(hide_password=False)
