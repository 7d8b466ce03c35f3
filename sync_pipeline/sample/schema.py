"""The tables that the sample catalogues fill; they fit the default entities of the settings."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from sync_pipeline.core.errors import ConfigurationError
from sync_pipeline.sources.errors import describe_url, source_errors

METADATA: Final = sa.MetaData()


def _owner_columns() -> list[sa.Column[object]]:
    return [
        sa.Column("tenant_id", sa.Text, index=True),
        sa.Column("is_global", sa.Boolean, nullable=False, server_default=sa.false()),
    ]


def _updated_at() -> sa.Column[object]:
    return sa.Column("updated_at", sa.TIMESTAMP(timezone=True), server_default=sa.func.now())


def _row_id() -> sa.Column[object]:
    return sa.Column("id", sa.Uuid, primary_key=True, server_default=sa.func.gen_random_uuid())


MATERIALS: Final = sa.Table(
    "materials",
    METADATA,
    _row_id(),
    *_owner_columns(),
    sa.Column("name", sa.Text),
    sa.Column("category", sa.Text),
    sa.Column("supplier", sa.Text),
    sa.Column("unit", sa.Text),
    sa.Column("price", sa.Numeric(14, 2)),
    _updated_at(),
)

WORKS: Final = sa.Table(
    "works",
    METADATA,
    _row_id(),
    *_owner_columns(),
    sa.Column("name", sa.Text),
    sa.Column("category", sa.Text),
    sa.Column("unit", sa.Text),
    sa.Column("price", sa.Numeric(14, 2)),
    _updated_at(),
)

TOOLS: Final = sa.Table(
    "tools",
    METADATA,
    sa.Column("id", sa.Text, primary_key=True),
    *_owner_columns(),
    *(
        sa.Column(name, sa.Text)
        for name in (
            "name",
            "description",
            "functionality",
            "categories",
            "interface",
            "deployment",
            "pricing_model",
            "license",
            "language",
            "collections",
            "website",
        )
    ),
    sa.Column("facets", JSONB),
    _updated_at(),
)


def create_source_tables(engine: sa.Engine) -> None:
    """Create ``materials`` and ``works`` where they are absent.

    Raises:
        ConfigurationError: one of them exists and lacks a column.
        SourceUnavailableError: no connection.
    """
    create_tables(engine, tables=(MATERIALS, WORKS))


def create_tables(engine: sa.Engine, *, tables: tuple[sa.Table, ...]) -> None:
    """Create tables where they are absent; same errors."""
    database = describe_url(engine.url)
    with source_errors(database):
        METADATA.create_all(engine, tables=tables)
        inspector = sa.inspect(engine)
        present = {
            table.name: {column["name"] for column in inspector.get_columns(table.name)}
            for table in tables
        }
    for table in tables:
        missing = [name for name in table.columns.keys() if name not in present[table.name]]  # noqa: SIM118 - iterating the collection yields columns
        if missing:
            raise ConfigurationError(
                f"table {table.name!r} of {database} exists already and has no "
                f"{', '.join(missing)}: it is not one of a sample catalogue. Load the sample into "
                "a database of its own (`DATABASE_URL`, or none for the embedded one)."
            )
