"""What every row source promises, asked of PostgreSQL and of the fake."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from sync_pipeline.core.document import MAX_TEXT_CHARACTERS
from sync_pipeline.core.doubles import Doubled
from sync_pipeline.core.entity import Condition, Constant, Entity, Sharing
from sync_pipeline.core.errors import SourceSchemaError
from sync_pipeline.core.ports import RowSource
from sync_pipeline.core.scope import GLOBAL, Scope
from sync_pipeline.sources.postgres import PostgresRowSource
from sync_pipeline_tests.fakes.row_source import FakeRowSource, Row
from sync_pipeline_tests.sources.counting import count_rows

ACME = Scope("acme")
GLOBEX = Scope("globex")

MATERIAL = Entity(
    name="material",
    table="materials",
    views=(("text", ("name", "unit")), ("title", ("name",))),
    payload=(
        ("unitId", "unit"),
        ("price", "price"),
        ("stock", "stock"),
        ("isNew", "is_new"),
        ("extra", "extra"),
        ("madeAt", "made_at"),
    ),
)
WORK = Entity(name="work", table="works", views=(("text", ("name",)),))

Make = Callable[[Mapping[str, list[Row]]], RowSource]


def create_tables(engine: sa.Engine, rows: Mapping[str, list[Row]]) -> None:
    """Make the two tables and fill them."""
    metadata = sa.MetaData()
    for table in ("materials", "works"):
        sa.Table(
            table,
            metadata,
            sa.Column("id", sa.Text),
            sa.Column("tenant_id", sa.Text),
            sa.Column("is_global", sa.Boolean),
            sa.Column("name", sa.Text),
            sa.Column("unit", sa.Text),
            sa.Column("price", sa.Numeric),
            sa.Column("stock", sa.BigInteger),
            sa.Column("is_new", sa.Boolean),
            sa.Column("extra", JSONB(none_as_null=True)),
            sa.Column("made_at", sa.DateTime(timezone=True)),
        )
    metadata.create_all(engine)
    with engine.begin() as connection:
        for table, table_rows in rows.items():
            for row in table_rows:
                connection.execute(metadata.tables[table].insert(), row)


@pytest.fixture(params=["fake", pytest.param("postgres", marks=pytest.mark.process)])
def make(request: pytest.FixtureRequest) -> Make:
    if request.param == "fake":
        return lambda rows: FakeRowSource({"materials": [], "works": [], **rows})
    engine: sa.Engine = request.getfixturevalue("engine")

    def make_postgres(rows: Mapping[str, list[Row]]) -> RowSource:
        create_tables(engine, rows)
        return PostgresRowSource(engine)

    return make_postgres


def read(
    source: RowSource, *, scope: Scope, entity: Entity = WORK, batch_size: int = 4096
) -> list[Sequence[object]]:
    """All rows of a scope, by id."""
    with source.open_snapshot([]) as snapshot:
        batches = list(snapshot.iter_rows(entity=entity, scope=scope, batch_size=batch_size))
    return sorted((tuple(row) for batch in batches for row in batch), key=lambda row: str(row[0]))


def read_ids(source: RowSource, *, scope: Scope, entity: Entity = WORK) -> list[str]:
    with source.open_snapshot([]) as snapshot:
        batches = list(snapshot.iter_ids(entity=entity, scope=scope))
    return sorted(row_id for batch in batches for row_id in batch)


def row(row_id: str | None, tenant: str | None, *, is_global: bool | None = False) -> Row:
    return {"id": row_id, "tenant_id": tenant, "is_global": is_global, "name": "n"}


def test_a_row_is_id_tenant_is_global_then_view_and_payload_columns(make: Make) -> None:
    source = make(
        {
            "materials": [
                {
                    **row("m1", "acme"),
                    "name": "Штукатурка",
                    "unit": "кг",
                    "price": Decimal("12.50"),
                    "stock": 7,
                    "is_new": True,
                    "extra": {"tags": ["a", None], "n": 1},
                    "made_at": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
                }
            ]
        }
    )

    rows = read(source, scope=ACME, entity=MATERIAL)

    assert rows == [
        (
            *("m1", "acme", False, "Штукатурка", "кг"),
            *("кг", 12.5, 7, True, {"tags": ["a", None], "n": 1}, "2026-01-02T03:04:05+00:00"),
        )
    ]


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        pytest.param({"en": "Concrete", "ru": "Бетон"}, "Concrete Бетон", id="translations"),
        pytest.param(
            ["ready mix", None, 'say "hi"', "C:\\x"], 'ready mix say "hi" C:\\x', id="list"
        ),
        pytest.param({"a": {"b": ["x", {"c": 25}]}, "d": 1.5}, "x 25 1.5", id="nested"),
        pytest.param({"a": True, "b": None, "c": "", "d": []}, None, id="no words"),
        pytest.param("brick", "brick", id="a string"),
        pytest.param({}, None, id="empty object"),
        pytest.param([], None, id="empty list"),
    ],
)
def test_a_text_is_the_words_of_a_json_value(make: Make, extra: object, words: str | None) -> None:
    source = make({"materials": [{**row("m1", "acme"), "extra": extra}]})
    entity = replace(MATERIAL, views=(("text", ("extra",)),))

    (found,) = read(source, scope=ACME, entity=entity)

    assert found[3] == words


@pytest.mark.parametrize(
    ("price", "kept"),
    [
        pytest.param("12.50", 12.5, id="a price"),
        pytest.param("9007199254740993", 9007199254740993, id="a whole number"),
        pytest.param("12345678901234567890", "12345678901234567890", id="beyond 64 bits"),
        pytest.param("0.1234567890123456789", "0.1234567890123456789", id="a long fraction"),
    ],
)
def test_a_number_keeps_its_value_or_is_kept_as_text(make: Make, price: str, kept: object) -> None:
    source = make({"materials": [{**row("m1", "acme"), "price": Decimal(price)}]})

    (found,) = read(source, scope=ACME, entity=replace(MATERIAL, payload=(("price", "price"),)))

    assert (found[-1], type(found[-1])) == (kept, type(kept))


def test_numbers_inside_json_keep_their_value_too(make: Make) -> None:
    extra = {"imei": 9007199254740993, "iccid": 89490200001234567890, "n": [1, 1.5]}
    source = make({"materials": [{**row("m1", "acme"), "extra": extra}]})

    (found,) = read(source, scope=ACME, entity=replace(MATERIAL, payload=(("extra", "extra"),)))

    assert found[-1] == {**extra, "iccid": "89490200001234567890"}


def test_null_is_none_in_every_column(make: Make) -> None:
    nulls = dict.fromkeys(MATERIAL.mapped_columns)
    source = make({"materials": [nulls]})

    rows = read(source, scope=GLOBAL, entity=MATERIAL)

    assert rows == [(None, None, False, *[None] * 8)]


def test_each_scope_yields_only_its_own_rows(make: Make) -> None:
    source = make({"works": [row("a", "acme"), row("b", "globex"), row("c", None, is_global=True)]})

    found = {scope.key: read_ids(source, scope=scope) for scope in (ACME, GLOBEX, GLOBAL)}

    assert found == {"acme": ["a"], "globex": ["b"], "global": ["c"]}


def test_a_global_row_is_global_whatever_its_tenant(make: Make) -> None:
    source = make({"works": [row("a", "acme", is_global=True)]})

    assert [found[0] for found in read(source, scope=GLOBAL)] == ["a"]
    assert read(source, scope=ACME) == []


def test_a_row_whose_is_global_is_null_belongs_to_its_tenant(make: Make) -> None:
    source = make({"works": [row("a", "acme", is_global=None)]})

    assert read(source, scope=ACME) == [("a", "acme", False, "n")]


@pytest.mark.parametrize(
    "tenant",
    [
        pytest.param(None, id="no tenant"),
        pytest.param("", id="empty"),
        pytest.param(" acme", id="space around"),
        pytest.param("Global", id="named like the global scope"),
        pytest.param("x" * 129, id="too long"),
        pytest.param("a...b", id="refused by Dagster"),
    ],
)
def test_a_row_that_nobody_can_own_comes_with_global_but_not_among_its_ids(
    make: Make, tenant: str | None
) -> None:
    source = make({"works": [row("a", tenant), row("b", "acme")]})

    assert [found[0] for found in read(source, scope=GLOBAL)] == ["a"]
    assert read_ids(source, scope=GLOBAL) == []
    assert source.list_scopes([WORK]) == [GLOBAL, ACME]
    assert source.count_by_scope([WORK]) == {"global": 1, "acme": 1}


def test_the_owners_of_a_row_are_found_by_its_id(make: Make) -> None:
    source = make(
        {
            "works": [
                row("1", "acme"),
                row("2", "acme", is_global=True),
                row("2", "acme"),
                row("3", None),
            ]
        }
    )

    with source.open_snapshot([]) as snapshot:
        found = {
            row_id: [scope.key for scope in snapshot.list_owners(entity=WORK, row_id=row_id)]
            for row_id in ("1", "2", "3", "4", "1\0", "")
        }

    assert found == {
        "1": ["acme"], "2": ["global", "acme"], "3": ["global"], "4": [], "1\0": [], "": [],
    }  # fmt: skip


def test_count_rows_says_what_iter_rows_yields(make: Make) -> None:
    source = make({"works": [row("a", "acme"), row("b", "acme"), row("c", ""), row("d", None)]})

    with source.open_snapshot([]) as snapshot:
        counts = [
            count_rows(snapshot, entity=WORK, scope=scope) for scope in (ACME, GLOBAL, GLOBEX)
        ]

    assert counts == [2, 2, 0]


def test_a_scope_has_rows_where_iter_rows_yields_any(make: Make) -> None:
    source = make({"works": [row("a", "acme"), row("b", "acme"), row("d", None)]})

    with source.open_snapshot([]) as snapshot:
        has_rows = [snapshot.has_rows(entity=WORK, scope=scope) for scope in (ACME, GLOBAL, GLOBEX)]

    assert has_rows == [True, True, False]


def test_rows_come_in_batches_of_the_size_asked_for(make: Make) -> None:
    source = make({"works": [row(f"w{index}", "acme") for index in range(7)]})

    with source.open_snapshot([]) as snapshot:
        batches = list(snapshot.iter_rows(entity=WORK, scope=ACME, batch_size=3))

    assert [len(batch) for batch in batches] == [3, 3, 1]


def test_long_text_is_cut(make: Make) -> None:
    source = make({"works": [{**row("a", "acme"), "name": "ж" * 100_000}]})

    (found,) = read(source, scope=ACME)

    assert found[3] == "ж" * MAX_TEXT_CHARACTERS


def test_ids_that_another_row_has_too_are_found_with_their_owners(make: Make) -> None:
    source = make(
        {
            "works": [
                *(row("a", "acme"), row("a", "acme"), row("b", "acme"), row("b", "globex")),
                *(row("c", "acme"), row("d", "globex"), row("d", "globex")),
                # Neither a document of a tenant nor owned by anybody.
                *(row("c", None, is_global=True), row("c", None), row("c", " acme")),
            ]
        }
    )

    with source.open_snapshot([WORK]) as snapshot:
        acme = snapshot.find_doubled(entity=WORK, scope=ACME)
        some = snapshot.find_doubled(entity=WORK, scope=ACME, ids=["b", "c", "nowhere"])
        shared = snapshot.find_doubled(entity=WORK, scope=GLOBAL)

    assert acme == {"a": Doubled({"acme": 2}), "b": Doubled({"acme": 1, "globex": 1})}
    assert some == {"b": Doubled({"acme": 1, "globex": 1})}
    assert shared == {}


def test_global_rows_with_one_id_are_found(make: Make) -> None:
    source = make({"works": [row("a", "x", is_global=True), row("a", "y", is_global=True)]})

    with source.open_snapshot([WORK]) as snapshot:
        found = snapshot.find_doubled(entity=WORK, scope=GLOBAL)

    assert found == {"a": Doubled({"global": 2})}


def test_a_global_and_a_tenant_row_may_share_an_id(make: Make) -> None:
    source = make({"works": [row("a", "acme"), row("a", None, is_global=True)]})

    with source.open_snapshot([]) as snapshot:
        counts = [count_rows(snapshot, entity=WORK, scope=scope) for scope in (ACME, GLOBAL)]

    assert counts == [1, 1]


def test_scopes_are_global_and_then_every_owner_by_key(make: Make) -> None:
    source = make({"works": [row("b", "globex")], "materials": [row("a", "acme")]})

    assert source.list_scopes([MATERIAL, WORK]) == [GLOBAL, ACME, GLOBEX]


def test_an_empty_source_has_the_global_scope_with_no_rows(make: Make) -> None:
    source = make({})

    assert source.list_scopes([MATERIAL, WORK]) == [GLOBAL]
    assert source.count_by_scope([MATERIAL, WORK]) == {"global": 0}
    assert read(source, scope=GLOBAL) == []


def test_counts_by_scope_add_up_all_entities(make: Make) -> None:
    source = make({"works": [row("a", "acme")], "materials": [row("a", "acme"), row("b", None)]})

    assert source.count_by_scope([MATERIAL, WORK]) == {"global": 1, "acme": 2}


def test_counts_by_entity_say_which_scope_has_how_many_of_each(make: Make) -> None:
    source = make(
        {
            "works": [row("a", "acme"), row("b", "acme"), row("c", None)],
            "materials": [row("a", "globex")],
        }
    )

    counts = source.count_by_entity([MATERIAL, WORK])

    assert counts == {"material": {"globex": 1}, "work": {"acme": 2, "global": 1}}


def test_every_missing_table_and_column_is_named_at_once(make: Make) -> None:
    source = make({"works": [row("a", "acme")]})
    wrong = Entity(name="task", table="works", tenant="tennant", views=(("text", ("nome",)),))
    absent = Entity(name="tool", table="tools", views=(("text", ("name",)),))

    with pytest.raises(SourceSchemaError, match="source database") as caught:
        source.check_schema([wrong, absent, WORK])

    assert [mistake.split(";")[0] for mistake in caught.value.mistakes] == [
        "entity 'task': table 'works' has no column 'tennant'",
        "entity 'task': table 'works' has no column 'nome'",
        "entity 'tool': there is no table 'tools'",
    ]


def test_a_later_snapshot_has_a_later_time_with_a_zone(make: Make) -> None:
    source = make({})

    with source.open_snapshot([]) as first:
        pass
    with source.open_snapshot([]) as second:
        pass

    assert first.taken_at < second.taken_at
    assert first.taken_at.utcoffset() is not None


def test_counting_names_every_missing_table_too(make: Make) -> None:
    source = make({"works": [row("a", "acme")]})
    absent = Entity(name="tool", table="tools", views=(("text", ("name",)),))
    other = Entity(name="task", table="tasks", views=(("text", ("name",)),))

    with pytest.raises(SourceSchemaError, match="source database") as caught:
        source.count_by_scope([absent, WORK, other])

    assert len(caught.value.mistakes) == 2


def test_only_rows_with_the_given_ids_are_read(make: Make) -> None:
    source = make({"works": [row("a", "acme"), row("b", "acme"), row("c", "globex")]})

    with source.open_snapshot([]) as snapshot:
        batches = list(snapshot.iter_rows(entity=WORK, scope=ACME, ids=["b", "c", "absent"]))
        none = list(snapshot.iter_rows(entity=WORK, scope=ACME, ids=[]))

    assert [found[0] for batch in batches for found in batch] == ["b"]
    assert [found for batch in none for found in batch] == []


def test_a_digest_of_one_scope_is_that_of_all(make: Make) -> None:
    source = make({"works": [row("a", "acme"), row("b", "acme"), row("c", "globex")]})

    with source.open_snapshot([]) as snapshot:
        one = snapshot.digest(entities=[WORK], scope=ACME)

    assert one == source.digest_by_scope([WORK])["acme"]
    assert one != source.digest_by_scope([WORK])["globex"]


# --- schemas without the columns we would like --------------------------------------------

BY_SHOP = replace(WORK, id=("tenant_id", "id"))


def test_a_row_id_of_several_columns_is_injective_and_finds_its_row(make: Make) -> None:
    pairs = [("1", "a/b"), ("1/a", "b"), ("1~1a", "b"), ("1", "a~1b"), ("1", "a"), ("2", "a")]
    source = make({"works": [row(row_id, tenant) for tenant, row_id in pairs]})

    with source.open_snapshot([BY_SHOP]) as snapshot:
        found = {
            tenant: [
                row_id
                for ids in snapshot.iter_ids(entity=BY_SHOP, scope=Scope(tenant))
                for row_id in ids
            ]
            for tenant in sorted({tenant for tenant, _ in pairs})
        }
        wanted = ["1/a~1b", "2/a", "1~1a/b", "nowhere", "1/a/b", "1"]
        read_again = sorted(
            str(found[0])
            for tenant in ("1", "1/a", "2")
            for rows in snapshot.iter_rows(entity=BY_SHOP, scope=Scope(tenant), ids=wanted)
            for found in rows
        )
        owners = snapshot.list_owners(entity=BY_SHOP, row_id="1~1a/b")

    assert {key: sorted(ids) for key, ids in found.items()} == {
        "1": ["1/a", "1/a~01b", "1/a~1b"],
        "1/a": ["1~1a/b"],
        "1~1a": ["1~01a/b"],
        "2": ["2/a"],
    }
    assert read_again == ["1/a~1b", "1~1a/b", "2/a"]
    assert owners == [Scope("1/a")]


def test_a_null_among_several_id_columns_is_no_id(make: Make) -> None:
    by_unit = replace(WORK, id=("id", "unit"))
    source = make({"works": [{**row("a", "acme"), "unit": None}]})

    assert [found[0] for found in read(source, scope=ACME, entity=by_unit)] == [None]
    assert read_ids(source, scope=ACME, entity=by_unit) == []


ROWS = [row("a", "acme"), row("b", "globex"), row("c", None), row("d", "acme", is_global=True)]


@pytest.mark.parametrize(
    ("changes", "ids"),
    [
        pytest.param({}, {"acme": "a", "globex": "b", "global": "cd"}, id="columns"),
        pytest.param({"is_global": Sharing.ALL}, {"global": "abcd"}, id="all shared"),
        pytest.param(
            {"is_global": Sharing.NONE},
            {"acme": "ad", "globex": "b", "global": "c"},
            id="none shared",
        ),
        pytest.param(
            {"is_global": Sharing.WITHOUT_TENANT},
            {"acme": "ad", "globex": "b", "global": "c"},
            id="shared without tenant",
        ),
        pytest.param({"tenant": Constant("acme")}, {"acme": "abc", "global": "d"}, id="one tenant"),
        pytest.param(
            {"tenant": Constant("acme"), "is_global": Sharing.NONE},
            {"acme": "abcd"},
            id="all one's",
        ),
        pytest.param(
            {"tenant": Constant("acme"), "is_global": Sharing.ALL},
            {"global": "abcd"},
            id="one tenant and all shared",
        ),
        pytest.param(
            {"only": (Condition("id", ("a", "c")),)}, {"acme": "a", "global": "c"}, id="condition"
        ),
        pytest.param(
            {"only": (Condition("tenant_id", (None, "acme")), Condition("is_global", (False,)))},
            {"acme": "a", "global": "c"},
            id="conditions with NULL",
        ),
    ],
)
def test_whose_rows_they_are_can_be_said_in_many_ways(
    make: Make, changes: dict[str, object], ids: dict[str, str]
) -> None:
    entity = replace(WORK, **changes)  # type: ignore[arg-type]  # of the test's parameters
    source = make({"works": list(ROWS)})
    scopes = [ACME, GLOBEX, GLOBAL]

    counted = source.count_by_scope([entity])
    digested = source.digest_by_scope([entity])
    read_by_scope = {
        scope.key: "".join(str(found[0]) for found in read(source, scope=scope, entity=entity))
        for scope in scopes
    }
    with source.open_snapshot([entity]) as snapshot:
        counts = {scope.key: count_rows(snapshot, entity=entity, scope=scope) for scope in scopes}
        alone = {scope.key: snapshot.digest(entities=[entity], scope=scope) for scope in scopes}

    expected = {key: len(found) for key, found in ids.items()}
    assert {key: found for key, found in read_by_scope.items() if found} == ids
    assert {key: count for key, count in counts.items() if count} == expected
    assert {key: count for key, count in counted.items() if count} == expected
    assert {key: found["work"].rows for key, found in digested.items()} == expected
    assert {key: found for key, found in alone.items() if found} == digested
