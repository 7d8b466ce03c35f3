from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest

from sync_pipeline.cli.spreadsheet import ROWS_AT_ONCE, iter_csv
from sync_pipeline_tests.cli.installed import CommandLine


def exported(run: CommandLine, *words: str) -> list[dict[str, Any]]:
    result = run("export", *words)
    assert result.exit_code == 0
    return [json.loads(line) for line in result.stdout.splitlines()]


def ids(lines: list[dict[str, Any]]) -> list[str]:
    return sorted(line["document_id"] for line in lines)


def test_a_line_is_a_document_as_the_source_has_it(run: CommandLine) -> None:
    (line,) = exported(run, "works", "--scope", "global")

    assert line == {
        "document_id": "global-work-g2",
        "text": "laying of tiles",
        "texts": {"text": "laying of tiles"},
        "payload": {
            "dbId": "g2",
            "document_id": "global-work-g2",
            "isGlobal": True,
            "scope": "global",
            "scope_key": "global",
            "tenantId": None,
            "text": "laying of tiles",
            "type": "work",
        },
    }


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        pytest.param(
            ["materials"],
            [
                "global-material-g1",
                "tenant-material-a1",
                "tenant-material-b1",
                "tenant-material-b2",
            ],
            id="one entity of every scope",
        ),
        pytest.param(
            ["all", "--tenant", "acme"], ["tenant-material-a1", "tenant-work-a2"], id="one tenant"
        ),
        pytest.param(["works", "--scope", "tenant"], ["tenant-work-a2"], id="all tenants"),
        pytest.param(
            ["all", "--scope", "global"], ["global-material-g1", "global-work-g2"], id="global"
        ),
    ],
)
def test_documents_are_chosen_by_entity_and_scope(
    run: CommandLine, words: list[str], expected: list[str]
) -> None:
    assert ids(exported(run, *words)) == expected


def test_pages_fit_together(run: CommandLine) -> None:
    pages = [exported(run, "all", "--limit", "4", "--offset", str(at)) for at in (0, 4, 8)]

    assert [len(page) for page in pages] == [4, 2, 0]
    assert ids(pages[0] + pages[1]) == ids(exported(run, "all"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        pytest.param(["tools"], "no entity 'tools'", id="unknown entity"),
        pytest.param(["all", "--tenant", "nobody"], "no tenant 'nobody'", id="unknown tenant"),
        pytest.param(["all", "--scope", "all"], "--scope", id="unknown scope"),
        pytest.param(["all", "--limit", "0"], "--limit", id="no documents wanted"),
    ],
)
def test_wrong_usage_ends_with_2(run: CommandLine, words: list[str], message: str) -> None:
    result = run("export", *words)

    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr


def table(run: CommandLine, *words: str) -> list[dict[str, str]]:
    result = run("export", *words, "--format", "csv")
    assert result.exit_code == 0
    return list(csv.DictReader(io.StringIO(result.stdout, newline="")))


def test_a_table_has_a_column_per_payload_field(run: CommandLine) -> None:
    """Whoever opens it elsewhere finds what the index shows."""
    lines = exported(run, "all")

    rows = table(run, "all")

    assert [row["document_id"] for row in rows] == [line["document_id"] for line in lines]
    for row, line in zip(rows, lines, strict=True):
        payload = line["payload"]
        assert row.keys() >= {"scope_key", "type", "dbId", "text"}
        assert (row["text"], row["scope_key"]) == (payload["text"], payload["scope_key"])
        assert {row[name] for name in row.keys() - payload.keys()} <= {""}


def test_an_empty_table_still_names_its_columns(run: CommandLine) -> None:
    result = run("export", "works", "--tenant", "globex", "--format", "csv")

    assert result.exit_code == 0
    assert result.stdout.splitlines()[0].startswith("document_id,scope_key,type,dbId,text")
    assert len(result.stdout.splitlines()) == 1


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        pytest.param(9007199254740993, "9007199254740993", id="a number beyond a float"),
        pytest.param(1.5, "1.5", id="a fraction"),
        pytest.param("9007199254740993.0", "9007199254740993.0", id="a number kept as text"),
        pytest.param("007", "007", id="digits"),
        pytest.param(True, "true", id="a flag"),
        pytest.param(None, "", id="nothing"),
        pytest.param('say "hi",\nthen go', '"say ""hi"",\nthen go"', id="quotes and lines"),
        pytest.param(["a", 1, "ё"], '"[""a"", 1, ""ё""]"', id="a list"),
        pytest.param({"k": None}, '"{""k"": null}"', id="an object"),
    ],
)
def test_a_value_keeps_what_it_is(value: object, cell: str) -> None:
    other = {"payload": {"x": None, "document_id": "b"}}
    line = {"payload": {"x": value, "document_id": "a"}}

    (text,) = iter_csv([line, other], columns=["document_id", "x"])

    assert text == f"document_id,x\r\na,{cell}\r\nb,\r\n"


def test_a_long_table_is_one_table() -> None:
    lines = ({"payload": {"document_id": str(number)}} for number in range(ROWS_AT_ONCE + 1))

    pieces = list(iter_csv(lines, columns=["document_id"]))

    assert len(pieces) == 2
    assert "".join(pieces).splitlines() == ["document_id", *map(str, range(ROWS_AT_ONCE + 1))]
