from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
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
        pytest.param("м²", "м²", id="superscript stays"),
    ],
)
def test_text_is_normalised(raw: str, clean: str) -> None:
    assert normalise(raw) == clean


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
        pytest.param({"price": math.nan}, Reason.INVALID_NUMBER, id="NaN"),
        pytest.param({"price": math.inf}, Reason.INVALID_NUMBER, id="infinity"),
        pytest.param({"price": 2**70}, Reason.INVALID_NUMBER, id="beyond 64 bits"),
        pytest.param({"price": {"a": [1, -math.inf]}}, Reason.INVALID_NUMBER, id="nested infinity"),
        pytest.param({"price": "\ud800"}, Reason.INVALID_TEXT, id="surrogate in the payload"),
    ],
)
def test_a_row_that_cannot_be_a_document_is_rejected_with_its_reason(
    changes: dict[str, object], reason: Reason
) -> None:
    rejection = build(**changes)  # type: ignore[arg-type]  # forwarded as they are

    assert isinstance(rejection, Rejection)
    assert rejection.reason is reason


def test_a_rejection_never_carries_the_rows_text() -> None:
    rejection = build(texts=("TOP SECRET", None, None, None), price=math.nan)

    assert isinstance(rejection, Rejection)
    assert "SECRET" not in repr(rejection)


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
