from __future__ import annotations

import json
import math
import unicodedata
from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sync_pipeline.core.document import (
    Document,
    DocumentBuilder,
    Reason,
    Rejection,
    document_id,
    normalise,
    number_fault,
    render_text,
    split_document_id,
)
from sync_pipeline.core.entity import Entity
from sync_pipeline.core.scope import GLOBAL, Scope

MATERIAL = Entity(
    name="material",
    table="materials",
    views=(("text", ("name", "category", "supplier", "unit")),),
    payload=(("categoryId", "category"), ("price", "price")),
)
ACME = Scope("acme")
WORD_ENDS = "\u200b\u2063\ufff9\ufffa\ufffb"


def build(
    *,
    row_id: str | None = "7",
    tenant: str | None = "acme",
    is_global: bool | None = False,
    texts: tuple[str | None, ...] = ("Ротбанд", "Штукатурки", None, "кг"),
    price: object = 12.5,
    scope: Scope = ACME,
) -> Document | Rejection:
    builder = DocumentBuilder(entity=MATERIAL, scope=scope, model_id="model-1")
    return builder.build((row_id, tenant, is_global, *texts, texts[1], price))


def built(**changes: object) -> Document:
    document = build(**changes)  # type: ignore[arg-type]  # forwarded as they are
    assert isinstance(document, Document)
    return document


def test_a_row_becomes_a_document_with_the_documented_payload() -> None:
    document = built()

    assert document.document_id == "tenant-material-7"
    assert document.texts == ("Ротбанд Штукатурки кг",)
    assert json.loads(document.payload) == {
        "tenantId": "acme",
        "type": "material",
        "dbId": "7",
        "isGlobal": False,
        "scope": "tenant",
        "scope_key": "acme",
        "schema_version": 1,
        "document_id": "tenant-material-7",
        "text": "Ротбанд Штукатурки кг",
        "categoryId": "Штукатурки",
        "price": 12.5,
    }


def test_a_global_row_has_no_tenant_whatever_its_column_says() -> None:
    document = built(scope=GLOBAL, is_global=True, tenant="acme")

    payload = json.loads(document.payload)
    assert (payload["tenantId"], payload["isGlobal"], payload["scope_key"]) == (
        None,
        True,
        "global",
    )
    assert document.document_id == "global-material-7"


def test_null_is_never_the_text_none() -> None:
    assert render_text(["Гипс", None, "", "  ", "кг"]) == "Гипс кг"


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        pytest.param("  a \t b\n", "a b", id="white space folds"),
        pytest.param("e\u0301clair", "éclair", id="composed"),
        pytest.param("a\u00adb\ufeffc", "abc", id="soft hyphen and byte order mark dropped"),
        pytest.param("a\x00b", "ab", id="control character dropped"),
        pytest.param("می\u200cخواهم", "می\u200cخواهم", id="joiners stay"),
        pytest.param("a \u200b b", "a b", id="no double space where a character was dropped"),
        pytest.param("Kabel\u200bweiß", "Kabel weiß", id="zero-width space ends a word"),
        pytest.param("漢字\ufffaかんじ\ufffb", "漢字 かんじ", id="annotation is words of its own"),
        pytest.param("\u202bבטון ב30\u202c\u200e", "בטון ב30", id="directional marks dropped"),
        pytest.param("m\u2060n", "mn", id="word joiner dropped"),
        pytest.param("м²", "м²", id="superscript stays"),
    ],
)
def test_text_is_normalised(raw: str, clean: str) -> None:
    assert normalise(raw) == clean


def normalise_of_before(text: str) -> str:
    """How texts were normalised when the first indexes were written."""
    folded = " ".join(text.split())
    if folded.isascii() and folded.isprintable():
        return folded
    folded.encode()
    composed = unicodedata.normalize("NFC", folded)
    if composed.isprintable():
        return composed
    kept = "".join(
        character
        for character in composed
        if character in "\u200c\u200d" or unicodedata.category(character) not in {"Cc", "Cf"}
    )
    return " ".join(kept.split())


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters=WORD_ENDS)))
@example("a\x00b\u00ad\ufeff\u202e\u200d\u2060\u180e c\u0301 м²\u3164")
def test_a_text_without_new_word_ends_is_normalised_as_ever(text: str) -> None:
    assert normalise(text) == normalise_of_before(text)


@given(st.text())
def test_normalising_twice_is_normalising_once(text: str) -> None:
    try:
        once = normalise(text)
    except UnicodeEncodeError:
        return

    assert normalise(once) == once


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        pytest.param({"row_id": None}, Reason.INVALID_ID, id="no id"),
        pytest.param({"row_id": ""}, Reason.INVALID_ID, id="empty id"),
        pytest.param({"row_id": "x" * 513}, Reason.INVALID_ID, id="long id"),
        pytest.param({"tenant": None}, Reason.NO_OWNER, id="no owner"),
        pytest.param({"tenant": "global"}, Reason.INVALID_TENANT, id="tenant named global"),
        pytest.param({"texts": ("", None, " ", "\u200b")}, Reason.EMPTY_TEXT, id="nothing to say"),
        pytest.param({"texts": ("\ud800", None, None, None)}, Reason.INVALID_TEXT, id="surrogate"),
        pytest.param({"texts": ("...", "-", "—", " ")}, Reason.EMPTY_TEXT, id="only marks"),
        pytest.param({"texts": ("\u2800\u3164", None, None, "_")}, Reason.EMPTY_TEXT, id="blanks"),
    ],
)
def test_a_row_that_cannot_be_a_document_is_rejected_with_its_reason(
    changes: dict[str, object], reason: Reason
) -> None:
    rejection = build(**changes)  # type: ignore[arg-type]  # forwarded as they are

    assert isinstance(rejection, Rejection)
    assert rejection.reason is reason


def test_a_rejection_never_carries_the_rows_text() -> None:
    rejection = build(texts=("TOP SECRET\ud800", None, None, None))

    assert isinstance(rejection, Rejection)
    assert "SECRET" not in repr(rejection)


@pytest.mark.parametrize(
    ("price", "kept", "dropped"),
    [
        pytest.param(math.nan, None, 1, id="NaN"),
        pytest.param(-math.inf, None, 1, id="infinity"),
        pytest.param(2**70, None, 1, id="beyond 64 bits"),
        pytest.param("\ud800", None, 1, id="lone surrogate"),
        pytest.param(b"x", None, 1, id="bytes"),
        pytest.param({"a": [1, math.inf], "b": "x"}, {"a": [1, None], "b": "x"}, 1, id="nested"),
        pytest.param([math.nan, 1.5, "\udfff", None], [None, 1.5, None, None], 2, id="two of four"),
        pytest.param({"a\ud800": 1, "b": True}, {"b": True}, 1, id="a key"),
    ],
)
def test_what_no_index_holds_costs_that_value_and_is_named_by_its_field(
    price: object, kept: object, dropped: int
) -> None:
    document = built(price=price)

    assert json.loads(document.payload)["price"] == kept
    assert document.dropped == ("price",) * dropped
    assert document.texts == built().texts


def test_of_a_plain_row_nothing_is_dropped() -> None:
    assert built(price={"a": [1, "b", None, 2.5, True]}).dropped == ()


@pytest.mark.parametrize("text", ["n/a", "5", "½", "Ω", "ก", "A4"])
def test_a_letter_or_a_digit_is_something_to_embed(text: str) -> None:
    assert built(texts=(text, None, None, None)).texts == (text,)


def test_marks_beside_words_stay_in_the_text() -> None:
    assert built(texts=("-", "Гипс", None, "...")).texts == ("- Гипс ...",)


def test_a_view_of_marks_alone_is_empty_beside_one_with_words() -> None:
    tool = Entity(name="tool", table="tools", views=(("title", ("name",)), ("about", ("text",))))

    document = DocumentBuilder(entity=tool, scope=GLOBAL, model_id="m").build(
        ("1", None, True, "BLAST", "--")
    )

    assert isinstance(document, Document)
    assert (document.texts, document.embed_hashes[1]) == (("BLAST", ""), "")


def test_html_is_read_where_the_entity_says_so_and_the_payload_stays() -> None:
    html = replace(MATERIAL, markup="html")
    row = ("7", "acme", False, "<p>Mörtel<br>schnell", "M&uuml;", None, None, "M&uuml;", 1)

    plain, read = (
        DocumentBuilder(entity=entity, scope=ACME, model_id="m").build(row)
        for entity in (MATERIAL, html)
    )

    assert isinstance(plain, Document)
    assert isinstance(read, Document)
    assert plain.texts == ("<p>Mörtel<br>schnell M&uuml;",)
    assert read.texts == ("Mörtel schnell Mü",)
    assert json.loads(read.payload)["categoryId"] == "M&uuml;"


@pytest.mark.parametrize("value", [True, None, "x", 0.5, 2**62, {"a": [1, "b"]}, b"x"], ids=repr)
def test_plain_values_have_no_number_fault(value: object) -> None:
    assert number_fault(value) is None


def test_only_the_payload_hash_follows_the_price() -> None:
    cheap, dear = built(price=1.0), built(price=2.0)

    assert cheap.embed_hashes == dear.embed_hashes
    assert cheap.payload_hash != dear.payload_hash


def test_both_hashes_follow_the_text() -> None:
    one, other = built(), built(texts=("Волма", "Штукатурки", None, "кг"))

    assert one.embed_hashes != other.embed_hashes
    assert one.payload_hash != other.payload_hash


def test_the_embed_hash_follows_the_model() -> None:
    row = ("7", "acme", False, "Гипс", None, None, None, None, 1.0)

    hashes = {
        DocumentBuilder(entity=MATERIAL, scope=ACME, model_id=model).build(row).embed_hashes  # type: ignore[union-attr]  # a valid row
        for model in ("model-1", "model-2")
    }

    assert len(hashes) == 2


def test_a_view_without_text_has_no_hash() -> None:
    tool = Entity(name="tool", table="tools", views=(("title", ("name",)), ("about", ("text",))))

    document = DocumentBuilder(entity=tool, scope=GLOBAL, model_id="m").build(
        ("1", None, True, "BLAST", None)
    )

    assert isinstance(document, Document)
    assert document.texts == ("BLAST", "")
    assert document.embed_hashes[1] == ""


ORDINARY = Entity(
    name="material",
    table="materials",
    views=(("text", ("name", "category", "unit")), ("title", ("name",))),
    payload=tuple((name, name) for name in ("price", "stock", "new", "extra", "made", "unit")),
)


def test_an_ordinary_row_has_the_hashes_that_the_first_indexes_hold() -> None:
    text = "Шту\u00adкатурка  e\u0301 м² - (30 кг)"
    payload = (12.5, 42.0, True, {"a": [1, 2.5, "x", None, {"b": True}]}, "2026-02-03", "кг")

    document = DocumentBuilder(entity=ORDINARY, scope=ACME, model_id="m").build(
        ("7", "acme", False, text, "Смеси", "кг", *payload)
    )

    assert isinstance(document, Document)
    assert document.embed_hashes == (
        "1972d78cebc9be1afa361848ca6f2a25",
        "545f32f1fc14621e445419d7b29f854a",
    )
    assert document.payload_hash == "41bff997e4a4cf534163c342b8e9ea39"


entity_names = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True)


@given(
    st.tuples(st.sampled_from([GLOBAL, ACME]), entity_names, st.text(min_size=1)),
    st.tuples(st.sampled_from([GLOBAL, ACME]), entity_names, st.text(min_size=1)),
)
def test_document_ids_are_injective(
    one: tuple[Scope, str, str], other: tuple[Scope, str, str]
) -> None:
    same = document_id(scope=one[0], entity_type=one[1], row_id=one[2]) == document_id(
        scope=other[0], entity_type=other[1], row_id=other[2]
    )

    assert same == (one == other)


@pytest.mark.parametrize("row_id", ["7", "a-b-c", "a/b", " ", "Größe"])
@pytest.mark.parametrize("scope", [GLOBAL, Scope("acme")])
def test_a_document_id_can_be_taken_apart(scope: Scope, row_id: str) -> None:
    name = document_id(scope=scope, entity_type="material", row_id=row_id)

    assert split_document_id(name) == (scope.kind, "material", row_id)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "-",
        "tenant",
        "tenant-",
        "tenant-material",
        "tenant-material-",
        "tenant--7",
        "acme-material-7",
        "Tenant-material-7",
        "tenant-material-a\0b",
        "tenant-material-\ud800",
    ],
)
def test_what_is_no_document_id_is_not_taken_apart(name: str) -> None:
    assert split_document_id(name) is None
