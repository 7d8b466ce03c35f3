"""What one page of a REST system says, for people who set a landing up."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from sync_pipeline.core.errors import OriginConfigurationError
from sync_pipeline.core.landing.origin_options import ByKey, ByLink, ByOffset
from sync_pipeline.core.landing.spec import ColumnRule, ColumnType, Owner
from sync_pipeline_tests.origins.rest_server import (
    Catalogue,
    Credentials,
    Erp,
    product_of,
    refusal,
    running_erp,
)
from sync_pipeline_tests.origins.rest_support import (
    LANDING,
    opened,
    request_of,
    without_total,
)

pytestmark = pytest.mark.process


@pytest.fixture
def erp() -> Iterator[Erp]:
    catalogue = Catalogue.of(120)
    with running_erp(catalogue, credentials=Credentials()) as running:
        yield running


def test_one_page_is_asked_for_and_told_column_by_column(erp: Erp) -> None:
    erp.catalogue.update("00000003", Cena="12,50", Sklad={})
    erp.catalogue.update("00000004", Nazev=None)
    erp.catalogue.bury("00000005")
    erp.catalogue.insert_without_id(product_of(500), before="00000006")
    erp.catalogue.insert(product_of(7))
    with opened(erp) as origin:
        told = list(origin.examine(LANDING))

    assert told == [
        "Logged in to 127.0.0.1.",
        "50 records of 122 came.",
        "Column name (text) from Nazev: values that fit: 48; missing or empty: 1.",
        (
            "Column price (numeric) from Cena: values that fit: 48; others: 1 (Cena: a text that "
            "is no number; is its decimal sign a comma?: '12,50')."
        ),
        "Column tags (text) from Stitky: values that fit: 49.",
        "Column stock_prague (integer) from Sklad.praha: values that fit: 48; missing or empty: 1.",
        (
            "Without an id, so that nothing lands: 1 record. As long as there are such, what is "
            "absent has to be confirmed before it is deleted."
        ),
        "Ids that stand in the page more than once: 1; of each the newest counts.",
        "Without a field that is required (Nazev): 1 record.",
        "Marked as deleted, or outside of `where`: 1 record.",
        "Fields that no column names: Firma, Popis.",
        (
            "Pages overlap by 2 records that are compared: no record is missed as long as the list "
            "is in a fixed order."
        ),
    ]
    assert erp.requests == {"users/authenticate": 1, "data/products": 1}


def test_a_column_without_a_field_is_told_as_what_a_pass_would_refuse(erp: Erp) -> None:
    rules = (
        ColumnRule(name="brand", fields=(("Znacka",),)),
        ColumnRule(name="colour", fields=(("Barva",),), type=ColumnType.TEXT, is_optional=True),
    )
    with opened(erp) as origin:
        told = list(origin.examine(replace(LANDING, columns=rules)))

    assert told[2].endswith("missing or empty: 50. No record has such a field: a pass would be "
                            "refused.")  # fmt: skip
    assert told[3].endswith("missing or empty: 50.")


def test_a_tenant_that_no_record_names_is_told(erp: Erp) -> None:
    erp.catalogue.update("00000001", Firma=None)
    landing = replace(LANDING, owner=Owner(tenant_field=("Firma",)))
    with opened(erp, landing=landing) as origin:
        told = list(origin.examine(landing))

    assert "Without a tenant (Firma): 1 record." in told


def test_a_list_that_does_not_say_how_long_it_is_is_told(erp: Erp) -> None:
    with opened(erp, without_total(request_of(ByOffset(size=50, overlap=0)))) as origin:
        told = list(origin.examine(LANDING))

    assert told[1] == "50 records came. The list does not say how many there are."
    assert told[-1].startswith("Pages are cut by position and not compared")


@pytest.mark.parametrize("count", [0, 1])
def test_a_list_of_nothing_or_hardly_anything_is_told_as_well(erp: Erp, count: int) -> None:
    erp.catalogue = Catalogue.of(count)
    with opened(erp) as origin:
        told = list(origin.examine(LANDING))

    assert told[1] == ("0 records of 0 came." if count == 0 else "1 record of 1 came.")


@pytest.mark.parametrize(
    ("paging", "told"),
    [
        (ByKey(key=("ID",), sort="ID"), "Pages are cut by key, and this one is in its order"),
        (ByKey(key=("Nazev",), sort="ID"), "The page is not in the order of Nazev"),
        (ByKey(key=("Sklad", "brno"), sort="ID"), "Some records lack Sklad.brno"),
        (ByLink(next=("next",)), "Pages are cut by position"),
    ],
    ids=["by key", "by another key than it is sorted by", "by a missing key", "by link"],
)
def test_it_is_told_whether_the_order_can_be_kept(
    erp: Erp, paging: ByKey | ByLink, told: str
) -> None:
    erp.catalogue.update("00000000", Sklad={"brno": 1})
    with opened(erp, request_of(paging)) as origin:
        assert list(origin.examine(LANDING))[-1].startswith(told)


def test_what_a_pass_would_meet_is_raised(erp: Erp) -> None:
    erp.faults.script = [refusal(404)]
    with (
        opened(erp) as origin,
        pytest.raises(OriginConfigurationError, match="answered 404"),
    ):
        list(origin.examine(LANDING))
