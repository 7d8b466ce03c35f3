"""When two models are one, and when one has changed."""

from __future__ import annotations

import numpy as np
import pytest

from sync_pipeline.core.canaries import (
    CANARY_TEXTS,
    CHANGED_MODEL_COSINE,
    DOCUMENT_KEYS,
    QUERY_KEY,
    SAME_MODEL_COSINE,
    Canaries,
    find_same_model,
    lowest_cosine,
)
from sync_pipeline.core.point import Vector

RANDOM = np.random.default_rng(6)


def directions(count: int = len(DOCUMENT_KEYS), *, dimension: int = 32) -> Canaries:
    found = RANDOM.standard_normal((count, dimension))
    found /= np.linalg.norm(found, axis=1, keepdims=True)
    return dict(zip(DOCUMENT_KEYS, found.astype(np.float32), strict=False))


def turned(vector: Vector, *, cosine: float) -> Vector:
    """A vector at this cosine to another one."""
    other = RANDOM.standard_normal(len(vector))
    other -= (other @ vector) * vector
    other /= np.linalg.norm(other)
    return np.asarray(cosine * vector + np.sqrt(1 - cosine**2) * other, dtype=np.float32)


def all_turned(canaries: Canaries, *, cosine: float) -> Canaries:
    return {key: turned(vector, cosine=cosine) for key, vector in canaries.items()}


def test_each_canary_is_a_text_of_its_own() -> None:
    assert len(set(DOCUMENT_KEYS)) == len(CANARY_TEXTS) == 8
    assert QUERY_KEY not in DOCUMENT_KEYS


def test_a_model_has_changed_by_the_canary_that_changed_most() -> None:
    reference = directions()
    measured = all_turned(reference, cosine=0.99999)

    measured = {**measured, DOCUMENT_KEYS[3]: turned(reference[DOCUMENT_KEYS[3]], cosine=0.9)}

    assert lowest_cosine(reference, measured) == pytest.approx(0.9, abs=1e-4)


def test_search_texts_do_not_count() -> None:
    reference = {**directions(), QUERY_KEY: directions(1)[DOCUMENT_KEYS[0]]}
    measured = {**reference, QUERY_KEY: -reference[QUERY_KEY]}

    assert lowest_cosine(reference, measured) == pytest.approx(1, abs=1e-5)


def test_without_a_common_canary_nothing_is_said() -> None:
    reference = directions()

    assert lowest_cosine({}, reference) is None
    assert lowest_cosine({DOCUMENT_KEYS[0]: reference[DOCUMENT_KEYS[0]]}, {}) is None


def test_vectors_of_another_length_do_not_agree() -> None:
    assert lowest_cosine(directions(dimension=32), directions(dimension=16)) == 0


def test_a_model_under_another_name_is_found_among_others() -> None:
    model = directions()
    known = {"other": directions(), "near": all_turned(model, cosine=0.9997), "far": directions()}

    assert find_same_model(model, known) == "near"


def test_the_closest_of_several_names_is_taken() -> None:
    model = directions()
    known = {
        "a": all_turned(model, cosine=0.9996),
        "c": all_turned(model, cosine=0.9999),
        "d": all_turned(model, cosine=0.9997),
    }

    assert find_same_model(model, known) == "c"


def test_what_agrees_a_little_less_is_another_model() -> None:
    model = directions()

    assert find_same_model(model, {"int8": all_turned(model, cosine=0.9985)}) is None


def test_a_model_of_which_too_little_is_known_is_not_recognised() -> None:
    model = directions()
    three = dict(list(model.items())[:3])

    assert find_same_model(model, {"known": three}) is None
    assert find_same_model(three, {"known": model}) is None


def test_a_model_that_was_just_recognised_is_not_taken_for_changed() -> None:
    assert CHANGED_MODEL_COSINE < SAME_MODEL_COSINE
