"""What every ``ScopeStates`` promises: records of scopes, and leases."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import pytest

from sync_pipeline.core.ports import EntityResult, EntitySnapshot, Fence, ScopeSnapshot, ScopeStates
from sync_pipeline.core.scope import GLOBAL, Scope
from sync_pipeline_tests.database.documents import ACME, GLOBEX, LATER, NOON

MATERIAL: Final = ("material",)


def succeed(
    scopes: ScopeStates,
    scope: Scope,
    *,
    documents: int = 3,
    snapshot_at: datetime = NOON,
    is_full: bool = True,
    digest: str | None = None,
    entity_types: Sequence[str] = ("material",),
    feed_epoch: str | None = None,
    token: int = 1,
) -> None:
    scopes.record_success(
        Fence(scope.key, "run-1", token),
        entities=[
            EntityResult(
                entity_type=entity_type,
                rows=documents + 1,
                documents=documents,
                quarantined=1,
                failed=2,
                digest=digest,
                feed_epoch=feed_epoch,
            )
            for entity_type in entity_types
        ],
        snapshot_at=snapshot_at,
        is_full=is_full,
    )


def snapshot_of(scopes: ScopeStates, scope: Scope) -> ScopeSnapshot:
    found = scopes.get(scope=scope)
    assert found is not None
    return found


def entities_of(scopes: ScopeStates, scope: Scope) -> dict[str, EntitySnapshot]:
    found = scopes.list_entities(scopes=[scope])
    return {known.entity_type: known for known in found}


def test_an_unknown_scope_has_no_record(scopes: ScopeStates) -> None:
    assert scopes.get(scope=ACME) is None
    assert scopes.list_all() == []


def test_a_success_is_recorded_with_its_counts_and_moments(scopes: ScopeStates) -> None:
    succeed(scopes, ACME, digest="d1")

    found = snapshot_of(scopes, ACME)

    assert (found.rows, found.documents, found.quarantined, found.failed) == (4, 3, 1, 2)
    assert (found.scope_key, found.digest, found.vanished_at) == ("acme", "d1", None)
    assert (found.source_snapshot_at, found.last_full_at) == (NOON, NOON)
    assert found.last_success_at is not None
    assert found.last_success_at.utcoffset() is not None


def test_an_incremental_success_keeps_when_the_last_full_one_was(scopes: ScopeStates) -> None:
    succeed(scopes, ACME, snapshot_at=NOON)
    succeed(scopes, ACME, documents=5, snapshot_at=LATER, is_full=False)

    found = snapshot_of(scopes, ACME)

    assert (found.documents, found.source_snapshot_at, found.last_full_at) == (5, LATER, NOON)


def test_a_success_without_a_digest_forgets_the_old_one(scopes: ScopeStates) -> None:
    succeed(scopes, ACME, digest="d1")
    succeed(scopes, ACME, snapshot_at=LATER)

    assert snapshot_of(scopes, ACME).digest is None


def test_an_older_snapshot_does_not_replace_a_newer_record(scopes: ScopeStates) -> None:
    succeed(scopes, ACME, documents=5, snapshot_at=LATER)
    succeed(scopes, ACME, documents=3, snapshot_at=NOON)

    assert snapshot_of(scopes, ACME).documents == 5


def test_scopes_are_listed_by_key_and_per_collection(
    scopes: ScopeStates, scopes_of_another: ScopeStates
) -> None:
    for scope in (GLOBEX, GLOBAL, ACME, Scope("Ёж"), Scope("Zed")):
        succeed(scopes, scope)

    keys = [found.scope_key for found in scopes.list_all()]

    assert keys == ["Zed", "acme", "global", "globex", "Ёж"]
    assert scopes_of_another.list_all() == []


def test_only_recorded_scopes_are_marked_as_vanished(scopes: ScopeStates) -> None:
    succeed(scopes, ACME)
    succeed(scopes, GLOBEX)

    marked = scopes.mark_vanished(scope_keys=["acme", "unknown"], entity_types=MATERIAL)

    assert [found.scope_key for found in marked] == ["acme"]
    assert marked[0].vanished_at is not None
    assert snapshot_of(scopes, GLOBEX).vanished_at is None


def test_a_vanished_scope_keeps_since_when(scopes: ScopeStates) -> None:
    succeed(scopes, ACME)
    first = scopes.mark_vanished(scope_keys=["acme"], entity_types=MATERIAL)

    second = scopes.mark_vanished(scope_keys=["acme"], entity_types=MATERIAL)

    assert second == first


def test_a_scope_that_has_rows_again_loses_its_mark(scopes: ScopeStates) -> None:
    succeed(scopes, ACME)
    scopes.mark_vanished(scope_keys=["acme"], entity_types=MATERIAL)

    marked = scopes.mark_vanished(scope_keys=[], entity_types=MATERIAL)

    assert marked == []
    assert snapshot_of(scopes, ACME).vanished_at is None


def test_a_success_does_not_remove_a_mark(scopes: ScopeStates) -> None:
    succeed(scopes, ACME)
    scopes.mark_vanished(scope_keys=["acme"], entity_types=MATERIAL)

    succeed(scopes, ACME, documents=0, snapshot_at=LATER)

    assert snapshot_of(scopes, ACME).vanished_at is not None


def test_a_forgotten_scope_has_no_record(scopes: ScopeStates) -> None:
    succeed(scopes, ACME)

    scopes.forget(scope=ACME)
    scopes.forget(scope=ACME)

    assert scopes.get(scope=ACME) is None


# --- leases -----------------------------------------------------------------------------


def test_another_entity_of_the_scope_is_recorded_by_itself(scopes: ScopeStates) -> None:
    succeed(scopes, ACME, entity_types=["material"], digest="m1", feed_epoch="e1")
    before = entities_of(scopes, ACME)["material"]

    succeed(scopes, ACME, entity_types=["work"], documents=7, snapshot_at=LATER, is_full=False)

    found = entities_of(scopes, ACME)
    assert found["material"] == before
    assert (before.digest, before.feed_epoch, before.source_snapshot_at) == ("m1", "e1", NOON)
    work = found["work"]
    assert (work.documents, work.digest, work.last_full_at) == (7, None, None)
    assert work.source_snapshot_at == LATER


def test_the_record_of_a_scope_is_the_sum_of_its_entities_and_as_old_as_the_oldest(
    scopes: ScopeStates,
) -> None:
    succeed(scopes, ACME, entity_types=["material"], digest="m1")
    succeed(scopes, ACME, entity_types=["work"], documents=7, digest="w1", snapshot_at=LATER)

    found = snapshot_of(scopes, ACME)

    assert (found.rows, found.documents, found.quarantined, found.failed) == (12, 10, 2, 4)
    assert (found.digest, found.source_snapshot_at) == ("m1 w1", NOON)
    assert found.last_full_at == NOON


def test_a_scope_with_an_entity_that_never_had_a_full_sync_had_none_itself(
    scopes: ScopeStates,
) -> None:
    succeed(scopes, ACME, entity_types=["material"], digest="m1")
    succeed(scopes, ACME, entity_types=["work"], is_full=False)

    found = snapshot_of(scopes, ACME)

    assert (found.digest, found.last_full_at) == (None, None)


def test_an_incremental_success_keeps_the_epoch_of_the_feed(scopes: ScopeStates) -> None:
    succeed(scopes, ACME, feed_epoch="e1")

    succeed(scopes, ACME, feed_epoch="e2", is_full=False, snapshot_at=LATER)

    assert entities_of(scopes, ACME)["material"].feed_epoch == "e1"


def test_a_late_record_of_one_entity_does_not_hold_up_another(scopes: ScopeStates) -> None:
    succeed(scopes, ACME, entity_types=["material"], snapshot_at=LATER)

    succeed(scopes, ACME, entity_types=["material", "work"], documents=9, snapshot_at=NOON)

    found = entities_of(scopes, ACME)
    assert (found["material"].documents, found["work"].documents) == (3, 9)


def test_entities_are_listed_by_scope_and_name_of_the_scopes_asked_for(
    scopes: ScopeStates,
) -> None:
    for scope in (GLOBEX, ACME, GLOBAL):
        succeed(scopes, scope, entity_types=["work", "material"])

    listed = scopes.list_entities(scopes=[GLOBEX, ACME])

    assert [(one.scope_key, one.entity_type) for one in listed] == [
        ("acme", "material"),
        ("acme", "work"),
        ("globex", "material"),
        ("globex", "work"),
    ]
    assert len(scopes.list_entities()) == 6
    assert scopes.list_entities(scopes=[]) == []


def test_only_the_entities_named_are_marked_as_vanished(scopes: ScopeStates) -> None:
    succeed(scopes, ACME, entity_types=["material", "work"])
    work = ("work",)
    scopes.mark_vanished(scope_keys=["acme"], entity_types=MATERIAL)

    marked = scopes.mark_vanished(scope_keys=[], entity_types=work)

    assert marked == []
    assert entities_of(scopes, ACME)["material"].vanished_at is not None
    assert entities_of(scopes, ACME)["work"].vanished_at is None
    assert snapshot_of(scopes, ACME).vanished_at is None


def test_one_entity_is_forgotten_without_the_others(scopes: ScopeStates) -> None:
    succeed(scopes, ACME, entity_types=["material", "work"])

    scopes.forget(scope=ACME, entity_types=["work"])

    assert list(entities_of(scopes, ACME)) == ["material"]
    assert snapshot_of(scopes, ACME).documents == 3


def test_the_last_entity_that_is_forgotten_takes_the_scope_with_it(scopes: ScopeStates) -> None:
    succeed(scopes, ACME)
    succeed(scopes, GLOBEX)

    scopes.forget(scope=ACME, entity_types=MATERIAL)

    assert [found.scope_key for found in scopes.list_all()] == ["globex"]


# --- who writes -------------------------------------------------------------------------


def note(
    scopes: ScopeStates,
    token: int,
    *,
    over_others: bool = False,
    entities: Sequence[str] = MATERIAL,
) -> None:
    scopes.note_writing(
        Fence("acme", f"run-{token}", token),
        entity_types=entities,
        over_others=over_others,
    )


def noted(scopes: ScopeStates, scope: Scope = ACME) -> dict[str, int | None]:
    listed = scopes.list_entities(scopes=[scope])
    return {known.entity_type: known.writing_token for known in listed}


def test_a_run_that_writes_is_noted_for_what_it_writes(scopes: ScopeStates) -> None:
    succeed(scopes, ACME, entity_types=["material", "work"])
    succeed(scopes, GLOBEX)
    unnoted = noted(scopes)

    note(scopes, 2)

    assert unnoted == {"material": None, "work": None}
    assert noted(scopes) == {"material": 2, "work": None}
    assert noted(scopes, GLOBEX) == {"material": None}


def test_nothing_is_noted_of_a_scope_that_was_never_synced(scopes: ScopeStates) -> None:
    note(scopes, 2)

    assert noted(scopes) == {}
    assert scopes.get(scope=ACME) is None


@pytest.mark.parametrize(("over_others", "expected"), [(False, 2), (True, 1)])
def test_the_note_of_another_run_gives_way_only_where_it_is_to(
    scopes: ScopeStates, *, over_others: bool, expected: int
) -> None:
    succeed(scopes, ACME)
    note(scopes, 2)

    note(scopes, 1, over_others=over_others)

    assert noted(scopes) == {"material": expected}


@pytest.mark.parametrize(("token", "expected"), [(2, None), (1, 2), (3, 2)])
def test_a_success_ends_the_note_of_its_own_run_alone(
    scopes: ScopeStates, token: int, expected: int | None
) -> None:
    succeed(scopes, ACME)
    note(scopes, 2)

    succeed(scopes, ACME, snapshot_at=LATER, token=token)

    assert noted(scopes) == {"material": expected}


def test_the_scopes_of_a_dropped_collection_are_forgotten_and_no_others(
    scopes: ScopeStates, scopes_of_another: ScopeStates
) -> None:
    for recorded in (scopes, scopes_of_another):
        succeed(recorded, ACME)
    succeed(scopes, GLOBEX)

    scopes.clear()

    assert scopes.list_all() == []
    assert scopes.list_entities() == []
    assert [found.scope_key for found in scopes_of_another.list_all()] == ["acme"]
