"""What every ``EmbeddingCache`` promises of its size, its use, and of what nobody uses."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from sqlalchemy import Engine, text

from sync_pipeline.core.cache_keys import scope_cache_key
from sync_pipeline.core.hashing import digest
from sync_pipeline.core.ports import (
    CacheSlice,
    EmbeddingCache,
    ExpectedHits,
    Generations,
    IndexState,
    MarkFence,
)
from sync_pipeline.core.scope import Scope
from sync_pipeline.core.views import ViewSpec
from sync_pipeline.database.embedding_cache import HASHES_PER_STATEMENT, PostgresEmbeddingCache
from sync_pipeline.engine.removal.cache import last_mark
from sync_pipeline_tests.database.documents import ACME, COLLECTION, GLOBEX, NOON, row
from sync_pipeline_tests.database.test_generations_contract import spec

DIMENSION = 8
SIZE = DIMENSION * 4

_numbers = itertools.count(1)


def keep(cache: EmbeddingCache, *texts: str, key: str = "m") -> None:
    """Cache a vector for each text."""
    cache.put(
        model_id=key,
        text_hashes=[digest(one) for one in texts],
        vectors=np.ones((len(texts), DIMENSION), dtype=np.float32),
    )


def record(state: IndexState, *texts: str, scope: Scope = GLOBEX) -> None:
    """Record a document for each text."""
    rows = [row(next(_numbers), views={"text": digest(one)}) for one in texts]
    state.record_synced(scope=scope, rows=rows, snapshot_at=NOON, vector_version="m")


def kept(cache: EmbeddingCache, *texts: str, key: str = "m") -> list[str]:
    """Those of the texts that have a vector."""
    absent = cache.missing(model_id=key, text_hashes=[digest(one) for one in texts])
    return [one for one in texts if digest(one) not in absent]


def delete(cache: EmbeddingCache, *, min_age_seconds: float = 0) -> Iterator[CacheSlice]:
    """Delete what is marked by now and what no use keeps."""
    fence = cache.fence_marks()
    marked_by = last_mark(fence, busy=fence.uses)
    return cache.delete_marked(min_age_seconds=min_age_seconds, marked_by=marked_by)


def prune(cache: EmbeddingCache, *, min_age_seconds: float = 0) -> int:
    """Mark and delete at once; how many are gone."""
    for _ in cache.mark_unused(min_age_seconds=min_age_seconds):
        pass
    return sum(gone.vectors for gone in delete(cache, min_age_seconds=min_age_seconds))


def unused(cache: EmbeddingCache, *, min_age_seconds: float = 0) -> dict[str, int]:
    """Unused vectors by model and scope."""
    return {
        f"{found.model_id}/{found.scope_key}": found.vectors
        for found in cache.count_unused(min_age_seconds=min_age_seconds)
    }


# --- what there is ----------------------------------------------------------------------


def test_an_empty_cache_holds_nothing(cache: EmbeddingCache) -> None:
    assert cache.measure() == []
    assert cache.count_unused(min_age_seconds=0) == []
    assert prune(cache) == 0
    assert list(cache.delete_model(model_id="m")) == []


def test_each_model_is_measured(
    cache: EmbeddingCache,
    state: IndexState,
    state_of_another: IndexState,
    generations: Generations,
) -> None:
    generations.record(spec("m"), recipe={})
    keep(cache, "a", "b", "c")
    keep(cache, "a", key="another")
    record(state, "a", "b", "not cached")
    record(state_of_another, "b")

    another, model = cache.measure()

    assert (model.model_id, model.scope_key) == ("m", None)
    assert (model.vectors, model.size_bytes, model.used) == (3, 3 * SIZE, 2)
    assert model.collections == (spec("m").collection,)
    assert (another.model_id, another.vectors, another.used) == ("another", 1, 1)
    assert another.collections == ()
    age = datetime.now(tz=UTC) - model.oldest_at
    assert timedelta(0) <= model.newest_at - model.oldest_at <= age < timedelta(minutes=1)


def test_vectors_of_one_scope_are_measured_by_its_own_documents(
    cache: EmbeddingCache, state: IndexState, generations: Generations
) -> None:
    generations.record(spec("m"), recipe={})
    for scope in (ACME, GLOBEX):
        keep(cache, "a", "b", key=scope_cache_key("m", scope))
    record(state, "a", scope=ACME)
    record(state, "a", "b", scope=GLOBEX)

    found = {measured.scope_key: measured.used for measured in cache.measure()}

    assert found == {ACME.key: 1, GLOBEX.key: 2}
    assert unused(cache) == {f"m/{ACME.key}": 1}


def test_a_model_whose_name_reads_like_a_scopes_key_is_a_model(
    cache: EmbeddingCache, state: IndexState, generations: Generations
) -> None:
    generations.record(spec("m for acme"), recipe={})
    keep(cache, "a", key="m for acme")
    record(state, "a", scope=GLOBEX)

    (found,) = cache.measure()

    assert (found.model_id, found.scope_key, found.used) == ("m for acme", None, 1)


def test_the_size_on_disk_covers_the_vectors(cache: EmbeddingCache) -> None:
    keep(cache, *map(str, range(200)))

    assert cache.size_bytes() >= 200 * SIZE


def test_hits_are_expected_for_texts_that_are_cached(
    cache: EmbeddingCache, state: IndexState, state_of_another: IndexState
) -> None:
    keep(cache, "a", "b", "unused")
    record(state, "a", "a", "b", "c")
    record(state_of_another, "d")

    expected = cache.expected_hits(model_id="m", collection=COLLECTION, shares=True)

    assert expected == ExpectedHits(texts=3, cached=2)


def test_passages_of_recorded_documents_are_in_use(
    cache: EmbeddingCache, state: IndexState
) -> None:
    keep(cache, "p1", "p2", "whole", "former")
    long = row(1, views={"text": digest("whole")})
    passages = {"text": [digest("p1"), digest("p2"), digest("p3")]}
    state.record_synced(
        scope=GLOBEX,
        rows=[replace(long, passages=passages)],
        snapshot_at=NOON,
        vector_version="m",
    )

    expected = cache.expected_hits(model_id="m", collection=COLLECTION, shares=True)
    prune(cache)

    assert expected == ExpectedHits(texts=3, cached=2)
    assert kept(cache, "p1", "p2", "whole", "former") == ["p1", "p2", "whole"]
    assert cache.purge_unused(text_hashes=[digest("p1"), digest("p2")]) == 0


def test_hits_of_a_view_are_expected_of_its_own_model(
    cache: EmbeddingCache,
    state_of: Callable[[str], IndexState],
    generations: Generations,
) -> None:
    special = ViewSpec(name="title", model_id="titles", dimension=DIMENSION)
    made = replace(spec("m"), views=("text", "title"), special=(special,))
    bound = state_of(made.collection)
    keep(cache, "a")
    keep(cache, "b", key="titles")
    generations.record(made, recipe={})
    rows = [row(1, views={"text": digest("a"), "title": digest("b")})]
    bound.record_synced(scope=GLOBEX, rows=rows, snapshot_at=NOON, vector_version="m")

    expected = cache.expected_hits(model_id="m", collection=made.collection, shares=True)

    assert expected == ExpectedHits(texts=2, cached=2)
    assert {held.model_id: held.collections for held in cache.measure()} == {
        "m": (made.collection,),
        "titles": (made.collection,),
    }


def test_where_scopes_share_nothing_each_text_is_expected_per_scope(
    cache: EmbeddingCache, state: IndexState
) -> None:
    keep(cache, "a", key=scope_cache_key("m", ACME))
    keep(cache, "a", "b")
    record(state, "a", scope=ACME)
    record(state, "a", "b", scope=GLOBEX)

    expected = cache.expected_hits(model_id="m", collection=COLLECTION, shares=False)

    assert expected == ExpectedHits(texts=3, cached=1)


# --- what nobody uses -------------------------------------------------------------------


def test_only_unused_vectors_go(
    cache: EmbeddingCache, state: IndexState, state_of_another: IndexState
) -> None:
    keep(cache, "used", "elsewhere", "unused")
    keep(cache, "unused", key="another")
    record(state, "used")
    record(state_of_another, "elsewhere")

    assert unused(cache) == {"another/None": 1, "m/None": 1}
    assert prune(cache) == 2
    assert kept(cache, "used", "elsewhere", "unused") == ["used", "elsewhere"]
    assert unused(cache) == {}


def test_what_goes_is_told_by_model(cache: EmbeddingCache) -> None:
    keep(cache, "a", "b")
    list(cache.mark_unused(min_age_seconds=0))

    gone = [one for one in delete(cache) if one.vectors]

    assert gone == [CacheSlice(model_id="m", scope_key=None, vectors=2, size_bytes=2 * SIZE)]


def test_young_vectors_stay(cache: EmbeddingCache) -> None:
    keep(cache, "a")

    assert unused(cache, min_age_seconds=60) == {}
    assert prune(cache, min_age_seconds=60) == 0
    assert kept(cache, "a") == ["a"]


def test_counting_marks_nothing(cache: EmbeddingCache) -> None:
    keep(cache, "a")

    cache.count_unused(min_age_seconds=0)

    assert list(delete(cache)) == []


def test_what_is_marked_is_marked_once(cache: EmbeddingCache) -> None:
    keep(cache, "a", "b")

    marked = [sum(cache.mark_unused(min_age_seconds=0)) for _ in range(2)]

    assert marked == [2, 0]


def test_more_vectors_than_one_batch_go(cache: EmbeddingCache) -> None:
    keep(cache, *map(str, range(HASHES_PER_STATEMENT + 7)))

    assert prune(cache) == HASHES_PER_STATEMENT + 7


def test_all_vectors_of_a_model_go_those_of_its_scopes_too(cache: EmbeddingCache) -> None:
    keep(cache, *map(str, range(HASHES_PER_STATEMENT + 1)))
    keep(cache, "a", key=scope_cache_key("m", ACME))
    keep(cache, "a", key="m2")

    gone = list(cache.delete_model(model_id="m"))

    assert sum(one.vectors for one in gone) == HASHES_PER_STATEMENT + 2
    assert sum(one.size_bytes for one in gone) == (HASHES_PER_STATEMENT + 2) * SIZE
    assert [found.model_id for found in cache.measure()] == ["m2"]


# --- beside syncs -----------------------------------------------------------------------


def claim(
    cache: EmbeddingCache, *texts: str, scope: Scope = ACME, owner: str = "run-1"
) -> list[str]:
    """Look texts up as a run does; those that have no vector."""
    hashes = [digest(one) for one in texts]
    absent = cache.claim(model_id="m", text_hashes=hashes, scope=scope, owner=owner)
    return [one for one in texts if digest(one) in absent]


def test_a_claim_tells_what_is_missing(cache: EmbeddingCache) -> None:
    keep(cache, "a")

    assert claim(cache, "a", "b") == ["b"]


def test_a_use_lasts_from_claim_to_release(cache: EmbeddingCache) -> None:
    claim(cache, "a")
    (use,) = cache.list_uses()

    cache.release(scope=ACME, owner="run-1")

    assert (use.scope_key, use.owner) == (ACME.key, "run-1")
    assert timedelta(0) <= datetime.now(tz=UTC) - use.since < timedelta(minutes=1)
    assert cache.list_uses() == []


def test_who_looks_up_nothing_uses_nothing(cache: EmbeddingCache) -> None:
    assert claim(cache) == []

    assert cache.list_uses() == []


def test_the_next_run_of_a_scope_takes_the_place_of_one_that_was_killed(
    cache: EmbeddingCache,
) -> None:
    claim(cache, "a", owner="killed")
    claim(cache, "a", owner="next")
    claim(cache, "a", owner="other scope", scope=GLOBEX)

    cache.release(scope=ACME, owner="killed")

    assert {use.owner for use in cache.list_uses()} == {"next", "other scope"}


def test_vectors_that_a_run_looked_up_before_they_were_marked_stay_until_it_ends(
    cache: EmbeddingCache,
) -> None:
    keep(cache, "a", "b")
    claim(cache, "a")

    during = prune(cache)
    still_there = kept(cache, "a", "b")
    cache.release(scope=ACME, owner="run-1")

    assert (during, still_there) == (0, ["a", "b"])
    assert prune(cache) == 2


def test_vectors_that_a_run_looks_up_after_they_were_marked_stay(cache: EmbeddingCache) -> None:
    keep(cache, "a", "b")
    list(cache.mark_unused(min_age_seconds=0))

    assert claim(cache, "a") == []
    cache.release(scope=ACME, owner="run-1")

    assert sum(gone.vectors for gone in delete(cache)) == 1
    assert kept(cache, "a", "b") == ["a"]


def test_what_a_run_embeds_while_a_prune_is_under_way_stays(cache: EmbeddingCache) -> None:
    claim(cache, "a")
    keep(cache, "a")

    assert prune(cache) == 0
    assert kept(cache, "a") == ["a"]


def test_a_marked_vector_that_a_document_has_by_now_stays(
    cache: EmbeddingCache, state: IndexState
) -> None:
    keep(cache, "a")
    list(cache.mark_unused(min_age_seconds=0))
    record(state, "a")

    assert list(delete(cache)) == []


@pytest.mark.process
def test_a_run_that_was_killed_long_ago_keeps_nothing(engine: Engine) -> None:
    cache = PostgresEmbeddingCache(engine)
    keep(cache, "a")
    claim(cache, "a")
    with engine.begin() as connection:
        connection.execute(
            text("UPDATE sync_pipeline.cache_use SET since = since - interval '25 hours'")
        )

    assert cache.list_uses() == []
    assert prune(cache) == 1


@pytest.mark.process
def test_a_run_that_began_long_after_the_mark_keeps_nothing_that_it_did_not_look_up(
    engine: Engine,
) -> None:
    cache = PostgresEmbeddingCache(engine)
    keep(cache, "a", "b")
    list(cache.mark_unused(min_age_seconds=0))
    with engine.begin() as connection:
        connection.execute(
            text(
                "UPDATE sync_pipeline.embedding_cache "
                "SET unused_since = unused_since - interval '2 minutes'"
            )
        )

    claim(cache, "a")

    assert sum(gone.vectors for gone in delete(cache)) == 1
    assert kept(cache, "a", "b") == ["a"]


@pytest.mark.process
def test_a_fence_waits_for_marks_that_are_being_set(engine: Engine) -> None:
    """Otherwise a use could begin unseen, before a mark that is older than the fence."""
    cache = PostgresEmbeddingCache(engine)
    keep(cache, "a")
    fences: list[MarkFence] = []

    with engine.connect() as marking:
        marking.execute(
            text(
                "SELECT pg_advisory_xact_lock_shared("
                "hashtextextended('sync_pipeline.embedding_cache:sync_pipeline', 0))"
            )
        )
        marked_at = marking.scalar(
            text(
                "UPDATE sync_pipeline.embedding_cache SET unused_since = clock_timestamp() "
                "RETURNING unused_since"
            )
        )
        fencing = threading.Thread(target=lambda: fences.append(cache.fence_marks()))
        fencing.start()
        _wait_for_a_lock(engine)
        claim(cache, "b")
        marking.commit()
    fencing.join()

    (fence,) = fences
    assert fence.at > marked_at
    assert [use.owner for use in fence.uses] == ["run-1"]


@pytest.mark.process
def test_a_mark_that_was_taken_off_and_set_again_is_another_mark(engine: Engine) -> None:
    """Of two prunes at once the first deletes nothing that the second has marked."""
    cache = PostgresEmbeddingCache(engine)
    texts = [str(number) for number in range(HASHES_PER_STATEMENT + 3)]
    keep(cache, *texts)
    list(cache.mark_unused(min_age_seconds=0))
    deleting = delete(cache)
    next(deleting)
    left = kept(cache, *texts)

    claim(cache, *left)
    list(cache.mark_unused(min_age_seconds=0))

    assert [gone.vectors for gone in deleting] == [0]
    assert kept(cache, *texts) == left
    assert len(left) == 3


@pytest.mark.process
def test_a_vector_that_goes_while_it_is_looked_up_is_missing(engine: Engine) -> None:
    """The look-up waits for the deletion, and does not say that the vector is there."""
    cache = PostgresEmbeddingCache(engine)
    keep(cache, "a")
    list(cache.mark_unused(min_age_seconds=0))
    absent: list[str] = []

    with engine.connect() as deleting:
        deleting.execute(text("DELETE FROM sync_pipeline.embedding_cache"))
        looking = threading.Thread(target=lambda: absent.extend(claim(cache, "a")))
        looking.start()
        _wait_for_a_lock(engine)
        deleting.commit()
    looking.join()

    assert absent == ["a"]


def _wait_for_a_lock(engine: Engine) -> None:
    query = text(
        "SELECT count(*) FROM pg_stat_activity "
        "WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    for _ in range(500):
        with engine.connect() as connection:
            if connection.scalar(query):
                return
        time.sleep(0.01)
    raise AssertionError("nobody waits for a lock")
