"""Versions of our schema, by Alembic; imported only where one is missing (it takes 0.25 s)."""

from __future__ import annotations

from typing import Any, Final

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, func, select
from sqlalchemy.schema import CreateSchema

from sync_pipeline.core.errors import ConfigurationError

LOCK_TIMEOUT: Final = "60s"
"""Longest wait for another process that migrates, or that uses a table to be changed."""


def _config(attributes: dict[str, Any]) -> Config:
    config = Config(attributes=attributes)
    config.set_main_option("script_location", "sync_pipeline:migrations")
    return config


def pending(connection: Connection, schema: str) -> list[str]:
    """Name the versions that ``upgrade`` would apply, in order.

    Raises:
        ConfigurationError: a newer program wrote the schema.
    """
    options = {"version_table_schema": schema}
    current = set(MigrationContext.configure(connection, opts=options).get_current_heads())
    scripts = ScriptDirectory.from_config(_config({}))
    revisions = [script.revision for script in scripts.walk_revisions()]
    unknown = sorted(current - set(revisions))
    if unknown:
        raise ConfigurationError(
            f"schema {schema!r} was written by a newer sync-pipeline (version {unknown[0]}, this "
            f"program knows up to {revisions[0]}).",
            remedy="Upgrade the program; nothing was changed.",
        )
    applied = {
        script.revision
        for head in current
        for script in scripts.iterate_revisions(head, "base", inclusive=True)
    }
    return [revision for revision in reversed(revisions) if revision not in applied]


def upgrade(connection: Connection, schema: str, *, to: str = "head") -> list[str]:
    """Apply what is missing up to a revision, in the transaction given; those applied."""
    applied: list[str] = []
    # set_config quotes the schema as SET would not allow with a parameter; both end with
    # the transaction.
    quoted = connection.dialect.identifier_preparer.quote(schema)
    connection.execute(select(func.set_config("search_path", quoted, True)))
    connection.execute(select(func.set_config("lock_timeout", LOCK_TIMEOUT, True)))
    lock_key = func.hashtextextended(f"sync_pipeline.migrate:{schema}", 0)
    connection.execute(select(func.pg_advisory_xact_lock(lock_key)))
    # CREATE SCHEMA IF NOT EXISTS asks for the permission even where the schema exists.
    namespace = connection.scalar(select(func.to_regnamespace(quoted)))
    if namespace is None:
        connection.execute(CreateSchema(schema))
    config = _config(
        {
            "connection": connection,
            "schema": schema,
            "on_version_apply": lambda *, step, **_: applied.extend(step.up_revision_ids),
        }
    )
    try:
        command.upgrade(config, to)
    except CommandError as error:
        raise ConfigurationError(f"schema {schema!r} cannot be migrated: {error}") from error
    return applied
