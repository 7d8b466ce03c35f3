"""What one page of records shows of a mapping, in sentences for people; for ``doctor``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from sync_pipeline.core.landing.fields import told_field
from sync_pipeline.core.landing.records import MappedPage, Reason, map_records
from sync_pipeline.core.landing.spec import ColumnRule, Landing


def describe_page(landing: Landing, records: Sequence[object]) -> Iterator[str]:
    """Say how the records of one page fit the mapping, column by column."""
    mapped = map_records(landing, records)
    yield f"{mapped.records:,} records came, and {len(mapped.rows):,} of them can land"
    for rule in landing.columns:
        yield _column(rule, mapped)
    yield from _others(mapped)
    ids = Counter(row.id for row in mapped.rows)
    repeated = [row_id for row_id, count in ids.items() if count > 1]
    if repeated:
        yield f"{len(repeated):,} ids come more than once, {repeated[0]!r} for one"
    if mapped.unknown_fields:
        yield f"fields that no column takes: {', '.join(sorted(mapped.unknown_fields))}"


def _column(rule: ColumnRule, mapped: MappedPage) -> str:
    fields = " and ".join(told_field(path) for path in rule.fields)
    wrong = [
        it
        for it in mapped.rejections
        if it.reason is Reason.WRONG_TYPE and it.field == told_field(rule.fields[0])
    ]
    there = mapped.fields_seen.get(rule.name, 0)
    said = f"column {rule.name} ({rule.type}) from {fields}: in {there:,} of {mapped.records:,}"
    if not wrong:
        return said
    return f"{said}, {len(wrong):,} are no {rule.type}, e.g. {wrong[0].detail}"


def _others(mapped: MappedPage) -> Iterator[str]:
    """What is wrong beside values of columns."""
    rest = [it for it in mapped.rejections if it.reason is not Reason.WRONG_TYPE]
    for reason, count in sorted(Counter(it.reason for it in rest).items()):
        first = next(it for it in rest if it.reason is reason)
        field = "" if first.field is None else f" {first.field}"
        yield f"{count:,} records: {reason}{field} {first.detail}".rstrip()
