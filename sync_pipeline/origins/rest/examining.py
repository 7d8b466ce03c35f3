"""What one page says about a landing, for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any, Final

from sync_pipeline.core.landing.fields import MISSING, told_field, value_at
from sync_pipeline.core.landing.origin_options import ByKey, ByLink, ByOffset, ByPage, RestRequest
from sync_pipeline.core.landing.passes import Page
from sync_pipeline.core.landing.records import (
    MappedPage,
    Reason,
    Rejection,
    map_records,
    record_key,
)
from sync_pipeline.core.landing.spec import ColumnRule, Landing

_SAMPLES: Final = 2
"""Faults of a column that are told with their details."""


def iter_findings(landing: Landing, request: RestRequest, page: Page) -> Iterator[str]:
    """Say what a page has, column by column, and what its list can promise.

    Args:
        landing: Says what becomes of records.
        request: The list.
        page: Its first.
    """
    mapped = map_records(landing, page.records)
    if page.total is None:
        yield f"{_records(mapped.records)} came. The list does not say how many there are."
    else:
        yield f"{_records(mapped.records)} of {page.total:,} came."
    if mapped.records:
        for rule in landing.columns:
            yield _column(landing, rule, page)
        yield from _ids(landing, mapped, page)
        yield from _others(mapped)
        if mapped.unknown_fields:
            yield f"Fields that no column names: {', '.join(sorted(mapped.unknown_fields))}."
    yield _order(request, page)


def _column(landing: Landing, rule: ColumnRule, page: Page) -> str:
    """How many values of a column fit, are missing, and do not fit, and why."""
    alone = replace(landing, columns=(rule,), required=(), where=(), gone_when=None, changed=None)
    mapped = map_records(alone, page.records)
    wrong = [it for it in mapped.rejections if it.reason is Reason.WRONG_TYPE]
    fitting = sum(row.values[0] is not None for row in mapped.rows)
    missing = len(mapped.rows) - fitting - len(wrong)
    fields = ", ".join(told_field(path) for path in rule.fields)
    told = f"Column {rule.name} ({rule.type}) from {fields}: values that fit: {fitting:,}"
    if missing:
        told += f"; missing or empty: {missing:,}"
    if wrong:
        told += f"; others: {len(wrong):,} ({_samples(wrong)})"
    if not mapped.fields_seen.get(rule.name) and not rule.is_optional:
        told += ". No record has such a field: a pass would be refused"
    return f"{told}."


def _samples(faults: Sequence[Rejection]) -> str:
    counted = Counter((it.field, it.detail) for it in faults).most_common(_SAMPLES)
    told = [f"{field}: {detail}" for (field, detail), _ in counted]
    return "; ".join(told)


def _ids(landing: Landing, mapped: MappedPage, page: Page) -> Iterator[str]:
    if mapped.without_id:
        yield (
            f"Without an id, so that nothing lands: {_records(mapped.without_id)}. As long as "
            "there are such, what is absent has to be confirmed before it is deleted."
        )
    ids = Counter(row.id for row in mapped.rows)
    repeated = sum(1 for count in ids.values() if count > 1)
    if repeated:
        yield f"Ids that stand in the page more than once: {repeated:,}; of each the newest counts."
    if landing.key is not None:
        keys = {record_key(landing, record) for record in page.records}
        if len(keys - {None}) < len(ids):
            yield f"The key {told_field(landing.key)} does not tell all records apart."


def _others(mapped: MappedPage) -> Iterator[str]:
    """What is wrong beside ids and columns."""
    for reason, told in (
        (Reason.MISSING_REQUIRED, "Without a field that is required"),
        (Reason.NO_OWNER, "Without a tenant"),
    ):
        found = [it for it in mapped.rejections if it.reason is reason]
        if found:
            yield f"{told} ({_fields_of(found)}): {_records(len(found))}."
    gone = sum(row.is_gone for row in mapped.rows)
    if gone:
        yield f"Marked as deleted, or outside of `where`: {_records(gone)}."


def _fields_of(faults: Sequence[Rejection]) -> str:
    return ", ".join(sorted({it.field or "" for it in faults}))


def _order(request: RestRequest, page: Page) -> str:
    """Whether what lives throughout a pass is sure to be in it."""
    match request.paging:
        case ByKey() as paging:
            values = [value_at(it, paging.key) for it in page.records]
            if MISSING in values or None in values:
                return (
                    f"Some records lack {told_field(paging.key)}, which pages are cut by: they may "
                    "be missed."
                )
            if not _is_ascending(values):
                return (
                    f"The page is not in the order of {told_field(paging.key)}: records may be "
                    "missed. Correct `pages.sort`."
                )
            return "Pages are cut by key, and this one is in its order: no record is missed."
        case ByOffset() as paging if paging.overlap:
            return (
                f"Pages overlap by {paging.overlap:,} records that are compared: no record is "
                "missed as long as the list is in a fixed order."
            )
        case ByOffset() | ByPage() | ByLink():
            return (
                "Pages are cut by position and not compared: a record may be missed while others "
                "are deleted, so what is absent has to be confirmed before it is deleted."
            )


def _is_ascending(values: Sequence[Any]) -> bool:
    """By number where all are numbers, however written; otherwise as texts."""
    try:
        numbers = [Decimal(str(value)) for value in values]
    except ArithmeticError:
        texts = [str(value) for value in values]
        return texts == sorted(texts)
    return numbers == sorted(numbers)


def _records(count: int) -> str:
    return "1 record" if count == 1 else f"{count:,} records"
