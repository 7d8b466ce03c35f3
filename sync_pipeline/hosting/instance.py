"""Dagster's instance: its folder, its settings, its tables."""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import dagster as dg
import sqlalchemy as sa
import yaml
from dagster_postgres.utils import DagsterPostgresException
from psycopg import errors

from sync_pipeline.core.capacity import schema_lost, storage_trouble
from sync_pipeline.core.connecting import settings_fault
from sync_pipeline.core.errors import (
    ConfigurationError,
    OutOfSpaceError,
    StateEncodingError,
    SyncPipelineError,
)
from sync_pipeline.defs.celery_options import RUNS_QUEUE, celery_options
from sync_pipeline.defs.dagster_private import (
    NO_OUTPUT_CAPTURE,
    InstanceRef,
    notice_lost_connections,
    remember_tables,
)
from sync_pipeline.settings import Settings
from sync_pipeline.settings.environments import CHOICE_VARIABLE
from sync_pipeline.settings.keys import PREFIX, WELL_KNOWN
from sync_pipeline.settings.loading import CONFIG_VARIABLE
from sync_pipeline.settings.urls import DAGSTER_SCHEMA, names_dagster_schema

if TYPE_CHECKING:
    from sync_pipeline.wiring import Installation

HOME_VARIABLE: Final = "DAGSTER_HOME"
URL_VARIABLE: Final = "SYNC_PIPELINE_DAGSTER_URL"
BROKER_VARIABLE: Final = "SYNC_PIPELINE_BROKER_URL"
RESULT_VARIABLE: Final = "SYNC_PIPELINE_RESULT_URL"
PASSED_ON: Final = (
    *WELL_KNOWN, PREFIX, CONFIG_VARIABLE, CHOICE_VARIABLE, "AWS_", "GOOGLE_", "OTEL_",
)  # fmt: skip
"""How the variables begin that containers of runs need: our settings, keys of object stores,
and how traces are sent."""
FILE_NAME: Final = "dagster.yaml"


def prepare_instance(
    installation: Installation, *, environment: Mapping[str, str]
) -> dict[str, str]:
    """Make everything that Dagster's processes expect to find.

    The folder with its ``dagster.yaml``, and the schema of its tables. A
    ``DAGSTER_HOME`` in the environment is used as it is.

    Args:
        installation: Where the folder and the database are.
        environment: Of the process that is going to start Dagster.

    Returns:
        Variables to add to that environment. One is a URL with its password.

    Raises:
        ConfigurationError: the folder cannot be written.
        SourceUnavailableError: the database cannot be reached.
    """
    url = installation.dagster_storage_url
    chosen_home = environment.get(HOME_VARIABLE)
    settings = installation.settings
    home = Path(chosen_home) if chosen_home else settings.dagster_path
    if not chosen_home:
        _write_settings(home, text=instance_settings(settings, environment=environment))
    _create_schema(url)
    celery = {BROKER_VARIABLE: settings.broker_url, RESULT_VARIABLE: settings.result_url}
    return {
        HOME_VARIABLE: str(home.absolute()),
        URL_VARIABLE: url,
        "DAGSTER_DISABLE_TELEMETRY": "1",
        **{name: value for name, value in celery.items() if value is not None},
    }


@contextmanager
def open_instance(
    installation: Installation, *, environment: Mapping[str, str]
) -> Iterator[dg.DagsterInstance]:
    """Open the instance in this process, for runs that are executed here.

    It keeps a few connections instead of making a new one for every event, and
    does not capture output: the terminal belongs to the command line.

    Raises:
        SourceUnavailableError: Dagster's database cannot be reached, now or later on.
    """
    variables = prepare_instance(installation, environment=environment)
    with _storage_errors(installation.dagster_storage_url):
        with _environment(variables):
            reference = InstanceRef.from_dir(variables[HOME_VARIABLE], overrides=NO_OUTPUT_CAPTURE)
            instance = dg.DagsterInstance.from_ref(reference)
        with instance:
            instance.optimize_for_webserver(
                statement_timeout=60_000, pool_recycle=3600, max_overflow=4
            )
            remember_tables(instance)
            notice_lost_connections(instance)
            yield instance


def instance_settings(settings: Settings, *, environment: Mapping[str, str]) -> str:
    """Text of the ``dagster.yaml`` that we ship, with what the settings say.

    Args:
        settings: How many runs at once, who executes them, and how long they may wait for that.
        environment: Containers of runs are given those of its variables that settings read.
    """
    text = shipped_settings()
    for key, number in (
        ("max_concurrent_runs", settings.schedule.max_concurrent_runs),
        ("start_timeout_seconds", settings.scale.seconds_to_start),
    ):
        text = re.sub(rf"(?<={key}: )\d+", str(number), text, count=1)
    launcher = _launcher(settings, environment=environment)
    if launcher is None:
        return text
    return f"{text}\n{yaml.safe_dump({'run_launcher': launcher}, sort_keys=False)}"


def _launcher(settings: Settings, *, environment: Mapping[str, str]) -> dict[str, Any] | None:
    """Who executes whole runs; None: a process that Dagster starts on its own machine.

    On Kubernetes Dagster's chart writes that itself, with what it knows of the cluster.
    """
    scale = settings.scale
    if scale.executor == "celery":
        config: dict[str, Any] = {
            "broker": {"env": BROKER_VARIABLE},
            "backend": {"env": RESULT_VARIABLE},
            "default_queue": RUNS_QUEUE,
            "config_source": celery_options(default_queue=RUNS_QUEUE),
        }
        module, name = "sync_pipeline.hosting.celery_launcher", "CeleryRunLauncher"
    elif scale.executor == "docker":
        passed_on = sorted(
            name
            for name in environment
            if name.startswith(PASSED_ON) or name in settings.references
        )
        config = {
            "image": scale.image,
            "env_vars": [HOME_VARIABLE, URL_VARIABLE, *passed_on],
            **({"network": scale.network} if scale.network else {}),
        }
        module, name = "dagster_docker", "DockerRunLauncher"
    else:
        return None
    return {"module": module, "class": name, "config": config}


def shipped_settings() -> str:
    """Text of the ``dagster.yaml`` that we ship."""
    packaged = resources.files("sync_pipeline") / FILE_NAME
    # In a checkout the file stands at its top; the wheel has it in the package.
    file = packaged if packaged.is_file() else Path(__file__).parents[2] / FILE_NAME
    return file.read_text(encoding="utf-8")


def _write_settings(home: Path, *, text: str) -> None:
    target = home / FILE_NAME
    try:
        home.mkdir(parents=True, exist_ok=True)
        if target.exists() and target.read_text(encoding="utf-8") == text:
            return
        # Replaced in one step: a daemon may be reading it. Not named by process: in containers that
        # share the folder each is number 1.
        draft = target.with_name(f"{FILE_NAME}.{uuid.uuid4().hex}")
        draft.write_text(text, encoding="utf-8")
        draft.replace(target)
    except OSError as error:
        raise ConfigurationError(
            f"Dagster's folder {home} cannot be written: {error.strerror}. Set `DAGSTER_HOME` or "
            "`SYNC_PIPELINE_HOME` to a folder that you may write."
        ) from error


def _create_schema(url: str) -> None:
    """Create the schema that the URL's search path names, if it names ours.

    Raises:
        ConfigurationError: a pooler loses the search path: tables would lie among others.
    """
    parsed = sa.make_url(url)
    if not names_dagster_schema(url):
        return
    engine = sa.create_engine(parsed, poolclass=sa.NullPool)
    with _storage_errors(url), engine.begin() as connection:
        if connection.scalar(sa.text("SHOW search_path")) != DAGSTER_SCHEMA:
            raise schema_lost(_place(parsed), schema=DAGSTER_SCHEMA)
        existing = connection.scalar(
            sa.text("SELECT 1 FROM pg_namespace WHERE nspname = :name"), {"name": DAGSTER_SCHEMA}
        )
        # Only then: even IF NOT EXISTS needs a right that the role may lack.
        if existing is not None:
            return
        # Processes of a deployment start together: while another one makes it, IF NOT EXISTS
        # waits, and then fails (PostgreSQL 18).
        with suppress(sa.exc.IntegrityError):
            connection.execute(sa.schema.CreateSchema(DAGSTER_SCHEMA, if_not_exists=True))


@contextmanager
def _storage_errors(url: str) -> Iterator[None]:
    try:
        yield
    except (sa.exc.DBAPIError, DagsterPostgresException) as error:
        ours = _translate(error, url=url)
        if ours is None:
            raise
        raise ours from error


def _place(url: sa.URL) -> str:
    return f"{url.host or 'a local socket'}, database {url.database}"


def _translate(
    error: sa.exc.DBAPIError | DagsterPostgresException, *, url: str
) -> SyncPipelineError | None:
    """Name what Dagster's database does not do; None for what only Dagster can explain."""
    where = _place(sa.make_url(url))
    cause = error if isinstance(error, sa.exc.DBAPIError) else error.__cause__
    said = str(getattr(cause, "orig", cause))
    state = getattr(getattr(cause, "orig", None), "pgcode", None)
    if state == errors.UntranslatableCharacter.sqlstate:
        return StateEncodingError(
            f"Dagster's database at {where} has an encoding that lacks a character of a tenant, so "
            "its runs have no place there.",
            setting="`dagster.storage_url` or `state.url`",
        )
    if state == errors.ReadOnlySqlTransaction.sqlstate:
        return ConfigurationError(
            f"Dagster's database at {where} accepts no writes: it is a standby or set to read "
            "only, so no run can be recorded.",
            remedy="Point `dagster.storage_url` or `state.url` (`DATABASE_URL` where neither is "
            "set) at the primary.",
        )
    if state == errors.InsufficientPrivilege.sqlstate:
        return ConfigurationError(
            f"Dagster's database at {where} refuses its tables to the role: "
            f"{said.splitlines()[0]}.",
            remedy="Let an owner grant the role what it lacks, or name the role that owns them in "
            "`dagster.storage_url`.",
        )
    if state == errors.DiskFull.sqlstate:
        return OutOfSpaceError(
            f"the disk of Dagster's database at {where} is full.",
            remedy="Make room and run again; what was recorded before stays.",
        )
    reason = said if state is None else None
    is_outage = isinstance(error, sa.exc.OperationalError | DagsterPostgresException)
    if is_outage or (reason is not None and settings_fault(reason) is not None):
        schema = DAGSTER_SCHEMA if names_dagster_schema(url) else None
        return storage_trouble(reason, where=where, schema=schema)
    return None


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Dagster reads `{env: NAME}` from this process's environment while an instance is made."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
