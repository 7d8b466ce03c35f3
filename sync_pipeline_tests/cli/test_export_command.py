from __future__ import annotations

import json
from typing import Any

import pytest

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
