"""Loaders of public catalogues, on small files of the same form."""

from __future__ import annotations

import gzip
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from sync_pipeline.core.errors import ConfigurationError
from sync_pipeline.sample.catalogues import load_cpv, load_cwicr, load_tools
from sync_pipeline.sample.loading import Skipped

CWICR_HEADER = "resource_code,name,type,category,unit,price_avg,parent_collection"
CWICR_ROWS = (
    "A-1,Washed sand,Material,Aggregates,m3,12.505,Earthworks",
    "A-2,NA,Abstract Material,General,,0,Roofs",
    "A-3,Crane,Equipment,Cranes,Machine hours,5,Roofs",
    "A-1,Washed sand again,Material,Aggregates,m3,1,Earthworks",
    ",Nameless,Material,General,m,1,Roofs",
)


def write_cwicr(folder: Path, *editions: str) -> None:
    for edition in editions:
        content = "\n".join((CWICR_HEADER, *CWICR_ROWS))
        (folder / f"DDC_CWICR_{edition}_Catalog.csv").write_text(content, encoding="utf-8")


def write_xml(folder: Path, language: str, names: dict[str, str]) -> None:
    entries = "".join(
        f'<entry key="code|name|cpv.{code}">{name}</entry>' for code, name in names.items()
    )
    (folder / f"eforms-sdk_code_{language}.xml").write_text(
        '<?xml version="1.0"?><!DOCTYPE properties SYSTEM "http://localhost/none.dtd">'
        f'<properties><entry key="code|name|other.1">x</entry>{entries}</properties>',
        encoding="utf-8",
    )


def read_table(engine: sa.Engine, table: str) -> list[dict[str, Any]]:
    with engine.begin() as connection:
        rows = connection.exec_driver_sql(f"SELECT * FROM {table} ORDER BY tenant_id, name")  # noqa: S608 - a name from the test
        return [dict(row) for row in rows.mappings()]


# --- cwicr ------------------------------------------------------------------------------


def test_cwicr_editions_become_scopes_and_faults_stay(engine: sa.Engine, tmp_path: Path) -> None:
    write_cwicr(tmp_path, "UK_GBP", "SP_BARCELONA", "HI_MUMBAI")

    report = load_cwicr(engine, tmp_path)

    assert report.rows == {key: {"materials": 2} for key in ("global", "cwicr-es", "cwicr-hi")}
    shared = [row for row in read_table(engine, "materials") if row["is_global"]]
    fields = ("tenant_id", "name", "category", "supplier", "unit", "price")
    assert [tuple(row[field] for field in fields) for row in shared] == [
        (None, "NA", "Roofs", None, None, 0),
        (None, "Washed sand", "Aggregates", None, "m3", Decimal("12.51")),
    ]
    assert read_table(engine, "works") == []


def test_cwicr_names_what_it_leaves_out(engine: sa.Engine, tmp_path: Path) -> None:
    write_cwicr(tmp_path, "UK_GBP")

    report = load_cwicr(engine, tmp_path)

    assert report.skipped == (
        Skipped(reason="Equipment: not a material", rows=1, examples=("global A-3",)),
        Skipped(reason="same key as an earlier row", rows=1, examples=("global A-1",)),
        Skipped(reason="no resource code", rows=1, examples=("global row 5",)),
    )


def test_cwicr_loaded_twice_writes_nothing(engine: sa.Engine, tmp_path: Path) -> None:
    write_cwicr(tmp_path, "UK_GBP", "RU_STPETERSBURG")
    load_cwicr(engine, tmp_path)
    before = read_table(engine, "materials")

    report = load_cwicr(engine, tmp_path)

    assert report.written == 0
    assert read_table(engine, "materials") == before


@pytest.mark.parametrize(
    ("editions", "message"),
    [
        pytest.param(("RU_STPETERSBURG",), "no DDC_CWICR_UK_<CITY>_Catalog.csv", id="no British"),
        pytest.param((), "holds 0 other editions", id="no file at all"),
        pytest.param(
            ("UK_GBP", "SP_BARCELONA", "ES_MADRID"), "language of 'cwicr-es'", id="one language"
        ),
    ],
)
def test_cwicr_editions_that_do_not_fit_are_refused(
    engine: sa.Engine, tmp_path: Path, editions: tuple[str, ...], message: str
) -> None:
    write_cwicr(tmp_path, *editions)

    with pytest.raises(ConfigurationError, match=message):
        load_cwicr(engine, tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(b"resource_code,name\nA,B\n", "no column type, category", id="columns"),
        pytest.param(b"", "has no column resource_code", id="empty"),
        pytest.param(b"resource_code,name\n\xff\xfe,x\n", "UnicodeDecodeError", id="encoding"),
        pytest.param(
            f"{CWICR_HEADER}\nA,b,Material,c,m,cheap,e\n".encode(), "no number", id="price"
        ),
    ],
)
def test_cwicr_files_that_are_none_are_refused(
    engine: sa.Engine, tmp_path: Path, content: bytes, message: str
) -> None:
    (tmp_path / "DDC_CWICR_UK_GBP_Catalog.csv").write_bytes(content)

    with pytest.raises(ConfigurationError, match=message):
        load_cwicr(engine, tmp_path)


# --- cpv --------------------------------------------------------------------------------


def test_cpv_divisions_become_entities_and_groups_categories(
    engine: sa.Engine, tmp_path: Path
) -> None:
    names = {
        "44000000": "Structures and materials",
        "44100000": "Construction materials",
        "44111100": "Bricks",
        "45000000": "Construction work",
        "45410000": "Plastering work",
        "03000000": "Farming",
    }
    write_xml(tmp_path, "en", names)
    write_xml(tmp_path, "cs", {"44111100": "Cihly"})
    russian = {"44000000-0": "44000000-0", "44111100-2": "Кирпичи"}
    (tmp_path / "openprocurement_cpv_ru.json").write_text(json.dumps(russian), encoding="utf-8")

    report = load_cpv(engine, tmp_path)

    found = [
        (row["tenant_id"], row["name"], row["category"])
        for table in ("materials", "works")
        for row in read_table(engine, table)
    ]
    assert sorted(found, key=str) == sorted(
        [
            ("cpv-cs", "Cihly", None),
            ("cpv-ru", "44000000-0", None),
            ("cpv-ru", "Кирпичи", None),
            (None, "Bricks", "Construction materials"),
            (None, "Construction materials", "Structures and materials"),
            (None, "Structures and materials", None),
            (None, "Construction work", None),
            (None, "Plastering work", "Construction work"),
        ],
        key=str,
    )
    assert report.rows["global"] == {"materials": 3, "works": 2}
    assert report.skipped == (
        Skipped(reason="neither in division 44 nor in 45", rows=1, examples=("global 03000000",)),
    )
    assert load_cpv(engine, tmp_path).written == 0


@pytest.mark.parametrize(
    ("files", "message"),
    [
        pytest.param({}, "no eforms-sdk_code_en.xml", id="no English"),
        pytest.param({"eforms-sdk_code_en.xml": "<a"}, "cannot be read", id="broken XML"),
        pytest.param({"eforms-sdk_code_en.xml": "<a/>"}, "no procurement code", id="other XML"),
        pytest.param(
            {"eforms-sdk_code_en.xml": "<a/>", "openprocurement_cpv_en.json": "{}"},
            "are of one language",
            id="one language twice",
        ),
    ],
)
def test_cpv_files_that_do_not_fit_are_refused(
    engine: sa.Engine, tmp_path: Path, files: dict[str, str], message: str
) -> None:
    for name, content in files.items():
        (tmp_path / name).write_text(content, encoding="utf-8")

    with pytest.raises(ConfigurationError, match=message):
        load_cpv(engine, tmp_path)


@pytest.mark.parametrize("content", ["{", "[]"], ids=["broken JSON", "no object"])
def test_cpv_json_that_does_not_fit_is_refused(
    engine: sa.Engine, tmp_path: Path, content: str
) -> None:
    write_xml(tmp_path, "en", {"44111100": "Bricks"})
    (tmp_path / "openprocurement_cpv_ru.json").write_text(content, encoding="utf-8")

    with pytest.raises(ConfigurationError, match=r"openprocurement_cpv_ru\.json cannot be read"):
        load_cpv(engine, tmp_path)


# --- tools ------------------------------------------------------------------------------


def test_tools_keep_lists_as_text_and_as_lists(engine: sa.Engine, tmp_path: Path) -> None:
    tool = {"id": "a", "name": "A", "categories": ["x", "y"], "language": [], "license": None}
    lines = [json.dumps(tool), "", "not JSON", "[1]", json.dumps({"name": "B"}), json.dumps(tool)]
    with gzip.open(tmp_path / "biotools.jsonl.gz", "wt", encoding="utf-8") as file:
        file.write("\n".join(lines))

    report = load_tools(engine, tmp_path)

    (row,) = read_table(engine, "tools")
    assert (row["name"], row["categories"], row["language"], row["license"]) == (
        "A",
        "x, y",
        "",
        None,
    )
    assert row["facets"]["categories"] == ["x", "y"]
    assert report.skipped == (
        Skipped(reason="not a JSON object", rows=2, examples=("line 3", "line 4")),
        Skipped(reason="no id", rows=1, examples=("line 5",)),
        Skipped(reason="same key as an earlier row", rows=1, examples=("a",)),
    )


def test_two_thirds_of_the_tools_are_shared(engine: sa.Engine, tmp_path: Path) -> None:
    file = tmp_path / "tools.jsonl"
    file.write_text("\n".join(json.dumps({"id": f"tool-{n}"}) for n in range(600)))

    report = load_tools(engine, file)

    assert 360 < report.rows["global"]["tools"] < 440
    assert report.rows.keys() == {"global", "tools-north", "tools-south"}
    assert load_tools(engine, file).written == 0


@pytest.mark.parametrize(
    ("name", "content"),
    [
        pytest.param("tools.jsonl", b"", id="empty"),
        pytest.param("tools.jsonl", b"\xff\xff", id="encoding"),
        pytest.param("biotools.jsonl.gz", b"not packed", id="not packed"),
        pytest.param("biotools.jsonl.gz", gzip.compress(b"x" * 10_000)[:-20], id="cut off"),
    ],
)
def test_tool_files_that_are_none_are_refused(
    engine: sa.Engine, tmp_path: Path, name: str, content: bytes
) -> None:
    (tmp_path / name).write_bytes(content)

    with pytest.raises(ConfigurationError, match=r"holds no tool|cannot be read as JSON lines"):
        load_tools(engine, tmp_path / name)


# --- all --------------------------------------------------------------------------------


@pytest.mark.parametrize("load", [load_cwicr, load_cpv, load_tools])
def test_a_path_that_does_not_exist_is_named_and_nothing_is_created(
    engine: sa.Engine, tmp_path: Path, load: Any
) -> None:
    with pytest.raises(ConfigurationError, match=r"there is no f(older|ile) .*absent"):
        load(engine, tmp_path / "absent")

    assert {"materials", "works", "tools"}.isdisjoint(sa.inspect(engine).get_table_names())


@pytest.mark.shared_data
def test_the_public_catalogues_load_completely_and_only_once(
    engine: sa.Engine, shared_data: Path
) -> None:
    folders = {load_cwicr: "cwicr", load_cpv: "cpv2008", load_tools: "tools"}

    first = {load: load(engine, shared_data / folder) for load, folder in folders.items()}
    second = {load: load(engine, shared_data / folder) for load, folder in folders.items()}

    assert first[load_cwicr].rows["global"] == {"materials": 4971}
    assert first[load_cwicr].rows["cwicr-de"] == {"materials": 4978}
    assert first[load_cpv].rows["cpv-ru"] == {"materials": 539, "works": 822}
    assert sum(first[load_tools].rows[key]["tools"] for key in first[load_tools].rows) == 6000
    assert [report.written for report in second.values()] == [0, 0, 0]
