"""What each collection was made with, when it served, and how each view of a document stands."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "r0006_generations"
down_revision = "r0005_requests"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)

# For people: a row per document and view, of what index_state says of all its views together.
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
    document.vector_version, document.last_synced_at, document.last_sync_attempt_at,
    document.source_snapshot_at
FROM index_state AS document
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
    """Add columns and view; a collection that served until now has done so since it was made."""
    for column in (
        sa.Column("recipe", JSONB()),
        sa.Column("served_at", MOMENT),
        sa.Column("retired_at", MOMENT),
        sa.Column("refusal", sa.Text()),
    ):
        op.add_column("generation", column)
    op.execute("UPDATE generation SET served_at = created_at")
    op.execute("UPDATE generation SET retired_at = now() WHERE NOT is_active")
    op.execute(DOCUMENT_VIEW_STATUS)


def downgrade() -> None:
    """Remove them."""
    op.execute("DROP VIEW document_view_status")
    for name in ("refusal", "retired_at", "served_at", "recipe"):
        op.drop_column("generation", name)
