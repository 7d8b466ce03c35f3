"""When a model knows too little of texts, and what is said then."""

from __future__ import annotations

import pytest

from sync_pipeline.core.vocabulary import TokenCount, Vocabulary, told_high


@pytest.mark.parametrize(
    ("tokens", "unknown", "expected"),
    [
        pytest.param(1, 1, True, id="one unknown word"),
        pytest.param(3, 1, True, id="an unknown name, its amount and unit"),
        pytest.param(4, 1, False, id="mostly known"),
        pytest.param(9, 0, False, id="known"),
        pytest.param(0, 0, False, id="nothing"),
    ],
)
def test_a_text_is_unknown_from_a_third_of_its_tokens_on(
    tokens: int, unknown: int, *, expected: bool
) -> None:
    assert TokenCount(tokens=tokens, unknown=unknown).is_unknown is expected


@pytest.mark.parametrize(
    ("texts", "unknown", "expected"),
    [
        pytest.param(100, 5, True, id="a twentieth"),
        pytest.param(100, 4, False, id="less"),
        pytest.param(1, 1, True, id="the only one"),
        pytest.param(0, 0, False, id="none"),
    ],
)
def test_a_view_is_told_from_a_twentieth_of_its_texts_on(
    texts: int, unknown: int, *, expected: bool
) -> None:
    assert Vocabulary(texts=texts, unknown_texts=unknown).is_high is expected


def test_texts_are_summed_up_with_their_tokens() -> None:
    first = Vocabulary.of([TokenCount(2, 1), TokenCount(8, 0)])

    both = first + Vocabulary.of([TokenCount(1, 1)])

    assert both == Vocabulary(texts=3, unknown_texts=2, tokens=11, unknown_tokens=2)


def test_only_views_of_which_much_is_unknown_are_told_with_their_numbers() -> None:
    known = Vocabulary(texts=100, unknown_texts=1, tokens=900, unknown_tokens=9)
    unknown = Vocabulary(texts=6, unknown_texts=5, tokens=6, unknown_tokens=5)

    told = told_high({"text": known.to_dict(), "name": unknown.to_dict()})

    assert told == ["view 'name': the model does not know 5 of 6 texts (83% of the tokens)"]
