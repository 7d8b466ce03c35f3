from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sync_pipeline_tests.cli.installed import CommandLine

QUERIES: list[dict[str, Any]] = [
    {"query": "gypsum plaster", "scope": "global", "relevant": {"global-material-g1": 3}},
    {
        "query": "larch facade",
        "scope": "acme",
        "relevant": {"tenant-material-a1": 3, "tenant-work-a2": 1, "tenant-material-a9": 1},
        "tags": ["wood"],
    },
]


@pytest.fixture
def file(tmp_path: Path) -> str:
    """Labelled queries, one of whose documents is not there."""
    path = tmp_path / "queries.jsonl"
    path.write_text("".join(f"{json.dumps(query)}\n" for query in QUERIES))
    return str(path)


def answer(run: CommandLine, *words: str) -> dict[str, Any]:
    result = run("evaluate", *words, "--json")
    assert result.exit_code == 0
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_the_answer_has_the_fields_that_programs_rely_on(synced: CommandLine, file: str) -> None:
    found = answer(synced, file)

    assert set(found) == {
        "ok", "confidence", "k", "seed", "labels", "queries", "tags", "systems", "comparisons",
    }  # fmt: skip
    assert (found["ok"], found["confidence"], found["k"], found["seed"]) == (True, 0.95, 10, 0)
    assert found["labels"] == {
        "queries": 2,
        "evaluated": 2,
        "documents": 4,
        "missing": 1,
        "hidden": 0,
        "missing_examples": ["tenant-material-a9"],
        "hidden_examples": [],
    }
    assert found["queries"] == [
        {"query": "gypsum plaster", "scope_key": "global", "tags": []},
        {"query": "larch facade", "scope_key": "acme", "tags": ["wood"]},
    ]
    assert found["tags"] == {"wood": 1}
    (system,) = found["systems"]
    assert set(system) == {"name", "collection", "model_id", "fusion", "rankings"}
    assert system["name"] == "settings"
    assert system["collection"] == synced.sync.spec.collection
    assert system["fusion"] == {"method": "dbsf", "rrf_k": 10, "candidates": 200, "weights": {}}
    assert [(one["mode"], one["view"]) for one in system["rankings"]] == [
        ("dense", None),
        ("text", None),
        ("hybrid", None),
    ]
    for ranking in system["rankings"]:
        assert set(ranking["overall"]) == {"recall_at_k", "ndcg_at_10", "mrr"}
        assert set(ranking["overall"]["mrr"]) == {"mean", "low", "high"}
        assert set(ranking["by_tag"]) == {"wood"}
        assert [set(one) for one in ranking["by_query"]] == [
            {"recall_at_k", "ndcg_at_10", "mrr"}
        ] * 2
    assert system["rankings"][2]["overall"]["mrr"]["mean"] == 1
    assert found["comparisons"] == []


def test_two_systems_are_compared(synced: CommandLine, file: str) -> None:
    found = answer(synced, file, "--compare", "fusion=rrf,rrf_k=60", "--k", "1", "--seed", "7")

    assert [system["name"] for system in found["systems"]] == ["settings", "fusion=rrf,rrf_k=60"]
    assert found["systems"][1]["fusion"]["rrf_k"] == 60
    assert (found["k"], found["seed"]) == (1, 7)
    assert len(found["comparisons"]) == 6
    for comparison in found["comparisons"]:
        assert set(comparison) == {
            "baseline", "system", "mode", "view", "tag", "recall_at_k", "ndcg_at_10", "mrr",
        }  # fmt: skip
        assert set(comparison["mrr"]) == {"mean", "low", "high", "p_value", "better", "worse"}
        assert comparison["baseline"] == "settings"


def test_a_generation_is_compared_by_its_collection(synced: CommandLine, file: str) -> None:
    collection = synced.sync.spec.collection

    found = answer(synced, file, "--compare", f"generation={collection},fusion=rrf")
    unknown = synced("evaluate", file, "--compare", "generation=documents_x")

    assert [system["collection"] for system in found["systems"]] == [collection] * 2
    assert [system["fusion"]["method"] for system in found["systems"]] == ["dbsf", "rrf"]
    assert unknown.exit_code == 2
    assert f"there is no generation 'documents_x' behind 'documents'; there are {collection}" in (
        unknown.stderr
    )


def test_before_the_first_sync_it_says_what_to_do(run: CommandLine, file: str) -> None:
    result = run("evaluate", file)

    assert result.exit_code == 2
    assert "run `sync-pipeline sync all` first" in result.stderr


def test_people_see_tables_and_what_was_left_out(synced: CommandLine, file: str) -> None:
    shown = synced("evaluate", file, "--k", "5", "--compare", "fusion=rrf").stdout

    assert "2 of 2 queries, 4 labels." in shown
    assert "for their documents are not in the index: 1, e.g. tenant-material-a9." in shown
    assert "settings: documents_" in shown
    assert "fusion=dbsf,candidates=200" in shown
    assert "recall@5" in shown
    assert "1.000 (1.000 to 1.000)" in shown
    assert "wood" in shown
    assert "fusion=rrf less settings, query by query:" in shown


def test_the_queries_that_are_answered_worst_are_shown(synced: CommandLine, file: str) -> None:
    path = Path(file)
    lost = {"query": "xylophone", "scope": "global", "relevant": ["global-work-g2"]}
    path.write_text(f"{path.read_text()}{json.dumps(lost)}\n")
    hybrid = answer(synced, file)["systems"][0]["rankings"][2]["by_query"]
    marks = sorted(f"{query['ndcg_at_10']:.3f}" for query in hybrid)

    def shown(*words: str) -> list[str]:
        _, _, after = synced("evaluate", file, *words).stdout.partition("Answered worst:")
        return [line.split()[-1] for line in after.splitlines() if " 0." in line or " 1." in line]

    assert shown() == []
    assert shown("--worst", "2") == marks[:2]
    assert shown("--worst", "9") == marks


def test_labels_of_another_scope_are_told(synced: CommandLine, tmp_path: Path) -> None:
    path = tmp_path / "queries.jsonl"
    foreign = {"tenant-material-b1": 3, "global-material-g1": 1}
    path.write_text(json.dumps({"query": "solar", "scope": "acme", "relevant": foreign}))

    shown = synced("evaluate", str(path)).stdout

    assert "another scope than the one that asks: 1, e.g. tenant-material-b1." in shown


def test_bad_lines_end_it_before_anything_is_asked(synced: CommandLine, tmp_path: Path) -> None:
    path = tmp_path / "queries.jsonl"
    path.write_text('{"query": "a"}\nnonsense\n')

    result = synced("evaluate", str(path), "--json")

    assert result.exit_code == 2
    error = json.loads(result.stdout)["error"]
    assert error["type"] == "LabelsError"
    assert "  - line 1: has no scope; fix: " in error["message"]
    assert "  - line 2: is not JSON; fix: " in error["message"]


def test_the_built_in_queries_need_the_built_in_catalogue(synced: CommandLine) -> None:
    result = synced("evaluate", "builtin")

    assert result.exit_code == 2
    assert "`sync-pipeline sample load builtin`, then `sync-pipeline sync all`." in result.stderr
