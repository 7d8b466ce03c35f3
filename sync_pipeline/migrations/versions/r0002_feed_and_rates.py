"""Indexes that serve the change feed, and how fast each model was."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "r0002_feed_and_rates"
down_revision = "r0001_state"
branch_labels = None
depends_on = None

KEY = sa.Text(collation="C")


def upgrade() -> None:
    """Add both; the feed may have made its indexes already."""
    for name, columns, condition in (
        ("change_event_new_scope", ["new_scope_key"], "new_scope_key IS NOT NULL"),
        (
            "change_event_old_scope",
            ["old_scope_key"],
            "old_scope_key IS DISTINCT FROM new_scope_key",
        ),
        (
            "change_event_everywhere",
            ["entity_type"],
            "old_scope_key IS NULL AND new_scope_key IS NULL",
        ),
    ):
        op.create_index(
            name,
            "change_event",
            columns,
            postgresql_where=sa.text(condition),
            if_not_exists=True,
        )
    op.create_table(
        "embedding_rate",
        sa.Column("model_id", KEY, primary_key=True),
        sa.Column("texts_per_second", sa.Double(), nullable=False),
        sa.Column(
            "measured_at",
            sa.DateTime(timezone=True),
            nullable=False,
            server_default=sa.func.now(),
        ),
    )


def downgrade() -> None:
    """Remove both."""
    op.drop_table("embedding_rate")
    for name in ("change_event_everywhere", "change_event_old_scope", "change_event_new_scope"):
        op.drop_index(name, "change_event")
