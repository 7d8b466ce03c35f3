"""Which entities a database seems to have: pure decisions over a description."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from sync_pipeline.core.column_names import camel, is_technical, normal, singular, tenant_rank
from sync_pipeline.core.described import DescribedColumn, DescribedDatabase, DescribedTable
from sync_pipeline.core.entity import Constant, Entity, Sharing
from sync_pipeline.core.looks import has_word, look_at
from sync_pipeline.core.proposal import Proposal, ProposedEntity, propose, scopes_in_sample

NOW = datetime(2026, 6, 1, tzinfo=UTC)
NAMES = ("oak table", "pine chair", "steel lamp", None)


def column(name: str, base: str = "text", *values: str | None, **more: Any) -> DescribedColumn:
    return DescribedColumn(name=name, type_name=base, base_type=base, values=values, **more)


ID = column("id", "int4", "1", "2", "3", "4", is_not_null=True)
TENANT = column("tenant_id", "text", "acme", "acme", "globex", "globex")
NAME = column("name", "text", *NAMES)


def table(
    *columns: DescribedColumn, name: str = "items", key: Sequence[str] = ("id",), **more: Any
) -> DescribedTable:
    return DescribedTable(name=name, columns=columns, primary_key=tuple(key), **more)


def proposal(*tables: DescribedTable, **more: Any) -> Proposal:
    database = DescribedDatabase(name="db", encoding="UTF8", tables=tables)
    return propose(database, now=NOW, **more)


def only(*tables: DescribedTable) -> ProposedEntity:
    [one] = proposal(*tables).entities
    return one


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        (["tenant_id", "company_id"], "tenant_id"),
        (["companyId", "shop_id"], "companyId"),
        (["customer", "WorkspaceId"], "WorkspaceId"),
        (["supplier_id", "category_id"], None),
        (["company"], None),
    ],
)
def test_the_tenant_is_the_likeliest_name(names: list[str], chosen: str | None) -> None:
    one = only(table(ID, NAME, *(column(name, "text", "a", "b", "c", "d") for name in names)))

    expected = Constant("main") if chosen is None else chosen
    assert one.entity.tenant == expected


def test_a_tenant_column_is_of_a_type_that_can_be_one() -> None:
    one = only(table(ID, NAME, column("tenant_id", "timestamptz"), column("shop_id", "int4", "1")))

    assert one.entity.tenant == "shop_id"


def test_several_likely_tenants_are_a_question() -> None:
    one = only(table(ID, NAME, TENANT, column("shop_id", "int4", "1", "1", "2", "2")))

    assert "is tenant_id the tenant of items? It could be shop_id too" in one.questions


def test_values_that_no_tenant_can_have_are_counted() -> None:
    bad = column("tenant_id", "text", "acme", "global", " x", "acme")

    one = only(table(ID, NAME, bad))

    assert any(question.startswith("2 of 4 values of tenant_id") for question in one.questions)


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        (column("is_public", "bool", "true"), "is_public"),
        (column("is_public", "text", "t", "t", "t", "f"), Sharing.NONE),
        (column("IsShared", "bool"), "IsShared"),
    ],
)
def test_only_a_boolean_says_that_a_row_is_shared(extra: DescribedColumn, expected: object) -> None:
    assert only(table(ID, TENANT, NAME, extra)).entity.is_global == expected


@pytest.mark.parametrize(
    ("tenants", "expected"),
    [
        (("acme", None, "globex", None), Sharing.WITHOUT_TENANT),
        ((None, None, None, None), Sharing.NONE),
        (("acme", "acme", "globex", "globex"), Sharing.NONE),
    ],
)
def test_rows_without_a_tenant_are_shared_only_where_others_have_one(
    tenants: tuple[str | None, ...], expected: Sharing
) -> None:
    one = only(table(ID, column("tenant_id", "text", *tenants), NAME))

    assert one.entity.is_global is expected
    assert bool(one.questions) == (None in tenants)


@pytest.mark.parametrize(
    ("extra", "condition"),
    [
        (column("deleted_at", "timestamptz", None), "deleted_at is null"),
        (column("is_deleted", "bool", is_not_null=True), "is_deleted is false"),
        (column("isDeleted", "bool"), "isDeleted is false or null"),
        (column("deleted", "int2", "0", "1", is_not_null=True), "deleted is 0"),
        (column("active", "bool"), "active is true"),
        (column("deleted", "int4", "0", "7"), None),
        (column("deleted_at", "text", None), None),
    ],
)
def test_rows_that_were_deleted_and_stay_do_not_count(
    extra: DescribedColumn, condition: str | None
) -> None:
    found = only(table(ID, TENANT, NAME, extra)).entity.only

    assert [str(it) for it in found] == ([] if condition is None else [condition])


def test_a_unique_index_without_null_stands_in_for_a_primary_key() -> None:
    one = only(table(TENANT, column("sku", "text", "A-1"), NAME, key=(), keys=(("sku",),)))

    assert (one.entity.id, one.reasons["id"]) == (("sku",), "a unique index without NULL")


def test_a_view_whose_ids_repeat_is_left_out() -> None:
    repeated = column("id", "int4", "1", "1", "2", "3")

    found = proposal(table(repeated, TENANT, NAME, key=(), kind="view"))

    assert found.left_out == {"items": "it has no key, and no column that is unique by its name"}


def test_a_view_that_says_no_more_than_its_table_is_left_out() -> None:
    view = table(ID, TENANT, NAME, name="listed", key=(), kind="view", reads=("items",))

    found = proposal(table(ID, TENANT, NAME), view)

    assert [one.entity.table for one in found.entities] == ["items"]
    assert found.left_out == {"listed": "a view of items, which is proposed itself"}


def test_a_view_that_joins_names_of_other_tables_is_taken_for_its_main_table() -> None:
    brand = column("brand", "text", "Acme", "Best", "Acme", "Best")
    view = table(
        ID, TENANT, NAME, brand, name="searchable_items", key=(), kind="view",
        reads=("brands", "items"),
    )  # fmt: skip

    found = proposal(table(ID, NAME, name="brands"), table(ID, TENANT, NAME), view)

    assert [one.entity.table for one in found.entities] == ["brands", "searchable_items"]
    assert found.left_out == {"items": "the view searchable_items has all its texts, and more"}


def test_a_known_entity_is_taken_where_the_table_has_all_its_columns() -> None:
    known = Entity(
        name="thing", table="items", views=(("text", ("name",)),), is_global=Sharing.NONE
    )

    fitting = proposal(table(ID, TENANT, NAME), known=[known])
    other = proposal(table(ID, NAME), known=[known])

    assert fitting.entities[0].entity == known
    assert other.entities[0].entity.name == "item"


def test_payload_fields_of_the_pipeline_itself_are_renamed() -> None:
    kind = column("type", "int4", "1")

    one = only(table(ID, TENANT, NAME, kind))

    assert one.entity.payload == (("itemType", "type"),)


def test_arrays_are_filters_but_not_the_vectors_of_somebody_else() -> None:
    tags = column("tags", "_text", "{oak}", "{pine}", "{oak}", None, element_type="text")
    sizes = column("sizes", "_int4", "{1}", "{1,2}", "{3}", None, element_type="int4")
    vectors = column("embedding", "_float4", "{0.1}", "{0.2}", "{0.3}", None, element_type="float4")

    one = only(table(ID, NAME, tags, sizes, vectors))

    assert one.entity.payload == (("tags", "tags"), ("sizes", "sizes"))


def test_scopes_of_sampled_rows_are_named_the_global_one_last() -> None:
    flag = column("is_global", "bool", "true", "false", "false", "false")
    sampled = table(ID, TENANT, NAME, flag)
    [one] = proposal(sampled).entities

    assert scopes_in_sample(sampled, one.entity) == ["acme", "globex", "global"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("products", "product"), ("Categories", "category"), ("addresses", "address"),
        ("boxes", "box"), ("news", "news"), ("status", "status"), ("OrderItems", "order_item"),
        ("sales.offers", "offer"), ("furniture", "furniture"),
    ],
)  # fmt: skip
def test_an_entity_is_called_like_one_of_its_rows(name: str, expected: str) -> None:
    assert singular(name) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [("listPrice", "list_price"), ("UPDATED_AT", "updated_at"), ("HTMLBody", "html_body")],
)
def test_names_of_all_habits_are_read_alike(name: str, expected: str) -> None:
    assert normal(name) == expected


def test_a_payload_field_is_in_camel_case() -> None:
    assert [camel(name) for name in ("list_price", "Price", "_x_")] == ["listPrice", "price", "x"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("alembic_version", True), ("django_migrations", True), ("public.audit_log", True),
        ("user_sessions", True), ("catalogue", False), ("job_offers", False), ("blog_posts", False),
    ],
)  # fmt: skip
def test_tables_of_programs_are_told_by_their_names(name: str, *, expected: bool) -> None:
    assert is_technical(name) is expected


def test_a_name_of_somebody_is_no_tenant_unless_it_refers_to_one() -> None:
    free = tenant_rank("customer", is_reference=False, is_text=True)
    referring = tenant_rank("customer", is_reference=True, is_text=True)

    assert free is None
    assert referring is not None


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("oak table", True), ("Бетон", True), ("цемент М500", True), ("A-100", False),
        ("00042", False), ("n/a", False), ("…", False), ("C25/30", False),
    ],
)  # fmt: skip
def test_a_word_is_more_than_a_code(value: str, *, expected: bool) -> None:
    assert bool(has_word(value)) is expected


def test_categories_repeat_and_texts_do_not() -> None:
    few = look_at(["kg", "piece"] * 20)
    many = look_at([f"oak table {number}" for number in range(40)])
    too_few_rows = look_at(["kg"] * 5)

    assert (few.is_few, many.is_few, too_few_rows.is_few) == (True, False, False)


def test_a_category_that_repeats_is_searched_and_filtered_by() -> None:
    rows = range(40)
    one = only(
        table(
            column("id", "int4", *map(str, rows)),
            column("tenant_id", "text", *["acme"] * 40),
            column("name", "text", *(f"oak table {number}" for number in rows)),
            column("category", "text", *(f"tables of kind {number // 3}" for number in rows)),
            column("supplier", "text", *(f"joiner {number}" for number in rows)),
        )
    )

    assert one.entity.views == (("text", ("name", "category", "supplier")),)
    assert one.entity.payload == (("category", "category"),)


def test_nothing_is_said_of_no_values() -> None:
    look = look_at([])

    assert (look.words, look.codes, look.is_few, look.is_long) == (0, 0, False, False)
