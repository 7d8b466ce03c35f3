"""The state tables and the view for people."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

from sync_pipeline.database.tables import Xid8

revision = "r0001_state"
down_revision = None
branch_labels = None
depends_on = None

KEY = sa.Text(collation="C")
MOMENT = sa.DateTime(timezone=True)

DOCUMENT_STATUS = """
CREATE VIEW document_status AS
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
LEFT JOIN scope_state AS scope USING (collection, scope_key)
"""


def upgrade() -> None:
    """Make everything."""
    _index_state()
    _scopes()
    _embedding_cache()
    _quarantine()
    _change_event()
    _generation()
    op.execute(DOCUMENT_STATUS)


def downgrade() -> None:
    """Remove everything; the index stays, the next full sync records it again."""
    op.execute("DROP VIEW document_status")
    for name in (
        "generation",
        "change_event",
        "quarantine",
        "embedding_cache",
        "scope_lease",
        "scope_state",
        "index_state",
    ):
        op.drop_table(name)


def _index_state() -> None:
    op.create_table(
        "index_state",
        sa.Column("collection", KEY, primary_key=True),
        sa.Column("document_id", KEY, primary_key=True),
        sa.Column("point_id", sa.Uuid(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("scope_key", KEY, nullable=False),
        sa.Column("tenant_id", KEY),
        sa.Column("entity_type", KEY, nullable=False),
        sa.Column("db_id", KEY, nullable=False),
        sa.Column("embed_hashes", JSONB, nullable=False, server_default=sa.text("'{}'")),
        sa.Column("payload_hash", sa.Text()),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("view_status", JSONB),
        sa.Column("error_code", sa.Text()),
        sa.Column("last_error", sa.Text()),
        sa.Column("retry_count", sa.Integer(), nullable=False, server_default=sa.text("0")),
        sa.Column("next_retry_at", MOMENT),
        sa.Column("last_synced_at", MOMENT),
        sa.Column("last_sync_attempt_at", MOMENT),
        sa.Column("vector_version", sa.Text()),
        sa.Column("source_snapshot_at", MOMENT),
        sa.Column("previous_scope_key", KEY),
        sa.Column("created_at", MOMENT, nullable=False, server_default=sa.func.now()),
        sa.Column("updated_at", MOMENT, nullable=False, server_default=sa.func.now()),
        sa.CheckConstraint("scope IN ('global', 'tenant')", name="index_state_scope"),
        sa.CheckConstraint(
            "status IN ('synced', 'pending', 'stale', 'failed')", name="index_state_status"
        ),
    )
    op.create_index("index_state_by_scope", "index_state", ["collection", "scope_key", "point_id"])
    op.create_index("index_state_by_entity", "index_state", ["collection", "entity_type"])
    for name, columns, condition in (
        ("index_state_unsynced", ["collection", "status"], "status <> 'synced'"),
        (
            "index_state_departed",
            ["collection", "previous_scope_key"],
            "previous_scope_key IS NOT NULL",
        ),
        ("index_state_next_retry", ["next_retry_at"], "next_retry_at IS NOT NULL"),
    ):
        op.create_index(name, "index_state", columns, postgresql_where=sa.text(condition))


def _scopes() -> None:
    op.create_table(
        "scope_state",
        sa.Column("collection", KEY, primary_key=True),
        sa.Column("scope_key", KEY, primary_key=True),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("documents", sa.BigInteger(), nullable=False),
        sa.Column("quarantined", sa.BigInteger(), nullable=False),
        sa.Column("failed", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.Text()),
        sa.Column("watermark", MOMENT),
        sa.Column("source_snapshot_at", MOMENT),
        sa.Column("last_success_at", MOMENT),
        sa.Column("last_full_at", MOMENT),
        sa.Column("vanished_at", MOMENT),
        sa.Column("updated_at", MOMENT, nullable=False, server_default=sa.func.now()),
    )
    op.create_table(
        "scope_lease",
        sa.Column("scope_key", KEY, primary_key=True),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("token", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", MOMENT, nullable=False),
    )


def _embedding_cache() -> None:
    op.create_table(
        "embedding_cache",
        sa.Column("model_id", KEY, primary_key=True),
        sa.Column("text_hash", KEY, primary_key=True),
        sa.Column("vector", sa.LargeBinary(), nullable=False),
        sa.Column("dimension", sa.Integer(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False, server_default=sa.func.now()),
    )
    # Random floats do not compress; by default PostgreSQL tries with each vector over 2 kB.
    op.execute("ALTER TABLE embedding_cache ALTER COLUMN vector SET STORAGE EXTERNAL")


def _quarantine() -> None:
    op.create_table(
        "quarantine",
        sa.Column("scope_key", KEY, primary_key=True),
        sa.Column("entity_type", KEY, primary_key=True),
        sa.Column("db_id", KEY, primary_key=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False, server_default=sa.text("1")),
        sa.Column("first_seen_at", MOMENT, nullable=False, server_default=sa.func.now()),
        sa.Column("last_seen_at", MOMENT, nullable=False, server_default=sa.func.now()),
    )


def _change_event() -> None:
    op.create_table(
        "change_event",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), primary_key=True),
        sa.Column("entity_type", sa.Text(), nullable=False),
        sa.Column("db_id", sa.Text()),
        sa.Column("operation", sa.Text(), nullable=False),
        sa.Column("old_scope_key", sa.Text()),
        sa.Column("new_scope_key", sa.Text()),
        sa.Column("created_at", MOMENT, nullable=False, server_default=sa.func.now()),
        sa.Column("xid", Xid8(), nullable=False, server_default=sa.func.pg_current_xact_id()),
        sa.CheckConstraint(
            "operation IN ('insert', 'update', 'delete', 'truncate')",
            name="change_event_operation",
        ),
    )


def _generation() -> None:
    op.create_table(
        "generation",
        sa.Column("collection", KEY, primary_key=True),
        sa.Column("alias", KEY, nullable=False),
        sa.Column("model_id", sa.Text(), nullable=False),
        sa.Column("dimension", sa.Integer(), nullable=False),
        sa.Column("views", JSONB, nullable=False),
        sa.Column("sparse_id", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("is_active", sa.Boolean(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False, server_default=sa.func.now()),
    )
