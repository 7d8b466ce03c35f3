"""The tables that landings need, made and widened by us: never dropped, never retyped.

Beside those that records land in there are, in our own schema: ``landing_cursor`` (one row a
landing: who is landing, what was applied, where to go on), ``landing_pass``,
``landing_rejected``, ``landing_absent``, and per landing ``landing_staged_NAME``. That one is
UNLOGGED: a crash of the server empties it, and a pass that finds fewer rows than it brought begins
anew.

They are in the source database, where the landed tables are, so that what a page brings and where
its pass goes on is committed together; migrations are of the state, which may be elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import psycopg
from psycopg import sql

from sync_pipeline.core.errors import ConfigurationError, LandingTableError
from sync_pipeline.core.landing.spec import Landing, split_table

MARK: Final = "Landed by sync-pipeline: "
"""Beginning of the comment on a table of ours; the name of its landing follows."""

_OLDEST_SERVER: Final = 150_000

_LOCK: Final = sql.SQL("SELECT pg_advisory_xact_lock(hashtext({}))").format("sync_pipeline landing")

_OWN_TABLES: Final[Mapping[str, str]] = {
    "landing_cursor": """
        landing text COLLATE "C" PRIMARY KEY,
        owner text NOT NULL DEFAULT '',
        token bigint NOT NULL DEFAULT 0,
        expires_at timestamptz NOT NULL DEFAULT 'epoch',
        rows bigint NOT NULL DEFAULT 0,
        mapping_digest text,
        complete_at timestamptz,
        content_at timestamptz,
        completions jsonb NOT NULL DEFAULT '[]',
        applied_at timestamptz,
        changed_at timestamptz,
        follow_token jsonb,
        needs_full_pass text,
        failed_at timestamptz,
        error text,
        not_before timestamptz""",
    "landing_pass": """
        pass_id text COLLATE "C" PRIMARY KEY,
        landing text COLLATE "C" NOT NULL,
        mode text COLLATE "C" NOT NULL,
        state text COLLATE "C" NOT NULL DEFAULT 'open',
        mapping_digest text NOT NULL,
        request_digest text NOT NULL DEFAULT '',
        started_at timestamptz NOT NULL,
        since timestamptz,
        position jsonb,
        is_fetched boolean NOT NULL DEFAULT false,
        pages bigint NOT NULL DEFAULT 0,
        records bigint NOT NULL DEFAULT 0,
        staged bigint NOT NULL DEFAULT 0,
        overlapping bigint NOT NULL DEFAULT 0,
        without_id bigint NOT NULL DEFAULT 0,
        refused bigint NOT NULL DEFAULT 0,
        rejected jsonb NOT NULL DEFAULT '{}',
        fields_seen jsonb NOT NULL DEFAULT '{}',
        unknown_fields jsonb NOT NULL DEFAULT '[]',
        first_total bigint,
        last_total bigint,
        doubt text,
        mended_seams bigint NOT NULL DEFAULT 0,
        requests bigint NOT NULL DEFAULT 0,
        waited_seconds double precision NOT NULL DEFAULT 0,
        resumed bigint NOT NULL DEFAULT 0,
        applied jsonb,
        ended_at timestamptz""",
    "landing_rejected": """
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        landing text COLLATE "C" NOT NULL,
        pass_id text COLLATE "C" NOT NULL,
        page bigint NOT NULL,
        place bigint NOT NULL,
        source_key text,
        reason text NOT NULL,
        field text,
        detail text NOT NULL,
        rejected_at timestamptz NOT NULL DEFAULT now()""",
    "landing_absent": """
        landing text COLLATE "C" NOT NULL,
        id text COLLATE "C" NOT NULL,
        pass_id text COLLATE "C" NOT NULL,
        PRIMARY KEY (landing, id)""",
}
_INDEXES: Final[Mapping[str, str]] = {
    "landing_pass": "CREATE UNIQUE INDEX ON {table} (landing, mode) WHERE state = 'open'",
    "landing_rejected": "CREATE INDEX ON {table} (landing, pass_id)",
}

_LANDED_COLUMNS: Final[Mapping[str, str]] = {
    "id": 'text COLLATE "C" PRIMARY KEY',
    "tenant_id": "text",
    "is_global": "boolean NOT NULL",
    "source_key": 'text COLLATE "C" NOT NULL',
    "source_modified_at": "timestamptz",
    "updated_at": "timestamptz NOT NULL DEFAULT now()",
}
STAGED_COLUMNS: Final[Mapping[str, str]] = {
    "_pass_id": 'text COLLATE "C" NOT NULL',
    "_page": "bigint NOT NULL",
    "_place": "bigint NOT NULL",
    "_gone": "boolean NOT NULL",
    "id": 'text COLLATE "C"',
    "source_key": 'text COLLATE "C" NOT NULL',
    "tenant_id": "text",
    "is_global": "boolean",
    "source_modified_at": "timestamptz",
}
"""Of a staged row beside the mapped ones. Without an id it says only that its key is gone."""

_SPELLINGS: Final = {"timestamp with time zone": "timestamptz"}

_COLUMNS: Final = """
SELECT w.place, c.oid IS NOT NULL AS is_there, c.relkind::text,
       obj_description(c.oid, 'pg_class') AS comment, n.oid IS NOT NULL AS has_schema,
       CASE WHEN n.oid IS NULL THEN has_database_privilege(current_database(), 'CREATE')
            ELSE has_schema_privilege(n.oid, 'USAGE') AND has_schema_privilege(n.oid, 'CREATE')
       END AS may_create,
       pg_has_role(c.relowner, 'USAGE') AS is_owned,
       coalesce((SELECT jsonb_object_agg(a.attname, format_type(a.atttypid, a.atttypmod))
                 FROM pg_attribute a
                 WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
                '{}') AS columns,
       current_user::text AS role, current_database()::text AS database
FROM unnest(%(schemas)s::text[], %(tables)s::text[]) WITH ORDINALITY AS w(schema, name, place)
LEFT JOIN pg_namespace n ON n.nspname = w.schema
LEFT JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = w.name
ORDER BY w.place
"""

_VIEWS_OVER: Final = """
WITH RECURSIVE readers AS (
    SELECT c.oid
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = %(schema)s AND c.relname = %(name)s
    UNION
    SELECT r.ev_class
    FROM readers
    JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = readers.oid
        AND d.classid = 'pg_rewrite'::regclass
    JOIN pg_rewrite r ON r.oid = d.objid
    JOIN pg_class v ON v.oid = r.ev_class AND v.relkind IN ('v', 'm')
)
SELECT n.nspname, c.relname
FROM readers JOIN pg_class c USING (oid) JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('v', 'm')
"""


def staged_name(landing: Landing) -> str:
    """Name of the table with what open passes have brought."""
    return f"landing_staged_{landing.name}"


def prepare(
    connection: psycopg.Connection[Any], landings: Sequence[Landing], *, schema: str
) -> list[str]:
    """Make what is missing, in the open transaction; what was made, for people.

    Raises:
        LandingTableError: a table is somebody else's, a column has another type, or the role
            may not make what is missing.
        ConfigurationError: the server is too old.
    """
    refuse_old_server(connection.info.server_version)
    wanted = [
        *((schema, name) for name in _OWN_TABLES),
        *((schema, staged_name(landing)) for landing in landings),
        *(split_table(landing.table) for landing in landings),
    ]
    found = _read(connection, wanted)
    if _is_all_there(found, landings, schema=schema):
        return []
    # Two processes that begin at once make things one after the other.
    connection.execute(_LOCK)
    found = _read(connection, wanted)
    for landing in landings:
        _refuse(landing, found, schema=schema)
    statements = list(_statements(found, landings, schema=schema))
    for _, statement in statements:
        connection.execute(statement)
    return [told for told, _ in statements if told]


def refuse_old_server(version: int) -> None:
    """Refuse a server that knows no ``MERGE``.

    Raises:
        ConfigurationError: it is older than PostgreSQL 15.
    """
    if version < _OLDEST_SERVER:
        raise ConfigurationError(
            "landings need PostgreSQL 15 or later, and the source database has "
            f"{version // 10000}; nothing was changed.",
            remedy="Upgrade it, or leave `landings` out of the settings.",
        )


def views_over(connection: psycopg.Connection[Any], table: str) -> frozenset[tuple[str, str]]:
    """Schema and name of every view that reads a table, itself or through others.

    Args:
        connection: To the database of the table.
        table: As the settings name it; of one that is not there, none.
    """
    schema, name = split_table(table)
    with connection.cursor(row_factory=psycopg.rows.tuple_row) as cursor:
        return frozenset(cursor.execute(_VIEWS_OVER, {"schema": schema, "name": name}))


def _read(
    connection: psycopg.Connection[Any], wanted: Sequence[tuple[str, str]]
) -> dict[tuple[str, str], dict[str, Any]]:
    with connection.cursor(row_factory=psycopg.rows.dict_row) as cursor:
        rows = cursor.execute(
            _COLUMNS,
            {"schemas": [it[0] for it in wanted], "tables": [it[1] for it in wanted]},
        ).fetchall()
    return dict(zip(wanted, rows, strict=True))


def _is_all_there(
    found: Mapping[tuple[str, str], dict[str, Any]], landings: Sequence[Landing], *, schema: str
) -> bool:
    if not all(found[schema, name]["is_there"] for name in _OWN_TABLES):
        return False
    for landing in landings:
        staged, landed = found[schema, staged_name(landing)], found[split_table(landing.table)]
        if not (
            _has(staged, landing)
            and _has(landed, landing)
            and landed["comment"] == f"{MARK}{landing.name}"
        ):
            return False
    return True


def _has(relation: Mapping[str, Any], landing: Landing) -> bool:
    columns = relation["columns"]
    return bool(relation["is_there"]) and all(
        _spelled(columns.get(name)) == kind for name, kind in landing.column_types.items()
    )


def _spelled(kind: str | None) -> str | None:
    return None if kind is None else _SPELLINGS.get(kind, kind)


def _refuse(
    landing: Landing, found: Mapping[tuple[str, str], dict[str, Any]], *, schema: str
) -> None:
    place = split_table(landing.table)
    landed = found[place]
    quoted = sql.Identifier(*place).as_string()

    def refuse(reason: str, remedy: str) -> LandingTableError:
        return LandingTableError(
            landing=landing.name, table=landing.table, reason=reason, remedy=remedy
        )

    for where in (landed, found[schema, staged_name(landing)], found[schema, "landing_pass"]):
        if not where["is_there"] and not where["may_create"]:
            name = place[0] if where is landed else schema
            role = sql.Identifier(where["role"]).as_string()
            database = sql.Identifier(where["database"]).as_string()
            grant = (
                f"GRANT USAGE, CREATE ON SCHEMA {sql.Identifier(name).as_string()} TO {role}"
                if where["has_schema"]
                else f"GRANT CREATE ON DATABASE {database} TO {role}"
            )
            raise refuse(
                f"the role {role} may not make it",
                f"Let an owner run: `{grant}`. Nothing was changed.",
            )
    if not landed["is_there"]:
        return
    if landed["comment"] != f"{MARK}{landing.name}":
        whose = str(landed["comment"] or "").removeprefix(MARK)
        is_ours = str(landed["comment"] or "").startswith(MARK)
        raise refuse(
            f"it belongs to the landing {whose!r}" if is_ours else "no landing has made it",
            f"Name another table, or hand it over with `COMMENT ON TABLE {quoted} IS "
            f"'{MARK}{landing.name}'`: rows whose record does not come are deleted there."
            if is_ours
            else "Name a table that is not there yet: a landing makes its own, and deletes rows "
            "whose record is gone.",
        )
    for name, kind in landing.column_types.items():
        there = _spelled(landed["columns"].get(name))
        if there not in (None, kind):
            raise refuse(
                f"its column {name} is {there}, and the settings say {kind}",
                "Put the old type back, or name another table: a column is never retyped, for "
                "what reads it may depend on that.",
            )
    lacking = [name for name in landing.column_types if name not in landed["columns"]]
    if lacking and not landed["is_owned"]:
        raise refuse(
            f"it lacks {', '.join(lacking)}, and the role does not own it",
            "Let its owner run: `"
            + "; ".join(
                f"ALTER TABLE {quoted} ADD COLUMN {sql.Identifier(name).as_string()} "
                f"{landing.column_types[name]}"
                for name in lacking
            )
            + "`. Nothing was changed.",
        )


def _statements(
    found: Mapping[tuple[str, str], dict[str, Any]], landings: Sequence[Landing], *, schema: str
) -> Iterator[tuple[str, sql.Composed]]:
    schemas = [schema, *(split_table(landing.table)[0] for landing in landings)]
    has_schema = {place[0]: row["has_schema"] for place, row in found.items()}
    for name in dict.fromkeys(schemas):
        if not has_schema[name]:
            yield f"schema {name}", sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(name))
    for name, columns in _OWN_TABLES.items():
        if not found[schema, name]["is_there"]:
            table = sql.Identifier(schema, name)
            # Constants of this module.
            yield (
                f"table {schema}.{name}",
                sql.SQL("CREATE TABLE {} ({})").format(table, sql.SQL(columns)),
            )
            if name in _INDEXES:
                yield "", sql.SQL(_INDEXES[name]).format(table=table)
    for landing in landings:
        yield from _staged(found[schema, staged_name(landing)], landing, schema=schema)
        yield from _landed(found[split_table(landing.table)], landing)


def _staged(
    relation: Mapping[str, Any], landing: Landing, *, schema: str
) -> Iterator[tuple[str, sql.Composed]]:
    if _has(relation, landing):
        return
    table = sql.Identifier(schema, staged_name(landing))
    # What it holds was mapped otherwise: its pass begins anew.
    yield "", sql.SQL("DROP TABLE IF EXISTS {}").format(table)
    yield (
        f"table {schema}.{staged_name(landing)}",
        sql.SQL("CREATE UNLOGGED TABLE {} ({})").format(
            table, _columns({**STAGED_COLUMNS, **landing.column_types})
        ),
    )


def _landed(relation: Mapping[str, Any], landing: Landing) -> Iterator[tuple[str, sql.Composed]]:
    schema, name = split_table(landing.table)
    table = sql.Identifier(schema, name)
    if not relation["is_there"]:
        columns = _columns({**_LANDED_COLUMNS, **landing.column_types})
        yield (
            f"table {landing.table}",
            sql.SQL("CREATE TABLE {} ({})").format(table, columns),
        )
        mark = sql.Literal(f"{MARK}{landing.name}")
        yield "", sql.SQL("COMMENT ON TABLE {} IS {}").format(table, mark)
        if landing.key is not None:
            yield "", sql.SQL("CREATE INDEX ON {} (source_key)").format(table)
        return
    for column, kind in landing.column_types.items():
        if column not in relation["columns"]:
            added = _columns({column: kind})
            yield (
                f"column {column} of {landing.table}",
                sql.SQL("ALTER TABLE {} ADD COLUMN {}").format(table, added),
            )


def _columns(columns: Mapping[str, str]) -> sql.Composed:
    # Types are constants of ours, names may be anybody's.
    return sql.SQL(", ").join(
        sql.SQL("{} {}").format(sql.Identifier(name), sql.SQL(kind))
        for name, kind in columns.items()
    )
