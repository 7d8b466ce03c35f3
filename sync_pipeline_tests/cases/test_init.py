"""``init`` against databases as people have them: it fits, or says what is open."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from sqlalchemy import Engine

from sync_pipeline.database.urls import driver_url
from sync_pipeline.settings import Settings
from sync_pipeline_tests.cases.installation import Case
from sync_pipeline_tests.encoded import encoded_database
from sync_pipeline_tests.sources.feed_support import has_virtual_columns

ITEMS = "(id int PRIMARY KEY, tenant_id text, is_global boolean DEFAULT false, name text)"


def proposed(case: Case, *words: str, **environment: str) -> dict[str, Any]:
    """What ``init`` answers, and by entity what it wrote into the file."""
    answer = case.ask("init", "--yes", *words, **environment)
    assert answer["ok"], answer
    written = yaml.safe_load((case.folder / "sync_pipeline.yaml").read_text(encoding="utf-8"))
    entities = written.get("entities", [])
    assert [entity["name"] for entity in entities] == [it["name"] for it in answer["entities"]]
    return {**answer, "written": {entity["name"]: entity for entity in entities}}


def _need_virtual_columns(engine: Engine) -> None:
    if not has_virtual_columns(engine):
        pytest.skip("this server has no virtual columns")


def only_entity(answer: dict[str, Any]) -> dict[str, Any]:
    [entity] = answer["written"].values()
    found: dict[str, Any] = entity
    return found


def test_a_key_of_two_columns_is_the_id_and_the_tenant_is_one_of_them(case: Case) -> None:
    case.sql(
        "CREATE TABLE articles (shop_id integer NOT NULL, sku text NOT NULL, title text NOT NULL, "
        "shared boolean NOT NULL DEFAULT false, changed timestamptz NOT NULL DEFAULT now(), "
        "PRIMARY KEY (shop_id, sku))",
        "INSERT INTO articles (shop_id, sku, title) VALUES (1, 'A-100', 'Gypsum board 12.5 mm'), "
        "(1, 'A-101', 'Cement 25 kg'), (2, 'A-100', 'Roof batten 30x50')",
    )

    answer = proposed(case)

    assert only_entity(answer) == {
        "name": "article",
        "table": "articles",
        "id": ["shop_id", "sku"],
        "tenant": "shop_id",
        "is_global": "shared",
        "updated_at": "changed",
        "views": {"text": ["title"]},
        "payload": {"sku": "sku"},
    }
    assert answer["questions"] == []
    assert {document["document_id"] for document in answer["documents"]} == {
        "tenant-article-1/A-100", "tenant-article-1/A-101", "tenant-article-2/A-100",
    }  # fmt: skip
    assert case.advice() == ""


def test_attributes_of_any_kind_are_payload(case: Case) -> None:
    case.sql(
        "CREATE TABLE devices (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), tenant_id bigint, "
        "is_global boolean DEFAULT false, name text, attributes jsonb, list_price money, "
        "sizes numeric[], stock int4range, delivery interval, ip inet, tags jsonb)",
        "INSERT INTO devices (tenant_id, name, attributes, list_price, sizes, stock, delivery, ip, "
        "tags) VALUES "
        """(9007199254740993, 'meter A', '{"imei": 356938035643809}', 12.5, '{1.5, 2}', """
        """'[1,5)', '1 day 2 hours', '10.0.0.1', '["a", "b"]'), """
        """(9007199254740993, 'meter B', '{"big": 1e400}', 1, '{1.5, NaN}', 'empty', """
        """'-1 mon', NULL, 'null')""",
    )

    entity = only_entity(proposed(case))

    assert (entity["tenant"], entity["is_global"]) == ("tenant_id", "is_global")
    assert entity["views"] == {"text": ["name"]}
    assert entity["payload"] == {
        "attributes": "attributes", "listPrice": "list_price", "sizes": "sizes", "stock": "stock",
        "delivery": "delivery", "ip": "ip", "tags": "tags",
    }  # fmt: skip
    assert case.advice() == ""


@pytest.mark.parametrize(
    "ending", ["", "?schema=shop", "?options=-csearch_path%3Dshop"], ids=["plain", "orm", "options"]
)
def test_a_table_is_named_as_the_address_finds_it(case: Case, ending: str) -> None:
    case.sql(
        "CREATE SCHEMA shop",
        f"CREATE TABLE shop.items {ITEMS}",
        "INSERT INTO shop.items VALUES (1, 'acme', false, 'Plain bolt')",
    )
    case.environment["DATABASE_URL"] = f"{case.url}{ending.replace('?', '&')}"

    entity = only_entity(proposed(case))

    assert (entity["name"], entity["table"]) == ("item", "items" if ending else "shop.items")
    assert case.advice() == ""


def test_a_view_with_more_texts_than_its_table_is_taken_and_its_id_is_a_question(
    case: Case,
) -> None:
    case.sql(
        "CREATE TABLE article (id int PRIMARY KEY, tenant_id text, is_global boolean DEFAULT "
        "false, name text, updated_at timestamptz DEFAULT now())",
        "CREATE TABLE supply (article_id int, supplier text)",
        "INSERT INTO article SELECT g, CASE WHEN g <= 30 THEN 'acme' ELSE 'globex' END, false, "
        "'article ' || g FROM generate_series(1, 60) g",
        "INSERT INTO supply SELECT g, 'supplier ' || g FROM generate_series(1, 60) g",
        "CREATE VIEW articles AS SELECT a.*, s.supplier FROM article a "
        "LEFT JOIN supply s ON s.article_id = a.id",
    )

    answer = proposed(case)

    assert only_entity(answer) == {
        "name": "article",
        "table": "articles",
        "id": "id",
        "tenant": "tenant_id",
        "is_global": "is_global",
        "updated_at": "updated_at",
        "views": {"text": ["name", "supplier"]},
    }
    assert answer["left_out"] == {
        "article": "the view articles has all its texts, and more",
        "supply": "it has no key, and no column that is unique by its name",
    }
    assert answer["questions"] == [
        "no key of articles says that id is unique: rows that share an id are set aside"
    ]
    assert case.advice() == ""


def test_generated_columns_are_columns_and_a_title_made_of_another_says_it_once(
    case: Case, engine: Engine
) -> None:
    _need_virtual_columns(engine)
    case.sql(
        "CREATE TABLE panels (id integer PRIMARY KEY, tenant_id text NOT NULL, "
        "is_global boolean NOT NULL DEFAULT false, brand text NOT NULL, width_mm integer NOT NULL, "
        "title text GENERATED ALWAYS AS (brand || ' panel ' || width_mm::text || ' mm'), "
        "area_key integer GENERATED ALWAYS AS (width_mm / 100) STORED)",
        "INSERT INTO panels VALUES (1, 'acme', false, 'Knauf', 600), "
        "(2, 'acme', false, 'Rigips', 1200)",
    )

    entity = only_entity(proposed(case))

    assert entity["views"] == {"text": ["title"]}
    assert entity["payload"] == {"widthMm": "width_mm", "areaKey": "area_key"}
    assert case.advice() == ""


def test_a_generated_owner_is_the_tenant(case: Case, engine: Engine) -> None:
    _need_virtual_columns(engine)
    case.sql(
        "CREATE TABLE entries (id integer PRIMARY KEY, meta jsonb NOT NULL, name text NOT NULL, "
        "tenant_id text GENERATED ALWAYS AS (meta ->> 'account'), "
        "is_global boolean GENERATED ALWAYS AS (meta ->> 'account' IS NULL))",
        """INSERT INTO entries VALUES (1, '{"account": "acme"}', 'bolt'), """
        "(2, '{}', 'shared nut')",
    )

    answer = proposed(case)

    entity = only_entity(answer)
    assert (entity["name"], entity["tenant"], entity["is_global"]) == (
        "entry", "tenant_id", "is_global",
    )  # fmt: skip
    assert [document["scope_key"] for document in answer["documents"]] == ["acme", "global"]
    assert case.advice() == ""


def test_names_in_json_and_tags_in_arrays_are_texts(case: Case) -> None:
    case.sql(
        "CREATE TABLE goods (id integer PRIMARY KEY, tenant_id text NOT NULL, is_global boolean "
        "NOT NULL DEFAULT false, name json NOT NULL, label jsonb NOT NULL, tags text[])",
        r"""INSERT INTO goods VALUES (1, 'acme', false, """
        r"""'{"ru": "\u0411\u0435\u0442\u043e\u043d", "en": "Frost-proof concrete"}', """
        r"""'{"en": "Concrete"}', ARRAY['ready mix', 'outdoor', NULL, 'C25/30']), """
        r"""(2, 'acme', false, '"\u041a\u0438\u0440\u043f\u0438\u0447"', '"brick"', """
        r"""ARRAY['say "hi"'])""",
    )

    entity = only_entity(proposed(case))

    assert (entity["name"], entity["views"]) == ("good", {"text": ["name", "label", "tags"]})
    assert entity["payload"] == {"tags": "tags"}
    assert case.advice() == ""


def test_texts_with_tags_and_entities_are_taken_for_html(case: Case) -> None:
    case.sql(
        f"CREATE TABLE shop {ITEMS}",
        "INSERT INTO shop VALUES (1, 'acme', false, E'Fliesen\\u00adkleber flex 25\\u00a0kg'), "
        "(2, 'acme', false, 'D&uuml;bel &amp; Schrauben'), (3, 'acme', false, '<p>Mörtel<br>"
        "schnell</p>'), (4, 'acme', false, 'Steckdose'), (5, 'acme', false, '-'), "
        "(6, 'acme', false, 'n/a')",
    )

    answer = proposed(case)

    entity = only_entity(answer)
    assert (entity["name"], entity["markup"]) == ("shop", "html")
    texts = {document["text"] for document in answer["documents"]}
    assert {"Dübel & Schrauben", "Mörtel schnell"} <= texts
    assert case.advice() == ""


def test_without_a_flag_rows_without_a_tenant_are_shared_and_deleted_ones_do_not_count(
    case: Case,
) -> None:
    case.sql(
        "CREATE TABLE products (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, account_id "
        "integer, name text NOT NULL, deleted_at timestamptz, "
        "updated_at timestamptz NOT NULL DEFAULT now())",
        "INSERT INTO products (account_id, name, deleted_at) VALUES (NULL, 'Shared hammer', NULL), "
        "(7, 'Own drill', NULL), (7, 'Withdrawn saw', now()), (8, 'Own paint', NULL)",
    )

    answer = proposed(case)

    assert only_entity(answer) == {
        "name": "product",
        "table": "products",
        "id": "id",
        "tenant": "account_id",
        "is_global": "tenant_is_null",
        "only": {"deleted_at": None},
        "updated_at": "updated_at",
        "views": {"text": ["name"]},
    }
    assert "Withdrawn saw" not in {document["text"] for document in answer["documents"]}
    [question] = answer["questions"]
    assert question.startswith("rows of products without account_id are shared with every tenant")
    assert case.advice() == ""


def test_numbers_and_codes_are_payload_and_only_words_are_text(case: Case) -> None:
    case.sql(
        "CREATE TABLE parts (part_id numeric(10,0) PRIMARY KEY, dept_id numeric(10,0) NOT NULL, "
        "group_id numeric NOT NULL, ean numeric(20,0), weight numeric(8,2), in_stock boolean NOT "
        "NULL DEFAULT true, art_no text, is_global boolean NOT NULL DEFAULT false, "
        "descr text NOT NULL)",
        "INSERT INTO parts VALUES (1, 10, 42, 9007199254740993, 12.50, true, '00042', false, 'Hex "
        "bolt M8'), (2, 10, 43, 12345678901234567890, 12.00, false, '42', false, 'Hex nut M8'), "
        "(3, 10, 42, NULL, NULL, true, 'x', false, 'Washer M8')",
    )

    entity = only_entity(proposed(case))

    assert (entity["name"], entity["id"], entity["tenant"]) == ("part", "part_id", "dept_id")
    assert entity["views"] == {"text": ["descr"]}
    assert entity["payload"] == {
        "groupId": "group_id", "ean": "ean", "weight": "weight", "inStock": "in_stock",
        "artNo": "art_no",
    }  # fmt: skip
    assert case.advice() == ""


def test_a_terminal_of_another_time_gets_the_same_file(case: Case) -> None:
    case.sql(
        f"CREATE TABLE items {ITEMS}",
        "INSERT INTO items SELECT g, 'acme', false, 'Штукатурка гипсовая № ' || g "
        "FROM generate_series(1, 20000) g",
        "ANALYZE items",
    )

    done = case.run(
        "init", "--yes", LC_ALL="POSIX", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0",
        PYTHONIOENCODING="ascii",
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    text = (case.folder / "sync_pipeline.yaml").read_text(encoding="utf-8")
    assert "20,000 rows" in text
    assert "many texts are not in Latin letters" in " ".join(text.replace("#", "").split())


def test_units_and_sizes_stand_in_the_text_and_the_unit_is_a_filter_too(case: Case) -> None:
    case.sql(
        "CREATE TYPE unit AS ENUM ('pc', 'kg')",
        "CREATE TABLE offers (id int PRIMARY KEY, tenant_id text, is_global boolean DEFAULT false, "
        "name text, unit unit, size text, updated_at timestamptz)",
        "INSERT INTO offers SELECT g, 'acme', false, 'offer ' || g, 'pc', g || ' cm', "
        "'2024-01-01' FROM generate_series(1, 30) g",
    )

    entity = only_entity(proposed(case))

    assert entity["views"] == {"text": ["name", "unit", "size"]}
    assert entity["payload"] == {"unit": "unit"}
    assert case.advice() == ""


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("bigint", "1700000000", {"column": "changed", "kind": "epoch_seconds"}),
        ("bigint", "1700000000000", {"column": "changed", "kind": "epoch_milliseconds"}),
        ("date", "'2024-01-01'", "changed"),
        ("timestamp", "'2024-01-01'", "changed"),
        ("integer", "7", None),
    ],
)
def test_times_of_change_are_told_by_type_and_by_the_size_of_their_numbers(
    case: Case, kind: str, value: str, expected: object
) -> None:
    case.sql(
        f"CREATE TABLE things {ITEMS}",
        f"ALTER TABLE things ADD COLUMN changed {kind}",
        f"INSERT INTO things VALUES (1, 'acme', false, 'old name', {value})",  # noqa: S608 - ours
    )

    answer = proposed(case)

    assert only_entity(answer).get("updated_at") == expected
    has_question = any("changed" in question for question in answer["questions"])
    assert has_question == (kind in ("timestamp", "integer"))
    assert case.advice() == ""


def test_each_of_two_tables_is_an_entity_and_one_can_be_chosen(case: Case) -> None:
    columns = ITEMS.replace("name text", "name text, updated_at timestamptz DEFAULT now()")
    case.sql(
        f"CREATE TABLE furniture {columns}",
        f"CREATE TABLE lighting {columns}",
        "INSERT INTO furniture SELECT g, 'acme', false, 'chair model ' || g "
        "FROM generate_series(1, 15) g",
        "INSERT INTO lighting SELECT g, 'acme', false, 'lamp model ' || g "
        "FROM generate_series(1, 40) g",
    )

    both = proposed(case)
    one = proposed(case, "--force", "--table", "lighting")

    assert list(both["written"]) == ["furniture", "lighting"]
    assert [document["entity_type"] for document in both["documents"]] == (
        ["furniture"] * 5 + ["lighting"] * 5
    )
    assert list(one["written"]) == ["lighting"]
    assert case.advice() == ""


def test_texts_in_a_script_that_the_model_may_not_know_are_a_question(case: Case) -> None:
    case.sql(
        f"CREATE TABLE materials_am {ITEMS}",
        "INSERT INTO materials_am VALUES (1, 'addis', false, 'ሲሚንቶ'), (2, 'addis', false, 'ቀለም'), "
        "(3, 'phnom', false, 'ស៊ីម៉ងត៍'), (4, 'addis', false, 'Cement')",
    )

    answer = proposed(case)

    assert only_entity(answer)["views"] == {"text": ["name"]}
    [question] = answer["questions"]
    assert "embedding.model: intfloat/multilingual-e5-small" in question
    assert case.advice() == ""


def test_a_partitioned_table_is_one_entity_with_the_key_that_it_has(case: Case) -> None:
    case.sql(
        "CREATE TABLE lines (id bigint NOT NULL, tenant_id integer NOT NULL, is_global boolean NOT "
        "NULL DEFAULT false, name text NOT NULL, month date NOT NULL, PRIMARY KEY (id, month)) "
        "PARTITION BY RANGE (month)",
        "CREATE TABLE lines_2026_01 PARTITION OF lines "
        "FOR VALUES FROM ('2026-01-01') TO ('2026-02-01')",
        "INSERT INTO lines SELECT g, 1 + g % 20, false, 'article ' || g, '2026-01-05' "
        "FROM generate_series(1, 1000) g",
    )

    answer = proposed(case)

    entity = only_entity(answer)
    assert (entity["name"], entity["id"], entity["tenant"]) == (
        "line",
        ["id", "month"],
        "tenant_id",
    )
    assert answer["left_out"] == {
        "lines_2026_01": "a part of another table, which is proposed as a whole"
    }
    assert case.advice() == ""


def test_a_database_without_an_encoding_is_read_and_what_that_means_is_said(
    database_url: str, tmp_path: Path
) -> None:
    with encoded_database(database_url, "SQL_ASCII") as url:
        case = Case(url, tmp_path, {"STATE_DATABASE_URL": driver_url(database_url, "libpq")})
        case.sql(
            f"CREATE TABLE stock {ITEMS}",
            "INSERT INTO stock VALUES (1, 'acme', false, 'Plain bolt')",
            r"INSERT INTO stock VALUES (2, 'acme', false, E'B\xe9ton d\xe9sactiv\xe9')",
            r"INSERT INTO stock VALUES (3, 'globex', false, E'Cr\xc3\xa9pi fin')",
        )

        answer = proposed(case)

        assert only_entity(answer)["views"] == {"text": ["name"]}
        shown = {document["document_id"]: document for document in answer["documents"]}
        assert shown["tenant-stock-3"]["text"] == "Crépi fin"
        assert "undecodable" in shown["2"]["rejected"]
        assert "the database is SQL_ASCII and not UTF8" in answer["questions"][0]
        assert case.advice() == ""


def test_a_database_of_a_one_byte_encoding_is_read(database_url: str, tmp_path: Path) -> None:
    with encoded_database(database_url, "WIN1251") as url:
        case = Case(url, tmp_path)
        case.sql(
            f"CREATE TABLE nomenklatura {ITEMS}",
            "INSERT INTO nomenklatura VALUES (1, 'ООО «Север»', false, 'Кирпич № 5'), "
            "(2, 'ООО «Север»', false, 'Цемент М500')",
        )

        answer = proposed(case)

        assert [document["scope_key"] for document in answer["documents"]] == ["ООО «Север»"] * 2
        assert any("WIN1251 and not UTF8" in question for question in answer["questions"])
        assert case.advice() == ""


def test_the_sample_catalogue_gets_the_entities_that_there_are_without_settings(case: Case) -> None:
    case.settings("")
    assert case.run("sample", "load", "builtin").returncode == 0

    answer = proposed(case, "--force")

    loaded = Settings.model_validate({"entities": list(answer["written"].values())})
    assert loaded.core_entities == Settings().core_entities
    assert case.advice() == ""
