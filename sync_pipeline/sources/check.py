"""Configured entities against what the source database has: every mistake, with its fix."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from sync_pipeline.core.entity import Constant, Entity, Sharing
from sync_pipeline.core.ports import Weakness
from sync_pipeline.sources.layout import Column, Table
from sync_pipeline.sources.ranking import why_not_a_rank
from sync_pipeline.sources.times import why_not_a_time

TENANT_TYPES: Final = frozenset(
    {"text", "varchar", "bpchar", "name", "citext", "uuid", "int2", "int4", "int8", "numeric"}
)
"""Types, besides enums, whose text can be a tenant id."""

MAX_NAMES_SHOWN: Final = 12


def find_mistakes(
    entities: Sequence[Entity], *, tables: Mapping[str, Table], table_names: Sequence[str]
) -> list[str]:
    """Say what is wrong with each entity, for people.

    Args:
        entities: What the settings name.
        tables: What was found, by ``Entity.table``.
        table_names: Every table of the database, for hints.
    """
    return [
        f"entity {entity.name!r}: {mistake}"
        for entity in entities
        for mistake in _entity_mistakes(
            entity, table=tables.get(entity.table), table_names=table_names
        )
    ]


def _entity_mistakes(
    entity: Entity, *, table: Table | None, table_names: Sequence[str]
) -> Iterator[str]:
    if table is None:
        yield f"there is no table {entity.table!r}{_hint(entity.table, table_names)}"
        return
    if not table.is_reachable:
        yield (
            f"role {table.role!r} may not use schema {table.schema!r}: "
            f"GRANT USAGE ON SCHEMA {_quote(table.schema)} TO {_quote(table.role)}"
        )
        return
    if table.hides_rows:
        yield (
            f"row security policies of table {entity.table!r} hide rows from role {table.role!r}, "
            "which would look like deleted rows: read with a role that sees everything "
            f"(ALTER ROLE {_quote(table.role)} BYPASSRLS)"
        )
    updated_at = filter(None, [entity.updated_at])
    column_names = dict.fromkeys((*entity.mapped_columns, *updated_at, *entity.priority_columns))
    for name in column_names:
        if name not in table.columns:
            yield (
                f"table {entity.table!r} has no column {name!r}{_hint(name, list(table.columns))}"
                f"{_instead(entity, column=name)}"
            )
    present = [table.columns[name] for name in column_names if name in table.columns]
    yield from _privilege_mistakes(present, table=table)
    yield from _type_mistakes(entity, table=table)


def _privilege_mistakes(columns: Sequence[Column], *, table: Table) -> Iterator[str]:
    unreadable = [column.name for column in columns if not column.is_readable]
    if unreadable:
        yield (
            f"role {table.role!r} may not read {', '.join(unreadable)} of table {table.name!r}: "
            f"GRANT SELECT ON {_quote(table.schema)}.{_quote(table.name)} TO {_quote(table.role)}"
        )


def _type_mistakes(entity: Entity, *, table: Table) -> Iterator[str]:
    tenant = None if isinstance(entity.tenant, Constant) else table.columns.get(entity.tenant)
    is_asked = entity.tenant in entity.owner_columns
    if is_asked and tenant is not None and not (tenant.is_enum or tenant.base_type in TENANT_TYPES):
        yield (
            f"tenant column {tenant.name!r} is of type {tenant.type_name}; "
            "a tenant id is text, uuid, a number or an enum"
        )
    is_global = None
    if not isinstance(entity.is_global, Sharing):
        is_global = table.columns.get(entity.is_global)
    if is_global is not None and is_global.base_type != "bool":
        yield (
            f"column {is_global.name!r} tells whether a row is global and must be boolean, "
            f"but is of type {is_global.type_name}; write is_global: true or false for all rows, "
            "or tenant_is_null where rows without a tenant are shared"
        )
    changed_at = table.columns.get(entity.updated_at or "")
    fault = None if changed_at is None else why_not_a_time(changed_at, entity=entity)
    if fault is not None:
        yield fault
    for criterion in entity.priority:
        ranking = table.columns.get(criterion.column or "")
        fault = None if ranking is None else why_not_a_rank(ranking)
        if fault is not None:
            yield fault
    for name in dict.fromkeys((*entity.view_columns, *entity.payload_columns)):
        column = table.columns.get(name)
        if column is not None and column.base_type == "bytea":
            yield f"column {name!r} holds bytes (bytea), which can be neither text nor payload"


def _instead(entity: Entity, *, column: str) -> str:
    """What to write where a table has no such column at all."""
    if column == entity.is_global:
        return (
            ". Without such a flag write is_global: false, true (all rows are shared) or "
            "tenant_is_null (rows without a tenant are shared)"
        )
    if column == entity.tenant:
        return ". Where all rows are one tenant's write tenant: {value: ID}"
    if column in entity.id:
        return ". id is a column, or a list of columns that are unique together"
    if column == entity.updated_at:
        return ". Without such a time leave updated_at out"
    return ""


def find_weakness(entity: Entity, *, table: Table) -> Weakness | None:
    """Say which id the table's own keys do not vouch for, though they would for another one.

    Two tenants may have equal values there, as they like; None where nothing is known.
    """
    if table.is_unique(entity.id):
        return None
    for key in table.keys:
        more = key - set(entity.id)
        if set(entity.id) < key and more <= set(entity.owner_columns):
            columns = ", ".join([*sorted(more), *entity.id])
            return Weakness(
                entity.name,
                f"entity {entity.name!r}: {', '.join(entity.id)} is unique only per tenant in "
                f"table {entity.table!r} (its key is {columns}): rows of two tenants can have the "
                "same id, and then only one of them is searchable",
                f"write id: [{columns}]",
            )
    return None


def _hint(name: str, existing: Sequence[str]) -> str:
    """Similar names, or else some of those that exist."""
    folded = {candidate.casefold(): candidate for candidate in existing}
    similar = [folded[match] for match in difflib.get_close_matches(name.casefold(), folded, n=3)]
    if similar:
        return f"; similar: {', '.join(map(repr, similar))}"
    if not existing:
        return "; there are none at all"
    more = f" and {len(existing) - MAX_NAMES_SHOWN} more" if len(existing) > MAX_NAMES_SHOWN else ""
    return f"; there are {', '.join(existing[:MAX_NAMES_SHOWN])}{more}"


def _quote(identifier: str) -> str:
    escaped = identifier.replace('"', '""')
    return f'"{escaped}"'
