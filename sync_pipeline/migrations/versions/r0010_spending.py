"""What embedding took, what its budgets count, and why documents wait for vectors."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

from sync_pipeline.migrations.versions import r0008_views

revision = "r0010_spending"
down_revision = "r0009_run_heartbeat"
branch_labels = None
depends_on = None

KEY = sa.Text(collation="C")


def _number(name: str, kind: type[sa.BigInteger | sa.Numeric[Any]]) -> sa.Column[Any]:
    return sa.Column(name, kind(), nullable=False, server_default=sa.text("0"))


def _moment(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now())


# As in r0008_views; views that wait say why too.
DOCUMENT_VIEW_STATUS = r0008_views.DOCUMENT_VIEW_STATUS.replace(
    "document.status = 'failed'", "document.status IN ('failed', 'pending')"
)


def upgrade() -> None:
    """Add the tables, empty: of what was spent before nobody has kept a record."""
    op.execute("DROP VIEW document_view_status")
    op.execute(DOCUMENT_VIEW_STATUS)
    op.create_table(
        "embedding_usage",
        sa.Column("day", sa.Date(), primary_key=True),
        sa.Column("scope_key", KEY, primary_key=True),
        sa.Column("model_id", KEY, primary_key=True),
        sa.Column("run_id", KEY, primary_key=True),
        sa.Column("purpose", KEY, primary_key=True),
        sa.Column("provider", KEY, primary_key=True),
        _number("calls", sa.BigInteger),
        _number("texts", sa.BigInteger),
        _number("tokens", sa.BigInteger),
        _number("cost", sa.Numeric),
        _number("unconfirmed_calls", sa.BigInteger),
        _number("unconfirmed_tokens", sa.BigInteger),
        _number("unconfirmed_cost", sa.Numeric),
        _moment("updated_at"),
    )
    op.create_table(
        "embedding_budget",
        sa.Column("kind", KEY, primary_key=True),
        sa.Column("key", KEY, primary_key=True),
        _number("tokens", sa.BigInteger),
        _number("cost", sa.Numeric),
        _number("reserved_tokens", sa.BigInteger),
        _number("reserved_cost", sa.Numeric),
        _moment("updated_at"),
    )
    op.create_table(
        "embedding_reservation",
        sa.Column("call_id", sa.Uuid(as_uuid=False), primary_key=True),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("scope_key", KEY, nullable=False),
        sa.Column("model_id", KEY, nullable=False),
        sa.Column("run_id", KEY, nullable=False),
        sa.Column("purpose", KEY, nullable=False),
        sa.Column("tokens", sa.BigInteger(), nullable=False),
        sa.Column("cost", sa.Numeric(), nullable=False),
        sa.Column("budgets", JSONB(), nullable=False),
        _moment("made_at"),
    )


def downgrade() -> None:
    """Remove them."""
    op.execute("DROP VIEW document_view_status")
    op.execute(r0008_views.DOCUMENT_VIEW_STATUS)
    for name in ("embedding_reservation", "embedding_budget", "embedding_usage"):
        op.drop_table(name)
