"""Canary vectors of models, and which cached vectors may go."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "r0007_canaries"
down_revision = "r0006_generations"
branch_labels = None
depends_on = None

KEY = sa.Text(collation="C")
MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Add the tables, empty: a model is recorded when it embeds next. No vector is marked."""
    op.create_table(
        "model_canary",
        sa.Column("model_id", KEY, primary_key=True),
        sa.Column("text_hash", KEY, primary_key=True),
        sa.Column("vector", sa.LargeBinary(), nullable=False),
        sa.Column("dimension", sa.Integer(), nullable=False),
        sa.Column("same_as", KEY),
        sa.Column("recorded_at", MOMENT, nullable=False, server_default=sa.func.now()),
    )
    op.create_table(
        "cache_use",
        sa.Column("scope_key", KEY, primary_key=True),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("since", MOMENT, nullable=False),
    )
    op.add_column("embedding_cache", sa.Column("unused_since", MOMENT))
    op.create_index(
        "embedding_cache_unused",
        "embedding_cache",
        ["model_id"],
        postgresql_where=sa.text("unused_since IS NOT NULL"),
    )


def downgrade() -> None:
    """Remove all of it."""
    op.drop_index("embedding_cache_unused", "embedding_cache")
    op.drop_column("embedding_cache", "unused_since")
    op.drop_table("cache_use")
    op.drop_table("model_canary")
