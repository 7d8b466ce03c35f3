"""BM25 weights of short texts in two scripts."""

from __future__ import annotations

import re
import subprocess
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync_pipeline.core.errors import ConfigurationError
from sync_pipeline.core.point import SparseVector
from sync_pipeline.embedding.bm25 import Bm25Encoder

LANGUAGES = ["mixed", "english", "russian", "german", "none"]


def terms(encoder: Bm25Encoder, text: str) -> set[int]:
    return set(encoder.encode_query(text).indices)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param("штукатурка", "штукатурки", id="Russian plural"),
        pytest.param("гипсовая", "гипсовый", id="Russian gender"),
        pytest.param("plaster", "plasters", id="English plural"),
        pytest.param("Knauf", "KNAUF", id="capitals"),
        pytest.param("м²", "м2", id="superscript"),
        pytest.param("чёрный", "ЧЕРНЫЙ", id="yo"),
        pytest.param("\u0438\u0306", "\u0439", id="combining breve"),
        pytest.param("plaster штукатурка", "штукатурки plasters", id="both scripts"),
    ],
)
def test_spellings_of_one_word_are_one_term(one: str, other: str) -> None:
    encoder = Bm25Encoder()

    assert terms(encoder, one) == terms(encoder, other) != set()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param("штукатурка", "шпатлёвка", id="different words"),
        pytest.param("М500", "М400", id="grades"),
        pytest.param("30кг", "25кг", id="sizes"),
        pytest.param("type A", "type B", id="single letters"),
    ],
)
def test_different_words_are_different_terms(one: str, other: str) -> None:
    encoder = Bm25Encoder()

    assert terms(encoder, one) != terms(encoder, other)


def test_one_language_leaves_other_scripts_unstemmed() -> None:
    encoder = Bm25Encoder("russian")

    assert terms(encoder, "штукатурка") == terms(encoder, "штукатурки")
    assert terms(encoder, "plaster") != terms(encoder, "plasters")


def test_none_stems_nothing_and_drops_nothing() -> None:
    encoder = Bm25Encoder("none")

    assert terms(encoder, "plaster") != terms(encoder, "plasters")
    assert len(terms(encoder, "the и of для")) == 4


def test_function_words_of_both_languages_carry_no_weight() -> None:
    assert terms(Bm25Encoder(), "the для with и") == set()


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_term_of_a_document_is_found_by_its_own_text(language: str) -> None:
    encoder = Bm25Encoder(language)
    text = "Штукатурка гипсовая Rotband plasters 30кг Knauf м²"

    (document,) = encoder.encode_documents([text])

    assert len(document.indices) == 7
    assert set(document.indices) <= terms(encoder, text)


def old_terms(encoder: Bm25Encoder, text: str) -> set[int]:
    """Terms of a document that was written before look-alikes were one."""
    models = (encoder._cyrillic, encoder._other)
    words = re.split(r"[^\w]+", unicodedata.normalize("NFKC", text).replace("ё", "е"))
    cyrillic = [bool(re.search("[а-я]", word, re.IGNORECASE)) for word in words]
    return {
        term
        for word, is_cyrillic in zip(words, cyrillic, strict=True)
        for term in models[0 if is_cyrillic else 1].embed_query(word).indices
    }


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(
    "spellings",
    [
        pytest.param(("50х150", "50x150", "50×150", "50Х150", "50*150"), id="a section"),
        pytest.param(("50х50х3", "50x50x3", "50×50×3", "50х50x3"), id="an angle"),
        pytest.param(("М8", "M8", "m8"), id="a thread"),
        pytest.param(("М8х1", "M8x1", "М8×1"), id="a fine thread"),
        pytest.param(("В25", "B25", "в25"), id="a grade of concrete"),
        pytest.param(("А500С", "A500C", "А500C"), id="a grade of steel"),
        pytest.param(("1,5х2,5", "1,5x2,5"), id="a cable"),
        pytest.param(("50х150мм", "50x150мм"), id="with its unit"),
    ],
)
def test_sizes_and_grades_find_each_other_in_both_alphabets(
    language: str, spellings: tuple[str, ...]
) -> None:
    encoder = Bm25Encoder(language)

    documents = encoder.encode_documents(spellings)

    for query in spellings:
        asked = terms(encoder, query)
        assert all(asked & set(document.indices) for document in documents), query


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(
    ("written", "asked"),
    [
        pytest.param("Брус 50х150 сосна", "50x150", id="Cyrillic section"),
        pytest.param("Брус 50x150 сосна", "50х150", id="Latin section"),
        pytest.param("Брус 50х150 сосна", "50×150", id="asked with a sign"),
        pytest.param("Брус 50×150 сосна", "50×150", id="the sign itself"),
        pytest.param("Болт М8", "M8", id="Cyrillic thread"),
        pytest.param("Болт M8", "М8", id="Latin thread"),
        pytest.param("Бетон В25", "b25", id="Cyrillic grade"),
        pytest.param("10 м²", "m2", id="Cyrillic unit"),
    ],
)
def test_a_point_written_before_is_found_by_either_spelling(
    language: str, written: str, asked: str
) -> None:
    encoder = Bm25Encoder(language)

    assert terms(encoder, asked) & old_terms(encoder, written)


@pytest.mark.parametrize("language", LANGUAGES)
@given(text=st.text(alphabet="авсехмрkgABx .,-ё", max_size=40))
def test_words_without_digits_have_the_terms_that_they_always_had(language: str, text: str) -> None:
    encoder = Bm25Encoder(language)

    assert terms(encoder, text) == old_terms(encoder, text)


@pytest.mark.parametrize("text", ["30кг", "IP44", "d 20", "25 кг мешок", "СМЛ2440", "№5г", "8шт"])
def test_a_number_beside_other_letters_is_what_it_was(text: str) -> None:
    encoder = Bm25Encoder()

    assert terms(encoder, text) == old_terms(encoder, text)


def test_the_numbers_of_a_product_are_still_words() -> None:
    (document,) = Bm25Encoder().encode_documents(["Брус 50×150"])

    assert terms(Bm25Encoder(), "150") <= set(document.indices)


@pytest.mark.parametrize("language", LANGUAGES)
@given(text=st.text(max_size=60) | st.text(alphabet="аЁ b_я-ि1хx×İıᲃſé\u0301", max_size=30))
def test_a_text_finds_its_own_document_whatever_it_is(language: str, text: str) -> None:
    encoder = Bm25Encoder(language)

    (document,) = encoder.encode_documents([text])

    assert set(document.indices) <= terms(encoder, text)
    assert len(set(document.indices)) == len(document.indices) == len(document.values)
    assert all(value > 0 for value in document.values)


def test_a_repeated_term_weighs_more() -> None:
    (document,) = Bm25Encoder().encode_documents(["штукатурка штукатурка цемент"])

    weights = dict(zip(document.indices, document.values, strict=True))

    (repeated,) = terms(Bm25Encoder(), "штукатурка")
    (single,) = terms(Bm25Encoder(), "цемент")
    assert weights[repeated] > weights[single]


def test_a_term_weighs_more_in_a_shorter_text_of_both_scripts() -> None:
    short, long = Bm25Encoder().encode_documents(
        ["Цемент Portland", "Цемент Portland белый быстротвердеющий мешок bag paper Holcim"]
    )
    (term,) = terms(Bm25Encoder(), "цемент")

    weight_of = [dict(zip(d.indices, d.values, strict=True))[term] for d in (short, long)]

    assert weight_of[0] > weight_of[1]


def test_a_text_without_words_has_no_weights() -> None:
    assert Bm25Encoder().encode_documents(["", " — "]) == [SparseVector((), ())] * 2


def test_the_id_names_language_and_parameters() -> None:
    ids = {
        Bm25Encoder().sparse_id,
        Bm25Encoder("russian").sparse_id,
        Bm25Encoder(k=1.5).sparse_id,
        Bm25Encoder(b=0.5).sparse_id,
        Bm25Encoder(average_words=20).sparse_id,
    }

    assert len(ids) == 5
    assert Bm25Encoder().sparse_id == "bm25-v1-mixed-k1.2-b0.75-avg10"


@pytest.mark.process
def test_weights_are_the_same_in_another_process() -> None:
    text = "Штукатурка гипсовая Rotband plasters 30кг"
    program = (
        "import sys; from sync_pipeline.embedding.bm25 import Bm25Encoder; "
        "print(Bm25Encoder().encode_documents([sys.argv[1]]))"
    )

    printed = subprocess.run(
        [sys.executable, "-c", program, text],
        capture_output=True,
        check=True,
        timeout=60,
        text=True,
    ).stdout

    assert printed.strip() == str(Bm25Encoder().encode_documents([text]))


@pytest.mark.parametrize(
    ("language", "b"),
    [
        pytest.param("klingon", 0.75, id="unknown language"),
        pytest.param("czech", 0.75, id="no stemmer"),
        pytest.param("russian", 1.5, id="b above 1"),
    ],
)
def test_what_cannot_be_set_up_is_a_configuration_error(language: str, b: float) -> None:
    with pytest.raises(ConfigurationError, match=f"language '{language}'"):
        Bm25Encoder(language, b=b)
