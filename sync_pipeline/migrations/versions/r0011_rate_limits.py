"""The pace at which all processes together ask an embedding service."""

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
    """Add the table, empty: an account gets its row with its first request."""
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


def downgrade() -> None:
    """Remove it."""
    op.drop_table("rate_limit")
