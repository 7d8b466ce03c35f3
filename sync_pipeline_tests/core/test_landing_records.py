"""Records mapped to rows: what a value becomes, and what is told where it becomes none."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from sync_pipeline.core.landing.fields import MISSING, meets, parse_field, told_field, value_at
from sync_pipeline.core.landing.records import Reason, map_records, record_key
from sync_pipeline.core.landing.spec import (
    ColumnRule,
    ColumnType,
    FieldTest,
    Landing,
    Owner,
    TimeOfChange,
)
from sync_pipeline.core.landing.values import Unusable, column_value, record_id

LANDING = Landing(
    name="products",
    connection="erp",
    table="landing.products",
    id=(parse_field("id"),),
    owner=Owner(),
    columns=(ColumnRule(name="name", fields=(parse_field("name"),)),),
)


def rule(kind: ColumnType = ColumnType.TEXT, **more: Any) -> ColumnRule:
    return ColumnRule(name="c", fields=(parse_field("f"),), type=kind, **more)


@pytest.mark.parametrize(
    ("kind", "options", "value", "expected"),
    [
        (ColumnType.TEXT, {}, None, None),
        (ColumnType.TEXT, {}, "", ""),
        (ColumnType.TEXT, {}, "a\x00b", "ab"),
        (ColumnType.TEXT, {}, "a\ud83db", "a\ufffdb"),
        (ColumnType.TEXT, {}, Decimal("12.50"), "12.50"),
        (ColumnType.TEXT, {}, 12.0, "12"),
        (ColumnType.TEXT, {}, True, "true"),
        (ColumnType.TEXT, {"join": ", "}, ["a", None, "", "b", 3], "a, b, 3"),
        (ColumnType.TEXT, {"join": ", "}, [], None),
        (ColumnType.TEXT, {"join": ", "}, "a", "a"),
        (ColumnType.NUMERIC, {}, "12.50", Decimal("12.50")),
        (ColumnType.NUMERIC, {}, Decimal("0.1"), Decimal("0.1")),
        (ColumnType.NUMERIC, {}, 0.1, Decimal("0.1")),
        (ColumnType.NUMERIC, {}, "1 234.5", Decimal("1234.5")),
        (ColumnType.NUMERIC, {}, "1\u00a0234", Decimal(1234)),
        (ColumnType.NUMERIC, {}, "-1.5e3", Decimal(-1500)),
        (ColumnType.NUMERIC, {"decimal": ","}, "12,50", Decimal("12.50")),
        (ColumnType.NUMERIC, {"decimal": ","}, "1.234.567,89", Decimal("1234567.89")),
        (ColumnType.NUMERIC, {"decimal": ","}, "1 234,5", Decimal("1234.5")),
        (ColumnType.NUMERIC, {"decimal": ","}, 12.5, Decimal("12.5")),
        (ColumnType.NUMERIC, {}, " ", None),
        (ColumnType.NUMERIC, {}, "٣", Decimal(3)),
        (ColumnType.INTEGER, {}, "12", 12),
        (ColumnType.INTEGER, {}, Decimal("12.0"), 12),
        (ColumnType.INTEGER, {}, 9_223_372_036_854_775_807, 9_223_372_036_854_775_807),
        (ColumnType.BOOLEAN, {}, "Yes", True),
        (ColumnType.BOOLEAN, {}, 0, False),
        (ColumnType.DATE, {}, "2026-11-30", date(2026, 11, 30)),
        (ColumnType.DATE, {}, "2026-11-30T23:30:00", date(2026, 11, 30)),
        (
            ColumnType.DATE,
            {"timezone": "Europe/Prague"},
            "2026-11-30T23:30:00Z",
            date(2026, 12, 1),
        ),
        (
            ColumnType.TIMESTAMP,
            {},
            "2026-11-30T10:00:00+02:00",
            datetime(2026, 11, 30, 8, tzinfo=UTC),
        ),
        (ColumnType.TIMESTAMP, {}, "20261130T100000Z", datetime(2026, 11, 30, 10, tzinfo=UTC)),
        (
            ColumnType.TIMESTAMP,
            {"timezone": "Europe/Prague"},
            "2026-07-01 10:00:00",
            datetime(2026, 7, 1, 8, tzinfo=UTC),
        ),
        (ColumnType.EPOCH_SECONDS, {}, 1_800_000_000, datetime(2027, 1, 15, 8, tzinfo=UTC)),
        (
            ColumnType.EPOCH_MILLISECONDS,
            {},
            "1800000000500",
            datetime(2027, 1, 15, 8, 0, 0, 500_000, tzinfo=UTC),
        ),
        (
            ColumnType.JSONB,
            {},
            {"b": [1, Decimal("1.50")], "a": "x\x00"},
            '{"a": "x", "b": [1, 1.5]}',
        ),
        (ColumnType.JSONB, {}, [], "[]"),
        (ColumnType.JSONB, {}, Decimal("1E+2"), "100.0"),
        (ColumnType.JSONB, {}, "text", '"text"'),
    ],
)
def test_a_value_becomes_what_the_column_holds(
    kind: ColumnType, options: dict[str, Any], value: Any, expected: Any
) -> None:
    found = column_value(value, rule(kind, **options))

    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("kind", "options", "value", "told"),
    [
        (ColumnType.TEXT, {}, ["a"], "a list; say what stands between its elements with join"),
        (ColumnType.TEXT, {}, {"a": 1}, "an object"),
        (ColumnType.TEXT, {}, b"x", "binary data"),
        (ColumnType.TEXT, {"join": ","}, [{"a": 1}], "an object"),
        (ColumnType.NUMERIC, {}, "12,50", "is its decimal sign a comma"),
        (ColumnType.NUMERIC, {}, "1,234.5", "is its decimal sign a comma"),
        (ColumnType.NUMERIC, {"decimal": ","}, "12.50", "no number with a decimal comma"),
        (ColumnType.NUMERIC, {}, "12 kg", "a text that is no number"),
        (ColumnType.NUMERIC, {}, "1_000", "a text that is no number"),
        (ColumnType.NUMERIC, {}, float("nan"), "not a number, or without end"),
        (ColumnType.NUMERIC, {}, Decimal("Infinity"), "not a number, or without end"),
        (ColumnType.NUMERIC, {}, "1e5000", "more than a thousand digits"),
        (ColumnType.NUMERIC, {}, True, "true or false"),
        (ColumnType.INTEGER, {}, "12.5", "no whole number of 64 bits"),
        (ColumnType.INTEGER, {}, 2**63, "no whole number of 64 bits"),
        (ColumnType.BOOLEAN, {}, "maybe", "neither true nor false"),
        (ColumnType.BOOLEAN, {}, 2, "neither true nor false"),
        (ColumnType.DATE, {}, "30.11.2026", "no time as ISO 8601 has it"),
        (ColumnType.DATE, {}, 5, "a number"),
        (ColumnType.TIMESTAMP, {}, "2026-11-30T10:00:00", "a time without a zone"),
        (ColumnType.TIMESTAMP, {}, "yesterday", "no time as ISO 8601 has it"),
        (ColumnType.TIMESTAMP, {}, "0001-01-01T00:00:00+14:00", "beyond the years 1 to 9999"),
        (ColumnType.EPOCH_SECONDS, {}, 10**18, "beyond the years 1 to 9999"),
        (ColumnType.JSONB, {}, [float("nan")], "not a number, or without end"),
        (ColumnType.JSONB, {}, {"a": b"x"}, "binary data"),
    ],
)
def test_a_value_of_another_kind_is_none_and_says_why(
    kind: ColumnType, options: dict[str, Any], value: Any, told: str
) -> None:
    with pytest.raises(Unusable, match=told):
        column_value(value, rule(kind, **options))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([7], "7"),
        (["7"], "7"),
        ([7.0], "7"),
        ([Decimal("7.00")], "7"),
        ([" x "], "x"),
        (["Å-Ж"], "Å-Ж"),
        (["a/b", 1], "a~1b/1"),
        ([None], None),
        ([""], None),
        (["a", None], None),
    ],
)
def test_ids(values: list[Any], expected: str | None) -> None:
    assert record_id(values) == expected


@pytest.mark.parametrize(
    "value", [True, ["a"], {"a": 1}, 1.5, "x" * 513, "a\nb", "a\ud800", b"x", float("inf")]
)
def test_what_no_id_can_be(value: Any) -> None:
    with pytest.raises(Unusable):
        record_id([value])


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("a", {"b": [{"c": 1}, {"c": 2}, {}], "d.e": 5}),
        ("a.b[1].c", 2),
        ("a.b[].c", [1, 2]),
        ('a."d.e"', 5),
        ("a.b[7].c", MISSING),
        ("a.x", MISSING),
        ("a.b.c", MISSING),
        ("n", None),
        ("n.x", MISSING),
    ],
)
def test_fields(field: str, expected: Any) -> None:
    record = {"a": {"b": [{"c": 1}, {"c": 2}, {}], "d.e": 5}, "n": None}

    assert value_at(record, parse_field(field)) == expected
    assert told_field(parse_field(field)) == field


@pytest.mark.parametrize("value", [7, None, "text", True, [1]])
def test_what_is_no_object_has_no_fields(value: Any) -> None:
    assert value_at(value, parse_field("a")) is MISSING
    assert value_at(value, parse_field("a.b")) is MISSING


def test_a_text_that_names_no_field_says_how_one_is_written() -> None:
    with pytest.raises(ValueError, match=r"'a\.\.b' names no field: write keys with dots"):
        parse_field("a..b")


@pytest.mark.parametrize(
    ("accepted", "value", "expected"),
    [
        ((1,), "1", True),
        (("1",), 1, True),
        ((True,), True, True),
        ((True,), 1, False),
        ((1,), True, False),
        ((None,), None, True),
        (("a",), ["b", "a"], True),
        (("a", None), "c", False),
    ],
)
def test_conditions(accepted: tuple[Any, ...], value: Any, *, expected: bool) -> None:
    test = FieldTest(field=parse_field("f"), accepted=accepted)

    assert meets({"f": value}, test) is expected


def test_a_missing_field_is_none_to_a_condition() -> None:
    assert meets({}, FieldTest(field=parse_field("f"), accepted=(None,)))


def test_several_fields_make_one_object() -> None:
    columns = (
        ColumnRule(
            name="facets",
            fields=(parse_field("a"), parse_field("b.c"), parse_field("x")),
            type=ColumnType.JSONB,
            is_object=True,
        ),
    )
    mapped = map_records(replace(LANDING, columns=columns), [{"id": 1, "a": [1], "b": {"c": "d"}}])

    assert mapped.rows[0].values == ('{"a": [1], "c": "d"}',)


def test_what_is_no_record_or_has_no_id_is_named_and_nothing_else_of_it_is() -> None:
    mapped = map_records(LANDING, [[1], None, {"name": ["x"]}, {"id": True, "name": "n"}])

    assert mapped.rows == ()
    assert [it.reason for it in mapped.rejections] == [
        Reason.NO_RECORD,
        Reason.NO_RECORD,
        Reason.NO_ID,
        Reason.NO_ID,
    ]
    assert (mapped.records, mapped.without_id, mapped.refused) == (4, 4, 4)


def test_a_record_that_lacks_what_is_required_lands_and_is_named() -> None:
    landing = replace(LANDING, required=(parse_field("name"), parse_field("unit")))

    mapped = map_records(landing, [{"id": 1, "name": " ", "unit": "kg"}, {"id": 2, "name": ""}])

    assert [row.id for row in mapped.rows] == ["1", "2"]
    assert [(it.source_key, it.field) for it in mapped.rejections] == [
        ("1", "name"),
        ("2", "name"),
        ("2", "unit"),
    ]
    assert mapped.refused == 0


def test_a_time_of_change_that_cannot_be_read_is_named_and_the_record_lands() -> None:
    landing = replace(LANDING, changed=TimeOfChange(field=parse_field("at")))

    mapped = map_records(landing, [{"id": 1, "at": "yesterday"}, {"id": 2, "at": ""}])

    assert [row.changed_at for row in mapped.rows] == [None, None]
    assert [(it.field, it.reason) for it in mapped.rejections] == [("at", Reason.WRONG_TYPE)]


def test_fields_that_nobody_asked_for_are_named_once() -> None:
    mapped = map_records(LANDING, [{"id": n, "name": "x", f"extra{n % 2}": 1} for n in range(10)])

    assert mapped.unknown_fields == {"extra0", "extra1"}
    assert mapped.fields_seen == {"name": 10}


def test_no_text_of_a_document_is_kept_with_what_is_wrong() -> None:
    columns = (rule(ColumnType.INTEGER),)
    mapped = map_records(replace(LANDING, columns=columns), [{"id": 1, "f": "x" * 5000}])

    assert len(mapped.rejections[0].detail) < 150


def test_the_key_of_the_origin_is_kept_beside_the_id() -> None:
    landing = replace(LANDING, key=parse_field("_id"))
    record = {"_id": "abc", "id": 5}

    assert record_key(landing, record) == "abc"
    assert map_records(landing, [record]).rows[0].source_key == "abc"
    assert map_records(landing, [{"id": 5}]).without_id == 1


@pytest.mark.parametrize("tenant", ["", None, "global", "a/b\n", ["x"]])
def test_a_record_whose_tenant_nobody_can_be_lands_without_one(tenant: Any) -> None:
    landing = replace(LANDING, owner=Owner(tenant_field=parse_field("firm")))

    mapped = map_records(landing, [{"id": 1, "firm": tenant}])

    assert (mapped.rows[0].tenant_id, mapped.rows[0].is_global) == (None, False)
    assert mapped.rejections[0].reason is Reason.NO_OWNER


def test_another_mapping_has_another_digest_and_other_limits_the_same() -> None:
    assert LANDING.mapping_digest != replace(LANDING, id=(parse_field("x"),)).mapping_digest
    assert LANDING.mapping_digest == replace(LANDING, overlap_seconds=1).mapping_digest
