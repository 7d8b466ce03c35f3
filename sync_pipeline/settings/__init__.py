"""The only reader of the environment and of the settings file.

``load_settings`` merges what was asked for, from the strongest to the weakest:
explicit overrides, ``SYNC_PIPELINE__SECTION__KEY`` variables, the names people
already have (``DATABASE_URL``, ...), the YAML file, the defaults. It is plain
pydantic rather than pydantic-settings: that stops at the first variable it
cannot parse and forgets which variable a value came from, and takes 0.1 s more
to import.

To add a setting, add a field with a docstring to a section in ``sections``; its
variable, its reference page and its line in the example file follow from it
(``python docs/generate.py``).
"""

from sync_pipeline.settings.connections import MongoConnectionSettings, RestConnectionSettings
from sync_pipeline.settings.entities import CriterionSettings, EntitySettings, ViewSettings
from sync_pipeline.settings.landings import (
    AnyLandingSettings,
    LandingSettings,
    MongoLanding,
    RestLanding,
    TableLanding,
)
from sync_pipeline.settings.loading import config_to_write, find_config, load_settings
from sync_pipeline.settings.model import Settings
from sync_pipeline.settings.providers import (
    EmbeddingSettings,
    HashingEmbedding,
    OpenAIEmbedding,
    SentenceTransformersEmbedding,
)
from sync_pipeline.settings.sections import (
    AlertSettings,
    DagsterSettings,
    IndexSettings,
    ScheduleSettings,
    ScopeSettings,
    SearchSettings,
    ServiceSettings,
    SourceSettings,
    StagingSettings,
    StateSettings,
    SyncSettings,
)
from sync_pipeline.settings.urls import (
    DatabaseUrl,
    dagster_storage_url,
    mask_url,
    psycopg2_url,
    psycopg_url,
)

__all__ = [
    "AlertSettings",
    "AnyLandingSettings",
    "CriterionSettings",
    "DagsterSettings",
    "DatabaseUrl",
    "EmbeddingSettings",
    "EntitySettings",
    "HashingEmbedding",
    "IndexSettings",
    "LandingSettings",
    "MongoConnectionSettings",
    "MongoLanding",
    "OpenAIEmbedding",
    "RestConnectionSettings",
    "RestLanding",
    "ScheduleSettings",
    "ScopeSettings",
    "SearchSettings",
    "SentenceTransformersEmbedding",
    "ServiceSettings",
    "Settings",
    "SourceSettings",
    "StagingSettings",
    "StateSettings",
    "SyncSettings",
    "TableLanding",
    "ViewSettings",
    "config_to_write",
    "dagster_storage_url",
    "find_config",
    "load_settings",
    "mask_url",
    "psycopg2_url",
    "psycopg_url",
]
