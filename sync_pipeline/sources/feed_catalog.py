"""What of the change feed the source database has, and what that means."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa
from psycopg import sql

from sync_pipeline.core.changes import FeedState
from sync_pipeline.core.entity import Entity
from sync_pipeline.sources.feed_sql import FUNCTION_PREFIX, FeedNames, entity_of, function_body
from sync_pipeline.sources.layout import split_name

# A statement fires the triggers of the table it names only: partitions and inheriting tables
# need their own.
_RELATIONS: Final = sa.text("""
WITH RECURSIVE family AS (
    SELECT to_regclass(:name)::oid AS oid
    UNION
    SELECT i.inhrelid FROM pg_inherits i JOIN family f ON i.inhparent = f.oid
)
SELECT c.oid, n.nspname AS schema, c.relname AS name, c.relkind::text AS kind,
       has_table_privilege(c.oid, 'TRIGGER') AS is_allowed
FROM family JOIN pg_class c USING (oid) JOIN pg_namespace n ON n.oid = c.relnamespace
ORDER BY c.oid
""")

_FUNCTIONS: Final = sa.text("""
SELECT p.oid, p.proname AS name, p.prosrc AS body,
       coalesce(obj_description(p.oid, 'pg_proc'), '') AS comment,
       p.prosecdef AND p.proconfig = ARRAY['search_path=pg_catalog, pg_temp'] AS is_protected
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE n.nspname = :schema AND starts_with(p.proname, :prefix) AND p.pronargs = 0
""")

_TRIGGERS: Final = sa.text("""
SELECT t.tgrelid AS relation, t.tgrelid::regclass::text AS relation_name, t.tgname AS name,
       t.tgfoid AS function, t.tgenabled IN ('O', 'A') AS is_enabled
FROM pg_trigger t
WHERE NOT t.tgisinternal
  AND (t.tgfoid = ANY (CAST(:functions AS oid[])) OR t.tgrelid = ANY (CAST(:relations AS oid[])))
""")

_KINDS: Final = {
    "v": "a view",
    "m": "a materialised view",
    "f": "a foreign table",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Relation:
    """A table that holds rows of an entity: its own, a partition or an inheriting one."""

    oid: int
    schema: str
    name: str
    kind: str
    """PostgreSQL's ``relkind``."""
    is_allowed: bool
    """Whether this role may create triggers on it."""

    @property
    def fault(self) -> str | None:
        """Why it cannot have a feed, None where it can."""
        kind = _KINDS.get(self.kind)
        return None if kind is None else f"{self.schema}.{self.name} is {kind}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """A function that is called like one of ours."""

    oid: int
    name: str
    body: str
    comment: str
    is_protected: bool
    """Whether it runs with its owner's rights and a safe search path."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trigger:
    """A trigger on one of the tables, or one that calls a function of ours."""

    relation: int
    relation_name: str
    name: str
    function: int
    is_enabled: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedCatalog:
    """What the catalogue says."""

    schema: str
    relations: Mapping[str, Sequence[Relation]]
    """By entity name; empty where there is no such table."""
    functions: Mapping[str, Function]
    """By name."""
    triggers: Sequence[Trigger]

    def ours(self) -> dict[str, Function]:
        """Functions that ``install`` made, by entity type."""
        found = ((entity_of(function.comment), function) for function in self.functions.values())
        return {entity: function for entity, function in found if entity is not None}

    def judge(self, entity: Entity) -> tuple[FeedState, str]:
        """How the feed of an entity stands, and why."""
        names = FeedNames(self.schema, entity.name)
        relations = self.relations[entity.name]
        function = self.functions.get(names.function)
        foreign = next(self._foreign(entity, function=function), None)
        if foreign is not None:
            return FeedState.FOREIGN, foreign
        if function is None:
            missing = "" if relations else f"there is no table {entity.table!r}"
            return FeedState.ABSENT, missing
        wanted = function_body(entity, schema=self.schema)
        if function.body != wanted or not function.is_protected:
            detail = "mapped columns or the program changed since it was installed"
            return FeedState.OUTDATED, f"{detail}; run `sync-pipeline feed install`"
        fault = next(self._faults(entity, function=function), None)
        if fault is not None:
            return FeedState.OUTDATED, f"{fault}; run `sync-pipeline feed install`"
        return FeedState.INSTALLED, ""

    def _foreign(self, entity: Entity, *, function: Function | None) -> Iterator[str]:
        """What has a name of ours and is not ours."""
        names = FeedNames(self.schema, entity.name)
        if function is not None and entity_of(function.comment) != entity.name:
            yield f"function {self.schema}.{function.name} is not of sync-pipeline; rename it"
        oids = {relation.oid for relation in self.relations[entity.name]}
        ours = None if function is None else function.oid
        for trigger in self.triggers:
            is_named_so = trigger.relation in oids and trigger.name in names.triggers.values()
            if is_named_so and trigger.function != ours:
                yield (
                    f"trigger {trigger.name} on {trigger.relation_name} calls another function "
                    "than ours; rename it"
                )

    def _faults(self, entity: Entity, *, function: Function) -> Iterator[str]:
        """What keeps a function of ours from seeing exactly the changes of the entity."""
        names = FeedNames(self.schema, entity.name)
        relations = self.relations[entity.name]
        if not relations:
            yield f"there is no table {entity.table!r}"
        found = {
            (trigger.relation, trigger.name): trigger
            for trigger in self.triggers
            if trigger.function == function.oid
        }
        for relation in relations:
            for name in names.triggers.values():
                trigger = found.pop((relation.oid, name), None)
                where = f"trigger {name} on {relation.schema}.{relation.name}"
                if trigger is None:
                    yield f"{where} is missing"
                elif not trigger.is_enabled:
                    yield f"{where} is disabled"
        for trigger in found.values():
            yield f"trigger {trigger.name} is also on {trigger.relation_name}"


def read_catalog(
    connection: sa.Connection, *, entities: Sequence[Entity], schema: str
) -> FeedCatalog:
    """Look up tables, functions and triggers; what is missing is left out."""
    relations = {entity.name: _relations(connection, entity.table) for entity in entities}
    found = connection.execute(_FUNCTIONS, {"schema": schema, "prefix": FUNCTION_PREFIX})
    functions = {row["name"]: Function(**row) for row in found.mappings()}
    oids = {relation.oid for family in relations.values() for relation in family}
    triggers = connection.execute(
        _TRIGGERS,
        {
            "functions": [function.oid for function in functions.values()],
            "relations": sorted(oids),
        },
    )
    return FeedCatalog(
        schema=schema,
        relations=relations,
        functions=functions,
        triggers=[Trigger(**row) for row in triggers.mappings()],
    )


def _relations(connection: sa.Connection, table: str) -> list[Relation]:
    name = sql.Identifier(*filter(None, split_name(table))).as_string()
    return [Relation(**row) for row in connection.execute(_RELATIONS, {"name": name}).mappings()]
