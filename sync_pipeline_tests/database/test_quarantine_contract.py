"""What every ``Quarantine`` promises."""

from __future__ import annotations

from sync_pipeline.core.document import Reason, Rejection
from sync_pipeline.core.ports import Quarantine
from sync_pipeline.core.scope import GLOBAL
from sync_pipeline_tests.database.documents import ACME, GLOBEX


def rejected(number: int, reason: Reason = Reason.EMPTY_TEXT, detail: str = "no text") -> Rejection:
    return Rejection("material", str(number), reason, detail)


def test_a_list_is_read_back_in_order(quarantine: Quarantine) -> None:
    quarantine.replace(entity_types=["material"], scope=GLOBEX, rejections=[rejected(3)])
    quarantine.replace(entity_types=["material"], scope=ACME, rejections=[rejected(2), rejected(1)])

    assert quarantine.list_all() == [
        ("acme", rejected(1)),
        ("acme", rejected(2)),
        ("globex", rejected(3)),
    ]
    assert quarantine.list_all(scope=ACME) == [("acme", rejected(1)), ("acme", rejected(2))]
    assert quarantine.list_all(scope=GLOBAL) == []


def test_a_mended_row_is_released_and_the_others_stay(quarantine: Quarantine) -> None:
    quarantine.replace(entity_types=["material"], scope=ACME, rejections=[rejected(1), rejected(2)])

    quarantine.replace(entity_types=["material"], scope=ACME, rejections=[rejected(2), rejected(3)])

    assert quarantine.list_all() == [("acme", rejected(2)), ("acme", rejected(3))]


def test_a_row_with_a_new_reason_shows_that_one(quarantine: Quarantine) -> None:
    quarantine.replace(entity_types=["material"], scope=ACME, rejections=[rejected(1)])
    changed = rejected(1, Reason.INVALID_NUMBER, "payload price is nan")

    quarantine.replace(entity_types=["material"], scope=ACME, rejections=[changed])

    assert quarantine.list_all() == [("acme", changed)]


def test_an_empty_list_releases_the_scope_and_only_it(quarantine: Quarantine) -> None:
    quarantine.replace(entity_types=["material"], scope=ACME, rejections=[rejected(1)])
    quarantine.replace(entity_types=["material"], scope=GLOBEX, rejections=[rejected(1)])

    quarantine.replace(entity_types=["material"], scope=ACME, rejections=[])

    assert quarantine.list_all() == [("globex", rejected(1))]


def test_a_row_given_twice_is_listed_once(quarantine: Quarantine) -> None:
    quarantine.replace(
        entity_types=["material"], scope=ACME, rejections=[rejected(1, detail="first"), rejected(1)]
    )

    assert quarantine.list_all() == [("acme", rejected(1))]


def test_rows_are_counted_per_scope(quarantine: Quarantine) -> None:
    quarantine.replace(entity_types=["material"], scope=ACME, rejections=[rejected(1), rejected(2)])
    quarantine.replace(entity_types=["material"], scope=GLOBEX, rejections=[rejected(1)])
    quarantine.replace(entity_types=["material"], scope=GLOBEX, rejections=[])

    assert quarantine.count_by_scope() == {"acme": 2}
    assert quarantine.count_by_scope(scope=ACME) == {"acme": 2}
    assert quarantine.count_by_scope(scope=GLOBEX) == {}


def test_after_an_incremental_export_the_rows_not_looked_at_stay(quarantine: Quarantine) -> None:
    quarantine.replace(
        entity_types=["material"], scope=ACME, rejections=[rejected(1), rejected(2), rejected(3)]
    )

    quarantine.replace(
        entity_types=["material"],
        scope=ACME,
        rejections=[rejected(4)],
        among={("material", "1"), ("material", "4"), ("work", "2")},
    )

    assert quarantine.list_all() == [
        ("acme", rejected(2)),
        ("acme", rejected(3)),
        ("acme", rejected(4)),
    ]


def test_an_incremental_list_of_no_rows_changes_nothing(quarantine: Quarantine) -> None:
    quarantine.replace(entity_types=["material"], scope=ACME, rejections=[rejected(1)])

    quarantine.replace(entity_types=["material"], scope=ACME, rejections=[], among=set())

    assert quarantine.list_all() == [("acme", rejected(1))]


def test_released_rows_are_listed_no_more(quarantine: Quarantine) -> None:
    quarantine.replace(entity_types=["material"], scope=ACME, rejections=[rejected(1), rejected(2)])
    quarantine.replace(entity_types=["material"], scope=GLOBEX, rejections=[rejected(1)])

    released = quarantine.release(rows={("material", "1"), ("material", "9"), ("work", "2")})

    assert released == {"acme": 1, "globex": 1}
    assert quarantine.list_all() == [("acme", rejected(2))]


def test_a_scope_can_be_released_by_itself(quarantine: Quarantine) -> None:
    quarantine.replace(entity_types=["material"], scope=ACME, rejections=[rejected(1), rejected(2)])
    quarantine.replace(entity_types=["material"], scope=GLOBEX, rejections=[rejected(1)])

    assert quarantine.release(scope=ACME, rows={("material", "2")}) == {"acme": 1}
    assert quarantine.release(scope=ACME) == {"acme": 1}
    assert quarantine.release(scope=ACME) == {}
    assert quarantine.list_all() == [("globex", rejected(1))]


def test_everything_can_be_released(quarantine: Quarantine) -> None:
    quarantine.replace(entity_types=["material"], scope=ACME, rejections=[rejected(1)])
    quarantine.replace(
        entity_types=["material"], scope=GLOBEX, rejections=[rejected(1), rejected(2)]
    )

    assert quarantine.release() == {"acme": 1, "globex": 2}
    assert quarantine.release(rows=set()) == {}
    assert quarantine.count_by_scope() == {}


def test_a_released_row_that_is_rejected_again_is_listed_again(quarantine: Quarantine) -> None:
    quarantine.replace(entity_types=["material"], scope=ACME, rejections=[rejected(1)])
    quarantine.release()

    quarantine.replace(entity_types=["material"], scope=ACME, rejections=[rejected(1)])

    assert quarantine.list_all() == [("acme", rejected(1))]


def test_the_lists_of_entities_that_were_not_exported_stay(quarantine: Quarantine) -> None:
    work = Rejection("work", "1", Reason.EMPTY_TEXT, "no text")
    quarantine.replace(scope=ACME, rejections=[work], entity_types=["work"])

    quarantine.replace(scope=ACME, rejections=[rejected(1)], entity_types=["material"])
    quarantine.replace(scope=ACME, rejections=[], entity_types=["lamp"])

    assert [item for _, item in quarantine.list_all()] == [rejected(1), work]
    assert quarantine.count_by_entity() == {"acme": {"material": 1, "work": 1}}
    assert quarantine.count_by_entity(scope=GLOBEX) == {}


def test_one_entity_is_released_alone(quarantine: Quarantine) -> None:
    work = Rejection("work", "1", Reason.EMPTY_TEXT, "no text")
    quarantine.replace(
        scope=ACME, rejections=[work, rejected(1)], entity_types=["work", "material"]
    )

    released = quarantine.release(scope=ACME, entity_types=["work"])

    assert released == {"acme": 1}
    assert quarantine.list_all() == [("acme", rejected(1))]
