"""BM25 weights of short texts in two scripts."""

from __future__ import annotations

import subprocess
import sys

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

    assert document.indices == encoder.encode_query(text).indices


@pytest.mark.parametrize("language", LANGUAGES)
@given(text=st.text(max_size=60) | st.text(alphabet="аЁ b_я-ि1é\u0301", max_size=30))
def test_documents_and_queries_agree_on_terms_whatever_the_text(language: str, text: str) -> None:
    encoder = Bm25Encoder(language)

    (document,) = encoder.encode_documents([text])

    assert document.indices == encoder.encode_query(text).indices
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
