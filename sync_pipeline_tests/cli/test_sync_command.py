from __future__ import annotations

import json
from typing import Any

import pytest

from sync_pipeline.core.errors import RejectedPointError
from sync_pipeline_tests.cli.installed import CommandLine, row

SCOPE_FIELDS = {
    "scope_key", "status", "run_id", "rows", "documents", "quarantined", "new", "changed",
    "payload_changed", "unchanged", "deleted", "failed", "embedded_texts", "cache_hits", "seconds",
    "error",
}  # fmt: skip
"""What DESIGN promises; ``MORE_COUNTS`` and what else is known come on top."""

MORE_COUNTS = {
    "archived", "dropped_values", "stale", "repaired", "texts", "embedded_tokens", "truncated",
    "points_written", "payloads_written", "indexed", "points_deleted", "moved_away", "pending",
}  # fmt: skip

COUNTS = SCOPE_FIELDS - {"scope_key", "status", "run_id", "seconds", "error"}


def synced(run: CommandLine, *words: str) -> dict[str, Any]:
    result = run("sync", *words, "--json")
    answer: dict[str, Any] = json.loads(result.stdout)
    assert answer["ok"] is (result.exit_code == 0)
    return answer


def test_sync_all_brings_every_scope_in_step(run: CommandLine) -> None:
    answer = synced(run, "all")

    assert run.documents() == {
        "global-material-g1",
        "global-work-g2",
        "tenant-material-a1",
        "tenant-work-a2",
        "tenant-material-b1",
        "tenant-material-b2",
    }
    assert [scope["scope_key"] for scope in answer["scopes"]] == ["global", "globex", "acme"]


def test_the_answer_has_the_fields_that_programs_rely_on(run: CommandLine) -> None:
    answer = synced(run, "all")

    assert set(answer) == {"ok", "mode", "duration_seconds", "totals", "scopes"}
    assert answer["ok"] is True
    assert answer["mode"] == "full"
    assert answer["duration_seconds"] >= 0
    assert set(answer["totals"]) == COUNTS | MORE_COUNTS
    extra = MORE_COUNTS | {"unknown", "note", "stopped_reason"}
    assert all(set(scope) == SCOPE_FIELDS | extra for scope in answer["scopes"])
    assert all(list(scope)[:2] == ["scope_key", "status"] for scope in answer["scopes"])
    seconds = answer["scopes"][0]["seconds"]
    assert set(seconds) == {"export", "embed", "upsert", "cleanup"}


def test_the_answer_counts_what_was_done(run: CommandLine) -> None:
    answer = synced(run, "tenant", "globex")

    (scope,) = answer["scopes"]
    assert {name: scope[name] for name in sorted(COUNTS)} == {
        "cache_hits": 0,
        "changed": 0,
        "deleted": 0,
        "documents": 2,
        "embedded_texts": 2,
        "failed": 0,
        "new": 2,
        "payload_changed": 0,
        "quarantined": 1,
        "rows": 3,
        "unchanged": 0,
    }
    assert (scope["status"], scope["run_id"], scope["error"]) == ("success", "run-0", None)


def test_totals_add_up(run: CommandLine) -> None:
    answer = synced(run, "all")

    assert (answer["totals"]["rows"], answer["totals"]["documents"]) == (7, 6)
    assert all(
        total == sum(scope[name] for scope in answer["scopes"])
        for name, total in answer["totals"].items()
    )


@pytest.mark.parametrize(
    ("words", "scopes"),
    [
        pytest.param(["global"], ["global"], id="global"),
        pytest.param(["tenants"], ["globex", "acme"], id="tenants, larger ones first"),
        pytest.param(["tenant", "acme"], ["acme"], id="one tenant"),
        pytest.param(["tenant", "acme", "globex"], ["acme", "globex"], id="two tenants as named"),
    ],
)
def test_only_the_named_scopes_are_synced(
    run: CommandLine, words: list[str], scopes: list[str]
) -> None:
    answer = synced(run, *words)

    assert [scope["scope_key"] for scope in answer["scopes"]] == scopes


def test_a_second_sync_finds_nothing_to_do(run: CommandLine) -> None:
    synced(run, "all")

    totals = synced(run, "all", "--force", "--mode", "full")["totals"]

    assert totals["unchanged"] == 6
    assert totals["new"] + totals["changed"] + totals["embedded_texts"] + totals["repaired"] == 0


def test_people_see_a_table_and_what_needs_their_attention(run: CommandLine) -> None:
    result = run("sync", "all")

    assert result.exit_code == 0
    assert [line.split()[:3] for line in result.stdout.splitlines() if "success" in line] == [
        ["global", "success", "2"],
        ["globex", "success", "3"],
        ["acme", "success", "2"],
    ]
    assert "Rows that cannot become documents: 1; `sync-pipeline quarantine list`" in result.stdout
    assert result.stderr == ""


def test_a_failed_scope_does_not_keep_the_others_and_ends_with_1(run: CommandLine) -> None:
    synced(run, "all")
    for found in run.source.tables["materials"]:
        if found["tenant_id"] == "globex":
            found["name"] = None
    run.source.tables["materials"].append(row("a9", "larch plank", tenant="acme"))

    answer = synced(run, "tenant", "globex", "acme")

    assert answer["ok"] is False
    assert [scope["status"] for scope in answer["scopes"]] == ["failed", "success"]
    assert "refused to delete 2 of 2 points" in answer["scopes"][0]["error"]
    assert "tenant-material-a9" in run.documents()


def test_a_refused_cleanup_says_what_to_do_and_the_option_allows_it(run: CommandLine) -> None:
    synced(run, "all")
    run.source.tables["works"] = []
    run.source.tables["materials"] = [
        found for found in run.source.tables["materials"] if found["tenant_id"] != "acme"
    ]

    refused = run("sync", "tenant", "acme")
    allowed = run("sync", "tenant", "acme", "--max-deleted-fraction", "1")

    assert refused.exit_code == 1
    assert "refused to delete 2 of 2 points in scope 'acme'" in refused.stdout
    assert allowed.exit_code == 0
    assert not any("-a1" in found or "-a2" in found for found in run.documents())


def test_exactly_the_approved_number_of_documents_is_deleted_once(run: CommandLine) -> None:
    synced(run, "all")
    for found in run.source.tables["materials"]:
        if found["tenant_id"] == "globex":
            found["name"] = None

    wrong = synced(run, "tenant", "globex", "--approve-deletions", "1")
    kept = run.documents()
    right = synced(run, "tenant", "globex", "--approve-deletions", "2")

    assert "approved 1, but 2 would go" in wrong["scopes"][0]["error"]
    assert "sync tenant globex --approve-deletions 2`" in wrong["scopes"][0]["error"]
    assert {"tenant-material-b1", "tenant-material-b2"} <= kept
    assert (right["ok"], right["totals"]["deleted"]) == (True, 2)
    assert not any("-b1" in found or "-b2" in found for found in run.documents())


def test_a_vanished_tenant_is_left_alone_and_named(run: CommandLine) -> None:
    synced(run, "all")
    run.source.tables["works"] = run.source.tables["works"][:1]
    run.source.tables["materials"] = [
        found for found in run.source.tables["materials"] if found["tenant_id"] != "acme"
    ]

    answer = synced(run, "all")

    assert answer["ok"] is True
    acme = answer["scopes"][-1]
    assert (acme["scope_key"], acme["status"]) == ("acme", "skipped")
    assert acme["error"] == (
        "has no rows any more; its 2 points stay until the maintenance job removes them. To remove "
        "them now: `sync-pipeline tenants remove acme --yes`"
    )
    assert "tenant-material-a1" in run.documents()


def test_a_vanished_tenant_goes_when_emptying_scopes_is_allowed(run: CommandLine) -> None:
    synced(run, "all")
    run.source.tables["works"] = run.source.tables["works"][:1]
    run.source.tables["materials"] = [
        found for found in run.source.tables["materials"] if found["tenant_id"] != "acme"
    ]

    answer = synced(run, "all", "--max-deleted-fraction", "1")

    assert answer["totals"]["deleted"] == 2
    assert "tenant-material-a1" not in run.documents()


def test_a_document_that_the_index_refuses_ends_with_1(run: CommandLine) -> None:
    for _ in range(2):
        run.store.fail_next("upsert", RejectedPointError(document_id="x", reason="odd"))

    answer = synced(run, "global")

    assert answer["ok"] is False
    assert (answer["totals"]["failed"], answer["scopes"][0]["status"]) == (1, "success")


def test_an_unknown_tenant_is_wrong_usage_with_a_suggestion(run: CommandLine) -> None:
    result = run("sync", "tenant", "acmee", "--json")

    answer = json.loads(result.stdout)
    assert result.exit_code == 2
    assert answer["error"]["type"] == "UnknownScopeError"
    assert "Did you mean 'acme'?" in answer["error"]["message"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        pytest.param(["acme"], "not 'acme'", id="a tenant without the word"),
        pytest.param(
            ["all", "--max-deleted-fraction", "2"], "--max-deleted", id="more than everything"
        ),
        pytest.param(
            ["all", "--approve-deletions", "2"], "one scope, not 3", id="an approval for several"
        ),
        pytest.param(
            ["global", "--approve-deletions", "0"], "--approve", id="an approval of nothing"
        ),
        pytest.param([], "SCOPES", id="no scopes"),
    ],
)
def test_wrong_usage_ends_with_2_before_anything_is_done(
    run: CommandLine, words: list[str], message: str
) -> None:
    result = run("sync", *words)

    assert result.exit_code == 2
    assert message in result.stderr
    assert run.documents() == set()


def test_an_unreachable_source_ends_with_1(run: CommandLine) -> None:
    run.source.is_available = False

    result = run("sync", "all")

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "error: fake source: it is switched off\n"


@pytest.mark.parametrize("place", ["before", "after"])
def test_the_settings_file_may_be_named_before_or_after_the_command(
    run: CommandLine, place: str
) -> None:
    words = ["sync", "global"]
    option = ["--config", "other.yaml"]

    result = run(*(option + words if place == "before" else words + option))

    assert result.exit_code == 0
    assert [str(config) for config in run.configs] == ["other.yaml"]
