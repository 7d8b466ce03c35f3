from __future__ import annotations

import uuid

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sync_pipeline.core.diff import diff_documents, match_sorted
from sync_pipeline.core.point import PointDigests

Contents = dict[str, tuple[str, str]]
ids = st.sampled_from([str(uuid.UUID(int=number)) for number in range(12)])
sides = st.dictionaries(ids, st.tuples(st.sampled_from("ab"), st.sampled_from("xy")))


def digests(side: Contents) -> PointDigests:
    keys = sorted(side)
    return PointDigests(
        point_ids=np.array(keys, dtype="S36"),
        contents=np.array([side[key][0] for key in keys], dtype="S32"),
        payloads=np.array([side[key][1] for key in keys], dtype="S32"),
    )


@given(sides, sides, sides)
def test_applying_a_diff_makes_the_index_equal_the_export(
    exported: Contents, indexed: Contents, recorded: Contents
) -> None:
    export = digests(exported)
    index = digests(indexed)

    diff = diff_documents(exported=export, indexed=index, recorded=digests(recorded))

    result = dict(indexed)
    for places in (diff.new, diff.changed, diff.payload):
        for key in export.point_ids[places].astype("U36"):
            result[str(key)] = exported[str(key)]
    for key in index.point_ids[diff.stale].astype("U36"):
        del result[str(key)]
    assert result == exported


@given(sides, sides, sides)
def test_a_diff_touches_nothing_that_is_right(
    exported: Contents, indexed: Contents, recorded: Contents
) -> None:
    diff = diff_documents(
        exported=digests(exported), indexed=digests(indexed), recorded=digests(recorded)
    )

    right = [key for key, value in exported.items() if indexed.get(key) == value]
    assert diff.unchanged == len(right)
    assert len(diff.record) == sum(recorded.get(key) != exported[key] for key in right)
    assert len(diff.new) == len(exported.keys() - indexed.keys())


def test_only_the_payload_differs() -> None:
    key = str(uuid.UUID(int=1))

    diff = diff_documents(
        exported=digests({key: ("a", "y")}),
        indexed=digests({key: ("a", "x")}),
        recorded=digests({key: ("a", "x")}),
    )

    assert (len(diff.payload), len(diff.changed), len(diff.record)) == (1, 0, 0)


def test_no_bookkeeping_can_cause_a_skip() -> None:
    key = str(uuid.UUID(int=1))
    claimed = digests({key: ("a", "x")})

    diff = diff_documents(exported=claimed, indexed=digests({}), recorded=claimed)

    assert len(diff.new) == 1


def test_nothing_matches_in_an_empty_list() -> None:
    left = np.array([b"a", b"b"])

    assert match_sorted(left, np.array([], dtype="S1")).tolist() == [-1, -1]
