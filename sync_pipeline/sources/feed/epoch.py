"""Since when nothing can have got past the feed: a fingerprint of what lets changes past it.

Rows of the catalogue are named by their ``xmin``, the transaction that wrote them, so
that what was undone again is seen too. VACUUM, ANALYZE, CREATE INDEX and the like
overwrite their figures in place and leave it alone (tested).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import sqlalchemy as sa
from psycopg import sql

from sync_pipeline.core.entity import Entity
from sync_pipeline.core.hashing import digest
from sync_pipeline.sources.feed.catalog import FeedCatalog
from sync_pipeline.sources.feed.sql import EVENTS, LOSS_LOCK, LOSSES

# Who lost an event takes the lock, then counts, then commits. So the count is read before the
# locks: whoever counted before that and has no lock any more has ended.
_COUNT: Final = sql.SQL("SELECT last_value, is_called FROM {losses}")

_IS_LOSING: Final = sa.text("""
SELECT EXISTS (
    SELECT FROM pg_locks
    WHERE locktype = 'advisory' AND classid = :lock AND objid = 0
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
)
""")

# Where events go, and where time may have been set back: another server, a server that took over
# from this one, and, for what is not logged, a crash (which resets the statistics).
_PLACE: Final = sa.text("""
WITH place AS (
    SELECT c.oid, c.relnamespace, c.relpersistence, c.relfilenode, c.xmin
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = :schema AND c.relname IN (:events, :losses)
)
SELECT part FROM (
    SELECT concat_ws(' ', 'table', oid, xmin, CASE relpersistence WHEN 'p' THEN relfilenode END)
    FROM place
    UNION ALL
    SELECT concat_ws(' ', 'crash', pg_stat_get_bgwriter_stat_reset_time())
    FROM place WHERE relpersistence = 'u'
    UNION ALL
    SELECT concat_ws(' ', 'schema', n.oid, n.xmin) FROM pg_namespace n WHERE n.nspname = :schema
    UNION ALL
    SELECT concat_ws(' ', 'column', a.attrelid, a.attnum, a.xmin)
    FROM pg_attribute a JOIN place p ON p.oid = a.attrelid WHERE a.attnum > 0
    UNION ALL
    SELECT concat_ws(' ', 'trigger', t.oid, t.xmin)
    FROM pg_trigger t JOIN place p ON p.oid = t.tgrelid
    UNION ALL
    SELECT concat_ws(' ', 'rule', r.oid, r.xmin) FROM pg_rewrite r JOIN place p ON p.oid = ev_class
    UNION ALL
    SELECT concat_ws(' ', 'constraint', k.oid, k.xmin)
    FROM pg_constraint k JOIN place p ON p.oid = k.conrelid
    UNION ALL
    SELECT concat_ws(' ', 'policy', k.oid, k.xmin) FROM pg_policy k JOIN place p ON p.oid = polrelid
    UNION ALL
    SELECT concat_ws(' ', 'database', oid) FROM pg_database WHERE datname = current_database()
) AS parts (part)
ORDER BY part
""")

_TIMELINE: Final = sa.text("SELECT timeline_id FROM pg_control_checkpoint()")

_ENTITIES: Final = sa.text("""
WITH RECURSIVE member AS (
    SELECT * FROM unnest(CAST(:entities AS text[]), CAST(:relations AS oid[]),
                         CAST(:functions AS oid[])) AS m (entity, oid, function)
), mapped AS (
    SELECT m.entity, a.attrelid, a.attnum, a.atttypid, a.attgenerated, a.xmin
    FROM member m
    JOIN unnest(CAST(:column_entities AS text[]), CAST(:columns AS name[])) AS c (entity, name)
        ON c.entity = m.entity
    JOIN pg_attribute a ON a.attrelid = m.oid AND a.attname = c.name AND a.attnum > 0
), definition AS (
    SELECT m.entity, d.oid, d.xmin, m.attrelid
    FROM mapped m JOIN pg_attrdef d ON d.adrelid = m.attrelid AND d.adnum = m.attnum
    WHERE m.attgenerated <> ''
), attribute AS (
    SELECT entity, attrelid, attnum, atttypid, xmin::text AS xmin FROM mapped
    UNION
    SELECT d.entity, a.attrelid, a.attnum, a.atttypid, a.xmin::text
    FROM definition d
    JOIN pg_depend p ON p.classid = 'pg_attrdef'::regclass AND p.objid = d.oid
        AND p.refclassid = 'pg_class'::regclass AND p.refobjid = d.attrelid
    JOIN pg_attribute a ON a.attrelid = d.attrelid AND a.attnum = p.refobjsubid AND a.attnum > 0
), type AS (
    SELECT entity, atttypid AS oid FROM attribute
    UNION
    SELECT t.entity, inner_type.oid
    FROM type t JOIN pg_type y USING (oid)
    CROSS JOIN LATERAL (
        SELECT y.typbasetype UNION SELECT y.typelem
        UNION SELECT r.rngsubtype FROM pg_range r WHERE y.oid IN (r.rngtypid, r.rngmultitypid)
        UNION SELECT a.atttypid FROM pg_attribute a WHERE a.attrelid = y.typrelid AND a.attnum > 0
    ) AS inner_type (oid)
    WHERE inner_type.oid <> 0
)
SELECT entity, string_agg(part, ',' ORDER BY part COLLATE "C") AS parts
FROM (
    SELECT m.entity, concat_ws(' ', 'table', c.oid, c.xmin, c.relfilenode)
    FROM member m JOIN pg_class c USING (oid)
    UNION ALL
    SELECT m.entity, concat_ws(' ', 'crash', pg_stat_get_bgwriter_stat_reset_time())
    FROM member m JOIN pg_class c USING (oid) WHERE c.relpersistence = 'u'
    UNION ALL
    SELECT m.entity, concat_ws(' ', 'parent', i.inhrelid, i.inhparent, i.xmin)
    FROM member m JOIN pg_inherits i ON i.inhrelid = m.oid
    UNION ALL
    SELECT m.entity, concat_ws(' ', 'trigger', t.oid, t.xmin)
    FROM member m JOIN pg_trigger t ON t.tgrelid = m.oid AND t.tgfoid = m.function
    UNION ALL
    SELECT DISTINCT m.entity, concat_ws(' ', 'function', p.oid, p.xmin)
    FROM member m JOIN pg_proc p ON p.oid = m.function
    UNION ALL
    SELECT DISTINCT m.entity, concat_ws(' ', 'rights', a.roleid, a.xmin)
    FROM member m JOIN pg_proc p ON p.oid = m.function JOIN pg_auth_members a ON a.member = proowner
    UNION ALL
    SELECT entity, concat_ws(' ', 'column', attrelid, attnum, xmin) FROM attribute
    UNION ALL
    SELECT entity, concat_ws(' ', 'expression', oid, xmin) FROM definition
    UNION ALL
    SELECT t.entity, concat_ws(' ', 'label', e.oid, e.xmin)
    FROM type t JOIN pg_enum e ON e.enumtypid = t.oid
    UNION ALL
    SELECT t.entity, concat_ws(' ', 'field', y.typrelid, a.attnum, a.xmin)
    FROM type t JOIN pg_type y USING (oid) JOIN pg_attribute a ON a.attrelid = y.typrelid
    WHERE a.attnum > 0
) AS parts (entity, part)
GROUP BY entity
""")


def count_losses(connection: sa.Connection, *, schema: str) -> str | None:
    """How many events could not be written so far; None while somebody who lost one may commit.

    To be asked before anything else of ``read_epochs``, and only where the sequence exists.
    """
    losses = sql.Identifier(schema, LOSSES)
    row = connection.exec_driver_sql(_COUNT.format(losses=losses).as_string()).one()
    is_losing = connection.scalar(_IS_LOSING, {"lock": LOSS_LOCK})
    return None if is_losing else f"{row.last_value} {row.is_called}"


def read_epochs(
    connection: sa.Connection,
    *,
    entities: Sequence[Entity],
    catalog: FeedCatalog,
    losses: str,
) -> Mapping[str, str]:
    """Fingerprint what lets changes of each entity past its feed.

    Args:
        connection: Each statement sees what was committed before it.
        entities: Whose feed is installed.
        catalog: What is installed.
        losses: As ``count_losses`` said before ``catalog`` was read.
    """
    if not entities:
        return {}
    named = {"schema": catalog.schema, "events": EVENTS, "losses": LOSSES}
    place = connection.scalars(_PLACE, named).all()
    common = (losses, _timeline(connection), *place)
    rows = connection.execute(_ENTITIES, _wanted(entities, catalog=catalog))
    return {row.entity: digest(*common, row.parts) for row in rows}


def _timeline(connection: sa.Connection) -> str:
    """Which history the server writes; a server that was restored or took over begins another."""
    try:
        with connection.begin_nested():
            return str(connection.scalar(_TIMELINE))
    except sa.exc.DBAPIError:
        return "unknown"  # Some hosted servers keep it to themselves.


def _wanted(entities: Sequence[Entity], *, catalog: FeedCatalog) -> dict[str, object]:
    members = [
        (entity.name, relation.oid, function.oid)
        for entity in entities
        for function in [catalog.function_of(entity)]
        if function is not None
        for relation in catalog.relations[entity.name]
    ]
    columns = [(entity.name, name) for entity in entities for name in entity.mapped_columns]
    return {
        "entities": [name for name, _, _ in members],
        "relations": [oid for _, oid, _ in members],
        "functions": [oid for _, _, oid in members],
        "column_entities": [name for name, _ in columns],
        "columns": [name for _, name in columns],
    }
