"""Loading and changing the source changes exactly the rows that it says."""

from collections.abc import Mapping

import psycopg
import pytest

from benchmarks import source
from benchmarks.catalogue import CatalogueSize, iter_catalogue
from sync_pipeline.database.urls import driver_url

SIZE = CatalogueSize(rows=1_100)
Row = tuple[str, str | None, float | None]


@pytest.fixture
def url(database_url: str) -> str:
    address = driver_url(database_url, "libpq")
    source.load_source(address, SIZE)
    return address


def read(url: str) -> Mapping[str, Row]:
    with psycopg.connect(url) as connection:
        found = connection.execute(
            "SELECT id::text, name, tenant_id, price::float8 FROM materials "
            "UNION ALL SELECT id::text, name, tenant_id, price::float8 FROM works"
        ).fetchall()
    return {row_id: (name, tenant, price) for row_id, name, tenant, price in found}


def test_every_row_is_loaded(url: str) -> None:
    expected = {row.id: (row.name, row.tenant_id, float(row.price)) for row in iter_catalogue(SIZE)}

    assert read(url) == expected
    assert source.count_rows(url) == SIZE.rows


def test_changed_texts_are_new_to_the_catalogue(url: str) -> None:
    before = read(url)

    source.change_texts(url, count=11, round_=1)

    after = read(url)
    changed = {after[key][0] for key in after if after[key] != before[key]}
    assert len(changed) == 11
    assert not changed & {name for name, _, _ in before.values()}


def test_a_changed_price_leaves_the_text(url: str) -> None:
    before = read(url)

    source.change_prices(url, count=11, round_=1)

    after = read(url)
    changed = [key for key in after if after[key] != before[key]]
    assert len(changed) == 11
    assert all(after[key][:2] == before[key][:2] for key in changed)


def test_as_many_rows_go_as_were_asked_for(url: str) -> None:
    source.delete_rows(url, count=11, round_=1)

    assert source.count_rows(url) == SIZE.rows - 11


def test_as_many_rows_come_as_were_asked_for_and_for_several_owners(url: str) -> None:
    before = read(url)

    source.insert_rows(url, count=55, round_=1, size=SIZE)

    new = [row for key, row in read(url).items() if key not in before]
    assert len(new) == 55
    assert len({tenant for _, tenant, _ in new}) > 1


def test_the_same_round_changes_the_same_rows(url: str, database_url: str) -> None:
    before = read(url)
    source.change_prices(url, count=11, round_=1)
    first = {key for key, row in read(url).items() if row != before[key]}
    between = read(url)

    source.change_prices(url, count=11, round_=1)

    assert {key for key, row in read(url).items() if row != between[key]} == first
