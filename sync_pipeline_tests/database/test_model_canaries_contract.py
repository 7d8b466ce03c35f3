"""What every ``ModelCanaries`` promises."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from sqlalchemy import Engine

from sync_pipeline.core.canaries import DOCUMENT_KEYS, QUERY_KEY, Canaries
from sync_pipeline.core.ports import EmbeddingCache, Generations, ModelCanaries
from sync_pipeline.database.model_canaries import UNKNOWN_FOR_SECONDS, PostgresModelCanaries
from sync_pipeline_tests.database.test_generations_contract import spec


def directions(seed: int, *, dimension: int = 16) -> Canaries:
    found = np.random.default_rng(seed).standard_normal((len(DOCUMENT_KEYS), dimension))
    found /= np.linalg.norm(found, axis=1, keepdims=True)
    return dict(zip(DOCUMENT_KEYS, found.astype(np.float32), strict=True))


def rounded(canaries: Canaries) -> Canaries:
    """As a model of lower precision would give them."""
    return {key: np.round(vector, 3) for key, vector in canaries.items()}


def same(found: Canaries, expected: Canaries) -> bool:
    return found.keys() == expected.keys() and all(
        found[key].tobytes() == expected[key].tobytes() for key in expected
    )


def test_of_an_unknown_model_nothing_is_known(canaries: ModelCanaries) -> None:
    assert canaries.known_as(model_id="m") is None
    assert canaries.reference(model_id="m") == {}
    assert canaries.names_of(model_id="m") == []


def test_vectors_come_back_bit_for_bit(canaries: ModelCanaries) -> None:
    given = directions(1)

    known = canaries.record(model_id="m", canaries=given)

    assert known == canaries.known_as(model_id="m") == "m"
    assert same(canaries.reference(model_id="m"), given)


def test_what_is_recorded_first_stays(canaries: ModelCanaries) -> None:
    canaries.record(model_id="m", canaries=directions(1))

    known = canaries.record(model_id="m", canaries=directions(2))

    assert known == "m"
    assert same(canaries.reference(model_id="m"), directions(1))


def test_a_model_that_agrees_is_known_as_the_other_one(canaries: ModelCanaries) -> None:
    canaries.record(model_id="m:f32", canaries=directions(1))
    canaries.record(model_id="other", canaries=directions(2))

    known = canaries.record(model_id="m:bf16", canaries=rounded(directions(1)))

    assert known == canaries.known_as(model_id="m:bf16") == "m:f32"
    assert canaries.known_as(model_id="m:f32") == "m:f32"
    assert canaries.names_of(model_id="m:f32") == ["m:bf16"]


def test_a_third_name_leads_to_the_first_model(canaries: ModelCanaries) -> None:
    canaries.record(model_id="a", canaries=directions(1))
    canaries.record(model_id="b", canaries=rounded(directions(1)))

    assert canaries.record(model_id="c", canaries=rounded(directions(1))) == "a"
    assert canaries.names_of(model_id="a") == ["b", "c"]


def test_a_model_with_vectors_of_another_length_is_another_one(canaries: ModelCanaries) -> None:
    canaries.record(model_id="a", canaries=directions(1, dimension=32))

    assert not canaries.is_worth_comparing(model_id="b", dimension=16)
    assert canaries.record(model_id="b", canaries=directions(1)) == "b"


@pytest.mark.parametrize("key", ["b", "b for acme"])
def test_a_model_with_cached_vectors_keeps_its_name(
    canaries: ModelCanaries, cache: EmbeddingCache, key: str
) -> None:
    canaries.record(model_id="a", canaries=directions(1))
    cache.put(model_id=key, text_hashes=["h"], vectors=np.ones((1, 16), dtype=np.float32))

    assert not canaries.is_worth_comparing(model_id="b", dimension=16)
    assert canaries.record(model_id="b", canaries=directions(1)) == "b"


def test_a_model_with_a_collection_keeps_its_name(
    canaries: ModelCanaries, generations: Generations
) -> None:
    canaries.record(model_id="a", canaries=directions(1))
    generations.record(spec("b"), recipe={})

    assert not canaries.is_worth_comparing(model_id="b", dimension=16)
    assert canaries.record(model_id="b", canaries=directions(1)) == "b"


def test_cached_vectors_of_a_longer_name_are_another_models(
    canaries: ModelCanaries, cache: EmbeddingCache
) -> None:
    canaries.record(model_id="a", canaries=directions(1))
    cache.put(model_id="b fork", text_hashes=["h"], vectors=np.ones((1, 16), dtype=np.float32))

    assert canaries.is_worth_comparing(model_id="b", dimension=16)
    assert canaries.record(model_id="b", canaries=directions(1)) == "a"


def test_only_an_unknown_model_is_worth_comparing_and_only_with_another(
    canaries: ModelCanaries,
) -> None:
    assert not canaries.is_worth_comparing(model_id="a", dimension=16)

    canaries.record(model_id="a", canaries=directions(1))

    assert not canaries.is_worth_comparing(model_id="a", dimension=16)
    assert canaries.is_worth_comparing(model_id="b", dimension=16)


def test_canaries_can_be_added_and_replaced(canaries: ModelCanaries) -> None:
    canaries.record(model_id="a", canaries=directions(1))
    query = directions(3)[DOCUMENT_KEYS[0]]

    canaries.replace(model_id="a", canaries={})
    canaries.replace(model_id="a", canaries={QUERY_KEY: -query})
    canaries.replace(model_id="a", canaries={QUERY_KEY: query})

    assert same(canaries.reference(model_id="a"), {**directions(1), QUERY_KEY: query})
    assert canaries.known_as(model_id="a") == "a"


@pytest.mark.process
def test_several_processes_record_at_once_and_agree(engine: Engine) -> None:
    names = [f"m{number % 3}" for number in range(9)]
    known: list[tuple[str, str]] = []

    def record(name: str) -> None:
        port = PostgresModelCanaries(engine)
        known.append((name, port.record(model_id=name, canaries=rounded(directions(1)))))

    threads = [threading.Thread(target=record, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    (standing,) = {answer for _, answer in known}
    assert len(known) == 9
    assert {PostgresModelCanaries(engine).known_as(model_id=name) for name in names} == {standing}


@pytest.mark.process
def test_what_another_process_records_is_seen_a_little_later(engine: Engine) -> None:
    seconds = [0.0]
    here = PostgresModelCanaries(engine, seconds=lambda: seconds[0])
    before = here.known_as(model_id="a")
    PostgresModelCanaries(engine).record(model_id="a", canaries=directions(1))

    at_once = here.known_as(model_id="a")
    seconds[0] = UNKNOWN_FOR_SECONDS

    assert (before, at_once, here.known_as(model_id="a")) == (None, None, "a")


@pytest.mark.process
def test_who_looks_whether_to_compare_sees_what_another_process_recorded(engine: Engine) -> None:
    here = PostgresModelCanaries(engine)
    here.known_as(model_id="b")
    elsewhere = PostgresModelCanaries(engine)
    elsewhere.record(model_id="a", canaries=directions(1))
    elsewhere.record(model_id="b", canaries=rounded(directions(1)))

    assert not here.is_worth_comparing(model_id="b", dimension=16)
    assert here.known_as(model_id="b") == "a"
