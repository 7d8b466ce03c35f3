"""Records mapped to rows: what lands, what is set aside, and what is told of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from typing import Any, Final, cast

from sync_pipeline.core.landing.fields import (
    MISSING,
    Missing,
    is_object,
    meets,
    told_field,
    value_at,
)
from sync_pipeline.core.landing.spec import ColumnRule, Landing, Path, TimeOfChange
from sync_pipeline.core.landing.values import Unusable, column_value, moment, plain_text, record_id
from sync_pipeline.core.scope import why_not_a_tenant_id
from sync_pipeline.core.shortening import beginning

MAX_UNKNOWN_FIELDS: Final = 50
_SHOWN_CHARACTERS: Final = 60
"""How much of a value that is refused is shown: enough to see what is wrong with it."""


class Reason(StrEnum):
    """Why a record, or one value of it, is not as it should be."""

    NO_RECORD = "no_record"
    """An element of the list that is no object; nothing lands."""
    NO_ID = "no_id"
    """Nothing lands: nobody could say which row it is."""
    NO_OWNER = "no_owner"
    """The field of the tenant is empty or no tenant can be called so; it lands without one, and is
    no document."""
    MISSING_REQUIRED = "missing_required"
    """It lands as it is; entities whose text is empty then quarantine it."""
    WRONG_TYPE = "wrong_type"
    """The column is null."""


LANDED_NOTHING: Final = frozenset({Reason.NO_RECORD, Reason.NO_ID})
"""Reasons of records of which no row is made."""
REFUSED_ABOVE_SHARE: Final = frozenset({Reason.NO_RECORD, Reason.NO_ID, Reason.WRONG_TYPE})
"""Reasons that are counted against ``max_rejected_fraction``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """One thing that is wrong with one record."""

    place: int
    """Of the record in its page, from 0."""
    source_key: str | None
    reason: Reason
    field: str | None = None
    detail: str = ""
    """In words, and of a value of another type the beginning of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LandedRow:
    """What a record becomes."""

    place: int
    """Of the record in its page, from 0."""
    id: str
    source_key: str
    """What the origin calls it by."""
    is_gone: bool
    """Marked as deleted, or outside of ``where``: its row goes."""
    changed_at: datetime | None
    tenant_id: str | None
    is_global: bool
    values: tuple[Any, ...]
    """Of the mapped columns, in the order of ``Landing.columns``; jsonb as JSON text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MappedPage:
    """The records of one page, mapped."""

    rows: tuple[LandedRow, ...] = ()
    rejections: tuple[Rejection, ...] = ()
    records: int = 0
    fields_seen: Mapping[str, int] = field(default_factory=dict)
    """Per mapped column in how many records there was its field, even with null in it."""
    unknown_fields: AbstractSet[str] = frozenset()
    """Names that the settings do not mention."""

    @property
    def refused(self) -> int:
        """Records that count against ``max_rejected_fraction``."""
        places = {it.place for it in self.rejections if it.reason in REFUSED_ABOVE_SHARE}
        return len(places)

    @property
    def without_id(self) -> int:
        """Records of which nobody could say which row they are."""
        return sum(it.reason in LANDED_NOTHING for it in self.rejections)


def record_key(landing: Landing, record: object) -> str | None:
    """What the origin calls a record by; None for one without, or with something no id can be."""
    if not is_object(record):
        return None
    fields = cast("Mapping[str, Any]", record)
    try:
        return _id_at(fields, landing.id if landing.key is None else (landing.key,))
    except Unusable:
        return None


def map_records(landing: Landing, records: Sequence[object]) -> MappedPage:
    """Map the records of one page.

    Args:
        landing: Says what becomes of a field.
        records: Values as JSON has them, numbers with a fraction as ``Decimal``; times may be
            ``datetime`` and binary data ``bytes``.
    """
    rows: list[LandedRow] = []
    rejections: list[Rejection] = []
    seen: Counter[str] = Counter({rule.name: 0 for rule in landing.columns})
    unknown: set[str] = set()
    known = named_fields(landing)
    for place, record in enumerate(records):
        if not is_object(record):
            rejections.append(Rejection(place=place, source_key=None, reason=Reason.NO_RECORD))
            continue
        fields = cast("Mapping[str, Any]", record)
        if len(unknown) < MAX_UNKNOWN_FIELDS and (others := fields.keys() - known):
            unknown.update(map(str, others))
        row, faults = _map_record(landing, fields, place=place, seen=seen)
        rejections += faults
        if row is not None:
            rows.append(row)
    return MappedPage(
        rows=tuple(rows),
        rejections=tuple(rejections),
        records=len(records),
        fields_seen=dict(seen),
        unknown_fields=frozenset(sorted(unknown)[:MAX_UNKNOWN_FIELDS]),
    )


def _map_record(
    landing: Landing, record: Mapping[str, Any], *, place: int, seen: Counter[str]
) -> tuple[LandedRow | None, list[Rejection]]:
    faults: list[Rejection] = []
    row_id, why_none = _row_id(landing, record)
    key = row_id if landing.key is None else record_key(landing, record)

    def fault(reason: Reason, path: Path | None = None, detail: str = "") -> None:
        faults.append(
            Rejection(
                place=place,
                source_key=key,
                reason=reason,
                field=None if path is None else told_field(path),
                detail=plain_text(detail),
            )
        )

    if row_id is None:
        fault(Reason.NO_ID, landing.id[0], why_none)
    elif key is None and landing.key is not None:
        fault(Reason.NO_ID, landing.key)
    values = tuple([_column(rule, record, seen=seen, fault=fault) for rule in landing.columns])
    if row_id is None or key is None:
        return None, [it for it in faults if it.reason in LANDED_NOTHING]
    tenant_id = _tenant(landing, record, fault=fault)
    for path in landing.required:
        if _is_empty(value_at(record, path)):
            fault(Reason.MISSING_REQUIRED, path)
    is_gone = landing.gone_when is not None and meets(record, landing.gone_when)
    row = LandedRow(
        place=place,
        id=row_id,
        source_key=key,
        is_gone=is_gone or not all(meets(record, test) for test in landing.where),
        changed_at=_changed_at(landing.changed, record, fault=fault),
        tenant_id=tenant_id,
        is_global=landing.owner.is_global,
        values=values,
    )
    return row, faults


def _row_id(landing: Landing, record: Mapping[str, Any]) -> tuple[str | None, str]:
    """The id of its row; None and why, where it has none."""
    try:
        return _id_at(record, landing.id), ""
    except Unusable as error:
        return None, str(error)


def _is_empty(value: Any) -> bool:
    if isinstance(value, str):
        return not value.strip()
    return value is MISSING or value is None or value == []


def _id_at(record: Mapping[str, Any], paths: Sequence[Path]) -> str | None:
    found = [value_at(record, path) for path in paths]
    return record_id([None if value is MISSING else value for value in found])


def _column(rule: ColumnRule, record: Mapping[str, Any], *, seen: Counter[str], fault: Any) -> Any:
    value = _object(rule, record) if rule.is_object else value_at(record, rule.fields[0])
    if value is MISSING:
        return None
    seen[rule.name] += 1
    try:
        return column_value(value, rule)
    except Unusable as error:
        fault(Reason.WRONG_TYPE, rule.fields[0], f"{error}{_shown(value)}")
        return None


def _object(rule: ColumnRule, record: Mapping[str, Any]) -> dict[str, Any] | Missing:
    """The fields that there are, by their last keys; missing where there is none."""
    found = {str(path[-1]): value_at(record, path) for path in rule.fields}
    return {name: value for name, value in found.items() if value is not MISSING} or MISSING


def _shown(value: Any) -> str:
    """The beginning of a value that is short by nature; of others nothing."""
    if isinstance(value, bool | list | tuple | Mapping | bytes):
        return ""
    return f": {beginning(str(value), length=_SHOWN_CHARACTERS)!r}"


def _tenant(landing: Landing, record: Mapping[str, Any], *, fault: Any) -> str | None:
    path = landing.owner.tenant_field
    if path is None:
        return landing.owner.tenant_id
    value = value_at(record, path)
    try:
        tenant_id = record_id([None if value is MISSING else value])
    except Unusable as error:
        fault(Reason.NO_OWNER, path, str(error))
        return None
    if tenant_id is None:
        fault(Reason.NO_OWNER, path)
        return None
    reason = _why_not_a_tenant(tenant_id)
    if reason is not None:
        fault(Reason.NO_OWNER, path, reason)
        return None
    return tenant_id


# There are few tenants, and a record of each of them many times.
_why_not_a_tenant: Final = lru_cache(maxsize=10_000)(why_not_a_tenant_id)


def _changed_at(
    changed: TimeOfChange | None, record: Mapping[str, Any], *, fault: Any
) -> datetime | None:
    if changed is None:
        return None
    value = value_at(record, changed.field)
    if value is MISSING or value is None or value == "":
        return None
    try:
        return moment(value, kind=changed.type, timezone=changed.timezone)
    except Unusable as error:
        fault(Reason.WRONG_TYPE, changed.field, f"{error}{_shown(value)}")
        return None


def named_fields(landing: Landing) -> frozenset[str]:
    """Top-level names that a landing mentions: all that has to be fetched of a record."""
    paths: list[Path] = [*landing.id, *landing.required]
    paths += [path for rule in landing.columns for path in rule.fields]
    paths += [test.field for test in landing.where]
    paths += [it for it in (landing.key, landing.owner.tenant_field) if it is not None]
    if landing.gone_when is not None:
        paths.append(landing.gone_when.field)
    if landing.changed is not None:
        paths.append(landing.changed.field)
    return frozenset(path[0] for path in paths if path and isinstance(path[0], str))
