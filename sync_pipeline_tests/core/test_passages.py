from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sync_pipeline.core.document import normalise
from sync_pipeline.core.passages import cut_passages

MAX_TOKENS = 40


def count_words(texts: Sequence[str]) -> list[int]:
    return [len(text.split()) for text in texts]


def cut(text: str, *, max_tokens: int = MAX_TOKENS) -> list[str]:
    passages = cut_passages(text, max_tokens=max_tokens, count=count_words)
    return [passage.of(text) for passage in passages]


def story(sentences: int, *, seed: int = 1) -> list[str]:
    """Sentences of 4 to 18 words, none like another."""
    chance = random.Random(seed)  # noqa: S311 - a sample
    return [
        " ".join(f"w{number}n{place}" for place in range(chance.randint(4, 18))) + "."
        for number in range(sentences)
    ]


TEXTS = st.text(
    alphabet=st.sampled_from([*"abжと", " ", " ", ".", "!", "?", "。", "…", '"', "9"]), max_size=600
).map(normalise)


@settings(deadline=None)
@given(text=TEXTS, max_tokens=st.integers(min_value=1, max_value=60))
def test_passages_cover_the_text_in_order_and_none_is_too_long(text: str, max_tokens: int) -> None:
    passages = cut_passages(text, max_tokens=max_tokens, count=count_words)

    assert (passages == []) == (text == "")
    if passages:
        assert (passages[0].start, passages[-1].stop) == (0, len(text))
    for before, after in pairwise(passages):
        assert before.start < after.start <= before.stop < after.stop
    for passage in passages:
        assert count_words([passage.of(text)])[0] <= max(max_tokens, 1)


def test_a_short_text_is_one_passage() -> None:
    assert cut("Portland cement. Bag of 50 kg.") == ["Portland cement. Bag of 50 kg."]


def test_passages_end_where_sentences_do_and_begin_with_the_last_one_before() -> None:
    passages = cut(" ".join(story(100)), max_tokens=80)

    assert len(passages) > 10
    assert all(passage.endswith(".") for passage in passages)
    ends = [passage.rsplit(". ", 1)[-1] for passage in passages[:-1]]
    begins = [passage.split(". ", 1)[0] + "." for passage in passages[1:]]
    assert sum(end == begin for end, begin in zip(ends, begins, strict=True)) > len(ends) / 2


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        pytest.param("Труба. Длина 3 м! Диаметр?", 3, id="Russian"),
        pytest.param("これは管です。長さは三メートルです。", 2, id="Japanese, without spaces"),
        pytest.param("He said 'stop.' Then he left.", 2, id="quotes"),
        pytest.param("Version 3.12 of www.example.com is out", 1, id="points inside words"),
    ],
)
def test_where_sentences_end(text: str, sentences: int) -> None:
    """Each sentence counts as much as a passage holds, so that it is one."""
    passages = cut_passages(text, max_tokens=4, count=lambda texts: [4] * len(texts))

    assert len(passages) == sentences


def test_a_sentence_that_is_too_long_is_cut_between_words() -> None:
    text = " ".join(f"word{place}" for place in range(200))

    passages = cut(text)

    assert len(passages) > 5
    assert set(" ".join(passages).split()) == set(text.split())


def test_a_word_without_end_is_cut_too() -> None:
    passages = cut_passages("x" * 5_000, max_tokens=100, count=lambda them: list(map(len, them)))

    assert "".join(passage.of("x" * 5_000) for passage in passages).count("x") >= 5_000
    assert len(passages) > 1


@settings(deadline=None)
@given(place=st.integers(min_value=0, max_value=199), seed=st.integers(0, 50))
def test_an_edit_changes_the_passages_around_it_alone(place: int, seed: int) -> None:
    sentences = story(200, seed=seed)
    edited = [*sentences[:place], "Something else stands here now.", *sentences[place + 1 :]]

    before, after = cut(" ".join(sentences)), cut(" ".join(edited))

    assert 1 <= len(set(after) - set(before)) <= 4
    assert len(before) > 40


@settings(deadline=None)
@given(seed=st.integers(0, 100))
def test_another_last_sentence_changes_two_passages_at_most(seed: int) -> None:
    sentences = story(200, seed=seed)
    edited = [*sentences[:-1], "The end was written anew."]

    before, after = cut(" ".join(sentences)), cut(" ".join(edited))

    assert 1 <= len(set(after) - set(before)) <= 2


@pytest.mark.parametrize("cycle", [1, 2, 30])
def test_a_text_that_says_the_same_over_and_over_is_cut_too(cycle: int) -> None:
    passages = cut(" ".join(story(cycle) * (12_000 // cycle)))

    assert len(passages) > 1_000
    assert max(count_words(passages)) <= MAX_TOKENS


def test_what_is_put_in_at_the_beginning_moves_nothing_further_on() -> None:
    sentences = story(300)

    before, after = cut(" ".join(sentences)), cut(" ".join(["A new first sentence.", *sentences]))

    assert len(set(after) - set(before)) <= 3
    assert before[10:] == after[-len(before) + 10 :]
