"""The table that another loader fills, as an origin: seen as a whole, deleted from by its sign."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Engine, text

from sync_pipeline.core.entity import Condition
from sync_pipeline.core.errors import OriginConfigurationError, SourceUnavailableError
from sync_pipeline.core.landing.fields import parse_field
from sync_pipeline.core.landing.origin_options import LoaderSign, TableRequest
from sync_pipeline.core.landing.spec import (
    ColumnRule,
    ColumnType,
    Confirmation,
    DeletionRules,
    Landing,
    Owner,
    TimeOfChange,
)
from sync_pipeline.origins.table import TableOrigin
from sync_pipeline_tests.landing.site import LandingSite

pytestmark = pytest.mark.process

LOADS = LoaderSign(
    table="raw._dlt_loads",
    where=(Condition("status", (0,)),),
    load_column="load_id",
    row_column="_dlt_load_id",
)
LANDING = Landing(
    name="products",
    connection="raw.products",
    table="landing.products",
    id=(parse_field("sku"),),
    owner=Owner(),
    columns=(
        ColumnRule(name="name", fields=(parse_field("title"),)),
        ColumnRule(name="price", fields=(parse_field("price"),), type=ColumnType.NUMERIC),
    ),
    deletions=DeletionRules(confirm=Confirmation.NONE),
)


@pytest.fixture
def site(engine: Engine) -> LandingSite:
    site = LandingSite(engine, landing=LANDING)
    site.sql("CREATE SCHEMA raw")
    site.sql("CREATE TABLE raw.products (sku text, title text, price numeric, _dlt_load_id text)")
    site.sql("CREATE TABLE raw._dlt_loads (load_id text, status int, inserted_at timestamptz)")
    reads(site, complete_when=LOADS)
    return site


def reads(site: LandingSite, **request: Any) -> None:
    """Read the loader's table so."""
    site.origin = TableOrigin(
        site.landing,
        engine=site.engine,
        request=TableRequest(table="raw.products", page_size=7, **request),
        lock_timeout_seconds=20,
    )


def load(site: LandingSite, load_id: str, numbers: Sequence[int], *, is_done: bool = True) -> None:
    """Do what a loader that replaces does."""
    site.sql("TRUNCATE raw.products")
    for number in numbers:
        site.sql(
            f"INSERT INTO raw.products VALUES ('s{number:03}', 'T{number}', {number}.50, "  # noqa: S608
            f"'{load_id}')"
        )
    if is_done:
        site.sql(f"INSERT INTO raw._dlt_loads VALUES ('{load_id}', 0, now())")  # noqa: S608


def test_a_loaded_table_lands_in_pages_of_one_snapshot(site: LandingSite) -> None:
    load(site, "1", range(30))

    first, before = site.land(), site.marks()
    again = site.land()

    assert (first.rows, first.pages, first.complete) == (30, 5, True)
    assert (str(site.rows()[3]["price"]), site.rows()[3]["name"]) == ("3.50", "T3")
    assert (again.unchanged, site.marks()) == (30, before)


def test_rows_that_a_finished_load_has_left_out_go(site: LandingSite) -> None:
    load(site, "1", range(30))
    site.land()
    load(site, "2", range(28))

    report = site.land()

    assert (report.deleted, report.complete, len(site.ids())) == (2, True, 28)


def test_of_a_load_that_is_not_finished_nothing_goes_and_what_is_new_lands(
    site: LandingSite,
) -> None:
    load(site, "1", range(30))
    site.land()
    complete_at = site.record().complete_at
    load(site, "2", [*range(20), 77], is_done=False)

    report = site.land()

    assert (report.new, report.deleted, report.complete) == (1, 0, False)
    assert site.record().complete_at == complete_at
    assert report.notes == (
        (
            "10 rows without a record stay: the load 2 of raw.products is not among the finished "
            "ones of raw._dlt_loads"
        ),
    )


def test_without_a_sign_nothing_ever_goes(site: LandingSite) -> None:
    reads(site)
    load(site, "1", range(30))
    site.land()
    load(site, "2", range(29))

    report = site.land()

    assert (report.deleted, report.complete, len(site.ids())) == (0, False, 30)
    assert "nothing says that raw.products is complete (complete_when)" in report.notes[0]
    assert site.record().complete_at is not None  # as complete as it can ever be


@pytest.mark.parametrize(("status", "deleted"), [(0, 1), (1, 0)])
def test_the_newest_load_may_be_the_sign(site: LandingSite, status: int, deleted: int) -> None:
    reads(
        site,
        complete_when=replace(LOADS, load_column=None, row_column=None, newest_by="inserted_at"),
    )
    load(site, "1", range(30))
    site.land()
    load(site, "2", range(29), is_done=False)
    site.sql(
        f"INSERT INTO raw._dlt_loads VALUES ('2', {status}, now() + interval '1 hour')"  # noqa: S608
    )

    assert site.land().deleted == deleted


def test_a_loader_that_has_never_loaded_vouches_for_nothing(site: LandingSite) -> None:
    reads(site, complete_when=replace(LOADS, load_column=None, row_column=None))

    assert site.land().complete is False


def test_an_emptied_table_empties_nothing_whatever_is_allowed(site: LandingSite) -> None:
    """A loader may have emptied it to fill it again."""
    load(site, "1", range(10))
    site.land()
    site.sql("TRUNCATE raw.products")

    report = site.land(max_deleted_fraction=1)

    assert (report.deleted, report.complete, len(site.ids())) == (0, False, 10)
    assert "raw.products is empty, so no row of it names a load" in report.notes[0]


def test_an_emptied_table_whose_newest_load_is_finished_takes_an_approval(
    site: LandingSite,
) -> None:
    newest = replace(LOADS, load_column=None, row_column=None, newest_by="inserted_at")
    reads(site, complete_when=newest)
    load(site, "1", range(10))
    site.land()
    load(site, "2", [])

    with pytest.raises(Exception, match="refused to delete 10 of 10 rows"):
        site.land()

    assert site.land(approve_deletions=10).deleted == 10


def test_a_table_that_is_being_replaced_is_seen_after_it_and_never_empty(
    site: LandingSite,
) -> None:
    load(site, "1", range(30))
    site.land()
    is_truncated = threading.Event()

    def replace_slowly() -> None:
        with site.engine.begin() as loader:
            loader.execute(text("CREATE TEMP TABLE kept ON COMMIT DROP AS TABLE raw.products"))
            loader.execute(text("TRUNCATE raw.products"))
            is_truncated.set()
            time.sleep(1)
            loader.execute(text("INSERT INTO raw.products TABLE kept"))

    thread = threading.Thread(target=replace_slowly)
    thread.start()
    assert is_truncated.wait(10)
    report = site.land()
    thread.join()

    assert (report.fetched, report.deleted, report.unchanged) == (30, 0, 30)


def test_a_table_that_stays_locked_is_named(site: LandingSite) -> None:
    site.origin = TableOrigin(
        site.landing,
        engine=site.engine,
        request=TableRequest(table="raw.products"),
        lock_timeout_seconds=0.2,
    )
    with site.engine.begin() as other:
        other.execute(text("LOCK TABLE raw.products IN ACCESS EXCLUSIVE MODE"))
        with pytest.raises(SourceUnavailableError, match=r"raw\.products .* cannot be read now"):
            site.land()


def test_values_of_every_type_of_postgresql(site: LandingSite) -> None:
    site.sql(
        "CREATE TABLE raw.odd (sku uuid, at timestamptz, tags text[], doc jsonb, bytes bytea, "
        "n numeric, local timestamp)"
    )
    site.sql(
        "INSERT INTO raw.odd VALUES "
        "('6f1c0000-0000-0000-0000-000000000001', 'infinity', '{a,b}', '{\"x\": {\"y\": 1.50}}', "
        "'\\x00ff', 'NaN', '2026-07-01 10:00'), "
        "('6f1c0000-0000-0000-0000-000000000002', '2026-01-01 10:00+02', NULL, '[]', NULL, "
        "12345678901234567890.12, NULL)"
    )

    def column(name: str, field: str, kind: ColumnType, **more: Any) -> ColumnRule:
        return ColumnRule(name=name, fields=(parse_field(field),), type=kind, **more)

    site.landing = replace(
        LANDING,
        columns=(
            column("at", "at", ColumnType.TIMESTAMP),
            column("tags", "tags", ColumnType.TEXT, join=", "),
            column("y", "doc.x.y", ColumnType.NUMERIC),
            column("n", "n", ColumnType.NUMERIC),
            column("local_at", "local", ColumnType.TIMESTAMP, timezone="Europe/Prague"),
        ),
        changed=TimeOfChange(field=parse_field("at")),
        max_rejected_fraction=1,
    )
    site.origin = TableOrigin(
        site.landing, engine=site.engine, request=TableRequest(table="raw.odd")
    )

    report = site.land()

    first, second = site.rows()
    assert first["id"] == "6f1c0000-0000-0000-0000-000000000001"
    assert (first["at"], first["tags"], str(first["y"]), first["n"]) == (None, "a, b", "1.50", None)
    assert first["local_at"].isoformat() == "2026-07-01T08:00:00+00:00"
    assert (str(second["n"]), second["at"].hour) == ("12345678901234567890.12", 8)
    assert report.rejected == {"wrong_type": 3}


@pytest.mark.parametrize(
    ("request_", "told"),
    [
        pytest.param(TableRequest(table="raw.nothing"), "has no table raw.nothing", id="table"),
        pytest.param(
            TableRequest(table="raw.products", complete_when=replace(LOADS, load_column="id")),
            "raw._dlt_loads has no column id; it has load_id, status, inserted_at",
            id="column of the sign",
        ),
        pytest.param(
            TableRequest(table="raw.products", complete_when=replace(LOADS, row_column="load")),
            "raw.products has no column load; it has sku",
            id="column of the rows",
        ),
    ],
)
def test_what_is_not_there_is_named(site: LandingSite, request_: TableRequest, told: str) -> None:
    site.origin = TableOrigin(site.landing, engine=site.engine, request=request_)

    with pytest.raises(OriginConfigurationError) as refused:
        site.land()

    assert told in str(refused.value)


def test_a_column_that_is_gone_is_not_taken_for_nothing(site: LandingSite) -> None:
    load(site, "1", range(5))
    site.land()
    site.sql("ALTER TABLE raw.products RENAME title TO name")

    with pytest.raises(Exception, match="has the field of name"):
        site.land()


def test_it_is_examined_in_words(site: LandingSite) -> None:
    load(site, "1", range(3))
    site.sql("UPDATE raw.products SET price = 'NaN' WHERE sku = 's001'")

    told = list(site.origin.examine(site.landing))

    assert told[1:] == [
        "3 records came, and 3 of them can land",
        "column name (text) from title: in 3 of 3",
        (
            "column price (numeric) from price: in 3 of 3, 1 are no numeric, e.g. a text that is "
            "no number: 'NaN'"
        ),
        "its loader says that it is complete",
    ]
