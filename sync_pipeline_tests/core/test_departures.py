from __future__ import annotations

import pytest

from sync_pipeline.core.changes import ChangedRow, PendingEvent, departed_rows

ROW = ChangedRow("material", "1")


def event(number: int, old: str | None, new: str | None, *, row: str | None = "1") -> PendingEvent:
    return PendingEvent(
        id=number, entity_type="material", db_id=row, old_scope_key=old, new_scope_key=new
    )


@pytest.mark.parametrize(
    ("events", "is_gone"),
    [
        pytest.param([], False, id="nothing happened"),
        pytest.param([event(1, "global", "globex")], True, id="moved away"),
        pytest.param([event(1, "acme", None)], True, id="deleted"),
        pytest.param([event(1, "acme", None, row="2")], False, id="another row"),
        pytest.param([event(1, "global", "acme")], False, id="moved within sight"),
        pytest.param([event(1, "acme", "globex"), event(2, "globex", "acme")], False, id="back"),
        pytest.param(
            [event(2, "globex", "acme"), event(1, "acme", "globex")], False, id="unsorted"
        ),
        pytest.param([event(1, None, None, row=None)], True, id="emptied"),
        pytest.param(
            [event(1, None, None, row=None), event(2, None, "acme")], False, id="refilled"
        ),
        pytest.param(
            [event(1, None, "acme"), event(2, None, None, row=None)], True, id="then emptied"
        ),
        pytest.param(
            [event(1, None, None, row=None), event(2, "acme", None)], True, id="emptied, deleted"
        ),
    ],
)
def test_the_last_event_says_whether_a_row_is_still_in_sight(
    events: list[PendingEvent], *, is_gone: bool
) -> None:
    gone = departed_rows(events, rows=[ROW], visible_keys=["global", "acme"])

    assert gone == ({ROW} if is_gone else set())


def test_a_truncate_of_another_entity_says_nothing() -> None:
    emptied = PendingEvent(
        id=1, entity_type="work", db_id=None, old_scope_key=None, new_scope_key=None
    )

    assert departed_rows([emptied], rows=[ROW], visible_keys=["acme"]) == set()
