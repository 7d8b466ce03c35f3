"""Signs of life of runs, whatever machine they are on."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "r0009_run_heartbeat"
down_revision = "r0008_views"
branch_labels = None
depends_on = None

KEY = sa.Text(collation="C")


def upgrade() -> None:
    """Add the table, empty: runs of an earlier release give no signs of life."""
    op.create_table(
        "run_heartbeat",
        sa.Column("run_id", KEY, primary_key=True),
        sa.Column("step_key", KEY, primary_key=True),
        sa.Column("process", sa.Text(), nullable=False),
        sa.Column(
            "beat_at",
            sa.DateTime(timezone=True),
            nullable=False,
            server_default=sa.func.now(),
        ),
    )


def downgrade() -> None:
    """Remove it."""
    op.drop_table("run_heartbeat")
