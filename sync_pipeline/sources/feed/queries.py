"""The statements that read and consume change events.

Placeholders are psycopg's; ``{events}`` is the table.
"""

from __future__ import annotations

from typing import Final

from psycopg import sql

COUNT: Final = sql.SQL("""
SELECT entity_type, count(*) AS events,
       extract(epoch FROM clock_timestamp() - min(created_at))::float8 AS oldest_seconds
FROM {events} GROUP BY entity_type
""")

PENDING: Final = sql.SQL("""
SELECT key, count(*) AS events, min(created_at) AS oldest_at,
       bool_or(operation = 'truncate') AS has_truncate
FROM (
    SELECT coalesce(new_scope_key, CASE WHEN old_scope_key IS NULL THEN 'global' END) AS key,
           created_at, operation
    FROM {events}
    WHERE %(entities)s::text[] IS NULL OR entity_type = ANY (%(entities)s::text[])
    UNION ALL
    SELECT old_scope_key, created_at, operation FROM {events}
    WHERE old_scope_key IS DISTINCT FROM new_scope_key
      AND (%(entities)s::text[] IS NULL OR entity_type = ANY (%(entities)s::text[]))
) AS sides
WHERE key IS NOT NULL GROUP BY key
""")

KEYS: Final = sql.SQL("""
SELECT new_scope_key FROM {events} WHERE new_scope_key IS NOT NULL
UNION
SELECT old_scope_key FROM {events} WHERE old_scope_key IS NOT NULL
""")

# Three arms, each with an index of its own.
READ: Final = sql.SQL("""
SELECT id, entity_type, db_id, operation FROM {events}
WHERE (new_scope_key = ANY (%(keys)s::text[])
   OR (old_scope_key = ANY (%(keys)s::text[]) AND old_scope_key IS DISTINCT FROM new_scope_key)
   OR (old_scope_key IS NULL AND new_scope_key IS NULL))
  AND (%(entities)s::text[] IS NULL OR entity_type = ANY (%(entities)s::text[]))
ORDER BY id LIMIT %(limit)s::bigint
""")

# The lock comes first: of two scopes that consume the event of a move at the same time, the
# second one waits, sees what the first one left, and deletes the event.
CONSUME: Final = sql.SQL("""
WITH mine AS MATERIALIZED (
    SELECT id, CASE WHEN old_scope_key <> ALL (%(keys)s::text[]) THEN old_scope_key END AS old_left,
           CASE WHEN new_scope_key <> ALL (%(keys)s::text[]) THEN new_scope_key END AS new_left
    FROM {events}
    WHERE id = ANY (%(ids)s::bigint[])
      AND (old_scope_key = ANY (%(keys)s::text[]) OR new_scope_key = ANY (%(keys)s::text[]))
    ORDER BY id FOR UPDATE
), done AS (
    DELETE FROM {events} e USING mine
    WHERE e.id = mine.id AND old_left IS NULL AND new_left IS NULL RETURNING 1
), halved AS (
    UPDATE {events} e SET old_scope_key = old_left, new_scope_key = new_left FROM mine
    WHERE e.id = mine.id AND NOT (old_left IS NULL AND new_left IS NULL) RETURNING 1
)
SELECT (SELECT count(*) FROM done) + (SELECT count(*) FROM halved)
""")

SPREAD: Final = sql.SQL("""
WITH everywhere AS (
    DELETE FROM {events} WHERE old_scope_key IS NULL AND new_scope_key IS NULL
      AND (%(entities)s::text[] IS NULL OR entity_type = ANY (%(entities)s::text[]))
    RETURNING entity_type, created_at
), spread AS (
    INSERT INTO {events} (entity_type, operation, new_scope_key, created_at)
    SELECT entity_type, 'truncate', key, min(created_at)
    FROM everywhere CROSS JOIN unnest(%(keys)s::text[]) AS key GROUP BY entity_type, key
)
SELECT count(*) FROM everywhere
""")

# Three arms again, and almost always none of them finds anything.
HAS_DEPARTURES: Final = sql.SQL("""
SELECT EXISTS (SELECT FROM {events} WHERE old_scope_key = ANY (%(keys)s::text[])
                                      AND old_scope_key IS DISTINCT FROM new_scope_key)
    OR EXISTS (SELECT FROM {events} WHERE old_scope_key IS NULL AND new_scope_key IS NULL)
    OR EXISTS (SELECT FROM {events} WHERE new_scope_key = ANY (%(keys)s::text[])
                                      AND operation = 'truncate')
""")

EVENTS_OF_ROWS: Final = sql.SQL("""
SELECT id, entity_type, db_id, old_scope_key, new_scope_key FROM {events}
WHERE operation <> 'truncate' AND db_id = ANY (%(rows)s::text[])
  AND (new_scope_key = ANY (%(keys)s::text[])
    OR (old_scope_key = ANY (%(keys)s::text[]) AND old_scope_key IS DISTINCT FROM new_scope_key))
UNION ALL
SELECT id, entity_type, NULL, old_scope_key, new_scope_key FROM {events}
WHERE operation = 'truncate'
  AND (new_scope_key = ANY (%(keys)s::text[])
    OR (old_scope_key IS NULL AND new_scope_key IS NULL))
""")

HAS_PENDING: Final = sql.SQL("""
SELECT EXISTS (
    SELECT FROM {events} WHERE id <= %(up_to)s
      AND (new_scope_key = ANY (%(keys)s::text[])
        OR (old_scope_key = ANY (%(keys)s::text[]) AND old_scope_key IS DISTINCT FROM new_scope_key)
        OR (old_scope_key IS NULL AND new_scope_key IS NULL))
)
""")

FORGET: Final = sql.SQL("DELETE FROM {events} WHERE entity_type = ANY (%(entities)s::text[])")


def over(statement: sql.SQL, *, schema: str) -> str:
    """The statement over the table in a schema."""
    return statement.format(events=sql.Identifier(schema, "change_event")).as_string()
