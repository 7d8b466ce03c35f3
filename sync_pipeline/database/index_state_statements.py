"""The statements that record documents; placeholders are psycopg's, ``{table}`` is the table."""

from __future__ import annotations

from typing import Final

from psycopg import sql

# One statement for any number of rows: binary arrays took 0.7 s for 55,000 new rows and
# 0.75 s in batches of 500; COPY into a temporary table 0.6 s and 0.85 s, and it needs the
# permission TEMP and leaves dead rows in the system catalogue for every batch.
RECORD_SYNCED: Final = sql.SQL("""
INSERT INTO {table} AS known (
    collection, document_id, point_id, scope, scope_key, tenant_id, entity_type, db_id,
    embed_hashes, payload_hash, status, last_synced_at, last_sync_attempt_at, vector_version,
    source_snapshot_at, passages, truncated_views
)
SELECT
    %(collection)s, given.document_id, given.point_id::uuid, %(scope)s, %(scope_key)s,
    %(tenant_id)s, given.entity_type, given.db_id, given.embed_hashes::jsonb, given.payload_hash,
    'synced', now(), now(), %(vector_version)s, %(snapshot_at)s, given.passages::jsonb,
    string_to_array(given.truncated_views, ',')
FROM unnest(
    %(document_ids)b::text[], %(point_ids)b::text[], %(entity_types)b::text[],
    %(db_ids)b::text[], %(embed_hashes)b::text[], %(payload_hashes)b::text[],
    %(passages)b::text[], %(truncated_views)b::text[]
) AS given (
    document_id, point_id, entity_type, db_id, embed_hashes, payload_hash, passages,
    truncated_views
)
ORDER BY given.document_id -- two writers lock common rows in the same order
ON CONFLICT (collection, document_id) DO UPDATE SET
    point_id = excluded.point_id,
    scope = excluded.scope,
    scope_key = excluded.scope_key,
    tenant_id = excluded.tenant_id,
    entity_type = excluded.entity_type,
    db_id = excluded.db_id,
    embed_hashes = excluded.embed_hashes,
    payload_hash = excluded.payload_hash,
    status = excluded.status,
    view_status = NULL,
    error_code = NULL,
    last_error = NULL,
    retry_count = 0,
    next_retry_at = NULL,
    last_synced_at = excluded.last_synced_at,
    last_sync_attempt_at = excluded.last_sync_attempt_at,
    vector_version = excluded.vector_version,
    source_snapshot_at = excluded.source_snapshot_at,
    passages = excluded.passages,
    truncated_views = excluded.truncated_views,
    previous_scope_key = CASE
        WHEN known.scope_key <> excluded.scope_key THEN known.scope_key
        ELSE known.previous_scope_key
    END,
    updated_at = now()
WHERE known.source_snapshot_at IS NULL OR known.source_snapshot_at <= excluded.source_snapshot_at
""")

# A document that another scope's point still holds stays recorded there, though failed: that
# scope's next cleanup must know it, or the point would stay visible to the wrong tenant.
RECORD_FAILED: Final = sql.SQL("""
INSERT INTO {table} AS known (
    collection, document_id, point_id, scope, scope_key, tenant_id, entity_type, db_id, status,
    view_status, error_code, last_error, retry_count, next_retry_at, last_sync_attempt_at
)
SELECT
    %(collection)s, given.document_id, given.point_id::uuid, %(scope)s, %(scope_key)s,
    %(tenant_id)s, given.entity_type, given.db_id, given.status, given.view_status::jsonb,
    given.error_code, given.error, CASE WHEN given.waits IS NULL THEN 1 ELSE 0 END,
    now() + coalesce(given.waits * interval '1 second', interval '2 minutes'), now()
FROM unnest(
    %(document_ids)b::text[], %(point_ids)b::text[], %(entity_types)b::text[],
    %(db_ids)b::text[], %(statuses)b::text[], %(waits)b::float8[], %(view_statuses)b::text[],
    %(error_codes)b::text[], %(errors)b::text[]
) AS given (
    document_id, point_id, entity_type, db_id, status, waits, view_status, error_code, error
)
ORDER BY given.document_id
ON CONFLICT (collection, document_id) DO UPDATE SET
    status = excluded.status,
    view_status = excluded.view_status,
    error_code = excluded.error_code,
    last_error = excluded.last_error,
    retry_count = known.retry_count + excluded.retry_count,
    next_retry_at = CASE WHEN excluded.status = 'failed' THEN now() + least(
        interval '1 minute' * power(2, least(known.retry_count + 1, 20)), interval '24 hours'
    ) ELSE excluded.next_retry_at END,
    last_sync_attempt_at = now(),
    updated_at = now()
""")

COUNT_BY_VIEW: Final = sql.SQL("""
SELECT scope_key, entity_type, view,
    count(*) FILTER (WHERE status NOT IN ('failed', 'pending')),
    count(*) FILTER (WHERE status = 'failed'),
    count(*) FILTER (WHERE is_truncated),
    count(*) FILTER (WHERE status = 'pending')
FROM {view_status}
WHERE collection = %(collection)s
    AND (%(scope_key)s::text IS NULL OR scope_key = %(scope_key)s)
GROUP BY scope_key, entity_type, view
""")
