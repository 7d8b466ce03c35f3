"""What of the change feed the source database has, and what that means."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa
from psycopg import sql

from sync_pipeline.core.changes import FeedState
from sync_pipeline.core.entity import Entity
from sync_pipeline.sources.feed.sql import (
    COLUMNS,
    CONFIG,
    EVENTS,
    FUNCTION_PREFIX,
    LOSSES,
    FeedNames,
    always_fire,
    entity_of,
    function_body,
)
from sync_pipeline.sources.layout import split_name

# A statement fires the triggers of the table it names only: partitions and inheriting tables
# need their own, and what is above them must not be named by anybody.
_RELATIONS: Final = sa.text("""
WITH RECURSIVE wanted AS (
    SELECT entity, to_regclass(named)::oid AS oid
    FROM unnest(CAST(:entities AS text[]), CAST(:tables AS text[])) AS w (entity, named)
), family AS (
    SELECT entity, oid FROM wanted
    UNION
    SELECT f.entity, i.inhrelid FROM family f JOIN pg_inherits i ON i.inhparent = f.oid
)
SELECT f.entity, c.oid, n.nspname AS schema, c.relname AS name, c.relkind::text AS kind,
       has_table_privilege(c.oid, 'TRIGGER') AS is_allowed,
       pg_has_role(c.relowner, 'USAGE') AS is_owned,
       (SELECT min(i.inhparent::regclass::text) FROM pg_inherits i
        WHERE i.inhrelid = c.oid
          AND NOT EXISTS (SELECT FROM family o WHERE o.entity = f.entity AND o.oid = i.inhparent)
       ) AS stranger_above,
       (SELECT min(s.subname) FROM pg_subscription_rel r JOIN pg_subscription s ON s.oid = r.srsubid
        WHERE r.srrelid = c.oid) AS subscription
FROM family f JOIN pg_class c USING (oid) JOIN pg_namespace n ON n.oid = c.relnamespace
ORDER BY f.entity, (SELECT w.oid FROM wanted w WHERE w.entity = f.entity) <> c.oid, c.oid
""")

_FUNCTIONS: Final = sa.text("""
SELECT p.oid, p.proname AS name, p.prosrc AS body, p.proowner::regrole::text AS owner,
       coalesce(obj_description(p.oid, 'pg_proc'), '') AS comment,
       CASE WHEN p.prosecdef THEN p.proconfig END AS settings,
       has_schema_privilege(p.proowner, n.oid, 'USAGE')
       AND coalesce(has_table_privilege(p.proowner, e.oid, 'INSERT')
                    AND has_table_privilege(p.proowner, e.oid, 'SELECT'), true)
       AND coalesce(has_sequence_privilege(p.proowner, l.oid, 'USAGE'), true) AS may_write
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
LEFT JOIN pg_class e ON e.relnamespace = n.oid AND e.relname = :events
LEFT JOIN pg_class l ON l.relnamespace = n.oid AND l.relname = :losses AND l.relkind = 'S'
WHERE n.nspname = :schema AND starts_with(p.proname, :prefix) AND p.pronargs = 0
""")

_TRIGGERS: Final = sa.text("""
SELECT t.tgrelid AS relation, t.tgrelid::regclass::text AS relation_name, t.tgname AS name,
       t.tgfoid AS function, t.tgenabled::text AS mode
FROM pg_trigger t
WHERE NOT t.tgisinternal
  AND (t.tgfoid = ANY (CAST(:functions AS oid[])) OR t.tgrelid = ANY (CAST(:relations AS oid[])))
""")

_COLUMNS: Final = sa.text("""
SELECT attrelid AS relation, attname AS name, attgenerated::text AS generated,
       format_type(atttypid, atttypmod) AS type_name,
       pg_get_expr(d.adbin, d.adrelid) AS expression
FROM pg_attribute a
LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum AND a.attgenerated <> ''
WHERE a.attrelid = ANY (CAST(:relations AS oid[])) AND a.attnum > 0 AND NOT a.attisdropped
""")

_SPELL: Final = sa.text("""
SELECT set_config(name, value, true)
FROM unnest(CAST(:names AS text[]), CAST(:values AS text[])) AS settings (name, value)
""")

_PLACE: Final = sa.text("""
SELECT current_user::regrole::text AS role,
       c.oid IS NOT NULL AS has_table, l.oid IS NOT NULL AS has_sequence,
       coalesce(has_sequence_privilege(l.oid, 'SELECT'), true) AS may_count,
       (SELECT array_agg(a.attname::text) FROM pg_attribute a
        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) AS columns
FROM (SELECT CAST(:schema AS name) AS schema) AS wanted
LEFT JOIN pg_namespace n ON n.nspname = wanted.schema
LEFT JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = :events
LEFT JOIN pg_class l ON l.relnamespace = n.oid AND l.relname = :losses AND l.relkind = 'S'
""")

_KINDS: Final = {
    "v": "a view",
    "m": "a materialised view",
    "f": "a foreign table",
}
_FIRES: Final = "A"
_FIRES_IN_MOST_SESSIONS: Final = "O"
_NAMES_OF_OBJECTS: Final = re.compile(r"(reg[a-z]+|aclitem)(\[\])?")
"""Types whose text is the name of something that can be renamed."""
_TABLE_OID: Final = re.compile(r"\btableoid\b")

INSTALL: Final = "run `sync-pipeline feed install`"


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of an entity's table."""

    name: str
    generated: str
    """Empty, ``s`` for stored, ``v`` for virtual."""
    type_name: str
    expression: str | None
    """What a generated one is computed from, names in ``pg_catalog`` unqualified."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Relation:
    """A table that holds rows of an entity: its own, a partition or an inheriting one."""

    entity: str
    oid: int
    schema: str
    name: str
    kind: str
    """PostgreSQL's ``relkind``."""
    is_allowed: bool
    """Whether this role may create triggers on it."""
    is_owned: bool
    """Whether this role may have them fire in every session."""
    stranger_above: str | None
    """A table it is a part of, which is no table of the entity."""
    subscription: str | None
    """Which subscription of logical replication writes it."""

    @property
    def fault(self) -> str | None:
        """Why it cannot have a feed, None where it can."""
        kind = _KINDS.get(self.kind)
        if kind is not None:
            return f"{self.schema}.{self.name} is {kind}, whose changes PostgreSQL cannot report"
        if self.stranger_above is not None:
            return (
                f"{self.schema}.{self.name} is a part of {self.stranger_above}: statements that "
                "name that table change its rows and fire none of its triggers"
            )
        return None

    @property
    def where(self) -> tuple[str, str]:
        """Schema and name."""
        return self.schema, self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """A function that is called like one of ours."""

    oid: int
    name: str
    body: str
    owner: str
    comment: str
    settings: Sequence[str] | None
    """Its own settings; None where it does not run with its owner's rights."""
    may_write: bool
    """Whether its owner may write what of our table and sequence there is."""

    @property
    def is_protected(self) -> bool:
        """Whether it runs with its owner's rights and our settings."""
        # Quotes are there where whoever installed it has quote_all_identifiers on.
        settings = {setting.replace('"', "") for setting in self.settings or ()}
        return settings == {f"{name}={value}" for name, value in CONFIG.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Trigger:
    """A trigger on one of the tables, or one that calls a function of ours."""

    relation: int
    relation_name: str
    name: str
    function: int
    mode: str
    """PostgreSQL's ``tgenabled``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where events are written."""

    role: str
    """Who looks, quoted."""
    has_table: bool
    has_sequence: bool
    may_count: bool
    """Whether this role may read the sequence, if there is one."""
    columns: Sequence[str] | None

    @property
    def lost_columns(self) -> list[str]:
        """Columns that our table had and has no longer."""
        return sorted(COLUMNS - set(self.columns or ())) if self.has_table else []


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedCatalog:
    """What the catalogue says."""

    schema: str
    place: Place
    relations: Mapping[str, Sequence[Relation]]
    """By entity name, its own table first; empty where there is no such table."""
    columns: Mapping[int, Mapping[str, Column]]
    """By the oid of an entity's own table, by name."""
    functions: Mapping[str, Function]
    """By name."""
    triggers: Sequence[Trigger]

    def ours(self) -> dict[str, Function]:
        """Functions that ``install`` made, by entity type."""
        pairs = ((entity_of(function.comment), function) for function in self.functions.values())
        return {entity: function for entity, function in pairs if entity is not None}

    def function_of(self, entity: Entity) -> Function | None:
        """What is called like the function of an entity."""
        return self.functions.get(FeedNames(self.schema, entity.name).function)

    def computed(self, entity: Entity) -> dict[str, str]:
        """Expressions of the mapped columns that are in no transition table."""
        return {
            column.name: f"CAST(({column.expression}) AS {column.type_name})"
            for column in self._mapped(entity)
            if column.generated == "v"
        }

    def why_unable(self, entity: Entity) -> str | None:
        """Say why the entity cannot have a feed, None where it can."""
        faults = (relation.fault for relation in self.relations[entity.name])
        fault = next(filter(None, faults), None)
        if fault is not None:
            return fault
        for column in self._mapped(entity):
            if column.generated == "v" and _TABLE_OID.search(column.expression or ""):
                return (
                    f"virtual column {column.name!r} of {entity.table} is computed from tableoid, "
                    "which no trigger sees"
                )
        return None

    def judge(self, entity: Entity) -> tuple[FeedState, str]:
        """How the feed of an entity stands, and why."""
        function = self.function_of(entity)
        foreign = next(self._foreign(entity, function=function), None)
        if foreign is not None:
            return FeedState.FOREIGN, foreign
        unable = self.why_unable(entity)
        if unable is not None:
            # PostgreSQL refuses statements that would tell triggers of a foreign table's rows.
            still = f"; it still has one: {INSTALL}, which takes it away" if function else ""
            return FeedState.UNABLE, f"{unable}; {without_feed(entity)}{still}"
        if function is None:
            missing = "" if self.relations[entity.name] else f"there is no table {entity.table!r}"
            return FeedState.ABSENT, missing
        fault = next(self._faults(entity, function=function), None)
        if fault is not None:
            return FeedState.OUTDATED, fault
        return FeedState.INSTALLED, ""

    def holes(self, entity: Entity) -> list[str]:
        """Ways in which changes get past an installed feed at any time."""
        return [
            *(
                f"{relation.schema}.{relation.name} is written by the subscription "
                f"{relation.subscription!r}: logical replication leaves no event"
                for relation in self.relations[entity.name]
                if relation.subscription is not None
            ),
            *self._silent_sessions(entity),
        ]

    def blind_spots(self, entity: Entity) -> list[str]:
        """What an installed feed does not see, for people."""
        return [
            *self.holes(entity),
            *(
                f"the text of column {column.name!r} ({column.type_name}) is a name of something "
                "else: renaming that leaves no event, the nightly sync finds it"
                for column in self._mapped(entity)
                if _NAMES_OF_OBJECTS.fullmatch(column.type_name)
            ),
        ]

    def _mapped(self, entity: Entity) -> list[Column]:
        relations = self.relations[entity.name]
        columns = self.columns.get(relations[0].oid, {}) if relations else {}
        return [columns[name] for name in entity.mapped_columns if name in columns]

    def _silent_sessions(self, entity: Entity) -> Iterator[str]:
        """Sessions with ``session_replication_role = replica``, where only an owner can help."""
        for relation, trigger in self._found(entity):
            if trigger is not None and trigger.mode == _FIRES_IN_MOST_SESSIONS:
                names = FeedNames(self.schema, entity.name).triggers.values()
                mend = (always_fire(relation.where, trigger=name).as_string() for name in names)
                yield (
                    f"sessions that replicate (session_replication_role = replica) leave no event "
                    f"in {relation.schema}.{relation.name}; let its owner run: {'; '.join(mend)}"
                )
                return

    def _found(self, entity: Entity) -> Iterator[tuple[Relation, Trigger | None]]:
        """Each table of an entity with each of the triggers that it should have."""
        function = self.function_of(entity)
        triggers = {
            (trigger.relation, trigger.name): trigger
            for trigger in self.triggers
            if function is not None and trigger.function == function.oid
        }
        for relation in self.relations[entity.name]:
            for name in FeedNames(self.schema, entity.name).triggers.values():
                yield relation, triggers.get((relation.oid, name))

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
        if not self.relations[entity.name]:
            yield f"there is no table {entity.table!r}; {INSTALL}"
        missing = sorted(set(entity.mapped_columns) - {c.name for c in self._mapped(entity)})
        if missing and self.relations[entity.name]:
            yield f"table {entity.table!r} has no column {', '.join(missing)}"
        gone = self._gone_to(entity, function=function)
        if gone is not None:
            own = self.relations[entity.name][0]
            yield (
                f"the feed is gone from {own.schema}.{own.name}, another table than the one it was "
                f"installed on, which is {gone} now; {INSTALL}"
            )
        body = function_body(entity, schema=self.schema, computed=self.computed(entity))
        if function.body != body or not function.is_protected:
            yield f"mapped columns or the program changed since it was installed; {INSTALL}"
        yield from (f"{fault}; {INSTALL}" for fault in self._trigger_faults(entity))
        yield from self._place_faults(function)

    def _gone_to(self, entity: Entity, *, function: Function) -> str | None:
        """The table that has all the triggers, where the entity's own has none."""
        own = {relation.oid for relation in self.relations[entity.name]}
        where = {t.relation: t.relation_name for t in self.triggers if t.function == function.oid}
        return None if not own or own & where.keys() else next(iter(where.values()), None)

    def _trigger_faults(self, entity: Entity) -> Iterator[str]:
        names = list(FeedNames(self.schema, entity.name).triggers.values())
        for place, (relation, trigger) in enumerate(self._found(entity)):
            where = f"trigger {names[place % len(names)]} on {relation.schema}.{relation.name}"
            if trigger is None:
                yield f"{where} is missing"
            elif trigger.mode not in {_FIRES, _FIRES_IN_MOST_SESSIONS}:
                yield f"{where} is disabled"
            elif trigger.mode != _FIRES and relation.is_owned:
                yield f"{where} does not fire where session_replication_role is replica"
        oids = {relation.oid for relation in self.relations[entity.name]}
        function = self.function_of(entity)
        for trigger in self.triggers:
            is_ours = function is not None and trigger.function == function.oid
            if is_ours and (trigger.relation not in oids or trigger.name not in names):
                yield f"trigger {trigger.name} is also on {trigger.relation_name}"

    def _place_faults(self, function: Function) -> Iterator[str]:
        """What keeps events from being written."""
        table = f"{self.schema}.{EVENTS}"
        if not self.place.has_table:
            yield f"table {table} is missing, so changes leave no event; {INSTALL}"
        if self.place.lost_columns:
            yield f"table {table} {_lacks(self.place.lost_columns)}"
        if not self.place.has_sequence:
            yield f"sequence {self.schema}.{LOSSES} is missing; {INSTALL}"
        if not function.may_write:
            yield (
                f"role {function.owner}, with whose rights events are written, may not write "
                f"them: {grants_to_write(self.schema, role=function.owner)}"
            )
        if not self.place.may_count:
            yield (
                f"role {self.place.role} may not read how many events were lost: GRANT SELECT ON "
                f"SEQUENCE {sql.Identifier(self.schema, LOSSES).as_string()} TO {self.place.role}"
            )


def without_feed(entity: Entity) -> str:
    """Say what an incremental sync of an entity without a feed goes by."""
    if entity.updated_at is None:
        return "each incremental sync compares all its rows, for it has no column updated_at either"
    return f"incremental syncs look at its column {entity.updated_at!r} instead"


def lost_columns_mistake(catalog: FeedCatalog) -> str | None:
    """Say which columns our table has lost, None where it has all of them."""
    lost = catalog.place.lost_columns
    return f"table {catalog.schema}.{EVENTS} {_lacks(lost)}" if lost else None


def grants_to_write(schema: str, *, role: str) -> str:
    """Statements that let a role write events."""
    named = sql.Identifier(schema).as_string()
    return (
        f"GRANT USAGE ON SCHEMA {named} TO {role}; "
        f"GRANT SELECT, INSERT ON {named}.{EVENTS} TO {role}; "
        f"GRANT USAGE ON SEQUENCE {named}.{LOSSES} TO {role}"
    )


def _lacks(columns: Sequence[str]) -> str:
    return (
        f"has no column {', '.join(columns)} any more: give the columns their names back, or drop "
        f"the table and {INSTALL}"
    )


def read_catalog(
    connection: sa.Connection, *, entities: Sequence[Entity], schema: str
) -> FeedCatalog:
    """Look up tables, functions and triggers; what is missing is left out."""
    relations = _relations(connection, entities)
    named = {"schema": schema, "events": EVENTS, "losses": LOSSES}
    rows = connection.execute(_FUNCTIONS, {**named, "prefix": FUNCTION_PREFIX})
    functions = {row["name"]: Function(**row) for row in rows.mappings()}
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
        place=Place(**connection.execute(_PLACE, named).mappings().one()),
        relations=relations,
        columns=_columns(connection, [family[0].oid for family in relations.values() if family]),
        functions=functions,
        triggers=[Trigger(**row) for row in triggers.mappings()],
    )


def _relations(
    connection: sa.Connection, entities: Sequence[Entity]
) -> dict[str, Sequence[Relation]]:
    relations = defaultdict[str, list[Relation]](list)
    parameters = {
        "entities": [entity.name for entity in entities],
        "tables": [
            sql.Identifier(*filter(None, split_name(entity.table))).as_string()
            for entity in entities
        ],
    }
    for row in connection.execute(_RELATIONS, parameters).mappings():
        relations[row["entity"]].append(Relation(**row))
    return {entity.name: relations[entity.name] for entity in entities}


def _columns(connection: sa.Connection, relations: list[int]) -> dict[int, dict[str, Column]]:
    """Columns by table; expressions are spelt as the functions will read them."""
    columns = defaultdict[int, dict[str, Column]](dict)
    with connection.begin_nested() as spelt:
        settings = {**CONFIG, "quote_all_identifiers": "off"}
        values = {"names": list(settings), "values": list(settings.values())}
        connection.execute(_SPELL, values)
        for row in connection.execute(_COLUMNS, {"relations": relations}).mappings():
            described = {key: value for key, value in row.items() if key != "relation"}
            columns[row["relation"]][row["name"]] = Column(**described)
        spelt.rollback()
    return dict(columns)
