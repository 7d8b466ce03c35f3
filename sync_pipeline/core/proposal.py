"""Which entities a database seems to have, why, and what nobody but its owner can decide.

Values in, a proposal out: nothing is read here. Every choice has a reason, and where the
catalogue and a few rows leave something open there is a question.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from sync_pipeline.core.column_names import (
    ACTIVE_FLAGS,
    CHANGES,
    DELETED_FLAGS,
    DELETIONS,
    FLAGS,
    SIGN_INS,
    is_technical,
    normal,
    singular,
    tenant_rank,
)
from sync_pipeline.core.described import DescribedColumn, DescribedDatabase, DescribedTable
from sync_pipeline.core.entity import (
    IDENTIFIER,
    Condition,
    Constant,
    Entity,
    Literals,
    Sharing,
    TimeKind,
)
from sync_pipeline.core.looks import look_at
from sync_pipeline.core.proposed_texts import Texts, propose_payload, propose_texts
from sync_pipeline.core.scope import GLOBAL_KEY, why_not_a_tenant_id

SOLE_TENANT: Final = "main"
"""The tenant of all rows, where no column names one."""
MARKED_UP: Final = 0.05
"""From this share of texts with tags or entities on, they are taken for HTML."""
FOREIGN: Final = 0.3
"""From this share of letters that are not Latin on, the default model is doubted."""

_TENANT_TYPES: Final = frozenset(
    {"text", "varchar", "bpchar", "name", "citext", "uuid", "int2", "int4", "int8", "numeric"}
)
_TEXT_TYPES: Final = frozenset({"text", "varchar", "bpchar", "citext", "name"})
_NUMBERS: Final = frozenset({"int4", "int8", "numeric", "float8"})
_FIRST_SECONDS: Final = 100_000_000
_FIRST_MILLISECONDS: Final = 100_000_000_000
_AHEAD_SECONDS: Final = 97_200
"""27 hours: further ahead of now no number is a time of change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposedEntity:
    """One table as an entity."""

    entity: Entity
    reasons: Mapping[str, str]
    """Per key of the settings why it is so."""
    questions: tuple[str, ...] = ()
    """What its owner has to decide."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """What a database seems to have."""

    entities: tuple[ProposedEntity, ...]
    left_out: Mapping[str, str]
    """Per table that becomes no entity why."""
    questions: tuple[str, ...] = ()
    """What concerns all of them."""


@dataclass(frozen=True, slots=True)
class _Refused:
    """A table that becomes no entity."""

    reason: str


@dataclass(slots=True)
class _Notes:
    """What is found out about one table."""

    reasons: dict[str, str]
    questions: list[str]


def propose(
    database: DescribedDatabase,
    *,
    now: datetime,
    known: Sequence[Entity] = (),
    wanted: Sequence[str] | None = None,
) -> Proposal:
    """Propose an entity for each table that people would search.

    Args:
        database: Its catalogue and a few rows.
        now: To tell times of change from other numbers.
        known: Entities that are taken as they are where a table has all their columns.
        wanted: The tables that somebody named; they are proposed whatever they are called.
    """
    wanted = wanted or ()
    proposed: dict[str, ProposedEntity] = {}
    left_out: dict[str, str] = {}
    tenants = _tables_of_tenants(database)
    for table in database.tables:
        made = _known(table, known) or _proposed(
            table, now=now, is_wanted=table.name in wanted, tenants=tenants
        )
        if isinstance(made, _Refused):
            left_out[table.name] = made.reason
        else:
            proposed[table.name] = made
    _choose_between_views_and_tables(database, proposed, left_out, wanted=wanted)
    entities = _with_own_names(list(proposed.values()))
    return Proposal(
        entities=tuple(entities),
        left_out=left_out,
        questions=tuple(_general_questions(database, entities)),
    )


def scopes_in_sample(table: DescribedTable, entity: Entity) -> list[str]:
    """Keys of the scopes whose rows were sampled, tenants before the global one."""
    tenants = _values(table, entity.tenant)
    flags = _values(table, entity.is_global) if isinstance(entity.is_global, str) else None
    keys: dict[str, None] = {}
    for number in range(table.sampled_rows):
        tenant = entity.tenant.value if isinstance(entity.tenant, Constant) else tenants[number]
        is_global = (
            flags[number] in ("true", "t")
            if flags is not None
            else entity.is_global is Sharing.ALL
            or (entity.is_global is Sharing.WITHOUT_TENANT and tenant is None)
        )
        unusable = tenant is None or why_not_a_tenant_id(tenant) is not None
        keys[GLOBAL_KEY if is_global or tenant is None or unusable else tenant] = None
    return sorted(keys, key=lambda key: key == GLOBAL_KEY)


def _values(table: DescribedTable, name: object) -> Sequence[str | None]:
    column = table.column(name) if isinstance(name, str) else None
    return column.values if column is not None else [None] * table.sampled_rows


def _known(table: DescribedTable, known: Sequence[Entity]) -> ProposedEntity | None:
    """The entity of the defaults that is about such a table."""
    names = {column.name for column in table.columns if column.is_readable}
    for entity in known:
        needed = {*entity.mapped_columns, *filter(None, [entity.updated_at])}
        is_it = entity.table == table.name and needed <= names and table.is_reachable
        if is_it and not table.hides_rows and set(table.primary_key) == set(entity.id):
            return ProposedEntity(
                entity=entity, reasons={"table": "the entity that is there without settings"}
            )
    return None


def _proposed(
    table: DescribedTable, *, now: datetime, is_wanted: bool, tenants: frozenset[str]
) -> ProposedEntity | _Refused:
    refusal = _why_not(table, is_wanted=is_wanted, tenants=tenants)
    if refusal is not None:
        return _Refused(refusal)
    table, unsafe = _with_safe_columns(table)
    notes = _Notes(reasons={}, questions=[])
    row_id = _row_id(table, notes)
    if row_id is None:
        return _Refused(_why_no_id(table, unsafe))
    tenant = _tenant(table, notes, row_id=row_id)
    is_global = _is_global(table, notes, tenant=tenant)
    only = _only(table, notes)
    changed, kind = _changed(table, notes, now=now)
    rules = {*([tenant] if isinstance(tenant, str) else []), *(it.column for it in only)}
    taken = {*rules, *([is_global] if isinstance(is_global, str) else []), *filter(None, [changed])}
    alone = row_id if len(row_id) == 1 else ()
    texts = propose_texts(table, taken={*taken, *alone})
    if not texts.has_any:
        return _Refused("no column of it has words that people would search for")
    name = singular(table.name)
    entity = Entity(
        name=name if name[:1].isalpha() else f"t{name}",
        table=table.name,
        id=row_id,
        tenant=tenant,
        is_global=is_global,
        only=only,
        updated_at=changed,
        updated_at_kind=kind,
        views=texts.views,
        long_views=texts.long_views,
        payload=propose_payload(
            table, entity_name=name, texts=texts, taken={*taken, *alone}, row_id=row_id
        ),
        markup="html" if texts.markup >= MARKED_UP else "none",
    )
    _tell_of_texts(table, texts, unsafe, notes)
    return ProposedEntity(entity=entity, reasons=notes.reasons, questions=tuple(notes.questions))


def _why_not(table: DescribedTable, *, is_wanted: bool, tenants: frozenset[str]) -> str | None:
    """Why a table becomes no entity; one that somebody named only where it cannot."""
    return _why_unreadable(table) or (None if is_wanted else _why_unlikely(table, tenants))


def _why_unreadable(table: DescribedTable) -> str | None:
    if not all(map(IDENTIFIER.fullmatch, table.name.split("."))):
        return "its name has characters that the settings cannot hold: offer it through a view"
    if not table.is_reachable:
        return f"role {table.role!r} may not use its schema"
    if table.hides_rows:
        return (
            f"row security policies hide rows of it from role {table.role!r}: read with a role "
            "that sees everything"
        )
    if not any(column.is_readable for column in table.columns):
        return f"role {table.role!r} may not read it"
    return None


def _why_unlikely(table: DescribedTable, tenants: frozenset[str]) -> str | None:
    if table.is_partition:
        return "a part of another table, which is proposed as a whole"
    if table.fault is not None:
        return f"no row of it could be looked at ({table.fault})"
    if is_technical(table.name):
        return "by its name it serves a program"
    if any(normal(column.name) in SIGN_INS for column in table.columns):
        return "it holds what people sign in with"
    if table.name in tenants:
        return "other tables name their tenants by it"
    return None


def _with_safe_columns(table: DescribedTable) -> tuple[DescribedTable, list[str]]:
    """The table without what the settings cannot name or this role cannot read."""
    unsafe = [it.name for it in table.columns if not IDENTIFIER.fullmatch(it.name)]
    kept = tuple(it for it in table.columns if it.is_readable and it.name not in unsafe)
    return replace(table, columns=kept), unsafe


def _row_id(table: DescribedTable, notes: _Notes) -> tuple[str, ...] | None:
    """Columns that are unique together; None where nothing says which."""
    present = {column.name for column in table.columns}
    keys = [table.primary_key, *sorted(table.keys, key=len)] if table.primary_key else table.keys
    for key in keys:
        if key and set(key) <= present:
            how = "the primary key" if key == table.primary_key else "a unique index without NULL"
            notes.reasons["id"] = how
            return tuple(key)
    name = singular(table.name)
    for column in table.columns:
        is_named_so = normal(column.name) in ("id", "uuid", "guid", f"{name}_id", f"{name}_no")
        unique = len(set(column.texts)) == len(column.values) > 0
        if is_named_so and unique and not column.has_nulls:
            notes.reasons["id"] = "by its name, and unique in the rows that were looked at"
            notes.questions.append(
                f"no key of {table.name} says that {column.name} is unique: rows that share an id "
                "are set aside"
            )
            return (column.name,)
    return None


def _why_no_id(table: DescribedTable, unsafe: Sequence[str]) -> str:
    if unsafe and set(unsafe) & {*table.primary_key}:
        return (
            f"the column {unsafe[0]!r} of its key has a name that the settings cannot hold: offer "
            "it through a view"
        )
    return "it has no key, and no column that is unique by its name"


def _tenant(table: DescribedTable, notes: _Notes, *, row_id: tuple[str, ...]) -> str | Constant:
    ranked = sorted(
        (rank, number, column)
        for number, column in enumerate(table.columns)
        if (column.is_enum or column.base_type in _TENANT_TYPES) and row_id != (column.name,)
        for rank in [
            tenant_rank(
                column.name,
                is_reference=column.references is not None,
                is_text=column.base_type in _TEXT_TYPES,
            )
        ]
        if rank is not None
    )
    if not ranked:
        notes.reasons["tenant"] = "no column says whose row it is"
        notes.questions.append(
            f"no column of {table.name} says whose row it is{_by_way_of(table)}: all rows are "
            f"those of one tenant, {SOLE_TENANT!r}. Write its id, or is_global: true if every "
            "tenant shares them"
        )
        return Constant(SOLE_TENANT)
    chosen = ranked[0][2]
    to = f", which refers to {chosen.references}" if chosen.references else ""
    notes.reasons["tenant"] = f"by the name {chosen.name}{to}"
    if len(ranked) > 1:
        others = ", ".join(column.name for _, _, column in ranked[1:])
        notes.questions.append(
            f"is {chosen.name} the tenant of {table.name}? It could be {others} too"
        )
    bad = sum(why_not_a_tenant_id(text) is not None for text in chosen.texts)
    if bad:
        notes.questions.append(
            f"{bad} of {len(chosen.values)} values of {chosen.name} can be no tenant's id: such "
            "rows are set aside"
        )
    return chosen.name


def _by_way_of(table: DescribedTable) -> str:
    """Tables through which the tenant may be found."""
    others = sorted({it.references for it in table.columns if it.references is not None})
    return f" (perhaps {', '.join(others)} does: offer a view that joins them)" if others else ""


def _is_global(table: DescribedTable, notes: _Notes, *, tenant: str | Constant) -> str | Sharing:
    flags = {normal(column.name): column for column in table.columns if column.base_type == "bool"}
    for name in FLAGS:
        if name in flags:
            notes.reasons["is_global"] = "a boolean column of that name"
            return flags[name].name
    column = table.column(tenant) if isinstance(tenant, str) else None
    if column is None or not column.has_nulls:
        notes.reasons["is_global"] = "no column says that a row is shared"
        return Sharing.NONE
    if not column.texts:
        notes.reasons["is_global"] = f"{column.name} is NULL in every row that was looked at"
        notes.questions.append(
            f"no row of {table.name} that was looked at has a {column.name}: such rows are set "
            "aside. Write is_global: tenant_is_null if every tenant shares them"
        )
        return Sharing.NONE
    notes.reasons["is_global"] = f"{column.name} is NULL in some rows"
    notes.questions.append(
        f"rows of {table.name} without {column.name} are shared with every tenant; if they are "
        "nobody's, write is_global: false"
    )
    return Sharing.WITHOUT_TENANT


def _only(table: DescribedTable, notes: _Notes) -> tuple[Condition, ...]:
    """Rows that were deleted without going, and rows that are switched off."""
    conditions: list[Condition] = []
    for column in table.columns:
        name = normal(column.name)
        accepted: tuple[Literals, ...] = ()
        if name in DELETIONS and column.base_type in ("timestamptz", "timestamp", "date"):
            accepted = (None,)
        elif name in DELETED_FLAGS or name in ACTIVE_FLAGS:
            accepted = _on_or_off(column, is_on=name in ACTIVE_FLAGS)
        if not accepted:
            continue
        conditions.append(Condition(column.name, accepted))
        if name in ACTIVE_FLAGS:
            notes.questions.append(
                f"rows of {table.name} that are not {column.name} are left out; are they to be "
                "found?"
            )
    if conditions:
        notes.reasons["only"] = "rows that were deleted or switched off stay in the table"
    return tuple(conditions)


def _on_or_off(column: DescribedColumn, *, is_on: bool) -> tuple[Literals, ...]:
    empty: tuple[Literals, ...] = () if is_on or column.is_not_null else (None,)
    if column.base_type == "bool":
        return (is_on, *empty)
    is_number = column.base_type in ("int2", "int4", "int8")
    return (int(is_on), *empty) if is_number and set(column.texts) <= {"0", "1"} else ()


def _changed(table: DescribedTable, notes: _Notes, *, now: datetime) -> tuple[str | None, TimeKind]:
    named = {normal(column.name): column for column in table.columns}
    for name in CHANGES:
        column = named.get(name)
        if column is None:
            continue
        if column.base_type in ("timestamptz", "date"):
            notes.reasons["updated_at"] = f"by its name and type, {column.type_name}"
            return column.name, TimeKind.BY_TYPE
        if column.base_type == "timestamp":
            notes.reasons["updated_at"] = "by its name; its type has no zone"
            notes.questions.append(
                f"of which time zone is {column.name} of {table.name}? With {{column: "
                f"{column.name}, kind: local, timezone: Europe/Prague}} incremental syncs look "
                "at fewer rows"
            )
            return column.name, TimeKind.BY_TYPE
        if column.base_type in _NUMBERS:
            kind = _epoch(column, now=now)
            if kind is not None:
                notes.reasons["updated_at"] = "by its name and the size of its numbers"
                return column.name, kind
            notes.questions.append(
                f"does {column.name} of {table.name} say when a row changed? Its numbers are no "
                "times near today"
            )
    notes.reasons["updated_at"] = (
        "no column says when a row changed: every sync is a full one without the change feed"
    )
    return None, TimeKind.BY_TYPE


def _epoch(column: DescribedColumn, *, now: datetime) -> TimeKind | None:
    """What its numbers count since 1970; None where they are no times."""
    try:
        newest = max(map(float, column.texts))
    except ValueError:
        return None
    is_milliseconds = newest >= _FIRST_MILLISECONDS
    seconds = newest / 1000 if is_milliseconds else newest
    if not _FIRST_SECONDS <= seconds <= now.timestamp() + _AHEAD_SECONDS:
        return None
    return TimeKind.EPOCH_MILLISECONDS if is_milliseconds else TimeKind.EPOCH_SECONDS


def _tell_of_texts(
    table: DescribedTable, texts: Texts, unsafe: Sequence[str], notes: _Notes
) -> None:
    notes.reasons["views"] = texts.reason
    if not table.sampled_rows:
        notes.questions.append(
            f"no row of {table.name} could be looked at: what is text and what is payload is "
            "guessed by names and types"
        )
    if texts.markup >= MARKED_UP:
        notes.reasons["markup"] = f"{texts.markup:.0%} of the texts have tags or entities"
    if unsafe:
        names = ", ".join(map(repr, unsafe))
        notes.questions.append(
            f"columns of {table.name} whose names the settings cannot hold are left out: {names}. "
            "A view can offer them under other names"
        )


def _tables_of_tenants(database: DescribedDatabase) -> frozenset[str]:
    """Tables that tenant columns of others refer to."""
    return frozenset(
        column.references
        for table in database.tables
        for column in table.columns
        if column.references is not None
        and column.references != table.name
        and tenant_rank(column.name, is_reference=True, is_text=False) is not None
    )


def _choose_between_views_and_tables(
    database: DescribedDatabase,
    proposed: dict[str, ProposedEntity],
    left_out: dict[str, str],
    *,
    wanted: Sequence[str],
) -> None:
    """Keep a view that says more than the table whose rows it shows, and else the table."""
    tables = {table.name: table for table in database.tables}
    for table in database.tables:
        view = proposed.get(table.name)
        below = [name for name in table.reads if name in proposed and name not in wanted]
        if view is None or not below or table.name in wanted:
            continue
        # Of the tables that it joins, the one that most of its columns are from.
        main = max(below, key=lambda name: len(_column_names(tables[name]) & _column_names(table)))
        if set(proposed[main].entity.view_columns) < set(view.entity.view_columns):
            del proposed[main]
            left_out[main] = f"the view {table.name} has all its texts, and more"
            reason = f"a view of {main} with more texts"
            proposed[table.name] = replace(view, reasons={**view.reasons, "table": reason})
        else:
            del proposed[table.name]
            left_out[table.name] = f"a view of {', '.join(below)}, which is proposed itself"


def _column_names(table: DescribedTable) -> frozenset[str]:
    return frozenset(column.name for column in table.columns)


def _with_own_names(proposed: Sequence[ProposedEntity]) -> list[ProposedEntity]:
    """Give each entity a name of its own: with its schema, or a number."""
    taken: set[str] = set()
    named: list[ProposedEntity] = []
    for one in proposed:
        name = one.entity.name
        schema, dot, _ = one.entity.table.rpartition(".")
        if name in taken and dot:
            name = f"{normal(schema)}_{name}"
        number = 2
        while name in taken:
            name, number = f"{one.entity.name}_{number}", number + 1
        taken.add(name)
        named.append(replace(one, entity=replace(one.entity, name=name)))
    return named


def _general_questions(
    database: DescribedDatabase, proposed: Sequence[ProposedEntity]
) -> list[str]:
    questions: list[str] = []
    if not database.tables:
        questions.append(
            f"the database {database.name} has no tables that could be read; to try things with "
            "sample rows: `sync-pipeline demo`"
        )
    elif not proposed:
        questions.append(
            "no table looks like something that people would search; name one with --table"
        )
    if database.encoding != "UTF8":
        questions.append(
            f"the database is {database.encoding} and not UTF8: rows that cannot be read as text "
            "are set aside, and our own tables may need a database of their own (state.url, "
            "STATE_DATABASE_URL) in UTF8; `sync-pipeline doctor` says so"
        )
    tables = {table.name: table for table in database.tables}
    texts = [
        text
        for one in proposed
        for name in one.entity.view_columns
        for column in [tables[one.entity.table].column(name)]
        if column is not None
        for text in column.texts
    ]
    if look_at(texts).not_latin >= FOREIGN:
        questions.append(
            "many texts are not in Latin letters, and the model that comes along knows English: "
            "embedding.model: intfloat/multilingual-e5-small knows a hundred languages; "
            "`sync-pipeline doctor` says how many words it does not know"
        )
    return questions
