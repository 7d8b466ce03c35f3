"""What the tests of the change feed share."""

from __future__ import annotations

import sqlalchemy as sa

from sync_pipeline.core.entity import Entity
from sync_pipeline.sources.feed.change_feed import PostgresChangeFeed


def things(**changes: object) -> Entity:
    """An entity over the table ``things``."""
    fields: dict[str, object] = {
        "name": "thing",
        "table": "things",
        "views": (("text", ("name",)),),
        **changes,
    }
    return Entity(**fields)  # type: ignore[arg-type]  # keyword arguments of the test


def run_sql(engine: sa.Engine, *statements: str) -> None:
    """Run statements in one transaction; ``%`` means nothing."""
    with engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement, execution_options={"no_parameters": True})


def has_virtual_columns(engine: sa.Engine) -> bool:
    """Whether the server knows generated columns that are not stored (PostgreSQL 18)."""
    with engine.connect() as connection:
        number = connection.scalar(sa.text("SELECT current_setting('server_version_num')::int"))
    return int(number or 0) >= 180_000


def create_things(engine: sa.Engine, *, columns: str = "") -> None:
    """Make the table ``things``; ``note`` is mapped by nobody."""
    run_sql(
        engine,
        "CREATE TABLE things (id text PRIMARY KEY, tenant_id text DEFAULT 'acme', "
        f"is_global boolean NOT NULL DEFAULT false, name text DEFAULT 'n', note text {columns})",
    )


def installed(engine: sa.Engine, *entities: Entity) -> PostgresChangeFeed:
    """A feed of these entities, of ``things`` if there are none."""
    feed = PostgresChangeFeed(engine)
    feed.install(entities or [things()])
    return feed


def take_events(engine: sa.Engine) -> list[tuple[str, str | None, str | None, str | None]]:
    """Operation, row id, old and new scope key of each event, in order; then forget them."""
    with engine.begin() as connection:
        rows = connection.execute(
            sa.text(
                "WITH taken AS (DELETE FROM sync_pipeline.change_event RETURNING *) "
                "SELECT operation, db_id, old_scope_key, new_scope_key FROM taken ORDER BY id"
            )
        )
        return [tuple(row) for row in rows]
