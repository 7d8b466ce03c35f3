"""Installing the change feed: checks first, then everything in one transaction."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import sqlalchemy as sa
from psycopg import sql

from sync_pipeline.core.changes import FeedState
from sync_pipeline.core.entity import Entity
from sync_pipeline.core.errors import ConfigurationError, SourceSchemaError
from sync_pipeline.sources.check import find_mistakes
from sync_pipeline.sources.feed.catalog import FeedCatalog, lost_columns_mistake, read_catalog
from sync_pipeline.sources.feed.queries import FORGET, over
from sync_pipeline.sources.feed.sql import (
    DROP_SEQUENCE,
    INDEXES,
    KEEP_LENGTH,
    LOSSES,
    SEQUENCE,
    TABLE,
    FeedNames,
    create_function,
    create_triggers,
    drop_function,
)
from sync_pipeline.sources.layout import list_table_names, read_tables

_INDEX_COUNT: Final = INDEXES.as_string().count("CREATE INDEX")

_PLACE: Final = sa.text("""
SELECT current_user::text AS role, current_database()::text AS database,
       n.oid IS NOT NULL AS has_schema, c.oid IS NOT NULL AS has_table,
       has_database_privilege(current_database(), 'CREATE') AS may_make_schema,
       has_schema_privilege(n.oid, 'USAGE') AND has_schema_privilege(n.oid, 'CREATE')
           AS may_use_schema,
       has_table_privilege(c.oid, 'SELECT') AND has_table_privilege(c.oid, 'INSERT')
           AND has_table_privilege(c.oid, 'UPDATE') AND has_table_privilege(c.oid, 'DELETE')
           AS may_use_table,
       pg_has_role(c.relowner, 'USAGE') AS owns_table,
       'vacuum_truncate=off' = ANY (coalesce(c.reloptions, '{}')) AS keeps_length,
       l.oid IS NOT NULL AS has_sequence,
       has_sequence_privilege(l.oid, 'USAGE') AND has_sequence_privilege(l.oid, 'SELECT')
           AS may_use_sequence,
       pg_has_role(l.relowner, 'USAGE') AS owns_sequence,
       (SELECT count(*) FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid
        WHERE i.indrelid = c.oid AND starts_with(x.relname, 'change_event_')
          AND NOT i.indisprimary) AS indexes
FROM (SELECT CAST(:schema AS name) AS schema) AS wanted
LEFT JOIN pg_namespace n ON n.nspname = wanted.schema
LEFT JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = 'change_event'
LEFT JOIN pg_class l ON l.relnamespace = n.oid AND l.relname = 'feed_loss' AND l.relkind = 'S'
""")

# Everything in a schema depends on it, save what depends on a table there.
_IS_LEFT_ALONE: Final = sa.text("""
SELECT pg_has_role(n.nspowner, 'USAGE') AND pg_has_role(c.relowner, 'USAGE') AND NOT EXISTS (
    SELECT FROM pg_depend d
    WHERE d.refclassid = 'pg_namespace'::regclass AND d.refobjid = n.oid
      AND NOT (d.classid = 'pg_class'::regclass AND d.objid IN (
          c.oid, pg_get_serial_sequence(c.oid::regclass::text, 'id')::regclass,
          coalesce((SELECT l.oid FROM pg_class l
                    WHERE l.relnamespace = n.oid AND l.relname = 'feed_loss'), 0)))
)
FROM pg_namespace n JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = 'change_event'
WHERE n.nspname = :schema
""")


class FeedInstaller:
    """Makes and removes feeds inside one open transaction.

    Args:
        connection: READ COMMITTED; its owner commits.
        database: Host, port and database name, for messages.
        schema: Where the table and the functions are.
    """

    def __init__(self, connection: sa.Connection, *, database: str, schema: str) -> None:
        self._connection = connection
        self._database = database
        self._schema = schema

    def install(self, entities: Sequence[Entity]) -> list[str]:
        """Make what is missing and mend what is outdated; say what was done."""
        self._refuse_wrong_schema(entities)
        catalog = read_catalog(self._connection, entities=entities, schema=self._schema)
        able = [entity for entity in entities if catalog.why_unable(entity) is None]
        if entities and not able:
            self._refuse_unable(catalog, entities=entities)
        place = self._connection.execute(_PLACE, {"schema": self._schema}).one()
        self._refuse_forbidden(place, catalog=catalog, entities=able)
        made = self._make_table(place)
        for entity in able:
            if catalog.judge(entity)[0] is not FeedState.INSTALLED:
                made.append(self._make_feed(entity, catalog=catalog))
        return [*made, *self._drop_useless(catalog, entities=entities)]

    def remove(self, entities: Sequence[Entity] | None) -> list[str]:
        """Drop functions with their triggers, the events, and a schema that is left empty."""
        catalog = read_catalog(self._connection, entities=entities or (), schema=self._schema)
        names = None if entities is None else {entity.name for entity in entities}
        removed = {
            entity: function
            for entity, function in catalog.ours().items()
            if names is None or entity in names
        }
        for function in removed.values():
            self._execute(drop_function(schema=self._schema, name=function.name))
        said = [f"feed of entity {entity!r}" for entity in sorted(removed)]
        place = self._connection.execute(_PLACE, {"schema": self._schema}).one()
        if place.owns_sequence and removed.keys() >= catalog.ours().keys():
            self._execute(DROP_SEQUENCE.format(schema=sql.Identifier(self._schema)).as_string())
        if place.has_table and not catalog.place.lost_columns:
            # Nobody writes events of these entities any more: dropping waited for all who did.
            self._connection.exec_driver_sql(
                over(FORGET, schema=self._schema), {"entities": sorted(removed)}
            )
        if self._connection.scalar(_IS_LEFT_ALONE, {"schema": self._schema}):
            schema = sql.Identifier(self._schema)
            dropped = sql.SQL("DROP TABLE {schema}.change_event; DROP SCHEMA {schema}")
            self._execute(dropped.format(schema=schema).as_string())
            said.append(f"schema {self._schema}")
        return said

    def _refuse_wrong_schema(self, entities: Sequence[Entity]) -> None:
        entity_tables = {entity.table for entity in entities}
        tables = read_tables(self._connection, tables=entity_tables)
        names = list_table_names(self._connection) if entity_tables - tables.keys() else []
        mistakes = find_mistakes(entities, tables=tables, table_names=names)
        if mistakes:
            raise SourceSchemaError(database=self._database, mistakes=mistakes)

    def _refuse_unable(self, catalog: FeedCatalog, *, entities: Sequence[Entity]) -> None:
        mistakes = [f"entity {entity.name!r}: {catalog.judge(entity)[1]}" for entity in entities]
        raise SourceSchemaError(database=self._database, mistakes=mistakes)

    def _drop_useless(self, catalog: FeedCatalog, *, entities: Sequence[Entity]) -> list[str]:
        """Drop what entities have whose table cannot have a feed (any more)."""
        useless = {
            entity.name: catalog.ours()[entity.name]
            for entity in entities
            if catalog.judge(entity)[0] is FeedState.UNABLE and entity.name in catalog.ours()
        }
        for function in useless.values():
            self._execute(drop_function(schema=self._schema, name=function.name))
        return [f"no more feed of entity {name!r}" for name in useless]

    def _refuse_forbidden(
        self, place: sa.Row[tuple[object, ...]], *, catalog: FeedCatalog, entities: Sequence[Entity]
    ) -> None:
        faults = [
            f"entity {entity.name!r}: {detail}"
            for entity in entities
            for state, detail in [catalog.judge(entity)]
            if state is FeedState.FOREIGN
        ]
        faults.extend(filter(None, [lost_columns_mistake(catalog)]))
        relations = [
            relation.where
            for entity in entities
            for relation in catalog.relations[entity.name]
            if not relation.is_allowed
        ]
        faults.extend(self._missing_grants(place, relations=relations))
        if faults:
            listed = "\n".join(f"  - {fault}" for fault in faults)
            raise ConfigurationError(
                f"the change feed cannot be installed in {self._database}; "
                f"nothing was changed:\n{listed}"
            )

    def _missing_grants(
        self, place: sa.Row[tuple[object, ...]], *, relations: Sequence[tuple[str, str]]
    ) -> Iterator[str]:
        schema = sql.Identifier(self._schema).as_string()
        role = sql.Identifier(place.role).as_string()
        database = sql.Identifier(place.database).as_string()
        lacks = f"role {place.role!r} lacks a right, let an owner run:"
        if not place.has_schema and not place.may_make_schema:
            yield f"{lacks} GRANT CREATE ON DATABASE {database} TO {role}"
        if place.has_schema and not place.may_use_schema:
            yield f"{lacks} GRANT USAGE, CREATE ON SCHEMA {schema} TO {role}"
        if place.has_table and not place.may_use_table:
            rights = "SELECT, INSERT, UPDATE, DELETE"
            yield f"{lacks} GRANT {rights} ON {schema}.change_event TO {role}"
        if place.has_sequence and not place.may_use_sequence:
            yield f"{lacks} GRANT USAGE, SELECT ON SEQUENCE {schema}.{LOSSES} TO {role}"
        for relation in dict.fromkeys(relations):
            yield f"{lacks} GRANT TRIGGER ON {sql.Identifier(*relation).as_string()} TO {role}"

    def _make_table(self, place: sa.Row[tuple[object, ...]]) -> list[str]:
        made = []
        schema = sql.Identifier(self._schema)
        if not place.has_schema:
            self._execute(sql.SQL("CREATE SCHEMA {}").format(schema).as_string())
            made.append(f"schema {self._schema}")
        if not place.has_table:
            self._execute(TABLE.format(schema=schema).as_string())
            made.append(f"table {self._schema}.change_event")
        if not place.has_table or (place.owns_table and place.indexes < _INDEX_COUNT):
            self._execute(INDEXES.format(schema=schema).as_string())
        if not place.has_table or (place.owns_table and not place.keeps_length):
            self._execute(KEEP_LENGTH.format(schema=schema).as_string())
        if not place.has_sequence:
            self._execute(SEQUENCE.format(schema=schema).as_string())
        return made

    def _make_feed(self, entity: Entity, *, catalog: FeedCatalog) -> str:
        old = catalog.functions.get(FeedNames(self._schema, entity.name).function)
        if old is not None:
            self._execute(drop_function(schema=self._schema, name=old.name))
        computed = catalog.computed(entity)
        self._execute(create_function(entity, schema=self._schema, computed=computed))
        relations = catalog.relations[entity.name]
        for relation in relations:
            self._execute(
                create_triggers(
                    entity,
                    schema=self._schema,
                    relation=relation.where,
                    is_owner=relation.is_owned,
                )
            )
        more = f" and {len(relations) - 1} partitions or heirs" if len(relations) > 1 else ""
        return f"feed of entity {entity.name!r} on {relations[0].schema}.{relations[0].name}{more}"

    def _execute(self, statement: str) -> None:
        """Run statements of ours, in which ``%`` means nothing."""
        self._connection.exec_driver_sql(statement, execution_options={"no_parameters": True})
