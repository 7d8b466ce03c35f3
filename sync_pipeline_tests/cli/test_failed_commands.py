from __future__ import annotations

import json

import pytest

from sync_pipeline_tests.cli.installed import CommandLine

REFUSED = {"global-material-g1", "tenant-material-b1"}


@pytest.fixture
def failing(run: CommandLine) -> CommandLine:
    """After a sync in which the index refused two documents; it refuses none any more."""
    run.store.refused = set(REFUSED)
    assert run("sync", "all").exit_code == 1
    run.store.refused = set()
    return run


def test_failed_documents_are_listed_with_their_error(failing: CommandLine) -> None:
    answer = json.loads(failing("failed", "list", "--json").stdout)

    first, second = answer["documents"]
    assert (second["scope_key"], second["document_id"]) == ("globex", "tenant-material-b1")
    assert first.pop("last_attempt_at").endswith("+00:00")
    assert first.pop("next_retry_at").endswith("+00:00")
    assert first == {
        "scope_key": "global",
        "entity_type": "material",
        "db_id": "g1",
        "document_id": "global-material-g1",
        "error_code": "RejectedPointError",
        "error": "the index refuses document 'global-material-g1': this fake was told so",
        "attempts": 1,
        "last_synced_at": None,
    }


def test_people_see_a_table_of_one_scope(failing: CommandLine) -> None:
    shown = failing("failed", "list", "--tenant", "globex").stdout

    assert "RejectedPointError" in shown
    assert "b1" in shown
    assert "g1" not in shown


def test_sync_and_status_say_where_to_look(failing: CommandLine) -> None:
    assert "`sync-pipeline failed list` names them" in failing("status").stdout


def test_no_failure_is_said_in_words(synced: CommandLine) -> None:
    assert synced("failed", "list").stdout == "No document has failed.\n"


def test_retry_now_syncs_the_scope_of_the_row(failing: CommandLine) -> None:
    result = failing("failed", "retry", "material", "g1", "--now", "--json")

    answer = json.loads(result.stdout)
    assert result.exit_code == 0
    assert (answer["ok"], answer["due"]) == (True, {"global": 1})
    assert [scope["scope_key"] for scope in answer["sync"]["scopes"]] == ["global"]
    assert failing.documents() & REFUSED == {"global-material-g1"}


def test_retry_now_of_everything_mends_everything(failing: CommandLine) -> None:
    result = failing("failed", "retry", "--all", "--now")

    assert result.exit_code == 0
    assert failing.documents() >= REFUSED
    assert failing("failed", "list").stdout == "No document has failed.\n"


def test_retry_now_ends_with_1_where_it_fails_again(failing: CommandLine) -> None:
    failing.store.refused = set(REFUSED)

    result = failing("failed", "retry", "--tenant", "globex", "--now", "--json")

    answer = json.loads(result.stdout)
    assert (result.exit_code, answer["ok"]) == (1, False)
    assert answer["sync"]["totals"]["failed"] == 1


def test_retry_without_now_makes_them_due_and_says_what_to_run(failing: CommandLine) -> None:
    result = failing("failed", "retry", "--all")

    assert result.exit_code == 0
    assert "Due now: 2 documents." in result.stdout
    assert (
        "`sync-pipeline sync global --force` and `sync-pipeline sync tenant globex --force`"
        in result.stdout
    )
    assert failing.sync.state.count_due_retries() == {
        "global": 1,
        "globex": 1,
    }
    assert failing.documents() & REFUSED == set()


def test_nothing_to_retry_is_said_and_not_an_error(synced: CommandLine) -> None:
    result = synced("failed", "retry", "material", "a1", "--now")

    assert (result.exit_code, result.stdout) == (
        0,
        "Nothing to try again: no such document has failed.\n",
    )


@pytest.mark.parametrize(
    "words",
    [
        pytest.param([], id="nothing"),
        pytest.param(["material"], id="an entity without a row"),
        pytest.param(["material", "a1", "--all"], id="a row and everything"),
        pytest.param(["--tenant", "acme", "--all"], id="a scope and everything"),
        pytest.param(["brick", "a1"], id="an unknown entity"),
    ],
)
@pytest.mark.parametrize("group", [["failed", "retry"], ["quarantine", "release"]])
def test_it_has_to_be_said_which_ones(run: CommandLine, group: list[str], words: list[str]) -> None:
    result = run(*group, *words)

    assert result.exit_code == 2
    assert "say which ones" in result.stderr or "no entity 'brick'" in result.stderr


def test_released_rows_are_judged_anew_by_the_next_sync(synced: CommandLine) -> None:
    released = json.loads(synced("quarantine", "release", "material", "b3", "--json").stdout)
    between = json.loads(synced("quarantine", "list", "--json").stdout)
    synced("sync", "tenant", "globex", "--force")
    after = json.loads(synced("quarantine", "list", "--json").stdout)

    assert released == {"ok": True, "released": {"globex": 1}, "sync": None}
    assert between == {"rows": []}
    assert [row["db_id"] for row in after["rows"]] == ["b3"]


def test_release_says_that_unusable_rows_come_back(synced: CommandLine) -> None:
    result = synced("quarantine", "release", "--tenant", "globex")

    assert "Released: 1 rows." in result.stdout
    assert "`sync-pipeline sync tenant globex --force`; those that are still" in result.stdout


def test_release_now_takes_a_mended_row_into_the_index(synced: CommandLine) -> None:
    (broken,) = (row for row in synced.source.tables["materials"] if row["id"] == "b3")
    broken["name"] = "mended"

    result = synced("quarantine", "release", "--all", "--now")

    assert result.exit_code == 0
    assert "tenant-material-b3" in synced.documents()


def test_nothing_to_release_is_said_and_not_an_error(synced: CommandLine) -> None:
    result = synced("quarantine", "release", "--tenant", "acme")

    assert result.exit_code == 0
    assert result.stdout == "Nothing to release: no such row is quarantined.\n"
