"""The passages of long texts, texts of which a part is not read, and the model of each view."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

revision = "r0008_views"
down_revision = "r0007_canaries"
branch_labels = None
depends_on = None

# As in r0006_generations, with the model of the view and whether all of its text is read.
DOCUMENT_VIEW_STATUS = """
CREATE VIEW document_view_status AS
SELECT
    document.collection, document.document_id, document.scope_key, document.entity_type,
    document.db_id, view.name AS view, document.embed_hashes ->> view.name AS embed_hash,
    CASE WHEN document.view_status IS NULL THEN document.status
         ELSE coalesce(document.view_status ->> view.name, 'synced')
    END AS status,
    CASE WHEN view.has_failed THEN document.error_code END AS error_code,
    CASE WHEN view.has_failed THEN document.last_error END AS last_error,
    CASE WHEN view.has_failed THEN document.retry_count ELSE 0 END AS retry_count,
    CASE WHEN view.has_failed THEN document.next_retry_at END AS next_retry_at,
    coalesce(generation.view_models ->> view.name, document.vector_version) AS vector_version,
    document.last_synced_at, document.last_sync_attempt_at, document.source_snapshot_at,
    jsonb_array_length(document.passages -> view.name) AS passages,
    view.name = ANY(document.truncated_views) AS is_truncated
FROM index_state AS document
LEFT JOIN generation ON generation.collection = document.collection
CROSS JOIN LATERAL (
    SELECT name,
           document.status = 'failed'
               AND (document.view_status IS NULL OR document.view_status ? name) AS has_failed
    FROM (
        SELECT jsonb_object_keys(document.embed_hashes) AS name
        UNION
        SELECT jsonb_object_keys(coalesce(document.view_status, '{}'))
    ) AS named
) AS view
"""


def upgrade() -> None:
    """Add the columns; of documents that were synced before nobody knows what was not read."""
    op.add_column("index_state", sa.Column("passages", JSONB()))
    op.add_column(
        "index_state",
        sa.Column("truncated_views", ARRAY(sa.Text()), nullable=False, server_default="{}"),
    )
    op.add_column("generation", sa.Column("view_models", JSONB()))
    op.execute("DROP VIEW document_view_status")
    op.execute(DOCUMENT_VIEW_STATUS)


def downgrade() -> None:
    """Remove them."""
    from sync_pipeline.migrations.versions import r0006_generations  # noqa: PLC0415

    op.execute("DROP VIEW document_view_status")
    op.drop_column("generation", "view_models")
    op.drop_column("index_state", "truncated_views")
    op.drop_column("index_state", "passages")
    op.execute(r0006_generations.DOCUMENT_VIEW_STATUS)
