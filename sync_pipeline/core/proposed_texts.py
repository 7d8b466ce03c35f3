"""Which columns of a table are texts to be searched, and which are payload."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Final

from sync_pipeline.core.column_names import (
    ADDRESSES,
    CHANGES,
    CODES,
    DELETIONS,
    PRIVATE,
    STATES,
    TEXTS,
    TITLES,
    TOPICS,
    UPKEEP,
    camel,
    normal,
    words_of,
)
from sync_pipeline.core.described import DescribedColumn, DescribedTable
from sync_pipeline.core.entity import IDENTIFIER
from sync_pipeline.core.looks import Look, is_contained, look_at
from sync_pipeline.core.payload import RESERVED_FIELDS

TEXT_VIEW: Final = "text"
PASSAGE_TOKENS: Final = 100
MOST_COLUMNS: Final = 8
"""Columns of one text: of more a model sees only the first."""
MOST_FIELDS: Final = 24
HALF: Final = 0.5
SOME: Final = 0.2

_TEXT_TYPES: Final = frozenset({"text", "varchar", "bpchar", "citext", "xml"})
_FLOATS: Final = frozenset({"float4", "float8"})
_JSON_TYPES: Final = frozenset({"json", "jsonb", "hstore"})
_PAYLOAD_TYPES: Final = frozenset({
    "bool", "int2", "int4", "int8", "float4", "float8", "numeric", "money", "date", "time",
    "timetz", "timestamp", "timestamptz", "interval", "json", "jsonb", "hstore", "inet", "cidr",
    "uuid", "int4range", "int8range", "numrange", "tsrange", "tstzrange", "daterange",
})  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Texts:
    """The views of a table."""

    columns: tuple[str, ...]
    """Those of short texts, in order."""
    long: tuple[str, ...]
    """Those of long ones."""
    filtered: tuple[str, ...]
    """Columns that are payload too, or payload alone: categories and codes."""
    markup: float
    """Share of all texts with tags or entities of HTML."""
    reason: str

    @property
    def has_any(self) -> bool:
        """Whether there is something to search."""
        return bool(self.columns or self.long)

    @property
    def views(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """As ``Entity.views``."""
        short = ((TEXT_VIEW, self.columns),) if self.columns else ()
        return (*short, *((view_name(column), (column,)) for column in self.long))

    @property
    def long_views(self) -> tuple[tuple[str, int], ...]:
        """As ``Entity.long_views``."""
        return tuple((view_name(column), PASSAGE_TOKENS) for column in self.long)


def view_name(column: str) -> str:
    """The view of a long text; ``text`` is that of short ones."""
    name = normal(column)
    is_name = name[:1].isalpha() and name not in (TEXT_VIEW, "bm25")
    return name if is_name else f"passages_{name}"


def propose_texts(table: DescribedTable, *, taken: AbstractSet[str]) -> Texts:
    """Tell texts from codes, categories and addresses.

    Args:
        table: Of which the settings can name every column.
        taken: Columns that say something else: the id, the tenant, a rule.
    """
    looks = {
        column.name: look_at(column.texts) for column in table.columns if column.name not in taken
    }
    candidates = [column for column in table.columns if column.name in looks]
    texts = [it for it in candidates if _is_text(it, looks[it.name])]
    filtered = [it.name for it in candidates if _is_filter(it, looks[it.name])]
    long = [it for it in texts if looks[it.name].is_long]
    short = sorted(
        (it for it in texts if it not in long and _is_searched(it, looks[it.name])), key=_place
    )
    short = [it for it in short if not _is_repeated(it, short)][:MOST_COLUMNS]
    chosen = [*short, *long]
    marked = sum(looks[it.name].markup * looks[it.name].count for it in chosen)
    count = sum(looks[it.name].count for it in chosen)
    return Texts(
        columns=tuple(it.name for it in short),
        long=tuple(it.name for it in long),
        filtered=tuple(filtered),
        markup=marked / count if count else 0.0,
        reason=_reason(short, looks),
    )


def propose_payload(
    table: DescribedTable,
    *,
    entity_name: str,
    texts: Texts,
    taken: AbstractSet[str],
    row_id: Sequence[str],
) -> tuple[tuple[str, str], ...]:
    """Fields to filter by and to show: numbers, times, categories, codes."""
    fields: dict[str, str] = {}
    for column in table.columns:
        is_key = column.name in row_id
        if column.name in taken or not (_is_payload(column, texts) or is_key):
            continue
        field = camel(column.name)
        if field in RESERVED_FIELDS or field in fields:
            field = camel(f"{entity_name}_{column.name}")
        if IDENTIFIER.fullmatch(field) and field not in RESERVED_FIELDS:
            fields.setdefault(field, column.name)
    return tuple(fields.items())[:MOST_FIELDS]


def _is_text(column: DescribedColumn, look: Look) -> bool:
    """Whether people would search for what stands there."""
    words = words_of(column.name)
    if words & (PRIVATE | ADDRESSES) or normal(column.name) in UPKEEP:
        return False
    is_named = bool(words & TEXTS)
    if column.base_type in _JSON_TYPES:
        return bool(words & TITLES) and (not look.count or look.words >= HALF)
    is_enum_topic = column.is_enum and bool(words & TOPICS)
    is_texts = column.base_type in _TEXT_TYPES or column.element_type in _TEXT_TYPES
    if not (is_texts or is_enum_topic):
        return False
    if not look.count:
        return is_named or bool(words & TOPICS)
    if look.addresses >= HALF or look.digests >= HALF:
        return False
    return look.words >= (SOME if is_named or words & TOPICS else HALF)


def _is_searched(column: DescribedColumn, look: Look) -> bool:
    """Whether a text is worth a place in the view, and not a filter alone."""
    words = words_of(column.name)
    if words & STATES and not words & TITLES:
        return False
    return bool(words & (TEXTS | TOPICS)) or not look.is_few


def _is_filter(column: DescribedColumn, look: Look) -> bool:
    """Whether a column of texts has categories or codes."""
    words = words_of(column.name)
    if words & (PRIVATE | ADDRESSES):
        return False
    if column.is_enum:
        return True
    if column.element_type is not None:
        # Arrays of floating point numbers are somebody's vectors.
        return column.element_type not in _FLOATS
    if column.base_type not in _TEXT_TYPES or look.is_long:
        return False
    if look.addresses >= HALF or look.digests >= HALF:
        return False
    is_code = bool(words & CODES) or (look.count > 0 and look.codes >= HALF)
    is_state = bool(words & STATES)
    is_topic = bool(words & TOPICS) and look.is_repeated
    return is_code or is_state or is_topic or look.is_few


def _is_payload(column: DescribedColumn, texts: Texts) -> bool:
    if normal(column.name) in UPKEEP or words_of(column.name) & PRIVATE:
        return False
    if normal(column.name) in (*CHANGES, *DELETIONS):
        return False
    if column.name in texts.filtered:
        return True
    if column.name in (*texts.columns, *texts.long):
        return False
    return column.base_type in _PAYLOAD_TYPES


def _place(column: DescribedColumn) -> int:
    """What names the thing comes first."""
    return 0 if words_of(column.name) & TITLES else 1


def _is_repeated(column: DescribedColumn, texts: Sequence[DescribedColumn]) -> bool:
    """Whether another text has it in it already."""
    return any(
        is_contained(column.values, other.values)
        for other in texts
        if other is not column and sum(map(len, other.texts)) > sum(map(len, column.texts))
    )


def _reason(short: Sequence[DescribedColumn], looks: Mapping[str, Look]) -> str:
    shown = [
        f"{it.name} ({looks[it.name].words:.0%} of {looks[it.name].count} with words)"
        for it in short
        if looks[it.name].count
    ]
    return f"by what stands in them: {', '.join(shown)}" if shown else "by their names and types"
