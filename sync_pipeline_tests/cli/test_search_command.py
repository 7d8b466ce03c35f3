from __future__ import annotations

import json
from typing import Any

import pytest

from sync_pipeline_tests.cli.installed import CommandLine


def hits(run: CommandLine, *words: str) -> list[dict[str, Any]]:
    result = run("search", *words, "--json")
    assert result.exit_code == 0
    found: list[dict[str, Any]] = json.loads(result.stdout)["hits"]
    return found


def ids(found: list[dict[str, Any]]) -> list[str]:
    return [hit["document_id"] for hit in found]


def test_the_answer_has_the_fields_that_programs_rely_on(synced: CommandLine) -> None:
    answer = json.loads(synced("search", "larch cladding", "--tenant", "acme", "--json").stdout)

    assert set(answer) == {"hits", "in_sync_to"}
    assert answer["in_sync_to"].startswith("2026-01-01T00:00:0")
    best = answer["hits"][0]
    assert set(best) == {"document_id", "score", "text", "payload"}
    assert (best["document_id"], best["text"]) == ("tenant-material-a1", "charred larch cladding")
    assert best["score"] > 0
    assert best["payload"]["tenantId"] == "acme"


def test_a_tenant_sees_its_own_and_global_documents_only(synced: CommandLine) -> None:
    found = hits(synced, "solar panel charred larch cladding", "--tenant", "acme")

    assert set(ids(found)) == {
        "tenant-material-a1", "tenant-work-a2", "global-material-g1", "global-work-g2",
    }  # fmt: skip


def test_global_sees_global_documents_only(synced: CommandLine) -> None:
    assert set(ids(hits(synced, "cladding", "--global"))) == {
        "global-material-g1",
        "global-work-g2",
    }


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        pytest.param(["--limit", "1"], ["tenant-material-b1"], id="limit"),
        pytest.param(["--entity", "work"], ["global-work-g2"], id="entity"),
        pytest.param(["--filter", "unit=pcs"], ["tenant-material-b1"], id="text filter"),
        pytest.param(["--filter", "code=7"], ["tenant-material-b1"], id="number filter"),
        pytest.param(["--filter", "unit=pcs", "--filter", "code=1"], [], id="filters that exclude"),
        pytest.param(["--view", "text", "--limit", "1"], ["tenant-material-b1"], id="view"),
    ],
)
def test_a_search_is_narrowed_by(
    synced: CommandLine, options: list[str], expected: list[str]
) -> None:
    assert ids(hits(synced, "solar panel", "--tenant", "globex", *options)) == expected


def test_people_see_a_table_or_that_nothing_was_found(synced: CommandLine) -> None:
    found = synced("search", "solar panel", "--tenant", "globex")
    nothing = synced("search", "solar panel", "--global", "--filter", "unit=none")

    assert "tenant-material-b1" in found.stdout
    assert nothing.stdout == "Nothing found.\n"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param([], "Say --tenant ID, or --global", id="as nobody"),
        pytest.param(["--tenant", "acme", "--global"], "exclude each other", id="as both"),
        pytest.param(["--tenant", "acne"], "Did you mean 'acme'?", id="as an unknown tenant"),
        pytest.param(["--global", "--limit", "0"], "limit lies between 1", id="no hits wanted"),
        pytest.param(["--global", "--entity", "tool"], "no entity 'tool'", id="unknown entity"),
        pytest.param(["--global", "--view", "x"], "no view x", id="unknown view"),
        pytest.param(["--global", "--filter", "unit"], "FIELD=VALUE", id="half a filter"),
        pytest.param(["--global", "--filter", "a=b"], "cannot filter on a", id="unknown field"),
        pytest.param(
            ["--global", "--filter", "scope_key=acme"],
            "cannot filter on scope_key",
            id="the field that isolates tenants",
        ),
    ],
)
def test_a_search_that_cannot_be_answered_is_wrong_usage(
    synced: CommandLine, options: list[str], message: str
) -> None:
    result = synced("search", "cladding", *options)

    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr


def test_before_the_first_sync_the_way_is_shown(run: CommandLine) -> None:
    result = run("search", "cladding", "--tenant", "acme")

    assert result.exit_code == 2
    assert "run `sync-pipeline sync all` first" in result.stderr
