"""What ``explain`` finds in an installation, state by state."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sync_pipeline.core.changes import Operation
from sync_pipeline.core.errors import ConfigurationError
from sync_pipeline.core.explanation import Explanation, Outcome
from sync_pipeline.core.scope import Scope
from sync_pipeline.embedding.hashing import HashingEmbedder
from sync_pipeline.engine.questions.explain import (
    SHOWN_CHARACTERS,
    explain_document,
    explain_row,
)
from sync_pipeline_tests.engine.world import MATERIAL, World
from sync_pipeline_tests.fakes.feed import FakeChangeFeed
from sync_pipeline_tests.fakes.watched import When, watch_context


def explain(world: World, row_id: str, *, entity_type: str = "material") -> Explanation:
    before = world.everything()
    found = explain_row(world.sync, entity_type=entity_type, row_id=row_id)
    assert world.everything() == before
    return found


def told(found: Explanation) -> tuple[Outcome, bool, str | None]:
    verdict = found.verdict
    return verdict.outcome, verdict.is_searchable, verdict.next_step


def test_a_synced_row_is_searchable_by_its_tenant_alone(world: World) -> None:
    world.put("1", name="gypsum plaster")
    world.run("acme")

    found = explain(world, "1")

    assert told(found) == (Outcome.SEARCHABLE, True, None)
    assert found.verdict.reason == "only acme finds it"
    (document,) = found.documents
    assert document.document_id == "tenant-material-1"
    assert document.text is not None
    assert document.text.startswith("gypsum plaster")
    assert document.record is not None
    assert document.point is not None
    assert (document.record.status, document.point.scope_key) == ("synced", "acme")
    assert document.scope.in_sync_to is not None


def test_a_global_row_is_searchable_by_everybody(world: World) -> None:
    world.put("1", tenant_id=None, is_global=True)
    world.run("global")

    assert explain(world, "1").verdict.reason == "every tenant finds it"


def test_before_the_first_sync_the_scope_has_to_be_synced(world: World) -> None:
    world.put("1")

    found = explain(world, "1")

    assert told(found) == (Outcome.NOT_SYNCED, False, "`sync-pipeline sync tenant acme`")
    assert found.verdict.reason == "scope 'acme' has never been synced"


def test_a_row_that_is_newer_than_the_last_sync_waits_for_the_next(world: World) -> None:
    world.put("1")
    world.run("acme")
    world.put("2")

    found = explain(world, "2")

    assert told(found) == (Outcome.NOT_SYNCED, False, "`sync-pipeline sync tenant acme`")
    assert "was last synced as of 2026-01-01" in found.verdict.reason


def test_a_row_whose_scope_is_being_synced_only_has_to_wait(world: World) -> None:
    world.put("1")
    world.leases.acquire(scope=Scope("acme"), owner="run-9", ttl_seconds=60)

    found = explain(world, "1")

    assert told(found) == (Outcome.NOT_SYNCED, False, "wait for that run, then ask again")
    assert "being synced now by run-9" in found.verdict.reason


def test_a_row_without_text_is_quarantined_with_the_reason(world: World) -> None:
    world.put("1", name=None, unit=None)
    world.run("acme")

    found = explain(world, "1")

    outcome, is_searchable, next_step = told(found)
    assert (outcome, is_searchable) == (Outcome.QUARANTINED, False)
    assert "empty_text, nothing to embed in name" in found.verdict.reason
    assert next_step == "mend the row, then `sync-pipeline sync tenant acme`"
    assert found.documents[0].text is None


def test_a_row_that_broke_after_it_was_synced_is_still_found_as_it_was(world: World) -> None:
    world.put("1")
    world.run("acme")
    world.put("1", name=None, unit=None)

    found = explain(world, "1")

    assert told(found)[:2] == (Outcome.QUARANTINED, True)
    assert found.verdict.reason.endswith("searchable until the next sync")


def test_a_document_that_the_index_refuses_is_failed_with_its_error(world: World) -> None:
    world.put("1")
    world.store.refused = {"tenant-material-1"}
    world.run("acme")

    found = explain(world, "1")

    step = "`sync-pipeline failed retry material 1 --now`"
    assert told(found) == (Outcome.FAILED, False, step)
    assert "once: RejectedPointError" in found.verdict.reason


def test_a_row_that_changed_since_is_found_with_its_old_text(world: World) -> None:
    world.put("1")
    world.run("acme")
    world.put("1", name="something else")

    found = explain(world, "1")

    assert told(found) == (Outcome.OUTDATED, True, "`sync-pipeline sync tenant acme`")
    assert found.verdict.reason == "it is searchable with an older text: only acme finds it"


def test_a_row_whose_payload_changed_says_so(world: World) -> None:
    world.put("1")
    world.run("acme")
    world.put("1", price=99)

    assert "with an older payload" in explain(world, "1").verdict.reason


def test_a_point_that_the_index_has_lost_is_named_as_lost(world: World) -> None:
    world.put("1")
    world.run("acme")
    point_id = world.points["tenant-material-1"].point_id
    world.store.delete(world.collection, [point_id], scope_key="acme")

    assert told(explain(world, "1")) == (
        Outcome.LOST,
        False,
        "`sync-pipeline sync tenant acme`",
    )


def test_a_deleted_row_is_still_found_until_the_next_sync(world: World) -> None:
    world.put_many("1", "2")
    world.run("acme")
    world.remove("1")

    found = explain(world, "1")

    assert told(found) == (Outcome.LEFTOVER, True, "`sync-pipeline sync tenant acme`")
    assert "only acme finds it" in found.verdict.reason


def test_a_row_that_moved_to_another_tenant_is_still_the_old_ones(world: World) -> None:
    world.put("1")
    world.run("acme")
    world.put("1", tenant_id="globex")

    found = explain(world, "1")

    assert told(found) == (Outcome.OUTDATED, True, "`sync-pipeline sync tenant globex`")
    assert "belongs to 'globex' now" in found.verdict.reason
    assert "only acme finds it" in found.verdict.reason


def test_a_row_that_became_global_is_told_with_both_of_its_documents(world: World) -> None:
    world.put("1")
    world.run("acme")
    world.put("1", is_global=True)

    before = explain(world, "1")
    world.run("global")
    after = explain(world, "1")

    assert [found.document_id for found in before.documents] == [
        "global-material-1",
        "tenant-material-1",
    ]
    assert told(before) == (Outcome.NOT_SYNCED, False, "`sync-pipeline sync global`")
    assert told(after) == (Outcome.LEFTOVER, True, "`sync-pipeline sync tenant acme`")


def test_a_row_that_nobody_knows_is_told_as_such(world: World) -> None:
    world.put("1")
    world.run("acme")

    found = explain(world, "2")

    assert found.documents == ()
    assert told(found)[:2] == (Outcome.NO_ROW, False)
    assert "no material has the id '2'" in found.verdict.reason


def test_two_tenants_with_one_id_are_named(world: World) -> None:
    acme = world.put("1")
    world.source.tables["materials"].append({**acme, "tenant_id": "globex"})

    found = explain(world, "1")

    assert told(found)[:2] == (Outcome.AMBIGUOUS, False)
    assert "acme and globex both have a material with the id '1'" in found.verdict.reason


def test_an_index_of_other_settings_is_told_before_anything_else(world: World) -> None:
    world.put("1")
    world.run("acme")
    changed = world.sync.rebound(embedder=HashingEmbedder(dimension=32))

    found = explain_row(changed, entity_type="material", row_id="1")  # nobody can open the other

    assert found.verdict.outcome is Outcome.OTHER_SETTINGS
    assert "Vectors of two models cannot be mixed" in found.verdict.reason


def test_only_the_beginning_of_a_long_text_is_shown(world: World) -> None:
    world.put("1", name="brick " * 100)

    text = explain(world, "1").documents[0].text

    assert text is not None
    assert len(text) == SHOWN_CHARACTERS + len("...")


def test_waiting_changes_of_the_scope_are_counted(world: World) -> None:
    world.put_many("1", "2")
    world.run("acme")
    feed = FakeChangeFeed()
    feed.install([MATERIAL])
    feed.record(Operation.UPDATE, entity_type="material", db_id="1", old="acme", new="acme")

    found = explain_row(replace(world.sync, feed=feed), entity_type="material", row_id="1")

    (document,) = found.documents

    assert document.scope.pending_events == 1


def test_an_unknown_entity_is_wrong_usage(world: World) -> None:
    with pytest.raises(ConfigurationError, match=r"no entity 'brick'.* material, work"):
        explain(world, "1", entity_type="brick")


# --- one document, as one scope ---------------------------------------------------------


def test_one_document_is_explained_and_not_what_else_the_row_is(world: World) -> None:
    world.put("1", name="gypsum plaster")
    world.run("acme")

    found = explain_document(world.sync, document_id="tenant-material-1", scope=Scope("acme"))

    assert found is not None
    assert told(found) == (Outcome.SEARCHABLE, True, None)
    assert [document.document_id for document in found.documents] == ["tenant-material-1"]
    assert explain_document(world.sync, document_id="global-material-1") is None
    assert explain_document(world.sync, document_id="tenant-lamp-1") is None


def asked_about(world: World, row_id: str) -> list[str]:
    """Every question that the ports are asked about another tenant's document."""
    asked: list[str] = []

    def listen(call: str, when: When) -> None:
        asked.append(f"{when} {call}")

    sync = watch_context(world.sync, listen)
    name = f"tenant-material-{row_id}"
    assert explain_document(sync, document_id=name, scope=Scope("globex")) is None
    return asked


def test_a_foreign_document_costs_the_questions_that_an_unknown_one_costs(world: World) -> None:
    world.put("1", name="gypsum plaster")
    world.run("acme")

    questions = asked_about(world, "1")

    assert questions == asked_about(world, "nobody's")
    assert "after state.get" in questions
