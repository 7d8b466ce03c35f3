"""The built-in catalogue: what it holds, and that its demo shows isolation."""

from __future__ import annotations

from collections import Counter

import pytest
import sqlalchemy as sa

from sync_pipeline.core.document import DocumentBuilder, Rejection
from sync_pipeline.core.entity import Entity
from sync_pipeline.core.errors import ConfigurationError
from sync_pipeline.core.scope import GLOBAL, Scope
from sync_pipeline.sample.builtin import DEMO_SEARCHES, DemoSearch, iter_articles, read_builtin
from sync_pipeline.sample.catalogues import load_builtin
from sync_pipeline.sample.loading import row_id
from sync_pipeline.sample.schema import MATERIALS, WORKS, create_source_tables
from sync_pipeline.sources.postgres import PostgresRowSource

MATERIAL = Entity(
    name="material",
    table="materials",
    updated_at="updated_at",
    views=(("text", ("name", "category", "supplier", "unit")),),
    payload=(
        ("categoryId", "category"),
        ("supplierId", "supplier"),
        ("unit", "unit"),
        ("price", "price"),
    ),
)
WORK = Entity(
    name="work",
    table="works",
    updated_at="updated_at",
    views=(("text", ("name", "category", "unit")),),
    payload=(("categoryId", "category"), ("unit", "unit")),
)


def text_of(row: object) -> tuple[object, ...]:
    assert isinstance(row, dict)
    return tuple(row.get(name) for name in ("name", "category", "supplier", "unit"))


def test_the_catalogue_is_large_enough_to_show_something() -> None:
    rows = read_builtin().rows

    assert len(rows[MATERIALS]) >= 1500
    assert len(rows[WORKS]) >= 300


def test_article_numbers_are_unique() -> None:
    numbers = Counter(article.number for article in iter_articles())

    assert [number for number, times in numbers.items() if times > 1] == []


def test_no_scope_has_the_same_text_twice() -> None:
    texts = Counter(
        (table.name, row["tenant_id"], *text_of(row))
        for table, rows in read_builtin().rows.items()
        for row in rows.values()
    )

    assert [text for text, times in texts.items() if times > 1] == []


def test_tenants_share_texts_and_have_their_own() -> None:
    owners: dict[tuple[object, ...], set[object]] = {}
    for row in read_builtin().rows[MATERIALS].values():
        owners.setdefault(text_of(row), set()).add(row["tenant_id"] or "global")

    found = Counter(frozenset(scopes) for scopes in owners.values())

    assert found[frozenset({"acme", "globex"})] > 100
    assert found[frozenset({"acme", "globex", "severstroy"})] > 20
    assert all(found[frozenset({tenant})] > 50 for tenant in ("acme", "globex", "severstroy"))


def test_ids_stay_the_same_in_every_release() -> None:
    row = row_id(catalogue="builtin", scope_key="acme", article="PB/Standard/12.5/1200x2400")

    assert str(row) == "28a65642-f934-5e15-a550-2760c3c2aba1"


def test_loading_twice_changes_nothing_not_even_a_time(engine: sa.Engine) -> None:
    first = load_builtin(engine)
    with engine.begin() as connection:
        before = connection.execute(sa.select(MATERIALS).order_by("id")).all()

    second = load_builtin(engine)

    with engine.begin() as connection:
        after = connection.execute(sa.select(MATERIALS).order_by("id")).all()
    assert after == before
    assert (second.rows, second.written) == (first.rows, 0)


def test_loading_again_mends_only_the_rows_that_differ(engine: sa.Engine) -> None:
    load_builtin(engine)
    with engine.begin() as connection:
        chosen = connection.scalar(sa.select(WORKS.c.id).limit(1))
        connection.execute(sa.update(WORKS).where(WORKS.c.id == chosen).values(name=None))
        connection.execute(sa.delete(MATERIALS).where(MATERIALS.c.tenant_id == "acme"))

    report = load_builtin(engine)

    assert report.written == 1 + report.rows["acme"]["materials"]


def test_loading_leaves_rows_of_others_alone(engine: sa.Engine) -> None:
    create_source_tables(engine)
    with engine.begin() as connection:
        connection.execute(sa.insert(MATERIALS).values(name="mine", tenant_id="somebody"))

    load_builtin(engine)

    with engine.begin() as connection:
        names = connection.scalars(
            sa.select(MATERIALS.c.name).where(MATERIALS.c.tenant_id == "somebody")
        ).all()
    assert names == ["mine"]


def test_every_row_becomes_a_document_of_the_default_entities(engine: sa.Engine) -> None:
    report = load_builtin(engine)
    source = PostgresRowSource(engine)
    source.check_schema([MATERIAL, WORK])

    documents = Counter[str]()
    with source.open_snapshot([]) as snapshot:
        for scope in source.list_scopes([MATERIAL, WORK]):
            for entity in (MATERIAL, WORK):
                builder = DocumentBuilder(entity=entity, scope=scope, model_id="m")
                for batch in snapshot.iter_rows(entity=entity, scope=scope):
                    built = [builder.build(row) for row in batch]
                    documents[scope.key] += sum(not isinstance(one, Rejection) for one in built)

    assert documents == {key: sum(tables.values()) for key, tables in report.rows.items()}


@pytest.mark.parametrize(
    "search", [pytest.param(search, id=search.claim) for search in DEMO_SEARCHES]
)
def test_the_document_of_a_demo_search_exists_where_it_is_said_to(
    engine: sa.Engine, search: DemoSearch
) -> None:
    load_builtin(engine)
    scope = Scope.from_key(search.owner)

    with PostgresRowSource(engine).open_snapshot([]) as snapshot:
        ids = {
            f"{scope.kind}-material-{row_id}"
            for batch in snapshot.iter_ids(entity=MATERIAL, scope=scope)
            for row_id in batch
        }

    assert search.document_id in ids
    is_visible = search.owner in Scope(search.tenant_id).visible_keys
    assert is_visible == (search.outcome == "found")


def test_the_demo_shows_an_own_a_shared_and_a_hidden_document() -> None:
    shown = {(search.outcome, search.owner == GLOBAL.key) for search in DEMO_SEARCHES}

    assert shown == {("found", False), ("found", True), ("hidden", False)}


def test_tables_are_created_once_and_kept(engine: sa.Engine) -> None:
    create_source_tables(engine)
    with engine.begin() as connection:
        connection.execute(sa.insert(WORKS).values(name="kept"))

    create_source_tables(engine)

    with engine.begin() as connection:
        row = connection.execute(sa.select(WORKS)).one()
    assert (row.name, row.is_global, row.tenant_id) == ("kept", False, None)
    assert row.id is not None
    assert row.updated_at is not None


def test_somebody_else_s_table_of_that_name_is_refused(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE materials (id int, name text)")

    with pytest.raises(
        ConfigurationError, match=r"'materials' .* exists already and has no tenant"
    ):
        load_builtin(engine)
