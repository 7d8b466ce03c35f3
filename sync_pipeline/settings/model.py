"""All settings together: frozen, because one run has one configuration."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Self
from urllib.parse import unquote

from pydantic import Field, PrivateAttr, model_validator

from sync_pipeline.core.entity import Entity
from sync_pipeline.core.environment import NamedEnvironment
from sync_pipeline.core.errors import UnknownLandingError
from sync_pipeline.core.hashing import digest
from sync_pipeline.core.landing.origin_options import MongoConnection, RestConnection
from sync_pipeline.core.landing.spec import Landing
from sync_pipeline.settings.budget import BudgetSettings
from sync_pipeline.settings.connections import (
    Connections,
    MongoConnectionSettings,
    RestConnectionSettings,
)
from sync_pipeline.settings.entities import DEFAULT_ENTITIES, Entities
from sync_pipeline.settings.landed_tables import mistakes_between
from sync_pipeline.settings.landings import AnyLanding, AnyLandingSettings, told_kinds
from sync_pipeline.settings.providers import (
    AnyEmbedding,
    OpenAIModel,
    SentenceTransformersEmbedding,
)
from sync_pipeline.settings.rules import BM25_VECTOR, Mistake, refusal, refuse_all
from sync_pipeline.settings.sections import (
    AlertSettings,
    DagsterSettings,
    IndexSettings,
    LoggingSettings,
    ScaleSettings,
    ScheduleSettings,
    ScopeSettings,
    SearchSettings,
    Section,
    ServiceSettings,
    SourceSettings,
    StagingSettings,
    StateSettings,
    SyncSettings,
    TracingSettings,
)
from sync_pipeline.settings.urls import (
    EDGE_PREFIX,
    dagster_storage_url,
    passwords_of,
    psycopg2_url,
    psycopg_url,
)


class Settings(Section):
    """Everything that can be set. ``load_settings`` makes one from the files and variables."""

    home: Path = Path(".sync-pipeline")
    """Folder for everything embedded: `postgres/`, `index/`, `staging/` and `dagster/` in it."""
    source: SourceSettings = SourceSettings()
    state: StateSettings = StateSettings()
    index: IndexSettings = IndexSettings()
    embedding: AnyEmbedding = SentenceTransformersEmbedding()
    budget: BudgetSettings = BudgetSettings()
    search: SearchSettings = SearchSettings()
    sync: SyncSettings = SyncSettings()
    scopes: ScopeSettings = ScopeSettings()
    schedule: ScheduleSettings = ScheduleSettings()
    staging: StagingSettings = StagingSettings()
    dagster: DagsterSettings = DagsterSettings()
    scale: ScaleSettings = ScaleSettings()
    logging: LoggingSettings = LoggingSettings()
    tracing: TracingSettings = TracingSettings()
    alerts: AlertSettings = AlertSettings()
    service: ServiceSettings = ServiceSettings()
    connections: Connections = Field(default={})
    """Other systems whose records land in tables of the source database, by names of your own."""
    landings: tuple[AnyLanding, ...] = ()
    """Which of their records land in which tables; an entity then names such a table."""
    entities: Entities = DEFAULT_ENTITIES
    """The source tables."""

    _environment: NamedEnvironment | None = PrivateAttr(default=None)
    _references: tuple[str, ...] = PrivateAttr(default=())

    @model_validator(mode="before")
    @classmethod
    def _knows_kinds_of_landings(cls, values: Any) -> Any:
        return told_kinds(values)

    @model_validator(mode="after")
    def _lands_as_it_is_read(self) -> Self:
        refuse_all("settings", mistakes_between(self.connections, self.landings, self.entities))
        return self

    @model_validator(mode="after")
    def _weighs_what_there_is(self) -> Self:
        known = (*self.views, BM25_VECTOR)
        unknown = [name for name in self.search.weights if name not in known]
        if unknown:
            raise refusal(
                Mistake(
                    f"search.weights names {unknown[0]!r}, which no entity has as a view",
                    f"choose from {', '.join(known)}",
                )
            )
        return self

    @model_validator(mode="after")
    def _names_models_that_there_are(self) -> Self:
        for entity in self.entities:
            for name, view in entity.view_settings.items():
                if view.model is not None and view.model not in self.embedding.models:
                    known = ", ".join(sorted(self.embedding.models)) or "none so far"
                    raise refusal(
                        Mistake(
                            f"view {name!r} of {entity.name} asks for the model {view.model!r}, "
                            "which embedding.models does not name",
                            f"add it there; there are: {known}",
                        )
                    )
        return self

    def located(
        self, environment: NamedEnvironment | None, *, references: tuple[str, ...] = ()
    ) -> Self:
        """The same settings, as those of an environment of the file.

        Args:
            environment: Which one; None for none.
            references: Variables that the file itself names as ``${NAME}``.
        """
        settings = self.model_copy()
        settings._environment, settings._references = environment, references  # noqa: SLF001 - its own
        return settings

    @property
    def environment(self) -> NamedEnvironment | None:
        """The environment of the file that these are the settings of; None where none is chosen."""
        return self._environment

    @property
    def references(self) -> tuple[str, ...]:
        """Variables that the file itself names; other processes need them too."""
        return self._references

    @property
    def view_models(self) -> dict[str, str]:
        """Per view with a model of its own the name of that model."""
        return {
            name: view.model
            for entity in self.entities
            for name, view in entity.view_settings.items()
            if view.model is not None
        }

    @property
    def postgres_path(self) -> Path:
        """Folder of the embedded PostgreSQL."""
        return self._home / "postgres"

    @property
    def index_path(self) -> Path:
        """Folder of the embedded index, where ``index.url`` names no other."""
        return self._home / "index"

    @property
    def staging_path(self) -> Path:
        """Folder of staged files, where ``staging.url`` names no other."""
        return self._home / "staging"

    @property
    def runtimes_path(self) -> Path:
        """Folder of what is known about the runtimes of models on this machine."""
        return self._home / "runtimes"

    @property
    def dagster_path(self) -> Path:
        """``DAGSTER_HOME``."""
        return self._home / "dagster"

    @property
    def source_url(self) -> str | None:
        """The source for psycopg 3, password included; None: the embedded PostgreSQL."""
        url = self.source.url
        return None if url is None else psycopg_url(url.get_secret_value())

    @property
    def state_url(self) -> str | None:
        """The state database for psycopg 3, password included; None: the embedded PostgreSQL."""
        url = self.state.url
        return self.source_url if url is None else psycopg_url(url.get_secret_value())

    @property
    def dagster_url(self) -> str | None:
        """Dagster's storage for psycopg 2, password included.

        None: the embedded PostgreSQL; pass its URL to ``urls.dagster_storage_url``.
        """
        url = self.dagster.storage_url
        if url is not None:
            return psycopg2_url(url.get_secret_value())
        return None if self.state_url is None else dagster_storage_url(self.state_url)

    @property
    def index_url(self) -> str:
        """``edge:PATH`` or ``http(s)://...``, the default filled in."""
        return self.index.url or f"{EDGE_PREFIX}{self.index_path}"

    @property
    def embedded_index_path(self) -> Path | None:
        """The folder of an embedded index, one process at a time; None where a server has it."""
        path = self.index_url.removeprefix(EDGE_PREFIX)
        return None if path == self.index_url else Path(path)

    @property
    def staging_url(self) -> str:
        """Folder or object-store URL, the default filled in."""
        return self.staging.url or str(self.staging_path)

    @property
    def broker_url(self) -> str | None:
        """Where Celery's tasks wait, password included."""
        url = self.scale.broker_url
        return None if url is None else url.get_secret_value()

    @property
    def result_url(self) -> str | None:
        """Where Celery's answers are left, the default filled in."""
        url = self.scale.result_url
        if url is not None:
            return url.get_secret_value()
        broker = self.broker_url
        return broker if broker is None or broker.startswith(("redis", "sentinel")) else "rpc://"

    @property
    def bound_to_one_machine(self) -> tuple[str, ...]:
        """Keys whose value leads somewhere else on every machine, where there are several."""
        if not self.scale.is_on_many_machines:
            return ()
        is_bound = {
            "source.url": self.source_url is None,
            "index.url": self.embedded_index_path is not None,
            "staging.url": not (self.scale.shares_folders or "://" in self.staging_url),
        }
        return tuple(key for key, bound in is_bound.items() if bound)

    @property
    def secret_values(self) -> list[str]:
        """Every key and password, for redaction; of an address its password."""
        urls = (
            self.source.url,
            self.state.url,
            self.dagster.storage_url,
            self.alerts.smtp_url,
            self.scale.broker_url,
            self.scale.result_url,
        )
        keys = (
            self.index.api_key,
            self.embedding.api_key,
            *(
                model.api_key
                for model in (*self.embedding.models.values(), *self.embedding.fallbacks)
                if isinstance(model, OpenAIModel)
            ),
            self.alerts.webhook_url,
            self.service.secret,
        )
        connections = [it for found in self.connections.values() for it in found.secret_values]
        addresses = [url.get_secret_value() for url in urls if url is not None]
        passwords = [password for url in addresses for password in passwords_of(url)]
        return [
            *(part for password in passwords for part in {password, unquote(password)} if part),
            *(key.get_secret_value() for key in keys if key is not None),
            *connections,
        ]

    @property
    def core_entities(self) -> tuple[Entity, ...]:
        """The entities as the engine works with them."""
        return tuple(entity.as_entity() for entity in self.entities)

    @property
    def core_landings(self) -> tuple[Landing, ...]:
        """The landings as the engine works with them."""
        return tuple(landing.as_landing() for landing in self.landings)

    def landing(self, name: str) -> AnyLandingSettings:
        """A landing by its name: a ``RestLanding``, ``MongoLanding`` or ``TableLanding``.

        ``as_landing`` and ``as_request`` of it are what the engine and the adapter take.

        Raises:
            UnknownLandingError: there is none of this name.
        """
        for landing in self.landings:
            if landing.name == name:
                return landing
        raise UnknownLandingError(name=name, known=[landing.name for landing in self.landings])

    def rest_connection(self, name: str) -> RestConnection:
        """The connection of a ``RestLanding``, secrets in clear; for its adapter.

        Raises:
            KeyError: there is none of this kind, which the settings have ruled out.
        """
        found = self.connections.get(name)
        if not isinstance(found, RestConnectionSettings):
            raise KeyError(name)
        return found.as_connection(name)

    def mongo_connection(self, name: str) -> MongoConnection:
        """The connection of a ``MongoLanding``, password in clear; for its adapter.

        Raises:
            KeyError: there is none of this kind, which the settings have ruled out.
        """
        found = self.connections.get(name)
        if not isinstance(found, MongoConnectionSettings):
            raise KeyError(name)
        return found.as_connection(name)

    @property
    def views(self) -> tuple[str, ...]:
        """Every view of any entity, in order of first use: the named vectors of the index."""
        return tuple(dict.fromkeys(view for entity in self.entities for view in entity.views))

    def fingerprint(self) -> str:
        """Hash everything but keys and passwords, for run tags: 32 hexadecimal digits."""
        shown = json.loads(self.model_dump_json(by_alias=True))
        if self._environment is not None:
            shown["environment"] = str(self._environment)
        return digest(json.dumps(shown, sort_keys=True))

    @property
    def _home(self) -> Path:
        return self.home.expanduser().absolute()
