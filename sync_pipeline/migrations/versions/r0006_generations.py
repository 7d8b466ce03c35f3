"""What each collection was made with, and when it served."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "r0006_generations"
down_revision = "r0005_requests"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Add the columns; a collection that served until now has done so since it was made."""
    for column in (
        sa.Column("recipe", JSONB()),
        sa.Column("served_at", MOMENT),
        sa.Column("retired_at", MOMENT),
        sa.Column("refusal", sa.Text()),
    ):
        op.add_column("generation", column)
    op.execute("UPDATE generation SET served_at = created_at")
    op.execute("UPDATE generation SET retired_at = now() WHERE NOT is_active")


def downgrade() -> None:
    """Remove them."""
    for name in ("refusal", "retired_at", "served_at", "recipe"):
        op.drop_column("generation", name)
