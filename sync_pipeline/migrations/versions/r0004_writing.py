"""Which run writes a scope, or was cut off while it did."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "r0004_writing"
down_revision = "r0003_entities"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the note; of runs that were cut off before nothing is known."""
    op.add_column("scope_entity_state", sa.Column("writing_token", sa.BigInteger()))


def downgrade() -> None:
    """Remove it."""
    op.drop_column("scope_entity_state", "writing_token")
