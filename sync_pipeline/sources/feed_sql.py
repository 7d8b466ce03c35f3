"""What the change feed creates in the source database: schema, table, functions, triggers.

Per entity one function, called by four triggers per table: after each INSERT,
UPDATE, DELETE and TRUNCATE statement, once per statement. (PostgreSQL admits
transition tables only in triggers of a single event without a column list.)

The function runs inside the application's own transactions, so it must never
make a statement fail, nor let anybody do more than write hints:

- SECURITY DEFINER: who writes the table needs no right on our schema. It is safe
  because the function takes no arguments, runs no dynamic SQL, names everything
  with its schema, searches ``pg_catalog`` and, last, ``pg_temp`` only, and
  because EXECUTE is revoked: nobody else can attach it to a table of theirs.
- A mapped column that was dropped or renamed would break every statement that
  writes the table. So the catalogue is asked first (11 microseconds), and where a
  column is missing the event of a TRUNCATE is written instead: anything may have changed.
- ``*<>`` compares the stored bytes of two records. It needs no equality operator
  (json has none), calls no function of a user's type, and sees ``a`` become ``A``
  under a collation that ignores case.
- NOTIFY locks all other notifying commits out until its own is on disk. (Measured
  with 8 writers and 5 ms per flush: 380 instead of 2,400 commits/s.) So of
  transactions at the same time only one notifies, chosen by a try-lock that nobody
  waits for; listeners look again a moment later. The lock's key is the second, so that
  a long transaction does not silence the others.
- A server with prepared transactions is not notified, for NOTIFY makes
  PREPARE TRANSACTION fail.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from psycopg import sql

from sync_pipeline.core.changes import Operation
from sync_pipeline.core.document import MAX_ROW_ID_CHARACTERS
from sync_pipeline.core.entity import Entity
from sync_pipeline.core.hashing import digest
from sync_pipeline.core.scope import GLOBAL_KEY, MAX_KEY_LENGTH

CHANNEL: Final = "sync_pipeline_changes"
"""Where commits with events are notified."""

_NOTIFIED: Final = "sync_pipeline.notified"
"""A setting that is '1' for the rest of a transaction (or savepoint) that notifies already."""
_LOCK: Final = 1_937_337_955
"""First half of the advisory locks' keys, the second is the time in seconds."""

MARK: Final = "sync-pipeline feed"
"""How the comment on a function of ours begins."""

FUNCTION_PREFIX: Final = "feed_"
_VERSION: Final = 1
_MAX_IDENTIFIER: Final = 63
_DIGEST_DIGITS: Final = 8

_TRANSITION_TABLES: Final = {
    Operation.INSERT: "REFERENCING NEW TABLE AS new_rows",
    Operation.UPDATE: "REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows",
    Operation.DELETE: "REFERENCING OLD TABLE AS old_rows",
    Operation.TRUNCATE: "",
}

TABLE: Final = sql.SQL("""
CREATE TABLE {schema}.change_event (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    entity_type text NOT NULL,
    db_id text,
    operation text NOT NULL,
    old_scope_key text,
    new_scope_key text,
    created_at timestamptz NOT NULL DEFAULT now(),
    xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
    CONSTRAINT change_event_operation
        CHECK (operation IN ('insert', 'update', 'delete', 'truncate'))
)
""")
"""As the migration of the state tables makes it where state and source are one database."""

INDEXES: Final = sql.SQL("""
CREATE INDEX IF NOT EXISTS change_event_new_scope
    ON {schema}.change_event (new_scope_key) WHERE new_scope_key IS NOT NULL;
CREATE INDEX IF NOT EXISTS change_event_old_scope
    ON {schema}.change_event (old_scope_key) WHERE old_scope_key IS DISTINCT FROM new_scope_key;
CREATE INDEX IF NOT EXISTS change_event_everywhere
    ON {schema}.change_event (entity_type) WHERE old_scope_key IS NULL AND new_scope_key IS NULL
""")

_BODY: Final = sql.SQL("""
BEGIN
    IF TG_OP = 'TRUNCATE' OR {column_count} <> (
        SELECT pg_catalog.count(*) FROM pg_catalog.pg_attribute a
        WHERE a.attrelid = TG_RELID AND a.attnum > 0 AND a.attname = ANY ({columns})
    ) THEN
        INSERT INTO {events} (entity_type, operation)
        SELECT {entity}, 'truncate'
        WHERE NOT EXISTS (
            SELECT FROM {events} e
            WHERE e.old_scope_key IS NULL AND e.new_scope_key IS NULL AND e.entity_type = {entity}
              AND e.xid = pg_catalog.pg_current_xact_id()
        );
    ELSIF TG_OP = 'INSERT' THEN
        INSERT INTO {events} (entity_type, db_id, operation, new_scope_key)
        SELECT {entity}, {row_id}, 'insert', {scope_key} FROM new_rows t;
    ELSIF TG_OP = 'DELETE' THEN
        INSERT INTO {events} (entity_type, db_id, operation, old_scope_key)
        SELECT {entity}, {row_id}, 'delete', {scope_key} FROM old_rows t;
    ELSE
        -- nth: ids that are not unique must not multiply.
        INSERT INTO {events} (entity_type, db_id, operation, old_scope_key, new_scope_key)
        SELECT {entity}, coalesce(n.row_id, o.row_id), 'update', o.scope_key, n.scope_key
        FROM (
            SELECT {row_id} AS row_id, {scope_key} AS scope_key, {image} AS image,
                   pg_catalog.row_number() OVER (PARTITION BY {row_id}) AS nth
            FROM old_rows t
        ) o FULL JOIN (
            SELECT {row_id} AS row_id, {scope_key} AS scope_key, {image} AS image,
                   pg_catalog.row_number() OVER (PARTITION BY {row_id}) AS nth
            FROM new_rows t
        ) n ON n.row_id = o.row_id AND n.nth = o.nth
        WHERE o.nth IS NULL OR n.nth IS NULL OR o.image OPERATOR(pg_catalog.*<>) n.image;
    END IF;
    IF FOUND AND pg_catalog.current_setting('max_prepared_transactions') = '0'
       AND pg_catalog.current_setting({notified}, true) IS DISTINCT FROM '1'
       AND pg_catalog.pg_try_advisory_xact_lock({lock}, (
           pg_catalog.date_part('epoch', pg_catalog.clock_timestamp())::int8 % 65536)::int4)
    THEN
        PERFORM pg_catalog.pg_notify({channel}, ''), pg_catalog.set_config({notified}, '1', true);
    END IF;
    RETURN NULL;
END
""")

# The casts are the reader's. A boolean is compared as text, so that a column of another type
# cannot make the statement fail.
_ROW_ID: Final = sql.SQL('pg_catalog.left(t.{id}::text, {longest}) COLLATE pg_catalog."C"')
_SCOPE_KEY: Final = sql.SQL(
    "CASE WHEN t.{is_global}::text = 'true' THEN {global_key} "
    "ELSE coalesce(pg_catalog.left(t.{tenant}::text, {longest}), {global_key}) END"
)

_FUNCTION: Final = sql.SQL("""
CREATE FUNCTION {function}() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS {body};
COMMENT ON FUNCTION {function}() IS {comment};
REVOKE ALL ON FUNCTION {function}() FROM PUBLIC
""")

_TRIGGER: Final = sql.SQL("""
CREATE TRIGGER {trigger} AFTER {event} ON {relation} {transition_tables}
FOR EACH STATEMENT EXECUTE FUNCTION {function}()
""")


@dataclass(frozen=True, slots=True)
class FeedNames:
    """What the parts of one entity's feed are called."""

    schema: str
    entity_type: str

    @property
    def function(self) -> str:
        """Name of the function, in ``schema``."""
        return bounded(FUNCTION_PREFIX + self.entity_type)

    @property
    def triggers(self) -> dict[Operation, str]:
        """Per operation the name of the trigger, the same on every table."""
        base = f"{self.schema}_{self.entity_type}"
        return {operation: bounded(f"{base}_{operation}") for operation in Operation}

    @property
    def comment(self) -> str:
        """What the function says about itself."""
        return (
            f"{MARK} v{_VERSION} of entity {self.entity_type}: "
            "writes change events; `sync-pipeline feed remove` removes it"
        )


def bounded(name: str) -> str:
    """The name, or its beginning and a digest where PostgreSQL would cut it."""
    if len(name) <= _MAX_IDENTIFIER:
        return name
    return f"{name[: _MAX_IDENTIFIER - _DIGEST_DIGITS - 1]}_{digest(name)[:_DIGEST_DIGITS]}"


def entity_of(comment: str) -> str | None:
    """Entity type of a function of ours by its comment, None for other functions."""
    if not comment.startswith(MARK):
        return None
    return comment.partition(" of entity ")[2].partition(":")[0] or None


def function_body(entity: Entity, *, schema: str) -> str:
    """What the function of an entity does; equal bodies do the same."""
    columns = sorted(entity.mapped_columns)
    row = sql.SQL(", ").join(sql.SQL("t.{}").format(sql.Identifier(column)) for column in columns)
    row_id = _ROW_ID.format(id=sql.Identifier(entity.id[0]), longest=MAX_ROW_ID_CHARACTERS + 1)
    scope_key = _SCOPE_KEY.format(
        is_global=sql.Identifier(str(entity.is_global)),
        tenant=sql.Identifier(str(entity.tenant)),
        global_key=GLOBAL_KEY,
        longest=MAX_KEY_LENGTH + 1,
    )
    return _BODY.format(
        events=sql.Identifier(schema, "change_event"),
        entity=entity.name,
        column_count=len(columns),
        columns=sql.SQL("{}::pg_catalog.name[]").format(columns),
        row_id=row_id,
        scope_key=scope_key,
        image=sql.SQL("ROW({})").format(row),
        channel=CHANNEL,
        notified=_NOTIFIED,
        lock=_LOCK,
    ).as_string()


def create_function(entity: Entity, *, schema: str) -> str:
    """Statements that make the function of an entity."""
    names = FeedNames(schema, entity.name)
    return _FUNCTION.format(
        function=sql.Identifier(schema, names.function),
        body=function_body(entity, schema=schema),
        comment=names.comment,
    ).as_string()


def create_triggers(entity: Entity, *, schema: str, relation: tuple[str, str]) -> str:
    """Statements that make the four triggers on one table, given as schema and name."""
    names = FeedNames(schema, entity.name)
    return (
        sql.SQL(";")
        .join(
            _TRIGGER.format(
                trigger=sql.Identifier(name),
                event=sql.SQL(operation.name),
                relation=sql.Identifier(*relation),
                transition_tables=sql.SQL(_TRANSITION_TABLES[operation]),
                function=sql.Identifier(schema, names.function),
            )
            for operation, name in names.triggers.items()
        )
        .as_string()
    )


def drop_function(*, schema: str, name: str) -> str:
    """Statement that drops a function and every trigger that calls it.

    Unlike DROP TRIGGER it does not need the owner of the table.
    """
    function = sql.Identifier(schema, name)
    return sql.SQL("DROP FUNCTION {}() CASCADE").format(function).as_string()
