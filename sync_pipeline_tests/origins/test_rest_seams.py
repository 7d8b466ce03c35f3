"""Seams of pages by offset, found by more keys than overlap where they are kept."""

from __future__ import annotations

from sync_pipeline.core.landing.walking import OffsetWalk


def _walk(kept: int) -> OffsetWalk:
    return OffsetWalk(size=5, overlap=2, kept=kept).on(["a", "b", "c", "d", "e"])


def test_without_more_the_tail_is_what_overlaps() -> None:
    assert _walk(0).tail == ("d", "e")
    assert _walk(1).tail == ("d", "e")
    assert _walk(4).tail == ("b", "c", "d", "e")


def test_one_of_the_last_records_anchors_a_page_and_of_earlier_ones_it_takes_two() -> None:
    walk = _walk(5)

    assert walk.is_anchored(["e", "f"])
    assert walk.is_anchored(["b", "c", "f", "g"])
    # An id that the list has twice, far from where it was taken.
    assert not walk.is_anchored(["f", "a", "g"])
    assert not walk.is_anchored(["f", "g", None])


def test_records_deleted_together_on_a_seam_are_found_one_page_back() -> None:
    walk = _walk(5).back()

    assert walk.offset == 0
    assert OffsetWalk(size=5, overlap=2, offset=6, tail=walk.tail, kept=5).is_anchored(["a", "b"])
    assert not OffsetWalk(size=5, overlap=2, offset=6, tail=("d", "e")).is_anchored(["a", "b"])
