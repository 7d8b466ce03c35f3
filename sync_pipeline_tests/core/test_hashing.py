from __future__ import annotations

import uuid

from hypothesis import given
from hypothesis import strategies as st

from sync_pipeline.core.hashing import (
    POINT_NAMESPACE,
    bytes_digest,
    digest,
    embed_hasher,
    point_id,
)

texts = st.text(st.characters(exclude_categories=["Cs"]))


@given(texts)
def test_a_point_id_is_the_uuid5_of_its_document_id(document_id: str) -> None:
    assert point_id(document_id) == str(uuid.uuid5(POINT_NAMESPACE, document_id))


@given(st.lists(texts), st.lists(texts))
def test_digests_of_different_parts_differ(one: list[str], other: list[str]) -> None:
    assert (digest(*one) == digest(*other)) == (one == other)


@given(texts)
def test_a_text_hashes_like_its_bytes(text: str) -> None:
    assert bytes_digest(text.encode()) == digest(text)


def test_stored_hashes_of_the_first_release_still_come_out_the_same() -> None:
    assert point_id("global-material-1") == "81aaef25-f51e-5e98-b34e-9430889544d2"
    assert embed_hasher("model-1")("Гипс") == "a99ae8e5adfacd51f788cdd440187db3"
