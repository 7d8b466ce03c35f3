"""The pace at which all processes together ask an embedding service, and its batches."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "r0011_rate_limits"
down_revision = "r0010_spending"
branch_labels = None
depends_on = None

KEY = sa.Text(collation="C")
MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Add the tables, empty: an account gets its row with its first request."""
    op.create_table(
        "rate_limit",
        sa.Column("account", KEY, primary_key=True),
        sa.Column("requests_at", MOMENT),
        sa.Column("tokens_at", MOMENT),
        sa.Column("blocked_until", MOMENT),
        sa.Column("requests_per_minute", sa.Double()),
        sa.Column("tokens_per_minute", sa.Double()),
        sa.Column("asked_at", MOMENT),
        sa.Column("turn_at", MOMENT),
        sa.Column("updated_at", MOMENT, nullable=False, server_default=sa.func.now()),
    )
    op.create_table(
        "embedding_batch",
        sa.Column("name", KEY, primary_key=True),
        sa.Column("batch_id", sa.Text()),
        sa.Column("planned_at", MOMENT, nullable=False, server_default=sa.func.now()),
    )
    op.create_table(
        "embedding_batch_text",
        sa.Column("cache_key", KEY, primary_key=True),
        sa.Column("text_hash", KEY, primary_key=True),
        sa.Column("batch", KEY, nullable=False),
    )
    op.create_index("embedding_batch_text_by_batch", "embedding_batch_text", ["batch"])


def downgrade() -> None:
    """Remove them."""
    for name in ("embedding_batch_text", "embedding_batch", "rate_limit"):
        op.drop_table(name)
