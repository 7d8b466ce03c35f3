"""Pure functions over stored payloads and pages."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync_pipeline.core.hashing import point_id
from sync_pipeline.core.payload import Payload
from sync_pipeline.stores.stored import Page, count_pages, is_written, iter_page_digests

IDS = sorted(point_id(f"tenant-material-{number}") for number in range(40))


def _page(ids: list[str], offset: str | None, size: int) -> Page:
    rest = [one for one in ids if offset is None or one >= offset]
    rows: list[tuple[str, Payload]] = [(one, {"scope_key": "acme"}) for one in rest[:size]]
    return rows, rest[size] if len(rest) > size else None


@given(
    ids=st.lists(st.sampled_from(IDS), unique=True).map(sorted),
    bounds=st.tuples(st.none() | st.sampled_from(IDS), st.none() | st.sampled_from(IDS)),
    size=st.integers(1, 50),
)
def test_pages_add_up_to_the_range(
    ids: list[str], bounds: tuple[str | None, str | None], size: int
) -> None:
    start, stop = bounds

    batches = list(
        iter_page_digests(
            lambda offset: _page(ids, offset, size), views=("text",), start=start, stop=stop
        )
    )

    read = [one.decode() for batch in batches for one in batch.point_ids.tolist()]
    assert read == [
        one for one in ids if (start is None or one >= start) and (stop is None or one < stop)
    ]
    assert all(len(batch) for batch in batches)


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param({"payload_hash": 5, "embed_hash": "text"}, id="of other types"),
        pytest.param({"payload_hash": None, "embed_hash": None}, id="null"),
        pytest.param({"embed_hash": {"title": "x"}}, id="of another view"),
        pytest.param({"embed_hash": {"text": ""}}, id="empty"),
    ],
)
def test_hashes_that_are_none_are_empty(payload: Payload) -> None:
    rows: list[tuple[str, Payload]] = [(IDS[0], payload)]

    (batch,) = iter_page_digests(lambda _: (rows, None), views=("text",), start=None, stop=None)

    assert (batch.contents.tolist(), batch.payloads.tolist()) == ([b""], [b""])
    assert batch.contents.dtype == np.dtype("S32")


def test_scopes_are_counted_over_all_pages() -> None:
    assert count_pages(lambda offset: _page(IDS, offset, 7), field="scope_key") == {"acme": 40}


@pytest.mark.parametrize(
    ("sent", "stored", "expected"),
    [
        pytest.param({"a": 1}, {"a": 1}, True, id="equal"),
        pytest.param({"a": (1, 2)}, {"a": [1, 2]}, True, id="equal as JSON"),
        pytest.param({"a": 1}, {"a": 2}, False, id="different"),
        pytest.param({"source_revision": 1}, {"source_revision": 2}, True, id="newer stored"),
        pytest.param({"source_revision": 2}, {"source_revision": 1}, False, id="older stored"),
        pytest.param({}, {"source_revision": 1}, False, id="sent without revision"),
        pytest.param({"source_revision": 2}, {}, False, id="stored without revision"),
    ],
)
def test_a_stored_payload_shows_whether_it_was_written(
    sent: Payload, stored: Payload, *, expected: bool
) -> None:
    assert is_written(sent, over=stored) is expected
