from __future__ import annotations

import json

from sync_pipeline_tests.cli.installed import CommandLine, row


def test_a_searchable_row_is_told_so_in_one_line(synced: CommandLine) -> None:
    result = synced("explain", "material", "a1")

    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0] == "SEARCHABLE: only acme finds it."
    assert "tenant-material-a1" in result.stdout
    assert not any(line.startswith("Next:") for line in lines)
    assert "charred larch cladding" in result.stdout


def test_a_row_that_cannot_become_a_document_comes_with_the_next_step(synced: CommandLine) -> None:
    result = synced("explain", "material", "b3")

    assert result.exit_code == 0
    assert "QUARANTINED: the row cannot become a document: empty_text" in result.stdout
    assert "Next: mend the row, then `sync-pipeline sync tenant globex`" in result.stdout


def test_a_failed_document_shows_its_error_and_when_it_is_tried_again(run: CommandLine) -> None:
    run.store.refused = {"global-material-g1"}
    run("sync", "global")

    result = run("explain", "material", "g1")

    assert "FAILED: it could not be embedded or written, once: RejectedPointError" in result.stdout
    assert "next try 2" in " ".join(result.stdout.split())
    assert "Next: `sync-pipeline failed retry material g1 --now`" in result.stdout


def test_programs_get_everything_that_was_found(synced: CommandLine) -> None:
    answer = json.loads(synced("explain", "material", "a1", "--json").stdout)

    (document,) = answer.pop("documents")
    assert answer == {
        "entity_type": "material",
        "db_id": "a1",
        "searchable": True,
        "verdict": {"outcome": "searchable", "reason": "only acme finds it", "next_step": None},
    }
    assert set(document) == {
        "document_id", "has_row", "text", "rejection", "record", "point", "scope",
        "views",
    }  # fmt: skip
    assert document["text"] == "charred larch cladding"
    assert document["record"]["status"] == "synced"
    assert document["record"]["last_synced_at"].endswith("+00:00")
    assert document["point"]["has_current_text"] is True
    assert document["scope"]["lease"] is None
    (view,) = document["views"]
    assert (view["view"], view["state"], view["passages"], view["is_truncated"]) == (
        "text",
        "current",
        None,
        False,
    )


def test_an_unknown_row_is_an_answer_and_an_unknown_entity_wrong_usage(run: CommandLine) -> None:
    row_result = run("explain", "material", "nothing")
    entity_result = run("explain", "brick", "a1")

    assert row_result.exit_code == 0
    assert "NO ROW: no material has the id 'nothing'" in row_result.stdout
    assert entity_result.exit_code == 2
    assert "the configured ones are material, work" in entity_result.stderr


def test_a_text_cannot_command_the_terminal(run: CommandLine) -> None:
    run.source.tables["materials"].append(row("x", "[red]plaster[/red] \x1b[31m", tenant="acme"))

    result = run("explain", "material", "x")

    assert "[red]plaster[/red]" in result.stdout
    assert "\x1b" not in result.stdout
