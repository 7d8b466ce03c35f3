"""Runs migrations on the connection that ``database.migrate`` hands over.

The schema is first in the search path, so versions name tables without it.
"""

from __future__ import annotations

from alembic import context

from sync_pipeline.database.tables import state_tables

_attributes = context.config.attributes

context.configure(
    connection=_attributes["connection"],
    target_metadata=state_tables(_attributes["schema"]),
    version_table_schema=_attributes["schema"],
    on_version_apply=_attributes["on_version_apply"],
    # The caller has begun the transaction; it commits all versions together or none.
    transactional_ddl=True,
)
context.run_migrations()
