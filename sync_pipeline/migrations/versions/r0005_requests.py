"""Syncs that somebody asked for, and what became of every run."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "r0005_requests"
down_revision = "r0004_writing"
branch_labels = None
depends_on = None

KEY = sa.Text(collation="C")
MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Add both tables, empty: of earlier runs Dagster's history knows."""
    op.create_table(
        "sync_request",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("requested_by", sa.Text(), nullable=False),
        sa.Column("requested_at", MOMENT, nullable=False, server_default=sa.func.now()),
        sa.Column("scope_keys", JSONB, nullable=False),
        sa.Column("mode", sa.Text(), nullable=False),
        sa.Column("force", sa.Boolean(), nullable=False),
        sa.Column("max_deleted_fraction", sa.Double()),
        sa.Column("approve_deletions", sa.BigInteger()),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("run_ids", JSONB, nullable=False, server_default=sa.text("'{}'")),
        sa.Column("error", sa.Text()),
        sa.Column("updated_at", MOMENT, nullable=False, server_default=sa.func.now()),
        sa.CheckConstraint(
            "status IN ('pending', 'started', 'done', 'failed')", name="sync_request_status"
        ),
        sa.CheckConstraint("mode IN ('full', 'incremental')", name="sync_request_mode"),
    )
    op.create_index(
        "sync_request_open",
        "sync_request",
        ["requested_at"],
        postgresql_where=sa.text("status IN ('pending', 'started')"),
    )
    op.create_table(
        "sync_run",
        sa.Column("run_id", KEY, primary_key=True),
        sa.Column("scope_key", KEY, primary_key=True),
        sa.Column("mode", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("started_at", MOMENT, nullable=False),
        sa.Column("finished_at", MOMENT, nullable=False),
        sa.Column("counts", JSONB, nullable=False),
        sa.Column("seconds", JSONB, nullable=False),
        sa.Column("error", sa.Text()),
        sa.Column("facts", JSONB, nullable=False, server_default=sa.text("'{}'")),
        sa.CheckConstraint("status IN ('success', 'failed', 'skipped')", name="sync_run_status"),
    )
    op.create_index("sync_run_finished", "sync_run", ["finished_at"])
    op.create_index("sync_run_by_scope", "sync_run", ["scope_key", "finished_at"])
    op.create_index(
        "sync_run_refused",
        "sync_run",
        ["scope_key", "finished_at"],
        postgresql_where=sa.text("facts ->> 'error' = 'MassDeletionRefusedError'"),
    )


def downgrade() -> None:
    """Remove both."""
    op.drop_table("sync_run")
    op.drop_table("sync_request")
