"""Tables held still for a snapshot, so that none is read in the middle of being replaced.

TRUNCATE is not MVCC-safe: a snapshot that is older than the commit of a loader's
TRUNCATE and INSERT sees an empty table, although the table had its rows at every
committed instant. So the tables are locked first (ACCESS SHARE, which every SELECT
takes as well and which no writer waits for) and the snapshot is taken afterwards.
LOCK TABLE takes no snapshot; it needs no more than SELECT, works in a read-only
transaction and on a standby, and locks the tables below a view too.

What cannot be locked: materialised views and foreign tables; and tables of which this
role may read single columns only. These are touched after the snapshot, and their
file of then is compared with the one of now.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import sqlalchemy as sa

from sync_pipeline.core.errors import SourceUnavailableError
from sync_pipeline.sources.errors import describe_url
from sync_pipeline.sources.layout import split_name

_FIND: Final = sa.text("""
SELECT c.oid, n.nspname AS schema, c.relname AS name,
       quote_ident(n.nspname) || '.' || quote_ident(c.relname) AS quoted,
       pg_table_is_visible(c.oid) AS is_visible,
       has_schema_privilege(n.oid, 'USAGE') AND has_any_column_privilege(c.oid, 'SELECT')
           AS is_readable,
       has_table_privilege(c.oid, 'SELECT') AS is_lockable
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v') AND c.relname = ANY(:names)
  AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
""")

# The catalogue's rows are those of the snapshot, the function knows the file of now.
_REPLACED: Final = sa.text("""
WITH RECURSIVE family AS (
    SELECT unnest(CAST(:tables AS oid[])) AS oid
    UNION
    SELECT i.inhrelid FROM pg_inherits i JOIN family f ON i.inhparent = f.oid
)
SELECT c.oid::regclass::text FROM pg_class c JOIN family USING (oid)
WHERE c.relkind = 'r' AND pg_relation_filenode(c.oid) IS DISTINCT FROM c.relfilenode
""")

READER_IDLE: Final = "10min"
"""How long the server lets a snapshot wait for its reader. Whoever replaces a held table waits for
the snapshot, and who reads the table then, for whoever replaces it."""

_LOCK_NOT_AVAILABLE: Final = "55P03"
_INSUFFICIENT_PRIVILEGE: Final = "42501"


_LOCK: Final = """
SAVEPOINT before_lock; LOCK TABLE {names} IN ACCESS SHARE MODE; RELEASE SAVEPOINT before_lock
"""


class TableHold:
    """Holds the tables of one snapshot; made for one connection that is in no transaction.

    Args:
        connection: Left in a REPEATABLE READ, READ ONLY transaction by ``take``.
        timeout_seconds: How long a table that is being replaced is waited for.
    """

    def __init__(self, connection: sa.Connection, *, timeout_seconds: float) -> None:
        self._connection = connection
        self._timeout_seconds = timeout_seconds
        self._patience = f"SET LOCAL lock_timeout = {max(1, round(timeout_seconds * 1000))}"
        self._touched: list[sa.Row[Any]] = []

    def take(self, tables: Sequence[str]) -> None:
        """Begin the transaction and lock what can be locked; takes no snapshot.

        Raises:
            SourceUnavailableError: a table is being replaced for longer than we wait.
        """
        rows = self._find(tables)
        self._connection.execution_options(
            isolation_level="REPEATABLE READ", postgresql_readonly=True
        )
        lockable = [row for row in rows if row.is_lockable]
        self._touched = [row for row in rows if not row.is_lockable]
        if not lockable:
            self._connection.exec_driver_sql(self._patience)
        elif not self._lock(lockable):
            self._touched += [row for row in lockable if not self._lock([row])]

    def check(self) -> None:
        """After the snapshot was taken: whether it is older than a file that is read now.

        Raises:
            SourceUnavailableError: a table was replaced while the snapshot was taken.
        """
        if not self._touched:
            return
        for row in self._touched:
            self._connection.exec_driver_sql(f"SELECT FROM {row.quoted} LIMIT 0")
        oids = [row.oid for row in self._touched]
        replaced = list(self._connection.scalars(_REPLACED, {"tables": oids}))
        if replaced:
            raise self._unavailable(replaced)

    def _find(self, tables: Sequence[str]) -> list[sa.Row[Any]]:
        """Look the tables up, in a transaction of its own."""
        split_names = {split_name(table) for table in tables}
        names = sorted({name for _, name in split_names})
        rows = self._connection.execute(_FIND, {"names": names}).all() if names else []
        self._connection.rollback()
        return [
            row
            for row in rows
            if row.is_readable
            and (
                (row.schema, row.name) in split_names
                or (row.is_visible and (None, row.name) in split_names)
            )
        ]

    def _lock(self, rows: Sequence[sa.Row[Any]]) -> bool:
        """Lock them all, in one round trip; False where the role may not."""
        try:
            names = ", ".join(row.quoted for row in rows)
            self._connection.exec_driver_sql(f"{self._patience};{_LOCK.format(names=names)}")
        except sa.exc.DBAPIError as error:
            self._connection.exec_driver_sql("ROLLBACK TO SAVEPOINT before_lock")
            state = getattr(error.orig, "sqlstate", None)
            if state == _INSUFFICIENT_PRIVILEGE:
                return False
            if state == _LOCK_NOT_AVAILABLE:
                raise self._unavailable([f"{row.schema}.{row.name}" for row in rows]) from error
            raise
        return True

    def _unavailable(self, tables: Sequence[str]) -> SourceUnavailableError:
        database = describe_url(self._connection.engine.url)
        return SourceUnavailableError(
            f"{', '.join(tables)} of the source database {database} cannot be read now: somebody "
            f"replaces or alters a table there; waited {self._timeout_seconds:g} s. Nothing was "
            "read or deleted. Run again when that is done; pg_stat_activity on the server shows "
            "who it is."
        )
