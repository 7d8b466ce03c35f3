"""Errors of the database become ours, named by consequence, without secrets or rows."""

from __future__ import annotations

import traceback

import psycopg
import pytest
from psycopg import errors
from sqlalchemy import Engine, text

from sync_pipeline.core.errors import (
    ConfigurationError,
    OutOfSpaceError,
    PermanentError,
    SourceUnavailableError,
    SyncPipelineError,
    TransientError,
)
from sync_pipeline.core.retrying import Retries
from sync_pipeline.database.engine import Database, make_engine, psycopg_of
from sync_pipeline.database.errors import Place, translate
from sync_pipeline.database.urls import describe_url, driver_url, parse_url

SECRET = "p4ssw0rd"
AT_ONCE = Retries(attempts=1)
PLACE = Place(
    url=parse_url(f"postgresql://writer:{SECRET}@db.example:5433/catalogue"), schema="sync_pipeline"
)


def database(engine: Engine, retries: Retries = AT_ONCE) -> Database:
    return Database(engine, schema="sync_pipeline", retries=retries)


def run(engine: Engine, statement: str) -> None:
    database(engine).run("testing", lambda it: it.execute(text(statement)))


@pytest.mark.parametrize(
    ("error", "ours"),
    [
        pytest.param(errors.SerializationFailure, TransientError, id="serialisation failure"),
        pytest.param(errors.DeadlockDetected, TransientError, id="deadlock"),
        pytest.param(errors.LockNotAvailable, TransientError, id="lock timeout"),
        pytest.param(errors.TooManyConnections, TransientError, id="too many connections"),
        pytest.param(errors.OutOfMemory, TransientError, id="server out of memory"),
        pytest.param(errors.AdminShutdown, SourceUnavailableError, id="shutdown"),
        pytest.param(errors.CrashShutdown, SourceUnavailableError, id="crash"),
        pytest.param(errors.CannotConnectNow, SourceUnavailableError, id="starting up"),
        pytest.param(errors.ConnectionFailure, SourceUnavailableError, id="connection failure"),
        pytest.param(psycopg.OperationalError, SourceUnavailableError, id="connection lost"),
        pytest.param(psycopg.InterfaceError, SourceUnavailableError, id="connection closed"),
        pytest.param(errors.DiskFull, OutOfSpaceError, id="disk full"),
        pytest.param(errors.InsufficientPrivilege, ConfigurationError, id="permission"),
        pytest.param(errors.ReadOnlySqlTransaction, ConfigurationError, id="standby"),
        pytest.param(errors.UndefinedTable, ConfigurationError, id="not migrated"),
        pytest.param(errors.InvalidPassword, ConfigurationError, id="password"),
        pytest.param(errors.InvalidCatalogName, ConfigurationError, id="no such database"),
        pytest.param(errors.UniqueViolation, PermanentError, id="constraint"),
        pytest.param(psycopg.DataError, PermanentError, id="data that cannot be sent"),
    ],
)
def test_errors_are_named_by_consequence(
    error: type[psycopg.Error], ours: type[SyncPipelineError]
) -> None:
    translated = translate(error("DETAIL: Key (email)=(a@b) exists"), place=PLACE, doing="testing")

    assert type(translated) is ours
    assert "db.example:5433, database catalogue" in str(translated)
    assert SECRET not in str(translated)
    assert error.sqlstate is None or "a@b" not in str(translated)


def test_a_permission_error_says_what_to_grant() -> None:
    message = str(translate(errors.InsufficientPrivilege(), place=PLACE, doing="testing"))

    assert 'GRANT CREATE ON DATABASE "catalogue" TO "writer"' in message
    assert 'GRANT USAGE, CREATE ON SCHEMA "sync_pipeline" TO "writer"' in message
    assert 'ON ALL TABLES IN SCHEMA "sync_pipeline" TO "writer"' in message


def test_a_server_that_is_not_there_is_unavailable_and_named() -> None:
    engine = make_engine(f"postgresql://writer:{SECRET}@127.0.0.1:1/catalogue")

    with pytest.raises(
        SourceUnavailableError,
        match=r"127\.0\.0\.1:1, database catalogue cannot be reached while testing: .*refused",
    ) as caught:
        run(engine, "SELECT 1")

    assert SECRET not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"database": "nowhere"}, id="no such database"),
        pytest.param({"username": "nobody"}, id="no such role"),
    ],
)
def test_a_login_that_cannot_work_is_a_configuration_error(
    postgres_url: str, change: dict[str, str]
) -> None:
    url = parse_url(postgres_url).set(**change).render_as_string(hide_password=False)  # type: ignore[arg-type]  # one field each
    engine = make_engine(url)

    with pytest.raises(ConfigurationError, match=r"refuses the login: .*does not exist"):
        run(engine, "SELECT 1")


def test_missing_tables_lead_to_migrate(engine: Engine) -> None:
    with pytest.raises(ConfigurationError, match="Run `sync-pipeline migrate`"):
        run(engine, "SELECT * FROM sync_pipeline.no_such_table")


def test_values_of_rows_reach_no_message_and_no_traceback(engine: Engine) -> None:
    with pytest.raises(
        PermanentError,
        match="CheckViolation, SQLSTATE 23514, table index_state, constraint index_state_scope",
    ) as caught:
        run(
            engine,
            "INSERT INTO sync_pipeline.index_state (collection, document_id, point_id, scope,"
            " scope_key, entity_type, db_id, status) VALUES"
            " ('c', 'canary-7351', gen_random_uuid(), 'nobody', 'x', 'm', '1', 'synced')",
        )

    assert "canary-7351" not in _without_source(caught.value)


def test_values_sent_by_the_driver_reach_no_traceback(engine: Engine) -> None:
    secret = "canary-7352"

    with pytest.raises(PermanentError, match="SQLSTATE 22P02") as caught:
        database(engine).run(
            "testing", lambda it: psycopg_of(it).execute("SELECT %s::text::uuid", [secret])
        )

    assert secret not in "".join(traceback.format_exception(caught.value))


def test_a_connection_cut_while_idle_is_replaced_unnoticed(engine: Engine) -> None:
    run(engine, "SELECT 1")
    cut_connections(engine)

    run(engine, "SELECT 1")


def test_a_connection_cut_in_the_middle_is_tried_again(engine: Engine) -> None:
    attempts = []

    def work(connection: object) -> int:
        attempts.append(connection)
        if len(attempts) == 1:
            cut_connections(engine)
        value: int = connection.scalar(text("SELECT 42"))  # type: ignore[attr-defined]  # a Connection
        return value

    quick = Retries(first_wait_seconds=0.01, jitter_seconds=0)
    found = database(engine, quick).run("testing", work)

    assert (found, len(attempts)) == (42, 2)


def test_attempts_end(engine: Engine) -> None:
    attempts = []

    def work(_: object) -> None:
        attempts.append(1)
        raise errors.DeadlockDetected

    quick = Retries(attempts=3, first_wait_seconds=0.01, jitter_seconds=0)
    with pytest.raises(TransientError, match="DeadlockDetected"):
        database(engine, quick).run("testing", work)

    assert len(attempts) == 3


def test_what_cannot_be_cured_is_not_tried_again(engine: Engine) -> None:
    attempts = []

    def work(_: object) -> None:
        attempts.append(1)
        raise errors.UniqueViolation

    with pytest.raises(PermanentError, match="UniqueViolation"):
        database(engine, Retries()).run("testing", work)

    assert len(attempts) == 1


def test_a_failed_attempt_leaves_nothing_behind(engine: Engine) -> None:
    def work(connection: object) -> None:
        connection.execute(text("CREATE TABLE half_done (id int)"))  # type: ignore[attr-defined]  # a Connection
        raise errors.UniqueViolation

    with pytest.raises(PermanentError, match="UniqueViolation"):
        database(engine).run("testing", work)

    with engine.connect() as connection:
        assert connection.scalar(text("SELECT to_regclass('half_done')")) is None


def test_sessions_speak_utc_and_say_who_they_are(engine: Engine) -> None:
    with engine.connect() as connection:
        zone = connection.scalar(text("SHOW timezone"))
        name = connection.scalar(text("SHOW application_name"))

    assert (zone, name) == ("UTC", "sync-pipeline")


@pytest.mark.parametrize(
    "url",
    [
        pytest.param("mysql://u:p4ssw0rd@h/d", id="another database"),
        pytest.param("u:p4ssw0rd@h", id="no scheme"),
        pytest.param("postgresql://u:p4ssw0rd@h:port/d", id="port is not a number"),
    ],
)
def test_a_url_that_is_not_one_of_postgresql_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(ConfigurationError, match="not one of PostgreSQL") as caught:
        make_engine(url)

    assert SECRET not in "".join(traceback.format_exception(caught.value))


def test_spaces_of_the_options_reach_libpq_and_plus_signs_stay() -> None:
    url = "postgresql://u@h/d?options=-csearch_path%3Da%20-cjit%3Doff&application_name=a%2Bb"

    words = psycopg.conninfo.conninfo_to_dict(driver_url(url, "libpq"))

    assert words["options"] == "-csearch_path=a -cjit=off"
    assert words["application_name"] == "a+b"


@pytest.mark.parametrize(
    ("driver", "expected"),
    [
        pytest.param("psycopg", "postgresql+psycopg://u:a%40b@h:5432/d?sslmode=require", id="ours"),
        pytest.param(
            "psycopg2", "postgresql+psycopg2://u:a%40b@h:5432/d?sslmode=require", id="Dagster's"
        ),
        pytest.param("libpq", "postgresql://u:a%40b@h:5432/d?sslmode=require", id="psql's"),
    ],
)
def test_one_url_is_spelled_for_each_driver(driver: str, expected: str) -> None:
    for given in ("postgres", "postgresql", "postgresql+psycopg", "postgresql+psycopg2"):
        url = f"{given}://u:a%40b@h:5432/d?sslmode=require"
        assert driver_url(url, driver) == expected  # type: ignore[arg-type]  # one of the drivers


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        pytest.param("postgresql://u:p@h:5433/d", "h:5433, database d", id="server"),
        pytest.param("postgresql:///d?host=/run/x", "/run/x, database d", id="socket"),
        pytest.param("postgresql://", "local socket, database default", id="defaults"),
    ],
)
def test_an_address_is_described_without_user_and_password(url: str, expected: str) -> None:
    assert describe_url(parse_url(url)) == expected


def _without_source(error: BaseException) -> str:
    """Messages of an error and of what a traceback shows as its causes."""
    told = str(error)
    if error.__cause__ is not None:
        told += _without_source(error.__cause__)
    if error.__context__ is not None and not error.__suppress_context__:
        told += _without_source(error.__context__)
    return told


def cut_connections(engine: Engine) -> None:
    """End every other session of the test's database, as an administrator or a restart does."""
    url = driver_url(engine.url.render_as_string(hide_password=False), "libpq")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
