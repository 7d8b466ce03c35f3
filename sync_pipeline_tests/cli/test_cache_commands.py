from __future__ import annotations

import json

import pytest

from sync_pipeline.core.scope import Scope
from sync_pipeline_tests.cli.installed import CommandLine, row


@pytest.fixture
def changed(synced: CommandLine) -> CommandLine:
    """Everything in step; a material has another text than before."""
    synced.source.tables["materials"][0] = row("g1", "gypsum plaster, fine")
    assert synced("sync", "all").exit_code == 0
    return synced


def test_stats_say_what_there_is(changed: CommandLine) -> None:
    result = changed("cache", "stats", "--json")

    answer = json.loads(result.stdout)
    (model,) = answer["models"]
    assert answer["ok"] is True
    assert (answer["model_id"], answer["vectors"], answer["texts"]) == ("hashing-64-v1", 7, 6)
    assert (answer["cached"], answer["size_bytes"]) == (6, 7 * 64 * 4)
    assert model.keys() == {
        "model_id",
        "scope_key",
        "other_names",
        "in_settings",
        "collections",
        "vectors",
        "size_bytes",
        "oldest_at",
        "newest_at",
        "used",
        "unused",
    }
    assert (model["used"], model["unused"], model["scope_key"]) == (6, 1, None)


def test_stats_are_shown_to_people(changed: CommandLine) -> None:
    shown = changed("cache", "stats").stdout

    assert "hashing-64-v1" in shown
    assert "7 vectors, 1.8 KiB" in shown
    assert "Of the 6 texts of the documents in the index, 6 are in the cache" in shown


def test_stats_name_no_text(changed: CommandLine) -> None:
    shown = changed("cache", "stats").stdout + changed("cache", "stats", "--json").stdout

    assert "plaster" not in shown


def test_young_vectors_stay_by_default(changed: CommandLine) -> None:
    answer = json.loads(changed("cache", "prune", "--json").stdout)

    assert (answer["ok"], answer["deleted"], answer["models"]) == (True, 0, [])


def test_a_dry_run_only_tells(changed: CommandLine) -> None:
    shown = changed("cache", "prune", "--older-than", "0", "--dry-run")

    assert shown.exit_code == 0
    assert "1 vectors, 256 B would be deleted. Nothing was." in shown.stdout
    assert json.loads(changed("cache", "stats", "--json").stdout)["vectors"] == 7


def test_unused_vectors_are_deleted(changed: CommandLine) -> None:
    answer = json.loads(changed("cache", "prune", "--older-than", "0", "--json").stdout)

    assert answer == {
        "ok": True,
        "is_dry_run": False,
        "deleted": 1,
        "freed_bytes": 256,
        "left": 0,
        "waits_for": [],
        "models": [
            {"model_id": "hashing-64-v1", "scope_key": None, "vectors": 1, "size_bytes": 256}
        ],
    }
    assert json.loads(changed("cache", "stats", "--json").stdout)["models"][0]["unused"] == 0


def test_what_waits_for_a_sync_is_told(changed: CommandLine) -> None:
    changed.sync.cache.claim(
        model_id="hashing-64-v1", text_hashes=["any"], scope=Scope("acme"), owner="a run"
    )

    shown = changed("cache", "prune", "--older-than", "0", "--wait-seconds", "0").stdout

    assert "1 unused vectors are left" in shown
    assert "(acme): run the same command again later" in shown


def test_the_model_of_the_settings_cannot_be_pruned(changed: CommandLine) -> None:
    refused = changed("cache", "prune", "--model", "hashing-64-v1")

    assert refused.exit_code == 2
    assert "the settings ask for the model 'hashing-64-v1'" in refused.stderr


def test_a_model_and_an_age_exclude_each_other(changed: CommandLine) -> None:
    refused = changed("cache", "prune", "--model", "m", "--older-than", "1")

    assert refused.exit_code == 2
    assert "Say either --model or --older-than." in refused.stderr


@pytest.mark.parametrize("days", ["-1", "nan", "1e300"])
def test_an_age_that_is_none_is_refused(changed: CommandLine, days: str) -> None:
    assert changed("cache", "prune", "--older-than", days).exit_code == 2
