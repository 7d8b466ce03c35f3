"""What every ``IndexState`` promises."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from sync_pipeline.core.hashing import digest, point_id
from sync_pipeline.core.payload import combine_hashes
from sync_pipeline.core.ports import FailedDocument, IndexState, StateRow, ViewCounts
from sync_pipeline.core.scope import GLOBAL, Scope
from sync_pipeline_tests.database.documents import (
    ACME,
    GLOBEX,
    LATER,
    MODEL,
    NOON,
    failure,
    row,
)


def record(
    state: IndexState, *rows: StateRow, scope: Scope = ACME, snapshot_at: datetime = NOON
) -> None:
    state.record_synced(
        scope=scope,
        rows=rows,
        snapshot_at=snapshot_at,
        vector_version=MODEL,
    )


def fail(state: IndexState, number: int, *, scope: Scope = ACME, error: str = "refused") -> None:
    state.record_failed(scope=scope, failures=[failure(number, error)])


def recorded(
    state: IndexState,
    *,
    scope: Scope = ACME,
    views: tuple[str, ...] = ("text",),
    start: str | None = None,
    stop: str | None = None,
) -> list[tuple[str, str, str]]:
    """Point id, content and payload digests, as texts, in the order they come."""
    return [
        (identity.decode(), content.decode(), payload.decode())
        for part in state.iter_digests(scope=scope, views=views, start=start, stop=stop)
        for identity, content, payload in zip(
            part.point_ids, part.contents, part.payloads, strict=True
        )
    ]


def test_what_is_recorded_is_read_back_in_order_of_point_id(state: IndexState) -> None:
    rows = [row(number) for number in range(20)]

    record(state, *rows)

    expected = sorted((it.point_id, it.embed_hashes["text"], it.payload_hash) for it in rows)
    assert recorded(state) == expected


def test_recording_the_same_twice_is_the_same_as_once(state: IndexState) -> None:
    record(state, row(1), row(2))
    record(state, row(1), row(2))

    assert len(recorded(state)) == 2
    assert state.count_by_scope() == {"acme": {"synced": 2}}


def test_recording_nothing_is_not_an_error(state: IndexState) -> None:
    record(state)
    state.record_failed(scope=ACME, failures=[])

    assert state.count_by_scope() == {}


def test_the_last_of_two_rows_for_one_document_counts(state: IndexState) -> None:
    record(state, row(1, content="old"), row(1, content="new"))

    assert recorded(state) == [(row(1).point_id, digest("new"), row(1, content="new").payload_hash)]


def test_a_range_holds_its_start_and_not_its_stop(state: IndexState) -> None:
    rows = sorted((row(number) for number in range(10)), key=lambda it: it.point_id)
    record(state, *rows)

    found = recorded(state, start=rows[2].point_id, stop=rows[5].point_id)

    assert [identity for identity, _, _ in found] == [it.point_id for it in rows[2:5]]


def test_an_edge_of_a_range_needs_no_document(state: IndexState) -> None:
    record(state, *(row(number) for number in range(50)))
    middle = "80000000-0000-0000-0000-000000000000"

    below, above = recorded(state, stop=middle), recorded(state, start=middle)

    assert below + above == recorded(state)
    assert below
    assert above


def test_scopes_and_collections_are_apart(state: IndexState, state_of_another: IndexState) -> None:
    record(state, row(1), scope=ACME)
    record(state, row(2), scope=GLOBEX)
    record(state_of_another, row(3), scope=ACME)

    assert [identity for identity, _, _ in recorded(state, scope=ACME)] == [row(1).point_id]
    assert [identity for identity, _, _ in recorded(state, scope=GLOBEX)] == [row(2).point_id]
    assert recorded(state, scope=GLOBAL) == []


@pytest.mark.parametrize(
    ("hashes", "views", "expected"),
    [
        pytest.param({"text": "a" * 32}, ("text",), "a" * 32, id="one view"),
        pytest.param(
            {"name": "a" * 32, "text": "b" * 32},
            ("text", "name"),
            combine_hashes({"name": "a" * 32, "text": "b" * 32}),
            id="two views combined",
        ),
        pytest.param(
            {"name": "a" * 32}, ("text", "name"), "a" * 32, id="a view without text is left out"
        ),
        pytest.param(
            {"name": "a" * 32, "text": ""}, ("text", "name"), "a" * 32, id="an empty hash too"
        ),
        pytest.param(
            {"name": "a" * 32, "text": "b" * 32}, ("name",), "a" * 32, id="a view not asked for"
        ),
        pytest.param({}, ("text",), "", id="no hashes, one view"),
        pytest.param({}, ("text", "name"), "", id="no hashes, two views"),
    ],
)
def test_hashes_are_combined_over_the_views_that_have_a_text(
    state: IndexState, hashes: dict[str, str], views: tuple[str, ...], expected: str
) -> None:
    record(state, row(1, views=hashes))

    found = recorded(state, views=views)

    assert [content for _, content, _ in found] == [expected]


def test_a_failed_document_comes_with_digests_that_equal_nothing(state: IndexState) -> None:
    record(state, row(1), row(2))
    state.record_failed(scope=ACME, failures=[failure(1), failure(3)])

    found = {identity: hashes for identity, *hashes in recorded(state)}

    assert found == {
        row(1).point_id: ["", ""],
        row(2).point_id: [row(2).embed_hashes["text"], row(2).payload_hash],
        row(3).point_id: ["", ""],
    }
    assert state.count_by_scope() == {"acme": {"synced": 1, "failed": 2}}


def test_a_success_ends_a_failure(state: IndexState) -> None:
    state.record_failed(scope=ACME, failures=[failure(1)])

    record(state, row(1))

    assert state.count_by_scope() == {"acme": {"synced": 1}}
    assert recorded(state)[0][2] == row(1).payload_hash


def test_a_failure_leaves_a_document_with_the_scope_whose_point_holds_it(
    state: IndexState,
) -> None:
    record(state, row(1), scope=ACME)

    state.record_failed(scope=GLOBEX, failures=[failure(1)])

    assert state.count_by_scope() == {"acme": {"failed": 1}}
    assert [identity for identity, _, _ in recorded(state, scope=ACME)] == [row(1).point_id]


def test_an_older_snapshot_never_overwrites_a_newer_one(state: IndexState) -> None:
    record(state, row(1, content="new"), snapshot_at=LATER)

    record(state, row(1, content="old"), scope=GLOBEX, snapshot_at=NOON)

    assert [content for _, content, _ in recorded(state)] == [digest("new")]
    assert recorded(state, scope=GLOBEX) == []


def test_the_same_snapshot_may_write_again(state: IndexState) -> None:
    record(state, row(1, content="first"))

    record(state, row(1, content="second"))

    assert [content for _, content, _ in recorded(state)] == [digest("second")]


def test_deleting_forgets_only_documents_of_the_scope_and_counts_them(state: IndexState) -> None:
    record(state, row(1), row(2), scope=ACME)
    record(state, row(3), scope=GLOBEX)
    ids = [row(1).point_id, row(3).point_id, point_id("unknown")]

    deleted = state.delete(scope=ACME, point_ids=ids)

    assert deleted == 1
    assert state.count_by_scope() == {
        "acme": {"synced": 1},
        "globex": {"synced": 1},
    }


def test_a_document_that_was_recorded_from_a_later_snapshot_is_not_forgotten(
    state: IndexState,
) -> None:
    record(state, row(1), snapshot_at=NOON)
    record(state, row(2), snapshot_at=LATER)
    fail(state, 3)
    ids = [row(number).point_id for number in (1, 2, 3)]

    deleted = state.delete(scope=ACME, point_ids=ids, up_to=NOON)

    assert deleted == 2
    assert [found for found, _, _ in recorded(state)] == [row(2).point_id]
    assert state.delete(scope=ACME, point_ids=ids, up_to=LATER) == 1


def test_deleting_twice_is_not_an_error(state: IndexState) -> None:
    record(state, row(1))
    ids = [row(1).point_id]
    state.delete(scope=ACME, point_ids=ids)

    assert state.delete(scope=ACME, point_ids=ids) == 0
    assert state.delete(scope=ACME, point_ids=[]) == 0


def test_a_document_that_moves_is_in_its_new_scope_only(state: IndexState) -> None:
    record(state, row(1), row(2), scope=ACME)

    record(state, row(1), scope=GLOBEX, snapshot_at=LATER)

    assert state.count_by_scope() == {
        "acme": {"synced": 1},
        "globex": {"synced": 1},
    }


def test_a_document_that_moved_counts_once_as_departed_from_its_old_scope(
    state: IndexState,
) -> None:
    record(state, row(1), row(2), scope=ACME)
    record(state, row(1), scope=GLOBEX, snapshot_at=LATER)
    record(state, row(1, content="b"), scope=GLOBEX, snapshot_at=LATER)

    departed = [state.take_departed(scope=ACME) for _ in range(2)]

    assert departed == [{"material": 1}, {}]
    assert state.take_departed(scope=GLOBEX) == {}


def test_a_document_that_comes_back_has_departed_from_where_it_was(state: IndexState) -> None:
    record(state, row(1), scope=ACME)
    record(state, row(1), scope=GLOBEX)
    record(state, row(1), scope=ACME)

    assert state.take_departed(scope=ACME) == {}
    assert state.take_departed(scope=GLOBEX) == {"material": 1}


def test_documents_are_counted_per_scope_and_status(
    state: IndexState, state_of_another: IndexState
) -> None:
    record(state, row(1), row(2), scope=ACME)
    record(state, row(3), scope=GLOBAL)
    state.record_failed(scope=ACME, failures=[failure(4)])

    counts = state.count_by_scope()

    assert counts == {"acme": {"synced": 2, "failed": 1}, "global": {"synced": 1}}
    assert state_of_another.count_by_scope() == {}
    assert state.count_by_scope(scope=GLOBAL) == {"global": {"synced": 1}}
    assert state.count_by_scope(scope=GLOBEX) == {}


def test_the_record_of_a_synced_document_says_what_and_when(state: IndexState) -> None:
    record(state, row(1))

    found = state.get(document_id=row(1).document_id)

    assert found is not None
    assert (found.document_id, found.point_id) == (row(1).document_id, row(1).point_id)
    assert (found.scope_key, found.entity_type, found.db_id) == ("acme", "material", "1")
    assert (found.status, found.embed_hashes) == ("synced", row(1).embed_hashes)
    assert (found.payload_hash, found.source_snapshot_at) == (row(1).payload_hash, NOON)
    assert (found.error_code, found.error, found.attempts) == (None, None, 0)
    assert (found.next_retry_at, found.last_synced_at) == (None, found.last_attempt_at)
    assert found.last_synced_at is not None


def test_the_record_of_a_failed_document_says_why_and_when_it_is_tried_again(
    state: IndexState,
) -> None:
    fail(state, 1)
    fail(state, 1, error="still refused")

    found = state.get(document_id=row(1).document_id)

    assert found is not None
    assert (found.status, found.scope_key, found.db_id) == ("failed", "acme", "1")
    assert (found.error_code, found.error) == ("RejectedPointError", "still refused")
    assert (found.attempts, found.embed_hashes, found.payload_hash) == (2, {}, None)
    assert found.last_synced_at is None
    assert found.last_attempt_at is not None
    assert found.next_retry_at is not None
    wait = found.next_retry_at - found.last_attempt_at
    assert timedelta(minutes=3, seconds=50) < wait < timedelta(minutes=4, seconds=10)


def test_a_document_that_fails_keeps_what_was_synced_before(state: IndexState) -> None:
    record(state, row(1))
    fail(state, 1)

    found = state.get(document_id=row(1).document_id)

    assert found is not None
    assert (found.status, found.embed_hashes) == ("failed", row(1).embed_hashes)
    assert found.source_snapshot_at == NOON


def test_a_document_that_is_not_recorded_has_no_record(
    state: IndexState, state_of_another: IndexState
) -> None:
    record(state, row(1))

    assert state.get(document_id="tenant-material-2") is None
    assert state_of_another.get(document_id=row(1).document_id) is None


def test_failed_documents_are_listed_by_scope_and_id(
    state: IndexState, state_of_another: IndexState
) -> None:
    fail(state, 3, scope=GLOBEX)
    fail(state, 2)
    fail(state, 1)
    record(state, row(4))

    def listed(**only: Any) -> list[tuple[str, str]]:
        found = state.list_failed(**only)
        return [(one.scope_key, one.db_id) for one in found]

    assert listed() == [("acme", "1"), ("acme", "2"), ("globex", "3")]
    assert listed(limit=1) == [("acme", "1")]
    assert listed(scope=GLOBEX) == [("globex", "3")]
    assert listed(scope=GLOBAL) == []
    assert state.list_due(scope=ACME) == []
    state.retry_now(document_ids=[row(2).document_id])
    assert [one.db_id for one in state.list_due(scope=ACME)] == ["2"]
    assert state.list_due(scope=GLOBEX) == []
    assert state_of_another.list_failed() == []


def test_a_document_that_waits_is_pending_and_is_charged_no_attempt(state: IndexState) -> None:
    record(state, row(1))
    waiting = replace(failure(1, "too dear", views=["text"]), retry_after_seconds=3600)
    state.record_failed(scope=ACME, failures=[waiting])
    state.record_failed(scope=ACME, failures=[waiting])

    known = state.get(document_id=row(1).document_id)

    assert known is not None
    assert (known.status, known.attempts, known.failed_views) == ("pending", 0, ["text"])
    assert (known.error_code, known.error) == ("RejectedPointError", "too dear")
    assert state.list_failed() == []
    assert state.count_by_scope() == {"acme": {"pending": 1}}
    assert state.count_by_view()["acme"]["material"]["text"] == ViewCounts(pending=1)
    assert recorded(state)[0][1:] == ("", "")


def test_a_document_that_waits_is_due_when_it_said_or_is_asked_for(state: IndexState) -> None:
    for number, seconds in ((1, 3600.0), (2, 0.0)):
        waiting = replace(failure(number), retry_after_seconds=seconds)
        state.record_failed(scope=ACME, failures=[waiting])

    assert [one.db_id for one in state.list_due(scope=ACME)] == ["2"]
    assert state.count_due_retries() == {"acme": 1}
    assert state.retry_now(document_ids=[row(1).document_id]) == {"acme": 1}
    assert state.count_due_retries() == {"acme": 2}


def test_a_failure_after_waiting_is_the_first_attempt(state: IndexState) -> None:
    state.record_failed(scope=ACME, failures=[replace(failure(1), retry_after_seconds=0)])
    fail(state, 1)

    known = state.get(document_id=row(1).document_id)
    assert known is not None
    assert (known.status, known.attempts) == ("failed", 1)


def test_a_failed_document_is_due_once_it_is_asked_for(state: IndexState) -> None:
    fail(state, 1)
    fail(state, 2)
    fail(state, 3, scope=GLOBEX)
    before = state.count_due_retries()

    asked = state.retry_now(document_ids=[row(1).document_id, "unknown"])
    one = state.count_due_retries()
    scope = state.retry_now(scope=GLOBEX)

    assert (before, asked, one, scope) == ({}, {"acme": 1}, {"acme": 1}, {"globex": 1})
    assert state.retry_now() == {"acme": 2, "globex": 1}
    assert state.count_due_retries() == {"acme": 2, "globex": 1}


def test_a_synced_document_is_never_due(state: IndexState) -> None:
    fail(state, 1)
    state.retry_now()

    record(state, row(1))

    assert state.retry_now() == {}
    assert state.count_due_retries() == {}
    assert state.list_failed() == []


# --- per entity -------------------------------------------------------------------------


def test_only_what_is_recorded_of_the_entities_asked_for_is_listed(state: IndexState) -> None:
    works = [row(number, entity_type="work") for number in (1, 2)]
    record(state, row(1), *works, scope=ACME)

    def listed(*entity_types: str) -> list[str]:
        batches = state.iter_digests(scope=ACME, views=["text"], entity_types=entity_types)
        return [found.decode() for batch in batches for found in batch.point_ids]

    assert listed("work") == sorted(work.point_id for work in works)
    assert listed("material") == [row(1).point_id]
    assert len(listed("material", "work")) == 3
    assert listed() == listed("lamp") == []


def test_documents_are_counted_per_scope_entity_and_status(
    state: IndexState, state_of_another: IndexState
) -> None:
    record(state, row(1), row(2, entity_type="work"), scope=ACME)
    record(state, row(3, entity_type="work"), scope=GLOBAL)
    state.record_failed(scope=ACME, failures=[failure(4)])

    counts = state.count_by_entity()

    acme = {"material": {"synced": 1, "failed": 1}, "work": {"synced": 1}}
    assert counts == {"acme": acme, "global": {"work": {"synced": 1}}}
    assert state.count_by_entity(scope=ACME) == {"acme": acme}
    assert state_of_another.count_by_entity() == {}


def test_what_departed_of_another_entity_stays_to_be_asked_for(state: IndexState) -> None:
    record(state, row(1), row(2, entity_type="work"), scope=ACME)
    record(state, row(1), row(2, entity_type="work"), scope=GLOBEX)

    def departed(*entity_types: str) -> dict[str, int]:
        return state.take_departed(scope=ACME, entity_types=entity_types)

    assert departed("lamp") == {}
    assert departed("work") == {"work": 1}
    assert departed("work", "material") == {"material": 1}


def test_retries_that_are_due_are_counted_of_the_entities_asked_for(state: IndexState) -> None:
    state.record_failed(scope=ACME, failures=[failure(1)])
    state.retry_now()

    def due(*entity_types: str) -> dict[str, int]:
        return state.count_due_retries(entity_types=entity_types)

    assert (due("material"), due("work")) == ({"acme": 1}, {})


# --- pages ------------------------------------------------------------------------------


def page(state: IndexState, **wanted: Any) -> list[str]:
    records = state.list_documents(**{"limit": 100, **wanted})
    return [f"{record.scope_key}/{record.db_id}" for record in records]


def test_documents_come_in_pages_by_id_whoever_owns_them(
    state: IndexState, state_of_another: IndexState
) -> None:
    record(state, row(3), row(1))
    record(state, row(2), scope=GLOBEX)
    fail(state, 4)

    first = state.list_documents(limit=2)
    second = state.list_documents(limit=2, after=first[-1].document_id)

    assert [it.db_id for it in (*first, *second)] == ["1", "2", "3", "4"]
    assert state.get(document_id=row(1).document_id) == first[0]
    assert page(state, after=second[-1].document_id) == []
    assert state_of_another.list_documents(limit=2) == []


def test_a_page_holds_what_meets_every_condition(state: IndexState) -> None:
    record(state, row(1), row(2, entity_type="work"), row(5, views={"text": "a", "title": "b"}))
    record(state, row(3), scope=GLOBEX)
    fail(state, 3, scope=GLOBEX)
    fail(state, 4)

    assert page(state, scope=ACME) == ["acme/1", "acme/4", "acme/5", "acme/2"]
    assert page(state, status="failed") == ["globex/3", "acme/4"]
    assert page(state, status="failed", scope=ACME) == ["acme/4"]
    assert page(state, entity_type="work") == ["acme/2"]
    assert page(state, view="title") == ["acme/5"]
    assert page(state, view="text", status="synced", entity_type="material") == ["acme/1", "acme/5"]
    assert page(state, scope=GLOBAL) == []


def test_a_failure_names_the_views_that_it_is_about_until_the_next_one(state: IndexState) -> None:
    def views_of(*named: str) -> list[str]:
        failures = [failure(1, views=named)]
        state.record_failed(scope=ACME, failures=failures)
        known = state.get(document_id=row(1).document_id)
        return [] if known is None else list(known.failed_views)

    assert views_of("title", "text") == ["text", "title"]
    assert page(state, view="title") == page(state, view="text") == ["acme/1"]
    assert views_of("title") == ["title"]
    assert page(state, view="text") == []
    assert views_of() == []

    record(state, row(1))
    known = state.get(document_id=row(1).document_id)
    assert known is not None
    assert list(known.failed_views) == []


def test_only_failed_documents_of_some_entities_can_be_due(state: IndexState) -> None:
    record(state, row(2, entity_type="work"))
    fail(state, 1)
    work = row(2, entity_type="work")
    failed = FailedDocument(
        document_id=work.document_id,
        point_id=work.point_id,
        entity_type="work",
        db_id="2",
        error_code="RejectedPointError",
        error="refused",
    )
    state.record_failed(scope=ACME, failures=[failed])

    assert state.retry_now(entity_types=["work"]) == {"acme": 1}
    assert state.count_due_retries(entity_types=["material"]) == {}
    assert state.retry_now(entity_types=[]) == {}


def test_a_dropped_collection_is_forgotten_and_no_other(
    state: IndexState, state_of_another: IndexState
) -> None:
    record(state, row(1), row(2), scope=ACME)
    record(state_of_another, row(1), scope=ACME)

    assert (state.clear(), state.clear()) == (2, 0)
    assert state.count_by_scope() == {}
    assert state_of_another.count_by_scope() == {"acme": {"synced": 1}}


def test_documents_without_any_vector_are_counted_by_scope_and_entity(state: IndexState) -> None:
    bare = [replace(row(number), embed_hashes={}) for number in (1, 2)]
    record(state, *bare, row(3), scope=ACME)
    record(state, replace(row(4, entity_type="work"), embed_hashes={}), scope=GLOBEX)
    state.record_failed(scope=ACME, failures=[failure(2), failure(9)])

    assert state.count_archived() == {"acme": {"material": 1}, "globex": {"work": 1}}
    assert state.count_archived(scope=GLOBEX) == {"globex": {"work": 1}}


def test_views_are_counted_each_by_itself(state: IndexState) -> None:
    both = {"text": "h1", "story": "h2"}
    record(
        state,
        replace(row(1), embed_hashes=both, truncated=["story"]),
        replace(row(2), embed_hashes=both),
        replace(row(3), embed_hashes={"text": "h3"}, truncated=["text"]),
        scope=ACME,
    )
    record(state, replace(row(4, entity_type="work"), embed_hashes=both), scope=GLOBEX)
    state.record_failed(
        scope=ACME, failures=[replace(failure(2), views=["story"]), failure(3), failure(9)]
    )

    assert state.count_by_view(scope=ACME) == {
        "acme": {
            "material": {
                "text": ViewCounts(synced=2, failed=1, truncated=1),
                "story": ViewCounts(synced=1, failed=1, truncated=1),
            }
        }
    }
    assert state.count_by_view().keys() == {"acme", "globex"}
    assert state.count_by_view()["globex"]["work"]["story"] == ViewCounts(synced=1)


def test_passages_are_recorded_and_replaced(state: IndexState) -> None:
    long = replace(row(1), passages={"story": ["p1", "p2", "p1"]}, truncated=["story", "text"])
    record(state, long, row(2), scope=ACME)
    ids = [row(number).document_id for number in (1, 2, 9)]

    assert state.passages(document_ids=ids) == {ids[0]: {"story": ["p1", "p2", "p1"]}}
    found = state.get(document_id=ids[0])
    assert found is not None
    assert list(found.truncated_views) == ["story", "text"]

    record(state, replace(row(1), passages={"story": ["p3"]}), scope=ACME)

    assert state.passages(document_ids=ids) == {ids[0]: {"story": ["p3"]}}
    assert state.count_by_view()["acme"]["material"]["text"].truncated == 0

    record(state, replace(row(1), truncated=["text"]), scope=ACME)

    assert state.passages(document_ids=ids) == {}
    assert state.count_by_view()["acme"]["material"]["text"].truncated == 1
    assert state.passages(document_ids=[]) == {}
