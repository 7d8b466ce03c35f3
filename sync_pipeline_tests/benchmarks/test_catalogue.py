"""The generated catalogue is what the figures say it is."""

from collections import Counter, defaultdict

import pytest

from benchmarks.catalogue import CatalogueSize, SourceRow, iter_catalogue

SMALL = CatalogueSize(rows=5_500)


@pytest.fixture(scope="module")
def rows() -> list[SourceRow]:
    return list(iter_catalogue(SMALL))


def test_the_same_seed_gives_the_same_rows(rows: list[SourceRow]) -> None:
    assert list(iter_catalogue(SMALL)) == rows


def test_another_seed_gives_other_rows(rows: list[SourceRow]) -> None:
    other = list(iter_catalogue(CatalogueSize(rows=SMALL.rows, seed=SMALL.seed + 1)))

    assert not {row.id for row in other} & {row.id for row in rows}


def test_owners_and_entities_have_the_shares_that_were_asked_for(rows: list[SourceRow]) -> None:
    shares = Counter((row.entity, row.tenant_id is None) for row in rows)

    assert shares == {
        ("material", True): 4000,
        ("material", False): 1000,
        ("work", True): 400,
        ("work", False): 100,
    }


def test_every_tenant_has_as_many_rows_as_the_others(rows: list[SourceRow]) -> None:
    owned = Counter(row.tenant_id for row in rows if row.tenant_id is not None)

    assert set(owned.values()) == {220}
    assert len(owned) == 5


def test_the_default_has_fifty_thousand_materials_and_five_thousand_works() -> None:
    size = CatalogueSize()

    assert (size.rows, size.global_rows, size.scopes) == (55_000, 44_000, 6)


def test_fifteen_percent_of_the_texts_are_those_of_another_owner(rows: list[SourceRow]) -> None:
    owners = defaultdict(set)
    for row in rows:
        owners[row.text].add(row.tenant_id)
    copied = sum(len(of) > 1 for of in owners.values())

    assert len(owners) == pytest.approx(0.85 * len(rows), abs=1)
    assert copied > 0.1 * len(rows)


def test_a_work_has_no_supplier_and_every_material_has_one(rows: list[SourceRow]) -> None:
    assert {row.supplier is None for row in rows if row.entity == "work"} == {True}
    assert {row.supplier is None for row in rows if row.entity == "material"} == {False}


def test_texts_are_short_and_in_two_scripts(rows: list[SourceRow]) -> None:
    lengths = {len(row.text.split()) for row in rows}
    cyrillic = sum(any("а" <= letter <= "я" for letter in row.text) for row in rows)

    assert lengths <= set(range(4, 15))
    assert 0.1 < cyrillic / len(rows) < 0.9


def test_ids_are_distinct(rows: list[SourceRow]) -> None:
    assert len({row.id for row in rows}) == len(rows)


@pytest.mark.slow
def test_ten_thousand_tenants_each_have_a_row() -> None:
    size = CatalogueSize(rows=60_000, tenants=10_000)

    assert len({row.tenant_id for row in iter_catalogue(size)}) == size.scopes


def test_a_catalogue_needs_a_row_per_tenant() -> None:
    with pytest.raises(ValueError, match="100 rows are too few for 50 tenants"):
        CatalogueSize(rows=100, tenants=50)
