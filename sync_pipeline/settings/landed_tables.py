"""What connections, landings and entities say of each other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from sync_pipeline.core.landing.spec import OWN_COLUMNS, split_table
from sync_pipeline.settings.connections import ConnectionSettings
from sync_pipeline.settings.entities import (
    EntitySettings,
    TenantSettings,
    TimeSettings,
    ViewSettings,
)
from sync_pipeline.settings.landings import (
    AnyLandingSettings,
    LandingSettings,
    TableLanding,
    no_connection,
)
from sync_pipeline.settings.rules import Located, Mistake, repeated

_OWN_NAMES: Final = {"id": "id", "tenant": "tenant_id", "is_global": "is_global"}
"""Per key of an entity the column of a landing table that it has to name; also the default."""


def mistakes_between(
    connections: Mapping[str, ConnectionSettings],
    landings: Sequence[AnyLandingSettings],
    entities: Sequence[EntitySettings],
) -> Iterator[Located]:
    """Name what fits by itself and not together, each at its place in the settings."""
    for place, landing in enumerate(landings):
        yield from _of_connection(connections, landing, place=place)
    yield from _of_repetition(landings)
    landed = {split_table(landing.table_name): landing for landing in landings}
    for place, entity in enumerate(entities):
        found = landed.get(split_table(entity.table))
        if found is not None:
            yield from _of_entity(entity, found, place=place)


def _of_connection(
    connections: Mapping[str, ConnectionSettings], landing: AnyLandingSettings, *, place: int
) -> Iterator[Located]:
    if isinstance(landing, TableLanding):
        return
    found = connections.get(landing.connection)
    if found is None:
        mistake = no_connection(connections)
    elif found.kind != landing.kind:
        mistake = Mistake(
            f"is of the kind {found.kind}, and this reads {landing.kind}", "name another one"
        )
    else:
        return
    yield Located(("landings", place, "connection"), mistake, landing.connection)


def _of_repetition(landings: Sequence[LandingSettings]) -> Iterator[Located]:
    for name in repeated(landing.name for landing in landings):
        yield Located(
            ("landings",),
            Mistake(f"has two landings called {name!r}", "give each a name of its own"),
        )
    tables = [split_table(landing.table_name) for landing in landings]
    for table in repeated(tables):
        owners = [it.name for it, where in zip(landings, tables, strict=True) if where == table]
        yield Located(
            ("landings",),
            Mistake(
                f"has one table, {_told(table)}, for {' and '.join(owners)}, which would delete "
                "each other's rows",
                "give each a table of its own",
            ),
        )


def _told(table: object) -> str:
    return ".".join(table) if isinstance(table, tuple) else str(table)


def _of_entity(
    entity: EntitySettings, landing: LandingSettings, *, place: int
) -> Iterator[Located]:
    where: tuple[str | int, ...] = ("entities", place)
    table = landing.table_name
    for key, column in _OWN_NAMES.items():
        said = getattr(entity, key)
        if said not in (column, (column,)):
            yield Located(
                (*where, key),
                Mistake(
                    f"is another column than {column}, by which {table} says it",
                    "leave it out: the landing fills that column",
                ),
                None if isinstance(said, TenantSettings | tuple) else said,
            )
    changed = entity.updated_at
    named = changed.column if isinstance(changed, TimeSettings) else changed
    has_kind = isinstance(changed, TimeSettings) and changed.kind is not None
    if named not in (None, "updated_at") or has_kind:
        yield Located(
            (*where, "updated_at"),
            Mistake(
                f"is another time than updated_at, by which {table} says when a row changed",
                "write updated_at: updated_at; a time of the origin may be long past when a row "
                "lands",
            ),
            named,
        )
    columns = (*landing.columns, *OWN_COLUMNS)
    for inner, name in _columns_of(entity):
        if name not in columns:
            yield Located(
                (*where, *inner),
                Mistake(
                    f"is no column of {table}",
                    f"add it to the columns of the landing {landing.name}, or choose from "
                    f"{', '.join(columns)}",
                ),
                name,
            )


def _columns_of(entity: EntitySettings) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Columns that an entity names beside those that say whose a row is, each with its place."""
    for name, view in entity.views.items():
        inner = ("columns",) if isinstance(view, ViewSettings) else ()
        columns = view.columns if isinstance(view, ViewSettings) else view
        yield from ((("views", name, *inner, place), it) for place, it in enumerate(columns))
    yield from ((("payload", name), column) for name, column in entity.payload.items())
    yield from ((("only", column), column) for column in entity.only)
    if entity.archive is not None:
        yield from ((("archive", "when", column), column) for column in entity.archive.when)
    for place, criterion in enumerate(entity.priority):
        yield from ((("priority", place, "when", column), column) for column in criterion.when)
        if criterion.column is not None:
            yield ("priority", place, "column"), criterion.column
