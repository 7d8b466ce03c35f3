"""Bring our schema up to date, from Python and from any number of processes at once."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from sqlalchemy import Connection, Engine, column, func, literal, select, table

from sync_pipeline.core.retrying import Retries
from sync_pipeline.database.engine import DEFAULT_SCHEMA, Database


def migrate(
    engine: Engine,
    schema: str = DEFAULT_SCHEMA,
    *,
    retries: Retries | None = None,
    before: Callable[[], None] | None = None,
) -> list[str]:
    """Apply the versions that are missing, all of them or none.

    Processes wait for each other; where nothing is missing, nothing is locked or written.

    Args:
        engine: Of the state.
        schema: Of the state.
        retries: How often to try.
        before: Called where a version is missing, before anything is written; raises to refuse.

    Returns:
        The revisions applied, in order; empty where the schema was up to date.

    Raises:
        ConfigurationError: the role may not create the schema, or a newer program wrote it.
        TransientError: no connection, or no lock in time.
    """
    database = Database(engine, schema=schema, retries=retries or Retries())
    if not database.run("looking at the schema version", lambda it: _pending(it, schema)):
        return []
    if before is not None:
        before()
    from sync_pipeline.database.versions import upgrade

    return database.run("migrating the schema", lambda it: upgrade(it, schema))


def pending_revisions(engine: Engine, schema: str = DEFAULT_SCHEMA) -> list[str]:
    """Name the versions that ``migrate`` would apply, in order; same errors."""
    database = Database(engine, schema=schema, retries=Retries())
    return database.run("looking at the schema version", lambda it: _pending(it, schema))


def newest_revision() -> str:
    """The last version there is: each is named like its module, in ascending order."""
    spec = find_spec("sync_pipeline.migrations.versions")
    folders = spec.submodule_search_locations if spec is not None else None
    return max(path.stem for folder in folders or () for path in Path(folder).glob("r*.py"))


def _pending(connection: Connection, schema: str) -> list[str]:
    """Ask Alembic only where the version in the database is not the newest one."""
    quoted = connection.dialect.identifier_preparer.quote(schema)
    version_table = connection.scalar(
        select(func.to_regclass(literal(f"{quoted}.alembic_version")))
    )
    if version_table is not None:
        versions = table("alembic_version", column("version_num"), schema=schema)
        revisions = connection.scalars(select(versions.c.version_num)).all()
        if revisions == [newest_revision()]:
            return []
    from sync_pipeline.database.versions import pending

    return pending(connection, schema)
