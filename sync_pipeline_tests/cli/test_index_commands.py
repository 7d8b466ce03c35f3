"""``index``: what an operator sees and does around a model change."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sync_pipeline_tests.cli.installed import CommandLine, use_dimension


def answer(run: CommandLine, *words: str, exit_code: int = 0) -> Any:
    result = run("--json", *words)
    assert result.exit_code == exit_code, result.output
    return json.loads(result.stdout)


@pytest.fixture
def run(tmp_path: Path) -> CommandLine:
    """Synced with one model; the settings name another one now."""
    run = CommandLine(tmp_path)
    assert run("sync", "all").exit_code == 0
    use_dimension(run, 32)
    return run


def roles(run: CommandLine) -> list[str]:
    return [it["role"] for it in answer(run, "index", "status")["generations"]]


def test_a_model_change_and_back(run: CommandLine) -> None:
    before = roles(run)
    plan = answer(run, "index", "plan")
    synced = run("sync", "all")
    after = roles(run)
    back = answer(run, "index", "rollback")
    forth = answer(run, "index", "switch")
    again = answer(run, "index", "switch")
    gone = answer(run, "index", "drop", back["serves"], "--yes")

    assert before == ["serving", "filling"]
    assert (plan["serves"], plan["is_served"]) == (back["serves"], False)
    assert plan["documents"] == plan["texts_to_embed"] > 0
    assert plan["vector_bytes"] == plan["documents"] * 32 * 4
    assert f"{plan['wanted']} serves from now on" in synced.output
    assert after == ["replaced", "serving"]
    assert back["in_sync_to"] is not None
    assert (forth["went_live"], forth["serves"]) == (True, plan["wanted"])
    assert (again["went_live"], again["reason"]) == (False, None)
    assert gone == {"ok": True, "collection": back["serves"], "documents": plan["documents"]}
    assert roles(run) == ["serving"]


def test_what_is_not_filled_does_not_serve_and_says_so(run: CommandLine) -> None:
    assert run("sync", "global").exit_code == 0

    told = answer(run, "index", "switch", exit_code=1)
    shown = run("index", "status").output

    assert "A new generation of the index is 33% filled" in run("status").output
    assert told["reason"].startswith("2 of 3 scopes are not filled: acme, globex")
    assert "`sync-pipeline sync all` fills it" in " ".join(shown.split())


def test_a_drop_is_told_before_it_is_done(run: CommandLine) -> None:
    run("sync", "all")
    old = answer(run, "index", "status")["generations"][0]

    told = answer(run, "index", "drop", old["collection"], exit_code=2)

    assert told["would_remove"] == {"points": old["points"]}
    assert told["next_step"] == f"sync-pipeline index drop {old['collection']} --yes"
    assert roles(run) == ["replaced", "serving"]


def test_what_serves_and_what_is_not_there_cannot_be_dropped(run: CommandLine) -> None:
    serving = answer(run, "index", "status")["generations"][0]["collection"]

    for name, reason in ((serving, "searches are answered from"), ("nothing", "no generation")):
        for words in ([name], [name, "--yes"]):
            refused = run("index", "drop", *words)
            assert refused.exit_code == 2
            assert reason in " ".join(refused.output.split())
    assert roles(run)[0] == "serving"


def test_there_is_nothing_to_go_back_to(run: CommandLine) -> None:
    refused = run("index", "rollback")

    assert refused.exit_code == 2
    assert "no generation to go back to" in " ".join(refused.output.split())


def test_a_lost_collection_is_made_anew_without_embedding(run: CommandLine) -> None:
    run("sync", "all")
    run.store.drop_collection(run.sync.spec.collection)

    rebuilt = answer(run, "index", "rebuild")

    assert rebuilt["ok"]
    assert rebuilt["totals"]["new"] == rebuilt["totals"]["documents"] > 0
    assert rebuilt["totals"]["embedded_texts"] == 0
    assert answer(run, "verify", "all")["ok"]


def test_a_collection_with_points_is_rebuilt_only_on_request(run: CommandLine) -> None:
    run("sync", "all")

    told = answer(run, "index", "rebuild", exit_code=2)
    done = answer(run, "index", "rebuild", "--yes")

    assert told["next_step"] == "sync-pipeline index rebuild --yes"
    assert told["points"] == done["totals"]["new"]
