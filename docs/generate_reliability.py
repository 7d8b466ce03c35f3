"""The page on reliability: each fault, what is promised, and the tests that show it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).resolve().parent.parent
TESTS: Final = ROOT / "sync_pipeline_tests"


class Scenario(NamedTuple):
    """One fault or attack."""

    title: str
    promise: str
    elsewhere: tuple[str, ...] = ()
    """Tests of other folders, ``folder/file.py::name``."""
    limit: str = ""
    """What is not promised."""


SCENARIOS: Final[Mapping[int, Scenario]] = {
    1: Scenario(
        "The source suddenly returns nothing",
        "A run that would delete more than its limit writes what is new, deletes nothing, and ends "
        "with the numbers; only an approval of exactly that number lets it through, once.",
        (
            "engine/test_sync.py::test_a_refused_mass_deletion_leaves_new_and_changed_documents_in_place",
        ),
    ),
    2: Scenario(
        "Row security hides rows",
        "A policy that would filter rows is an error before the index is touched.",
        ("sources/test_postgres.py::test_a_policy_that_hides_rows_is_an_error",),
    ),
    3: Scenario(
        "A transaction commits after a later one",
        "A full sync compares all rows, so nothing can be missed; an incremental one looks back by "
        "an overlap, and the change feed never skips by number.",
        ("sources/test_feed_durability.py::test_a_transaction_that_commits_late_is_not_overtaken",),
    ),
    4: Scenario(
        "Clocks are wrong",
        "No time of a row and no clock of ours decides what is written or deleted; a source whose "
        "clock was set back is still followed.",
        ("engine/test_healing.py::test_a_source_whose_clock_was_set_back_is_still_followed",),
        "A source clock set back right after a run was killed can leave that run's documents "
        "unrefreshed, or stale ones undeleted, until the clock has caught up; `verify` shows them.",
    ),
    5: Scenario(
        "Rows change while they are read",
        "A scan is one snapshot in one transaction, counted against itself.",
        ("sources/test_postgres.py::test_a_scan_sees_one_instant_whatever_is_written_meanwhile",),
    ),
    6: Scenario(
        "Engines disagree about boolean filters",
        "Who may see a point is one keyword field, filtered the same in every engine.",
    ),
    7: Scenario(
        "The record says synced, the index has lost it",
        "The index is the ledger: a full sync compares with what points carry, in both directions, "
        "and says how much it put back.",
        ("engine/test_healing.py::test_a_lost_index_is_rebuilt_from_the_cache",),
    ),
    8: Scenario(
        "Embedding or writing fails half way",
        "Points are overwritten in place and deletes come last, so nothing is away meanwhile.",
    ),
    9: Scenario(
        "The process is killed anywhere",
        "One clean run converges: nothing lost, nothing twice, no text embedded twice once kept.",
    ),
    10: Scenario(
        "Some batches fail",
        "A run whose batches did not all get through is no success.",
    ),
    11: Scenario(
        "An answer does not mean applied",
        "Only `completed` counts; after anything else the points themselves are read.",
        ("stores/test_server.py::test_a_silent_success_is_recognised_by_reading_back",),
    ),
    12: Scenario(
        "An old write arrives late",
        "Writes carry the snapshot's time and lose against newer points. A run that was cut off "
        "while it wrote, or that finds after a write that another one has its scope, leaves a "
        "note: the next sync is a full one.",
        (
            "stores/test_server.py::test_a_late_duplicate_does_not_undo_a_newer_write",
            "engine/test_orphans.py::test_a_point_that_came_back_after_its_tenant_was_removed_is_swept",
            "engine/test_cut_off.py::test_a_late_write_over_a_row_that_changed_back_is_found",
            "engine/test_cut_off.py::test_a_late_write_is_found_though_its_run_ends_with_another_error",
            "engine/test_cut_off.py::test_a_late_write_is_found_by_the_step_that_wrote_it",
            "engine/test_cut_off.py::test_a_point_that_nobody_recorded_goes_although_its_row_went_before",
            "engine/test_cut_off.py::test_a_scope_whose_run_was_cut_off_is_due_though_its_rows_are_as_they_were",
            "engine/test_cut_off.py::test_a_run_does_not_vouch_for_what_another_wrote_after_it_had_compared",
        ),
        "A request that the network itself delivers again, after its run has ended, leaves no "
        "note; nor does a run that is killed between a late write and its next look at the lease. "
        "Such a write can bring a deleted point back; the next full sync removes it, and where the "
        "whole tenant is gone, the daily maintenance job. It can also put an older text or owner "
        "into a document whose row was changed and changed back meanwhile, for then no newer "
        "write stands against it; the next full sync mends that.",
    ),
    13: Scenario(
        "The index crashes",
        "Whatever it lost is found missing, counted and written again.",
    ),
    14: Scenario(
        "An index of the index misses points",
        "Deletes are by id and read back; counts by scope are checked against the total.",
        (
            "stores/test_server.py::test_scopes_are_counted_from_the_points_where_the_index_misses_some",
        ),
    ),
    15: Scenario(
        "A delete hits a point that moved",
        "Deletes carry their owner and the time of their snapshot, and spare newer points; a move "
        "is one write in place.",
        (
            "engine/test_moves.py::test_a_delete_planned_before_a_move_does_not_touch_the_new_owners_point",
            "stores/test_contract.py::test_a_point_that_was_written_later_is_not_deleted",
        ),
    ),
    16: Scenario(
        "A row is deleted and inserted again",
        "It ends as one point with the new text; a delete that was planned before, however late "
        "it comes, spares it.",
    ),
    17: Scenario(
        "Two rows with one identity",
        "They are refused by name; global and tenant rows never mix.",
    ),
    18: Scenario(
        "A tenant is gone",
        "It is kept for a time of grace, then removed within limits; removal on request is counted "
        "and proven.",
        ("engine/test_offboard.py::",),
    ),
    19: Scenario(
        "The model, its dimension or the text rendering changes",
        "Vectors of two models never share a collection. The new generation is filled beside the "
        "one that serves, and a search is embedded by the model of the one that serves.",
        (
            "engine/test_generations.py::test_the_old_generation_serves_until_the_new_one_is_filled",
            "engine/test_generations.py::test_searches_are_embedded_by_the_model_of_the_generation_that_serves",
            "engine/test_sync.py::test_vectors_of_another_model_never_reach_the_same_collection",
        ),
    ),
    20: Scenario(
        "A new index goes live half full",
        "It serves once every scope is filled and verifies and known documents are found; the "
        "alias moves by one action, the generation before stays in step and can serve again at "
        "once.",
        (
            "engine/test_generations.py::test_a_scope_that_is_not_filled_holds_it_back_and_says_so",
            "engine/test_generations.py::test_documents_that_would_vanish_hold_it_back",
        ),
        "Where somebody writes all the time, a scope passes that differs from the source by no "
        "more than the generation that serves.",
    ),
    21: Scenario(
        "The connection to the source is cut",
        "An interrupted scan is no export: nothing can be deleted because of it.",
        ("sources/test_postgres.py::test_a_connection_lost_during_a_scan_ends_it_with_an_error",),
    ),
    22: Scenario(
        "The schema of the source drifts",
        "Missing columns are named before anything is read; lost texts are guarded like deletions.",
    ),
    23: Scenario(
        "One bad row among many",
        "It is quarantined or failed by name, every other row is synced, and it is released when "
        "mended.",
        ("engine/test_refusals.py::test_a_refused_text_fails_exactly_its_documents",),
    ),
    24: Scenario(
        "Numbers and vectors that are not finite",
        "They never reach the index.",
        ("stores/test_contract.py::",),
    ),
    25: Scenario(
        "Invisible or pathological text",
        "Text is normalised once, before it is hashed.",
    ),
    26: Scenario(
        "Texts of many megabytes",
        "They are cut by the server, before they cost memory here.",
        ("sources/test_postgres.py::test_texts_of_10_mb_are_cut_by_the_server",),
    ),
    27: Scenario(
        "A model ignores the end of a text",
        "Hashes cover the whole text, and truncated texts are counted; a service that reads less "
        "of a text than before stops the run.",
    ),
    28: Scenario(
        "Very large scopes",
        "Rows are streamed and compared part by part.",
    ),
    29: Scenario(
        "No room left",
        "It fails at once without retries; deletes go on; what was half written is not read.",
        ("staging/test_parquet_faults.py::",),
    ),
    30: Scenario(
        "The model fails",
        "Counts and values of vectors are checked; where memory runs out batches are halved. A "
        "fallback of the same model continues in place, proven by its canaries; with nobody left "
        "documents are pending, found by their words, and caught up.",
        (
            "embedding/test_embedder_contract.py::",
            (
                "reliability/test_embedding_services.py::"
                "test_no_wrong_vector_is_kept_and_no_call_goes_uncounted"
            ),
            "engine/test_fallback.py::test_a_provider_of_another_model_is_never_asked_for_a_text",
            "engine/test_standbys.py::test_documents_wait_are_found_by_words_and_are_caught_up",
        ),
        "Vectors in the wrong order are noticed only where a provider numbers them.",
    ),
    31: Scenario(
        "Rate limits and single failures",
        "Five attempts, waits as long as asked up to a minute; no document is charged. All "
        "processes keep to one pace, and calls, tokens and budgets are exact whatever fails.",
        (
            "stores/test_server.py::test_waits_grow_from_two_seconds_with_jitter",
            (
                "reliability/test_budgets_of_processes.py::"
                "test_a_budget_holds_to_the_token_and_every_call_is_counted"
            ),
        ),
    ),
    32: Scenario(
        "Limits of the server",
        "Batches are cut by bytes and halved where refused.",
        ("stores/test_server.py::test_requests_stay_below_the_byte_limit",),
    ),
    33: Scenario(
        "What is searchable as of when",
        "`in_sync_to` moves only after the index was measured.",
    ),
    34: Scenario(
        "Two runs of one scope, or one that wakes up late",
        "One writer per scope, by a lease with a rising token that is renewed beside the work; who "
        "lost it stops.",
        (
            "engine/test_lease.py::test_a_step_that_writes_nothing_for_three_lease_times_keeps_its_scope",
            "database/test_scope_leases_contract.py::test_a_run_that_lost_its_lease_is_stopped_before_it_writes",
        ),
    ),
    35: Scenario(
        "A run whose processes are all dead, or whose machine is lost",
        "It is ended when it has given no sign of life for three lease times, on whatever machine "
        "it was, or at once where that is this one; then it is tried again.",
        (
            "defs/test_dead_runs.py::test_a_run_whose_machine_was_lost_is_ended_after_three_lease_times",
            "defs/test_dead_runs.py::test_a_healthy_run_between_two_steps_is_left_alone",
            (
                "scale/test_celery.py::"
                "test_a_host_that_is_lost_costs_its_batches_in_flight_and_the_retry_runs_on_the_other"
            ),
            "defs/test_dead_runs.py::test_a_run_whose_process_was_killed_on_this_machine_is_ended_at_once",
        ),
    ),
    36: Scenario("A slot of a dead run", "It is freed, and nothing needs one to be correct."),
    37: Scenario(
        "A killed step",
        "Dead processes are retried as runs, failed steps as steps, never both.",
    ),
    38: Scenario(
        "Sensors that lose their place or tick twice",
        "They ask what is due; asking twice does nothing twice.",
        ("defs/test_schedules_and_sensors.py::test_a_tick_evaluated_twice_asks_for_the_same_runs",),
    ),
    39: Scenario(
        "Partitions that vanish, strange keys, too many",
        "A run of a tenant that is gone deletes nothing; keys are checked; they come in steps.",
        (
            "defs/test_schedules_and_sensors.py::test_one_tick_adds_a_bounded_number_of_tenants",
            (
                "defs/test_location.py::"
                "test_a_tenant_id_that_dagster_refuses_as_a_partition_key_is_no_tenant_id"
            ),
        ),
    ),
    40: Scenario(
        "A step executed again later",
        "Staged work belongs to one run and one lease; otherwise it is made again.",
        ("defs/test_runs.py::test_a_step_run_by_itself_works_on_the_source_as_it_is_now",),
    ),
    41: Scenario(
        "History that grows for ever",
        "Old runs go daily, and a run without changes is small.",
        (
            "defs/test_maintenance_job.py::test_old_runs_go_and_young_ones_stay",
            "defs/test_runs.py::test_events_of_a_run_without_changes_stay_small",
        ),
    ),
    42: Scenario(
        "Everything at once after an outage",
        "A command stops after two scopes that met the outage; all converge later.",
        ("hosting/test_orchestrator.py::test_an_outage_ends_the_command_after_two_scopes",),
    ),
    43: Scenario(
        "Old and new releases side by side",
        "Every point says which layout its payload has.",
        (),
        "A release does not refuse points of a newer layout yet: there is only one.",
    ),
    44: Scenario(
        "Settings change during a run",
        "They are read once and frozen.",
        ("settings/test_rules.py::test_settings_cannot_change",),
    ),
    45: Scenario(
        "A search without, or with a wrong, filter",
        "One function makes every query from the scope; every hit is checked again. Where the feed "
        "is installed, what left a tenant's sight is in no answer from its commit on.",
        (
            "engine/test_search.py::test_a_store_that_returns_a_foreign_document_is_caught_and_nothing_is_shown",
            "service/test_matrix.py::test_who_may_ask_what",
            "sources/test_feed_contract.py::test_what_is_consumed_while_one_looks_is_known_all_the_same",
        ),
    ),
    46: Scenario(
        "Filters that smuggle operators",
        "Fields come from an allow-list without our own, values are plain; the rest is refused.",
        (
            "service/test_search_api.py::test_what_cannot_be_answered_is_refused_with_the_reason",
            "service/test_fuzz.py::test_every_answer_is_one_that_the_description_promises",
        ),
    ),
    47: Scenario(
        "A tenant that says it is another one",
        "The tenant comes from the token alone, as a text that can be a tenant id; another one "
        "that is named is 403.",
        (
            "service/test_tokens.py::test_every_forged_token_gets_the_same_answer",
            "service/test_search_api.py::test_a_tenant_cannot_search_as_anybody_else",
        ),
    ),
    48: Scenario(
        "Forged tokens",
        "The settings fix algorithm and keys; every bad token gets the same 401.",
        (
            "service/test_tokens.py::test_every_forged_token_gets_the_same_answer",
            "service/test_tokens.py::test_the_public_key_is_no_secret_to_sign_with",
            "service/test_tokens.py::test_a_key_that_does_not_fit_is_refused_at_the_start",
            "service/test_tokens.py::test_keys_rotate_by_their_kid_while_the_service_runs",
        ),
    ),
    49: Scenario(
        "Keys of the index",
        "A refused key is an error by name and is never shown.",
        ("stores/test_server.py::test_the_key_is_never_sent_in_the_clear",),
        "What rights a key has is up to the server: Qdrant cannot separate tenants inside a "
        "collection, the filter above does.",
    ),
    50: Scenario(
        "Dagster's interface has no password",
        "It is shown to this machine only.",
        (
            "hosting/test_dev.py::test_an_interface_without_a_password_is_not_shown_to_other_machines",
        ),
    ),
    51: Scenario(
        "Secrets and texts in logs",
        "No password, key or text is in any log, record, message or run history.",
        (
            "settings/test_secrets.py::test_no_way_of_showing_settings_shows_a_secret",
            "service/test_guards.py::test_no_text_of_a_search_or_document_is_logged",
        ),
    ),
    52: Scenario(
        "Hostile names in settings",
        "Only plain identifiers are accepted, and they are quoted.",
        ("sources/test_postgres.py::test_hostile_names_are_only_names",),
    ),
    53: Scenario(
        "Addresses that lead elsewhere",
        "Plain web addresses only; redirects are not followed.",
    ),
    54: Scenario(
        "Requests that cost too much",
        "Bodies, texts, limits, time, waiting searches and requests of one caller are bounded; "
        "more is 413, 422, 429 or 503 with Retry-After.",
        (
            "service/test_guards.py::test_a_body_that_is_too_long_is_not_read",
            "service/test_guards.py::test_a_caller_who_asks_too_often_is_told_to_wait_and_others_are_not",
            "service/test_guards.py::test_an_answer_that_does_not_begin_in_time_is_a_503",
            "service/test_encoding.py::test_more_texts_than_may_wait_are_told_to_come_back",
        ),
    ),
    55: Scenario(
        "Answers that tell whether something exists",
        "A foreign document, request or tenant looks like one that there is not.",
        (
            "service/test_page.py::test_a_tenant_cannot_tell_a_foreign_document_from_none",
            "service/test_tokens.py::test_other_credentials_are_refused_alike",
        ),
    ),
    56: Scenario("Code inside data", "Nothing is unpickled, evaluated or trusted."),
    57: Scenario(
        "Texts guessed from vectors",
        "Vectors are never returned; a cache per scope and its removal can be had. Vectors of "
        "former texts are deleted by `cache prune`, which takes none from a sync that goes on.",
    ),
    58: Scenario(
        "Hostile texts",
        "They are stored and returned as they are, and do nothing; pages escape them, and "
        "assistants are told that they are data.",
        ("service/test_page.py::test_texts_and_keys_are_never_markup",),
    ),
    59: Scenario(
        "What a status tells of others",
        "A tenant sees its own scope and the global one; health says nothing but ok.",
        (
            "service/test_page.py::test_a_tenant_sees_its_own_scope_and_the_global_one",
            "service/test_matrix.py::test_who_may_ask_what",
        ),
    ),
    60: Scenario("The supply chain", "Pinned versions, no telemetry, nothing leaves the machine."),
    61: Scenario(
        "A key that is unique only per tenant",
        "An id may be several columns. Rows with one id are set aside row by row, by name; no "
        "tenant's row takes another's document; doctor says what to write.",
        (
            "sources/test_contract.py::test_ids_that_another_row_has_too_are_found_with_their_owners",
            "engine/test_doubles.py::test_who_has_the_document_keeps_it_whoever_is_synced_next",
            "core/test_row_id.py::test_two_rows_never_share_an_id",
        ),
    ),
    62: Scenario(
        "The feed is installed and does not see",
        "No statement of the application fails because of the feed; what got past it makes the "
        "next incremental sync a full one, which says so; what it cannot see is said.",
    ),
    63: Scenario(
        "A column does not mean what the mapping says",
        "A time of change is any type that can be one, and loses no change; others are refused by "
        "doctor and before the first read, also by their values.",
        (
            "sources/test_times.py::test_a_change_is_never_missed_and_an_old_one_is_not_looked_at",
            "sources/test_times.py::test_what_cannot_say_when_a_row_changed_is_refused_before_the_first_read",
            "sources/test_times.py::test_values_that_are_no_times_of_change_are_refused",
        ),
    ),
    64: Scenario(
        "Values lose their meaning",
        "A text is the words of a value; a number is kept exactly or as its text; what a payload "
        "shows can be asked for; a value that cannot be kept costs itself alone.",
        (
            "reliability/test_poison_and_limits.py::test_one_odd_value_inside_json_costs_no_row",
            "core/test_numbers.py::test_no_digit_of_a_number_is_lost",
        ),
    ),
    65: Scenario(
        "What a run was not told to read counts as deleted",
        "Completeness, deletion, status and search are judged per scope and entity; an entity that "
        "left the settings is named and kept until it is removed.",
    ),
    66: Scenario(
        "Encodings of databases and terminals",
        "A value that is no text quarantines its row by id; output degrades to escapes.",
    ),
    67: Scenario(
        "Addresses as people have them",
        "What libpq accepts works; a mistake is told from a server that is down, with the word "
        "that helps.",
    ),
    68: Scenario(
        "A table's cost is paid per scope",
        "Two rows of a tenant cost two rows, whatever the table's size, where an index begins with "
        "the id and one with the tenant.",
        limit="Where no index begins with the id and none makes it unique, each scope's export "
        "scans the table once.",
    ),
    69: Scenario(
        "A schema without our columns",
        "Owner, flag and condition may be columns, constants or rules, known to everything alike.",
        ("sources/test_contract.py::test_whose_rows_they_are_can_be_said_in_many_ways",),
    ),
    70: Scenario(
        "The model knows nothing of a text",
        "Texts of unknown words are counted and named by the sync and by doctor, with models that "
        "help.",
        (
            "cases/test_unknown_script.py::test_a_sync_counts_the_texts_that_the_model_does_not_know",
            "cases/test_unknown_script.py::test_doctor_names_the_view_and_a_model_that_helps",
        ),
    ),
    71: Scenario(
        "Small machines and other people's shells",
        "It works, or one message names the cause; a server without its socket is replaced.",
    ),
    72: Scenario(
        "A table that is being replaced",
        "Tables are locked before the snapshot is taken; to empty an entity of a scope needs an "
        "approval, whatever its share.",
    ),
}

NOT_HERE: Final[Mapping[str, str]] = {
    "S46, S47, S48, S54, S55, S59": "attacks on the HTTP service, which is not part of this "
    "release",
    "Power loss": "SIGKILL is tested, pulling the plug is not; a full sync repairs what it costs",
    "A real Qdrant server": "runs the stores' contract suite where SYNC_PIPELINE_TEST_QDRANT_URL "
    "is set; otherwise the client's memory mode and a stub with faults stand in for it",
}

_NAMED: Final = re.compile(r"test_((?:s\d\d_)+)")
_SAID: Final = re.compile(r"((?:S\d+(?:, )?)+): ")


@dataclass(frozen=True, slots=True)
class Test:
    """One test function."""

    path: str
    name: str
    claim: str


def reliability_page(generated: str) -> str:
    """The page.

    Raises:
        LookupError: a scenario without a test, a test of no scenario, or one that is not there.
    """
    found = _tests_by_scenario()
    unknown = sorted(found.keys() - SCENARIOS.keys())
    if unknown:
        raise LookupError(f"tests name scenarios that the page does not: {unknown}")
    rows = [_row(number, scenario, found) for number, scenario in SCENARIOS.items()]
    limits = [
        f"- S{number}: {scenario.limit}" for number, scenario in SCENARIOS.items() if scenario.limit
    ]
    others = [f"- {name}: {reason}." for name, reason in NOT_HERE.items()]
    mutants = [f"  - {name}" for name in _mutants()]
    return _PAGE.format(
        generated=generated,
        rows="\n".join(rows),
        limits="\n".join(limits),
        others="\n".join(others),
        mutants="\n".join(mutants),
        places=_places(),
    )


def _row(number: int, scenario: Scenario, found: Mapping[int, Sequence[Test]]) -> str:
    tests = [_link(test.path, test.name) for test in found.get(number, ())]
    tests += [_linked_elsewhere(place) for place in scenario.elsewhere]
    if not tests:
        raise LookupError(f"no test for scenario S{number}")
    return f"| S{number} | {scenario.title} | {scenario.promise} | {'<br>'.join(tests)} |"


def _linked_elsewhere(place: str) -> str:
    path, _, name = place.partition("::")
    full = f"sync_pipeline_tests/{path}"
    if name not in {test.name for test in _tests_of(ROOT / full)} | {""}:
        raise LookupError(f"there is no test {name} in {path}")
    return _link(full, name or path)


def _link(path: str, name: str) -> str:
    return f"[`{name.removeprefix('test_')}`](../{path})"


def _tests_by_scenario() -> dict[int, list[Test]]:
    found: dict[int, list[Test]] = {}
    for path in sorted(TESTS.glob("**/test_*.py")):
        for test in _tests_of(path):
            for number in _numbers(test):
                found.setdefault(number, []).append(test)
    return found


def _numbers(test: Test) -> list[int]:
    named = _NAMED.match(test.name)
    said = _SAID.match(test.claim)
    text = (named.group(1) if named else "") + (said.group(1) if said else "")
    return [int(number) for number in re.findall(r"\d+", text)]


def _tests_of(path: Path) -> Iterator[Test]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            claim = (ast.get_docstring(node) or "").split("\n")[0]
            yield Test(path.relative_to(ROOT).as_posix(), node.name, claim)


def _mutants() -> Iterator[str]:
    """Names of what is taken out, read without importing the tests."""
    tree = ast.parse((TESTS / "reliability" / "mutant.py").read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.value, ast.Dict):
            for key in node.value.keys:
                if isinstance(key, ast.Constant):
                    yield str(key.value)


def _places() -> int:
    """At how many calls processes are killed."""
    tree = ast.parse((TESTS / "reliability" / "test_crashes.py").read_text(encoding="utf-8"))
    for node in tree.body:
        if (
            isinstance(node, ast.AnnAssign)
            and isinstance(node.target, ast.Name)
            and node.target.id == "PLACES"
            and isinstance(node.value, ast.Tuple)
        ):
            return len(node.value.elts)
    raise LookupError("test_crashes.py names no places")


_PAGE: Final = """\
# Reliability

<!-- {generated} -->

What can go wrong, what is promised then, and the tests that show it. In short:

1. no tenant ever sees another tenant's document;
2. after a successful sync the index equals the source, whatever crashed before;
3. nothing is deleted because something else failed;
4. a text is embedded once.

## Faults

| | Fault | Promise | Tests |
| --- | --- | --- | --- |
{rows}

## What is not promised

{limits}

Not proven here:

{others}

## How it is tested

- **Random histories.** A state machine changes rows, loses parts of the index and the record,
  kills and interrupts runs at any call, lets runs overtake each other, loses the feed, replaces
  tables, edits the settings, and compares with a Python
  dictionary: after each successful sync the scope is exactly its rows, revisions never go back, a
  point is deleted only if its row is not in the run's own snapshot, nobody finds what is not
  theirs, a plan is what the sync then does, and a second sync does nothing. At least 2,000 steps
  with every `make test`; `make soak SECONDS=3600` goes on for as long as you like and prints seeds.
- **Real crashes.** Processes with a real PostgreSQL and a real index kill themselves with SIGKILL
  at {places} named moments; `make chaos` does it twenty times at each. Then it kills the command
  line at random moments for ten minutes, and for another ten a running `sync-pipeline dev` while
  rows change: its interface, daemon, code servers, run workers, follower of the feed, any one or
  all at once. What has ended is started again as a service manager would. Afterwards `dev` has to
  reach the source by itself, and the points have to be exactly the rows: none lost, none twice,
  none in a scope that is not theirs. `make test` kills once at each moment, and the command line
  for some seconds. `make model-change` kills syncs and switches of a new generation of 55,000
  documents while somebody writes and applications search;
  [what the last long runs printed](long-runs.md).
- **Faults on command.** A server that answers as Qdrant does, late, wrongly, twice or not at all; a
  database that cuts connections and hides rows; a model that refuses, runs out of memory and lies.
- **Guards taken out.** A promise is tested only if its test fails without the guard. So these are
  taken out, one by one, and the test has to fail:

{mutants}
"""
