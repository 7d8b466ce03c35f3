"""What was last synced per scope and entity, and how many rows an entry of the quarantine is."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "r0003_entities"
down_revision = "r0002_feed_and_rates"
branch_labels = None
depends_on = None

KEY = sa.Text(collation="C")
MOMENT = sa.DateTime(timezone=True)

# Each sync so far read every entity there was, so a scope's times are those of its entities.
# Digests were of all entities together: none is taken over, and each scope is compared once.
TAKE_OVER = """
INSERT INTO scope_entity_state (
    collection, scope_key, entity_type, rows, documents, quarantined, failed,
    source_snapshot_at, last_success_at, last_full_at, vanished_at
)
SELECT
    scope.collection, scope.scope_key, entity.entity_type,
    coalesce(held.documents, 0) + coalesce(listed.rows, 0), coalesce(held.documents, 0),
    coalesce(listed.rows, 0), coalesce(held.failed, 0),
    scope.source_snapshot_at, scope.last_success_at, scope.last_full_at, scope.vanished_at
FROM scope_state AS scope
JOIN (SELECT DISTINCT collection, entity_type FROM index_state) AS entity USING (collection)
LEFT JOIN (
    SELECT collection, scope_key, entity_type, count(*) AS documents,
           count(*) FILTER (WHERE status = 'failed') AS failed
    FROM index_state GROUP BY collection, scope_key, entity_type
) AS held USING (collection, scope_key, entity_type)
LEFT JOIN (
    SELECT scope_key, entity_type, count(*) AS rows FROM quarantine
    GROUP BY scope_key, entity_type
) AS listed USING (scope_key, entity_type)
"""

_DOCUMENT_STATUS = """
CREATE OR REPLACE VIEW document_status AS
SELECT
    document.*,
    -- A document that a complete sync left as it was has been seen by it, though no row says so.
    CASE WHEN document.status = 'synced'
         THEN greatest(scope.last_full_at, document.source_snapshot_at)
    END AS last_seen_at,
    scope.last_success_at AS scope_last_success_at,
    scope.last_full_at AS scope_last_full_at,
    scope.vanished_at AS scope_vanished_at
FROM index_state AS document
LEFT JOIN {table} AS scope USING ({key})
"""


def upgrade() -> None:
    """Add the table, with what is known, and let the view for people read it."""
    op.create_table(
        "scope_entity_state",
        sa.Column("collection", KEY, primary_key=True),
        sa.Column("scope_key", KEY, primary_key=True),
        sa.Column("entity_type", KEY, primary_key=True),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("documents", sa.BigInteger(), nullable=False),
        sa.Column("quarantined", sa.BigInteger(), nullable=False),
        sa.Column("failed", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.Text()),
        sa.Column("feed_epoch", sa.Text()),
        sa.Column("source_snapshot_at", MOMENT),
        sa.Column("last_success_at", MOMENT),
        sa.Column("last_full_at", MOMENT),
        sa.Column("vanished_at", MOMENT),
        sa.Column("updated_at", MOMENT, nullable=False, server_default=sa.func.now()),
    )
    op.execute(TAKE_OVER)
    op.add_column(
        "quarantine", sa.Column("row_count", sa.BigInteger(), nullable=False, server_default="1")
    )
    op.execute(
        _DOCUMENT_STATUS.format(
            table="scope_entity_state", key="collection, scope_key, entity_type"
        )
    )


def downgrade() -> None:
    """Remove it; the sums in ``scope_state`` were kept."""
    op.execute(_DOCUMENT_STATUS.format(table="scope_state", key="collection, scope_key"))
    op.drop_column("quarantine", "row_count")
    op.drop_table("scope_entity_state")
