"""What every ``EmbeddingCache`` promises."""

from __future__ import annotations

import numpy as np
import pytest

from sync_pipeline.core.hashing import digest
from sync_pipeline.core.ports import EmbeddingCache, IndexState
from sync_pipeline_tests.database.documents import ACME, GLOBEX, NOON, failure, row

RANDOM = np.random.default_rng(7)


def vectors(count: int, *, dimension: int = 8) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    return RANDOM.standard_normal((count, dimension)).astype(np.float32)


def hashes(count: int) -> list[str]:
    return [digest(str(number)) for number in range(count)]


def test_vectors_come_back_bit_for_bit(cache: EmbeddingCache) -> None:
    given = vectors(3)
    given[0, :3] = np.array([np.finfo(np.float32).tiny, -0.0, 1 / 3], dtype=np.float32)
    cache.put(model_id="m", text_hashes=hashes(3), vectors=given)

    found = cache.get(model_id="m", text_hashes=hashes(3))

    assert {key: vector.tobytes() for key, vector in found.items()} == {
        key: vector.tobytes() for key, vector in zip(hashes(3), given, strict=True)
    }
    assert {(vector.dtype, vector.shape) for vector in found.values()} == {
        (np.dtype(np.float32), (8,))
    }


def test_texts_without_a_vector_are_missing_and_left_out(cache: EmbeddingCache) -> None:
    cache.put(model_id="m", text_hashes=hashes(2), vectors=vectors(2))
    asked = hashes(4)

    assert cache.missing(model_id="m", text_hashes=asked) == set(asked[2:])
    assert cache.get(model_id="m", text_hashes=asked).keys() == set(asked[:2])


def test_models_do_not_share_vectors(cache: EmbeddingCache) -> None:
    cache.put(model_id="m", text_hashes=hashes(1), vectors=vectors(1))

    assert cache.missing(model_id="n", text_hashes=hashes(1)) == set(hashes(1))
    assert cache.get(model_id="n", text_hashes=hashes(1)) == {}


def test_a_vector_that_is_there_stays(cache: EmbeddingCache) -> None:
    first, second = vectors(2)
    key = hashes(1)
    cache.put(model_id="m", text_hashes=key, vectors=first[None, :])

    cache.put(model_id="m", text_hashes=key, vectors=second[None, :])

    assert cache.get(model_id="m", text_hashes=key)[key[0]].tolist() == first.tolist()


def test_a_text_given_twice_is_kept_once(cache: EmbeddingCache) -> None:
    key = hashes(1)

    cache.put(model_id="m", text_hashes=key * 2, vectors=vectors(2))

    assert cache.missing(model_id="m", text_hashes=key * 2) == set()


def test_nothing_asked_is_nothing_found(cache: EmbeddingCache) -> None:
    cache.put(model_id="m", text_hashes=[], vectors=vectors(0))

    assert cache.missing(model_id="m", text_hashes=[]) == set()
    assert cache.get(model_id="m", text_hashes=[]) == {}


def test_more_texts_than_one_statement_takes(cache: EmbeddingCache) -> None:
    given, keys = vectors(6000, dimension=2), hashes(6000)
    cache.put(model_id="m", text_hashes=keys, vectors=given)

    found = cache.get(model_id="m", text_hashes=keys)

    assert cache.missing(model_id="m", text_hashes=[*keys, "new"]) == {"new"}
    assert np.array_equal(np.array([found[key] for key in keys]), given)


def test_vectors_in_another_layout_or_precision_are_kept_as_float32(cache: EmbeddingCache) -> None:
    given = vectors(4).astype(np.float64)[::2, ::-1]
    keys = hashes(2)

    cache.put(model_id="m", text_hashes=keys, vectors=given)  # type: ignore[arg-type]  # a careless caller

    found = cache.get(model_id="m", text_hashes=keys)
    assert found[keys[1]].tolist() == given[1].tolist()


def test_cached_vectors_cannot_be_changed_by_accident(cache: EmbeddingCache) -> None:
    cache.put(model_id="m", text_hashes=hashes(1), vectors=vectors(1))
    found = cache.get(model_id="m", text_hashes=hashes(1))[hashes(1)[0]]

    with pytest.raises(ValueError, match="read-only"):
        found[0] = 0


# --- forgetting -------------------------------------------------------------------------


def record(state: IndexState, number: int, *texts: str) -> None:
    """Record a document with these texts, a view for each."""
    views = {f"view{place}": digest(text) for place, text in enumerate(texts)}
    state.record_synced(
        scope=GLOBEX,
        rows=[row(number, views=views)],
        snapshot_at=NOON,
        vector_version="m",
    )


def keep(cache: EmbeddingCache, *texts: str, model_id: str = "m") -> None:
    keys = [digest(text) for text in texts]
    cache.put(model_id=model_id, text_hashes=keys, vectors=vectors(len(keys)))


def kept(cache: EmbeddingCache, *texts: str, model_id: str = "m") -> list[str]:
    """Those of the texts that have a vector."""
    found = cache.get(model_id=model_id, text_hashes=[digest(text) for text in texts])
    return [text for text in texts if digest(text) in found]


def test_vectors_that_no_document_uses_are_purged(
    cache: EmbeddingCache, state: IndexState, state_of_another: IndexState
) -> None:
    keep(cache, "used", "second view", "other collection", "unused")
    record(state, 1, "used", "second view")
    record(state_of_another, 2, "other collection")

    assert cache.purge_unused() == 1

    texts = ("used", "second view", "other collection", "unused")
    assert kept(cache, *texts) == ["used", "second view", "other collection"]


def test_only_the_texts_asked_for_are_purged_and_only_where_unused(
    cache: EmbeddingCache, state: IndexState
) -> None:
    keep(cache, "used", "unused", "another unused")
    keep(cache, "unused", model_id="n")
    record(state, 1, "used")

    purged = cache.purge_unused(text_hashes=[digest("used"), digest("unused"), digest("unknown")])

    assert purged == 2
    assert kept(cache, "used", "unused", "another unused") == ["used", "another unused"]
    assert cache.purge_unused(text_hashes=[]) == 0


def test_a_document_that_failed_still_uses_what_it_was_before(
    cache: EmbeddingCache, state: IndexState
) -> None:
    keep(cache, "used")
    record(state, 1, "used")
    state.record_failed(scope=ACME, failures=[failure(1)])

    assert cache.purge_unused() == 0


def test_young_vectors_stay_where_that_is_asked_for(cache: EmbeddingCache) -> None:
    keep(cache, "unused")

    assert cache.purge_unused(min_age_seconds=60) == 0
    assert cache.purge_unused(min_age_seconds=0) == 1


def test_all_vectors_of_a_model_can_be_purged(cache: EmbeddingCache) -> None:
    keep(cache, "a", "b")
    keep(cache, "a", model_id="n")

    assert cache.purge_model(model_id="m") == 2
    assert cache.purge_model(model_id="m") == 0
    assert kept(cache, "a", model_id="n") == ["a"]
