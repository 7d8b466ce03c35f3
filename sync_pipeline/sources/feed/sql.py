"""What the change feed creates in the source database: schema, table, functions, triggers.

Per entity one function, called by four triggers per table: after each INSERT,
UPDATE, DELETE and TRUNCATE statement, once per statement. (PostgreSQL admits
transition tables only in triggers of a single event without a column list.)

The function runs inside the application's own transactions, so it must never
make a statement fail or wait, nor let anybody do more than write hints
(``docs/decisions/0009-what-the-feed-cannot-see.md`` has the numbers):

- SECURITY DEFINER: who writes the table needs no right on our schema. It is safe
  because the function takes no arguments, runs no dynamic SQL, names everything
  with its schema, searches ``pg_catalog`` and, last, ``pg_temp`` only, and
  because EXECUTE is revoked: nobody else can attach it to a table of theirs.
- Every error is caught. What could not be written is replaced by the event of a
  TRUNCATE (anything may have changed), and where that fails too, by a step of the
  sequence ``feed_loss``, which no lock and no full disk is in the way of. A sequence
  is not part of the transaction: until that has ended, an advisory lock says so.
  Only a cancellation passes, for that is meant for the application's statement.
- Our table is not waited for longer than ``lock_timeout``.
- A virtual generated column is in no transition table, not even as NULL: reading it
  is an error. So the function computes it, by the expression of its table.
- The session's spelling of times and numbers must not matter: it is set as the
  reader sets it.
- ``*<>`` compares the stored bytes of two records. It needs no equality operator
  (json has none), calls no function of a user's type, and sees ``a`` become ``A``
  under a collation that ignores case.
- NOTIFY locks all other notifying commits out until its own is on disk. (Measured
  with 8 writers and 5 ms per flush: 380 instead of 2,400 commits/s.) So of
  transactions at the same time only one notifies, chosen by a try-lock that nobody
  waits for; listeners look again a moment later. The lock's key is the second, so that
  a long transaction does not silence the others.
- A server with prepared transactions is not notified, for NOTIFY makes
  PREPARE TRANSACTION fail; nor is one whose queue of notifications is filling up, for
  a full one makes COMMIT fail.
- A serializable transaction reads no table of ours: others could fail because of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, LiteralString

from psycopg import sql

from sync_pipeline.core.changes import Operation
from sync_pipeline.core.document import MAX_ROW_ID_CHARACTERS
from sync_pipeline.core.entity import Constant, Entity, Sharing
from sync_pipeline.core.hashing import digest
from sync_pipeline.core.row_id import ESCAPES, SEPARATOR
from sync_pipeline.core.scope import GLOBAL_KEY, MAX_KEY_LENGTH

CHANNEL: Final = "sync_pipeline_changes"
"""Where commits with events are notified."""

_NOTIFIED: Final = "sync_pipeline.notified"
"""A setting that is '1' for the rest of a transaction (or savepoint) that notifies already."""
_LOCK: Final = 1_937_337_955
"""First half of the advisory locks' keys, the second is the time in seconds."""
LOSS_LOCK: Final = 1_937_337_956
"""First half of the key of an advisory lock, the second is 0: who holds it has lost an event and
has not ended yet."""

MARK: Final = "sync-pipeline feed"
"""How the comment on a function of ours begins."""

FUNCTION_PREFIX: Final = "feed_"
_VERSION: Final = 2
_MAX_IDENTIFIER: Final = 63
_DIGEST_DIGITS: Final = 8

EVENTS: Final = "change_event"
LOSSES: Final = "feed_loss"
"""Sequence that counts what could not be written to the table."""

CONFIG: Final[Mapping[str, str]] = {
    "search_path": "pg_catalog, pg_temp",
    # Vacuum lets go of a table it shortens after 50 ms at most, should it be waited for.
    "lock_timeout": "100ms",
    "TimeZone": "UTC",
    "DateStyle": "iso, ymd",
    "IntervalStyle": "iso_8601",
    "extra_float_digits": "1",
    "bytea_output": "hex",
}
"""Settings of the functions: values as text are spelt as ``postgres.SESSION_SETTINGS`` spells
them."""

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

COLUMNS: Final = frozenset(
    {"id", "entity_type", "db_id", "operation", "old_scope_key", "new_scope_key", "created_at"}
    | {"xid"}
)
"""Columns of the table."""

# Vacuum would lock writers out while it gives the end of the table back.
KEEP_LENGTH: Final = sql.SQL("ALTER TABLE {schema}.change_event SET (vacuum_truncate = off)")

SEQUENCE: Final = sql.SQL("CREATE SEQUENCE {schema}.feed_loss")
DROP_SEQUENCE: Final = sql.SQL("DROP SEQUENCE {schema}.feed_loss")

INDEXES: Final = sql.SQL("""
CREATE INDEX IF NOT EXISTS change_event_new_scope
    ON {schema}.change_event (new_scope_key) WHERE new_scope_key IS NOT NULL;
CREATE INDEX IF NOT EXISTS change_event_old_scope
    ON {schema}.change_event (old_scope_key) WHERE old_scope_key IS DISTINCT FROM new_scope_key;
CREATE INDEX IF NOT EXISTS change_event_everywhere
    ON {schema}.change_event (entity_type) WHERE old_scope_key IS NULL AND new_scope_key IS NULL
""")

_BODY: Final = sql.SQL("""
#variable_conflict use_column
BEGIN
    BEGIN
        IF TG_OP = 'TRUNCATE' THEN
            {lose_all}
        ELSIF TG_OP = 'INSERT' THEN
            INSERT INTO {events} (entity_type, db_id, operation, new_scope_key)
            SELECT {entity}, {row_id}, 'insert', {scope_key} FROM {new_rows} t;
        ELSIF TG_OP = 'DELETE' THEN
            INSERT INTO {events} (entity_type, db_id, operation, old_scope_key)
            SELECT {entity}, {row_id}, 'delete', {scope_key} FROM {old_rows} t;
        ELSE
            -- nth: ids that are not unique must not multiply.
            INSERT INTO {events} (entity_type, db_id, operation, old_scope_key, new_scope_key)
            SELECT {entity}, coalesce(n.row_id, o.row_id), 'update', o.scope_key, n.scope_key
            FROM (
                SELECT {row_id} AS row_id, {scope_key} AS scope_key, {image} AS image,
                       pg_catalog.row_number() OVER (PARTITION BY {row_id}) AS nth
                FROM {old_rows} t
            ) o FULL JOIN (
                SELECT {row_id} AS row_id, {scope_key} AS scope_key, {image} AS image,
                       pg_catalog.row_number() OVER (PARTITION BY {row_id}) AS nth
                FROM {new_rows} t
            ) n ON n.row_id = o.row_id AND n.nth = o.nth
            WHERE o.nth IS NULL OR n.nth IS NULL OR o.image OPERATOR(pg_catalog.*<>) n.image;
        END IF;
    EXCEPTION WHEN OTHERS THEN
        BEGIN
            -- A table that could not be had is not waited for a second time.
            IF SQLSTATE = '55P03' THEN RAISE EXCEPTION 'locked'; END IF;
            {lose_all}
        EXCEPTION WHEN OTHERS THEN
            BEGIN
                PERFORM pg_catalog.pg_try_advisory_xact_lock_shared({loss_lock}, 0);
                PERFORM pg_catalog.nextval({losses});
            EXCEPTION WHEN OTHERS THEN
                NULL;
            END;
        END;
    END;
    IF FOUND THEN
        BEGIN
            IF pg_catalog.current_setting('max_prepared_transactions') = '0'
               AND pg_catalog.current_setting({notified}, true) IS DISTINCT FROM '1'
               AND pg_catalog.pg_notification_queue_usage() < 0.5
               AND pg_catalog.pg_try_advisory_xact_lock({lock}, (
                   pg_catalog.date_part('epoch', pg_catalog.clock_timestamp())::int8 % 65536)::int4)
            THEN
                PERFORM pg_catalog.pg_notify({channel}, ''),
                        pg_catalog.set_config({notified}, '1', true);
            END IF;
        EXCEPTION WHEN OTHERS THEN
            NULL;
        END;
    END IF;
    RETURN NULL;
END
""")

_LOSE_ALL: Final = sql.SQL("""
            INSERT INTO {events} (entity_type, operation)
            SELECT {entity}, 'truncate'
            WHERE pg_catalog.current_setting('transaction_isolation') = 'serializable'
               OR NOT EXISTS (
                SELECT FROM {events} e
                WHERE e.old_scope_key IS NULL AND e.new_scope_key IS NULL
                  AND e.entity_type = {entity} AND e.xid = pg_catalog.pg_current_xact_id()
            );
""")

# The casts are the reader's. A boolean is compared as text, so that a column of another type
# cannot make the statement fail.
_CUT: Final = sql.SQL("pg_catalog.left({text}, {longest})")
_ROW_ID: Final = sql.SQL('{row_id} COLLATE pg_catalog."C"')
_OWNED: Final = sql.SQL("coalesce({tenant}, {global_key})")
_SHARED_BY_FLAG: Final = sql.SQL(
    "CASE WHEN t.{is_global}::text = 'true' THEN {global_key} ELSE {owned} END"
)

_FUNCTION: Final = sql.SQL("""
CREATE FUNCTION {function}() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER {settings}
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


def function_body(entity: Entity, *, schema: str, computed: Mapping[str, str]) -> str:
    """What the function of an entity does; equal bodies do the same.

    Args:
        entity: Whose changes.
        schema: Where the events go.
        computed: Expression, SQL of the server's own making, of each virtual generated column.
    """
    columns = sorted(entity.mapped_columns)
    row = sql.SQL(", ").join(map(_column, columns))
    shown = {"events": sql.Identifier(schema, EVENTS), "entity": entity.name}
    return _BODY.format(
        **shown,
        lose_all=_LOSE_ALL.format(**shown),
        losses=sql.Literal(sql.Identifier(schema, LOSSES).as_string()),
        loss_lock=LOSS_LOCK,
        row_id=_ROW_ID.format(row_id=_row_id(entity.id)),
        scope_key=_scope_key(entity),
        image=sql.SQL("ROW({})").format(row),
        old_rows=_rows("old_rows", columns=columns, computed=computed),
        new_rows=_rows("new_rows", columns=columns, computed=computed),
        channel=CHANNEL,
        notified=_NOTIFIED,
        lock=_LOCK,
    ).as_string()


def _rows(table: LiteralString, *, columns: list[str], computed: Mapping[str, str]) -> sql.Composed:
    """A transition table with every mapped column, also those that PostgreSQL leaves out of it.

    All are named, used or not, so that none can be missing unnoticed.
    """
    parts = (
        sql.SQL("{} AS {}").format(_written(computed[column]), sql.Identifier(column))
        if column in computed
        else _column(column)
        for column in columns
    )
    selected = sql.SQL(", ").join(parts)
    return sql.SQL("(SELECT {} FROM {} t)").format(selected, sql.SQL(table))


def _written(text: str) -> sql.SQL:
    """SQL that is not of a user's making."""
    return sql.SQL(text)


def _row_id(columns: tuple[str, ...]) -> sql.Composable:
    """As ``core.row_id.join_row_id``; NULL where one of the columns is."""
    longest = MAX_ROW_ID_CHARACTERS + 1
    texts = [_CUT.format(text=_text(column), longest=longest) for column in columns]
    if len(texts) == 1:
        return texts[0]
    for plain, escape in ESCAPES:
        replaced = sql.SQL("pg_catalog.replace({}, {}, {})")
        texts = [replaced.format(text, plain, escape) for text in texts]
    separator = sql.SQL(" || {} || ").format(SEPARATOR)
    parts = [part for text in texts for part in (separator, text)]
    return _CUT.format(text=sql.Composed(parts[1:]), longest=longest)


def _scope_key(entity: Entity) -> sql.Composable:
    """The scope that reads the row; the global one also reads rows that nobody owns."""
    if entity.is_global is Sharing.ALL:
        return sql.Literal(GLOBAL_KEY)
    if isinstance(entity.tenant, Constant):
        owned: sql.Composable = sql.Literal(entity.tenant.value)
    else:
        tenant = _CUT.format(text=_text(entity.tenant), longest=MAX_KEY_LENGTH + 1)
        owned = _OWNED.format(tenant=tenant, global_key=GLOBAL_KEY)
    if isinstance(entity.is_global, Sharing):
        return owned
    is_global = sql.Identifier(entity.is_global)
    return _SHARED_BY_FLAG.format(is_global=is_global, global_key=GLOBAL_KEY, owned=owned)


def _column(name: str) -> sql.Composable:
    return sql.SQL("t.{}").format(sql.Identifier(name))


def _text(column: str) -> sql.Composable:
    return sql.SQL("t.{}::text").format(sql.Identifier(column))


def create_function(entity: Entity, *, schema: str, computed: Mapping[str, str]) -> str:
    """Statements that make the function of an entity."""
    names = FeedNames(schema, entity.name)
    settings = (
        sql.SQL("SET {} = {}").format(
            sql.Identifier(name), _written(value) if "," in value else sql.Literal(value)
        )
        for name, value in CONFIG.items()
    )
    return _FUNCTION.format(
        function=sql.Identifier(schema, names.function),
        settings=sql.SQL(" ").join(settings),
        body=function_body(entity, schema=schema, computed=computed),
        comment=names.comment,
    ).as_string()


def create_triggers(
    entity: Entity, *, schema: str, relation: tuple[str, str], is_owner: bool
) -> str:
    """Statements that make the four triggers on one table, given as schema and name.

    Args:
        entity: Whose function they call.
        schema: Where that is.
        relation: Schema and name of the table.
        is_owner: Whether this role owns the table, as it must to have triggers fire whatever
            ``session_replication_role`` says.
    """
    names = FeedNames(schema, entity.name)
    made = [
        _TRIGGER.format(
            trigger=sql.Identifier(name),
            event=sql.SQL(operation.name),
            relation=sql.Identifier(*relation),
            transition_tables=sql.SQL(_TRANSITION_TABLES[operation]),
            function=sql.Identifier(schema, names.function),
        )
        for operation, name in names.triggers.items()
    ]
    always = [always_fire(relation, trigger=name) for name in names.triggers.values()]
    return sql.SQL(";").join([*made, *(always if is_owner else ())]).as_string()


def always_fire(relation: tuple[str, str], *, trigger: str) -> sql.Composed:
    """Statement, for the owner of the table, that has a trigger fire in every session."""
    return sql.SQL("ALTER TABLE {} ENABLE ALWAYS TRIGGER {}").format(
        sql.Identifier(*relation), sql.Identifier(trigger)
    )


def drop_function(*, schema: str, name: str) -> str:
    """Statement that drops a function and every trigger that calls it.

    Unlike DROP TRIGGER it does not need the owner of the table.
    """
    function = sql.Identifier(schema, name)
    return sql.SQL("DROP FUNCTION {}() CASCADE").format(function).as_string()
