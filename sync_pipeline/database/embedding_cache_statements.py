"""Statements on the table ``embedding_cache`` and who uses it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from psycopg import sql

KNOWN: Final = sql.SQL("""
SELECT text_hash FROM {table} WHERE model_id = %s AND text_hash = ANY(%b::text[])
""")
GET: Final = sql.SQL("""
SELECT text_hash, vector FROM {table} WHERE model_id = %s AND text_hash = ANY(%b::text[])
""")
PUT: Final = sql.SQL("""
INSERT INTO {table} (model_id, text_hash, vector, dimension)
SELECT %s, given.text_hash, given.vector, %s
FROM unnest(%b::text[], %b::bytea[]) AS given (text_hash, vector)
ORDER BY given.text_hash -- two writers of the same texts wait for each other, without deadlock
ON CONFLICT (model_id, text_hash) DO NOTHING
""")

BEGIN_USE: Final = sql.SQL("""
INSERT INTO {use} AS known (scope_key, owner, since) VALUES (%s, %s, clock_timestamp())
ON CONFLICT (scope_key) DO UPDATE SET owner = excluded.owner, since = excluded.since
WHERE known.owner <> excluded.owner
""")
END_USE: Final = sql.SQL("""
DELETE FROM {use} WHERE scope_key = %s AND owner = %s
""")
LIST_USES: Final = sql.SQL("""
SELECT scope_key, owner, since FROM {use}
WHERE since > clock_timestamp() - make_interval(secs => %s) ORDER BY since, scope_key
""")
CLAIM: Final = sql.SQL("""
WITH known AS (
  SELECT text_hash, unused_since IS NOT NULL AS is_marked FROM {table}
  WHERE model_id = %(model_id)s AND text_hash = ANY(%(text_hashes)b::text[])
), kept AS (
  -- What is deleted meanwhile is not returned, and so embedded again.
  UPDATE {table} SET unused_since = NULL
  WHERE model_id = %(model_id)s
    AND text_hash = ANY(ARRAY(SELECT text_hash FROM known WHERE is_marked ORDER BY text_hash))
  RETURNING text_hash
)
SELECT text_hash FROM known WHERE NOT is_marked UNION ALL SELECT text_hash FROM kept
""")

PURGE_MODEL: Final = sql.SQL("""
DELETE FROM {table} WHERE model_id = %(model_id)s
""")
PURGE_UNUSED: Final = sql.SQL("""
DELETE FROM {table} AS kept
WHERE (%(is_everything)s OR kept.text_hash = ANY(%(text_hashes)b::text[]))
  AND kept.created_at <= now() - make_interval(secs => %(min_age_seconds)s)
  AND NOT EXISTS (
    SELECT FROM {index_state} AS document, {texts} WHERE view.value = kept.text_hash
  )
""")

KEYS: Final = sql.SQL("""
WITH RECURSIVE keys AS ( -- one look into the index per key, however many vectors it has
  (SELECT model_id FROM {table} ORDER BY model_id LIMIT 1)
  UNION ALL
  SELECT (SELECT model_id FROM {table} WHERE model_id > keys.model_id ORDER BY model_id LIMIT 1)
  FROM keys WHERE keys.model_id IS NOT NULL
)
SELECT model_id FROM keys WHERE model_id IS NOT NULL
""")
MODELS: Final = sql.SQL("""
SELECT model_id, array_agg(collection ORDER BY collection) FILTER (WHERE collection IS NOT NULL)
FROM (
  SELECT model_id, collection FROM {generation}
  UNION SELECT view.value, collection FROM {generation}, jsonb_each_text(view_models) AS view
  UNION ALL SELECT model_id, NULL FROM {canary}
) AS known (model_id, collection) GROUP BY model_id
""")
SIZE: Final = sql.SQL("""
SELECT pg_total_relation_size({name}::regclass)
""")

PLAIN: Final = sql.SQL("SET LOCAL enable_nestloop = off")
"""For what follows: one pass over the records per key, not one per vector, which is what the server
may choose for young tables whose rows it has not counted yet."""

_USED: Final = sql.SQL("""
WITH used AS MATERIALIZED (
  SELECT DISTINCT view.value AS text_hash
  FROM {index_state} AS document, {texts}
  WHERE %(scope_key)s::text IS NULL OR document.scope_key = %(scope_key)s
)
""")
_UNUSED: Final = sql.SQL("""
FROM {table} AS kept LEFT JOIN used USING (text_hash)
WHERE kept.model_id = %(key)s AND used.text_hash IS NULL
  AND kept.created_at <= now() - make_interval(secs => %(min_age_seconds)s)
""")
MEASURE: Final = sql.SQL("""
{used}
SELECT count(*), coalesce(sum(octet_length(kept.vector)), 0)::bigint,
  min(kept.created_at), max(kept.created_at), count(used.text_hash)
FROM {table} AS kept LEFT JOIN used USING (text_hash) WHERE kept.model_id = %(key)s
""")
COUNT_UNUSED: Final = sql.SQL("""
{used} SELECT count(*), coalesce(sum(octet_length(kept.vector)), 0)::bigint {unused}
""")
UNUSED: Final = sql.SQL("""
{used} SELECT text_hash {unused} AND kept.unused_since IS NULL
""")
MARKED: Final = sql.SQL("""
{used} SELECT text_hash, kept.unused_since {unused}
  AND kept.unused_since <= %(marked_by)s
""")
MARKING: Final = sql.SQL("""
SELECT pg_advisory_xact_lock_shared(hashtextextended({lock}, 0))
""")
"""Held while marks are set that nobody sees yet."""
FENCE: Final = sql.SQL("""
SELECT pg_advisory_xact_lock(hashtextextended({lock}, 0))
""")
NOW: Final = sql.SQL("""
SELECT clock_timestamp()
""")
MARK: Final = sql.SQL("""
UPDATE {table} SET unused_since = clock_timestamp()
WHERE model_id = %s AND text_hash = ANY(%b::text[]) AND unused_since IS NULL
""")
DELETE_MARKED: Final = sql.SQL("""
WITH gone AS (
  DELETE FROM {table} AS kept
  USING unnest(%b::text[], %b::timestamptz[]) AS given (text_hash, unused_since)
  -- Not where the mark was taken off and set again: a run may have come in between.
  WHERE kept.model_id = %s AND kept.text_hash = given.text_hash
    AND kept.unused_since = given.unused_since
  RETURNING octet_length(kept.vector) AS size_bytes
)
SELECT count(*), coalesce(sum(size_bytes), 0)::bigint FROM gone
""")
DELETE_SOME: Final = sql.SQL("""
WITH gone AS (
  DELETE FROM {table} WHERE model_id = %(key)s AND text_hash = ANY(ARRAY(
    SELECT text_hash FROM {table} WHERE model_id = %(key)s ORDER BY text_hash LIMIT %(limit)s
  ))
  RETURNING octet_length(vector) AS size_bytes
)
SELECT count(*), coalesce(sum(size_bytes), 0)::bigint FROM gone
""")
EXPECTED_HITS: Final = sql.SQL("""
WITH texts AS MATERIALIZED (
  SELECT DISTINCT view.value AS text_hash,
    CASE WHEN %(shares)s THEN view.model_id ELSE view.model_id || ' for ' || document.scope_key END
      COLLATE "C" AS key
  FROM {index_state} AS document LEFT JOIN {generation} AS made USING (collection),
  LATERAL (
    SELECT coalesce(made.view_models ->> whole.key, %(model_id)s), whole.value
    FROM jsonb_each_text(document.embed_hashes) AS whole
    WHERE document.passages -> whole.key IS NULL
    UNION ALL
    SELECT coalesce(made.view_models ->> long.key, %(model_id)s), passage.value
    FROM jsonb_each(document.passages) AS long, jsonb_array_elements_text(long.value) AS passage
  ) AS view (model_id, value)
  WHERE document.collection = %(collection)s AND document.status = 'synced'
)
SELECT count(*), count(kept.text_hash)
FROM texts LEFT JOIN {table} AS kept
  ON kept.model_id = texts.key AND kept.text_hash = texts.text_hash
""")


_TEXTS: Final = sql.SQL("""LATERAL (
  SELECT whole.value FROM jsonb_each_text(document.embed_hashes) AS whole
  UNION ALL
  SELECT passage.value
  FROM jsonb_each(document.passages) AS long, jsonb_array_elements_text(long.value) AS passage
) AS view (value)""")
"""Embed hashes of all that a document has vectors of."""


def names(schema: str) -> Mapping[str, sql.Composable]:
    """What the statements are to be formatted with."""
    table = sql.Identifier(schema, "embedding_cache")
    index_state = sql.Identifier(schema, "index_state")
    return {
        "table": table,
        "name": sql.Literal(table.as_string()),
        "index_state": index_state,
        "lock": sql.Literal(f"sync_pipeline.embedding_cache:{schema}"),
        "use": sql.Identifier(schema, "cache_use"),
        "generation": sql.Identifier(schema, "generation"),
        "canary": sql.Identifier(schema, "model_canary"),
        "texts": _TEXTS,
        "used": _USED.format(index_state=index_state, texts=_TEXTS),
        "unused": _UNUSED.format(table=table),
    }
