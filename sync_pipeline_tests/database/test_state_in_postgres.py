"""What only the tables show: columns, the view for people, and that nothing is written in vain."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from sqlalchemy import Engine, text

from sync_pipeline.core.document import Reason, Rejection
from sync_pipeline.core.errors import ScopeBusyError
from sync_pipeline.core.point import CollectionSpec
from sync_pipeline.core.ports import EntityResult, Fence, SyncRun
from sync_pipeline.core.reports import Counts
from sync_pipeline.core.scope import GLOBAL, Scope
from sync_pipeline.core.views import ViewSpec
from sync_pipeline.database.embedding_cache import PostgresEmbeddingCache
from sync_pipeline.database.generations import PostgresGenerations
from sync_pipeline.database.index_state import PostgresIndexState
from sync_pipeline.database.quarantine import PostgresQuarantine
from sync_pipeline.database.scope_leases import PostgresScopeLeases
from sync_pipeline.database.scope_states import PostgresScopeStates
from sync_pipeline.database.sync_requests import PostgresSyncRequests
from sync_pipeline.database.sync_runs import PostgresSyncRuns
from sync_pipeline_tests.database.documents import (
    ACME,
    COLLECTION,
    GLOBEX,
    LATER,
    MODEL,
    NOON,
    failure,
    row,
)

AT_ONCE = 4


def read(engine: Engine, query: str) -> list[dict[str, Any]]:
    with engine.connect() as connection:
        connection.execute(text("SET search_path TO sync_pipeline"))
        return [dict(found) for found in connection.execute(text(query)).mappings()]


def versions(engine: Engine, table: str) -> list[tuple[str, str]]:
    """Where each row lies and which transaction wrote it: equal where nothing was written."""
    found = read(engine, f"SELECT ctid::text, xmin::text FROM {table} ORDER BY 1")  # noqa: S608
    return [(row["ctid"], row["xmin"]) for row in found]


def all_at_once(*works: Callable[[], object]) -> list[object]:
    """Run in as many threads; return results and errors, in order of ending."""
    ended: list[object] = []
    start = threading.Barrier(len(works))

    def run(work: Callable[[], object]) -> None:
        start.wait()
        try:
            ended.append(work())
        except ScopeBusyError as error:
            ended.append(error)

    threads = [threading.Thread(target=run, args=[work]) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return ended


def record(engine: Engine, *numbers: int, scope: Scope = ACME, later: bool = False) -> None:
    PostgresIndexState(engine, collection=COLLECTION).record_synced(
        scope=scope,
        rows=[row(number) for number in numbers],
        snapshot_at=LATER if later else NOON,
        vector_version=MODEL,
    )


def fail(engine: Engine, number: int, error: str = "the store refuses it") -> None:
    PostgresIndexState(engine, collection=COLLECTION).record_failed(
        scope=ACME, failures=[failure(number, error)]
    )


# --- index state ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        pytest.param(ACME, ("tenant", "acme", "acme"), id="a tenant"),
        pytest.param(GLOBAL, ("global", "global", None), id="global"),
    ],
)
def test_a_synced_document_has_every_column_that_people_look_for(
    engine: Engine, scope: Scope, expected: tuple[str, str, str | None]
) -> None:
    record(engine, 1, scope=scope)

    (found,) = read(engine, "SELECT * FROM index_state")

    assert (found["scope"], found["scope_key"], found["tenant_id"]) == expected
    assert (found["entity_type"], found["db_id"], found["status"]) == ("material", "1", "synced")
    assert str(found["point_id"]) == row(1).point_id
    assert found["embed_hashes"] == row(1).embed_hashes
    assert (found["vector_version"], found["source_snapshot_at"]) == (MODEL, NOON)
    assert found["last_synced_at"] == found["last_sync_attempt_at"] == found["created_at"]
    assert (found["error_code"], found["last_error"], found["next_retry_at"]) == (None, None, None)


def test_a_success_clears_the_error_and_keeps_when_the_row_was_made(engine: Engine) -> None:
    fail(engine, 1)
    (before,) = read(engine, "SELECT * FROM index_state")

    record(engine, 1)

    (after,) = read(engine, "SELECT * FROM index_state")
    assert (after["error_code"], after["last_error"], after["next_retry_at"]) == (None, None, None)
    assert (after["retry_count"], after["created_at"]) == (0, before["created_at"])
    assert after["updated_at"] > before["updated_at"]


def test_each_failure_doubles_the_wait_up_to_a_day(engine: Engine) -> None:
    history = []
    for _ in range(12):
        fail(engine, 1)
        history += read(engine, "SELECT * FROM index_state")

    waits = [found["next_retry_at"] - found["last_sync_attempt_at"] for found in history]
    minutes = [2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 1440, 1440]
    assert waits == [timedelta(minutes=number) for number in minutes]
    assert [found["retry_count"] for found in history] == list(range(1, 13))
    assert {found["error_code"] for found in history} == {"RejectedPointError"}


def test_the_wait_stays_a_day_after_thousands_of_failures(engine: Engine) -> None:
    fail(engine, 1)
    with engine.begin() as connection:
        connection.execute(text("UPDATE sync_pipeline.index_state SET retry_count = 100000"))

    fail(engine, 1)

    (found,) = read(engine, "SELECT * FROM index_state")
    assert found["next_retry_at"] - found["last_sync_attempt_at"] == timedelta(days=1)


@pytest.mark.parametrize(
    ("error", "stored"),
    [
        pytest.param("x" * 600, "x" * 500, id="cut at 500 characters"),
        pytest.param("a\0b", "ab", id="without NUL"),
        pytest.param("a\ud800b", "a?b", id="without lone surrogates"),
    ],
)
def test_any_message_can_be_recorded(engine: Engine, error: str, stored: str) -> None:
    fail(engine, 1, error)

    (found,) = read(engine, "SELECT last_error FROM index_state")
    assert found["last_error"] == stored


def test_a_failure_keeps_the_hashes_of_what_was_synced(engine: Engine) -> None:
    record(engine, 1)

    fail(engine, 1)

    (found,) = read(engine, "SELECT * FROM index_state")
    assert (found["status"], found["payload_hash"]) == ("failed", row(1).payload_hash)


def test_asking_for_departed_documents_writes_nothing_where_none_departed(engine: Engine) -> None:
    record(engine, 1, 2)
    before = versions(engine, "index_state")

    PostgresIndexState(engine, collection=COLLECTION).take_departed(scope=ACME)

    assert versions(engine, "index_state") == before


def test_a_refused_older_snapshot_writes_nothing(engine: Engine) -> None:
    record(engine, 1, later=True)
    before = read(engine, "SELECT * FROM index_state")

    record(engine, 1)

    assert read(engine, "SELECT * FROM index_state") == before


def test_two_scopes_that_exchange_documents_do_not_block_each_other(engine: Engine) -> None:
    numbers = list(range(500))

    all_at_once(
        *(lambda: record(engine, *numbers, scope=ACME) for _ in range(AT_ONCE)),
        *(lambda: record(engine, *reversed(numbers), scope=GLOBEX) for _ in range(AT_ONCE)),
    )

    (found,) = read(engine, "SELECT count(*), count(DISTINCT scope_key) AS scopes FROM index_state")
    assert found == {"count": 500, "scopes": 1}


def test_digests_of_more_documents_than_one_statement_reads_come_complete(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sync_pipeline.database.index_state.DIGESTS_PER_STATEMENT", 10)
    record(engine, *range(30))

    parts = list(
        PostgresIndexState(engine, collection=COLLECTION).iter_digests(scope=ACME, views=["text"])
    )

    ids = [identity.decode() for part in parts for identity in part.point_ids]
    assert ids == sorted(row(number).point_id for number in range(30))
    assert [len(part) for part in parts] == [10, 10, 10]


def test_a_hash_that_is_none_of_ours_spoils_no_other(engine: Engine) -> None:
    record(engine, *range(3))
    by_id = sorted((row(number) for number in range(3)), key=lambda of: of.point_id)
    with engine.begin() as connection:
        connection.execute(
            text("UPDATE sync_pipeline.index_state SET payload_hash = 'жук' WHERE point_id = :id"),
            {"id": by_id[1].point_id},
        )

    (found,) = PostgresIndexState(engine, collection=COLLECTION).iter_digests(
        scope=ACME, views=["text"]
    )

    assert [identity.decode() for identity in found.point_ids] == [of.point_id for of in by_id]
    assert [
        shown.decode() == of.payload_hash for shown, of in zip(found.payloads, by_id, strict=True)
    ] == [True, False, True]
    assert [shown.decode() for shown in found.contents] == [of.embed_hashes["text"] for of in by_id]


# --- the view for people ----------------------------------------------------------------


def test_a_document_that_a_full_sync_left_unchanged_was_seen_by_it(engine: Engine) -> None:
    record(engine, 1)
    fail(engine, 2)
    PostgresScopeStates(engine, collection=COLLECTION).record_success(
        Fence("acme", "run-1", 1),
        entities=[
            EntityResult(entity_type="material", rows=2, documents=2, quarantined=0, failed=1)
        ],
        snapshot_at=LATER,
        is_full=True,
    )

    seen = read(engine, "SELECT db_id, last_seen_at FROM document_status ORDER BY db_id")

    assert seen == [{"db_id": "1", "last_seen_at": LATER}, {"db_id": "2", "last_seen_at": None}]


def test_a_document_of_a_scope_that_never_succeeded_was_seen_when_it_was_written(
    engine: Engine,
) -> None:
    record(engine, 1)

    (found,) = read(engine, "SELECT last_seen_at, scope_last_success_at FROM document_status")

    assert found == {"last_seen_at": NOON, "scope_last_success_at": None}


# --- scopes and leases ------------------------------------------------------------------


def test_marking_the_same_scopes_again_writes_nothing(engine: Engine) -> None:
    scopes = PostgresScopeStates(engine, collection=COLLECTION)
    for scope in (ACME, GLOBEX):
        scopes.record_success(
            Fence(scope.key, "run-1", 1),
            entities=[
                EntityResult(entity_type="material", rows=0, documents=0, quarantined=0, failed=0)
            ],
            snapshot_at=NOON,
            is_full=True,
        )
    scopes.mark_vanished(scope_keys=["acme"], entity_types=["material"])
    before = [versions(engine, name) for name in ("scope_state", "scope_entity_state")]

    scopes.mark_vanished(scope_keys=["acme"], entity_types=["material"])

    after = [versions(engine, name) for name in ("scope_state", "scope_entity_state")]
    assert after == before


def test_of_many_runs_that_ask_at_once_one_gets_the_lease(engine: Engine) -> None:
    leases = PostgresScopeLeases(engine)

    def ask(owner: str) -> Callable[[], object]:
        return lambda: leases.acquire(scope=ACME, owner=owner, ttl_seconds=60)

    ended = all_at_once(*(ask(f"run {number}") for number in range(8)))

    refused = [item for item in ended if isinstance(item, ScopeBusyError)]
    assert len(refused) == 7


# --- cache, quarantine, generations -----------------------------------------------------


def test_two_writers_of_the_same_texts_in_opposite_order_do_not_block_each_other(
    engine: Engine,
) -> None:
    cache = PostgresEmbeddingCache(engine)
    hashes = [f"{number:032x}" for number in range(1000)]
    vectors = np.ones((1000, 4), dtype=np.float32)

    all_at_once(
        *(
            lambda: cache.put(model_id="m", text_hashes=hashes, vectors=vectors)
            for _ in range(AT_ONCE)
        ),
        *(
            lambda: cache.put(model_id="m", text_hashes=hashes[::-1], vectors=vectors)
            for _ in range(AT_ONCE)
        ),
    )

    assert cache.missing(model_id="m", text_hashes=hashes) == set()


def test_vectors_are_stored_as_little_endian_float32(engine: Engine) -> None:
    cache = PostgresEmbeddingCache(engine)

    cache.put(model_id="m", text_hashes=["h"], vectors=np.array([[1.0, -2.0]], dtype=np.float32))

    (found,) = read(engine, "SELECT encode(vector, 'hex') AS hex, dimension FROM embedding_cache")
    assert found == {"hex": "0000803f000000c0", "dimension": 2}


def test_the_same_quarantine_again_writes_nothing(engine: Engine) -> None:
    quarantine = PostgresQuarantine(engine)
    rejections = [Rejection("material", str(n), Reason.EMPTY_TEXT, "no text") for n in range(3)]
    quarantine.replace(entity_types=["material"], scope=ACME, rejections=rejections)
    before = versions(engine, "quarantine")

    quarantine.replace(entity_types=["material"], scope=ACME, rejections=rejections)

    assert versions(engine, "quarantine") == before


def test_a_row_rejected_for_another_reason_keeps_when_it_was_first_seen(engine: Engine) -> None:
    quarantine = PostgresQuarantine(engine)
    quarantine.replace(
        entity_types=["material"],
        scope=ACME,
        rejections=[Rejection("work", "1", Reason.EMPTY_TEXT, "no text")],
    )
    (before,) = read(engine, "SELECT * FROM quarantine")

    quarantine.replace(
        entity_types=["material"],
        scope=ACME,
        rejections=[Rejection("work", "1", Reason.INVALID_TEXT, "surrogate")],
    )

    (after,) = read(engine, "SELECT * FROM quarantine")
    assert (after["attempts"], after["first_seen_at"]) == (2, before["first_seen_at"])
    assert after["last_seen_at"] > before["last_seen_at"]


def test_recording_the_same_collection_again_writes_nothing(engine: Engine) -> None:
    generations = PostgresGenerations(engine)
    spec = CollectionSpec(
        alias="documents", model_id="a", dimension=4, views=("text",), sparse_id="bm25-english"
    )
    generations.record(spec, recipe={"model": "a"})
    generations.note_serving(alias="documents", collection=spec.collection)
    before = versions(engine, "generation")

    generations.record(spec, recipe={"model": "a"})
    generations.note_serving(alias="documents", collection=spec.collection)
    generations.note_refusal(collection=spec.collection, reason=None)

    assert [place for place, _ in versions(engine, "generation")] == [p for p, _ in before]


# --- views ------------------------------------------------------------------------------


def test_people_see_each_view_of_a_document(engine: Engine) -> None:
    state = PostgresIndexState(engine, collection=COLLECTION)
    views = {"title": "t", "measure": "m"}
    for number in (1, 2):
        state.record_synced(
            scope=ACME,
            rows=[row(number, views=views)],
            snapshot_at=NOON,
            vector_version=MODEL,
        )
    state.record_synced(
        scope=ACME, rows=[row(3, views={"measure": "m"})], snapshot_at=NOON, vector_version=MODEL
    )
    state.record_failed(scope=ACME, failures=[failure(2), failure(3, "too odd", views=["title"])])

    seen = read(
        engine,
        "SELECT db_id, view, status, embed_hash, last_error, retry_count, vector_version "
        "FROM document_view_status ORDER BY db_id, view",
    )

    assert [tuple(it.values()) for it in seen] == [
        ("1", "measure", "synced", "m", None, 0, MODEL),
        ("1", "title", "synced", "t", None, 0, MODEL),
        ("2", "measure", "failed", "m", "the store refuses it", 1, MODEL),
        ("2", "title", "failed", "t", "the store refuses it", 1, MODEL),
        ("3", "measure", "synced", "m", None, 0, MODEL),
        ("3", "title", "failed", None, "too odd", 1, MODEL),
    ]


def test_people_see_model_and_passages_of_each_view(engine: Engine) -> None:
    long = ViewSpec(name="story", model_id="stories", dimension=4, passage_tokens=100)
    made = CollectionSpec(
        alias="documents",
        model_id=MODEL,
        dimension=4,
        views=("title", "story"),
        sparse_id="bm25-english",
        special=(long,),
    )
    PostgresGenerations(engine).record(made, recipe={})
    state = PostgresIndexState(engine, collection=made.collection)
    state.record_synced(
        scope=ACME,
        rows=[
            replace(
                row(1, views={"title": "t", "story": "s"}),
                passages={"story": ["a", "b", "c"]},
                truncated=["story"],
            )
        ],
        snapshot_at=NOON,
        vector_version=MODEL,
    )

    seen = read(
        engine,
        "SELECT view, vector_version, passages, is_truncated "
        "FROM document_view_status ORDER BY view",
    )

    assert [tuple(it.values()) for it in seen] == [
        ("story", "stories", 3, True),
        ("title", MODEL, None, False),
    ]


# --- runs -------------------------------------------------------------------------------


def test_a_message_of_a_run_is_kept_as_far_as_postgresql_can_hold_it(engine: Engine) -> None:
    runs = PostgresSyncRuns(engine)
    run = SyncRun(
        run_id="run-1",
        scope_key="acme",
        mode="full",
        status="failed",
        started_at=NOON,
        finished_at=LATER,
        error="Größe\0 \ud800 " + "x" * 3_000,
    )

    runs.record(run)

    (found,) = runs.list_recent(limit=1)
    assert found.error == ("Größe ? " + "x" * 3_000)[:1_999]


def test_a_run_with_a_count_of_a_newer_program_is_still_read(engine: Engine) -> None:
    PostgresSyncRuns(engine).record(
        SyncRun(
            run_id="run-1",
            scope_key="acme",
            mode="full",
            status="success",
            started_at=NOON,
            finished_at=LATER,
            counts=Counts(rows=3),
        )
    )
    with engine.begin() as connection:
        connection.execute(
            text("""UPDATE sync_pipeline.sync_run SET counts = counts || '{"wishes": 1}'""")
        )

    (found,) = PostgresSyncRuns(engine).list_recent(limit=1)
    assert found.counts == Counts(rows=3)


def test_who_asks_for_a_sync_may_have_any_name(engine: Engine) -> None:
    request = PostgresSyncRequests(engine).add(
        requested_by="Größe\0 \ud800" + "x" * 300, scope_keys=["acme"]
    )

    assert request.requested_by == ("Größe ?" + "x" * 300)[:255]
