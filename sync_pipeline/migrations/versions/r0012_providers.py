"""Which providers of embeddings are asked, and which have failed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "r0012_providers"
down_revision = "r0011_rate_limits"
branch_labels = None
depends_on = None

KEY = sa.Text(collation="C")


def upgrade() -> None:
    """Add the table, empty."""
    op.create_table(
        "embedding_provider",
        sa.Column("provider", KEY, primary_key=True),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("retry_at", sa.DateTime(timezone=True)),
        sa.Column("error_code", sa.Text()),
        sa.Column("error", sa.Text()),
        sa.Column("failed_at", sa.DateTime(timezone=True)),
    )


def downgrade() -> None:
    """Remove it."""
    op.drop_table("embedding_provider")
