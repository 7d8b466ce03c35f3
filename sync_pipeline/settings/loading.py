"""From file and environment to ``Settings``; nothing is read at import."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from sync_pipeline.core.errors import SettingsError
from sync_pipeline.settings import keys
from sync_pipeline.settings.entities import repeated_name
from sync_pipeline.settings.environment import Environment, read_environment
from sync_pipeline.settings.gone import without_gone
from sync_pipeline.settings.mistakes import mistakes_of
from sync_pipeline.settings.model import Settings
from sync_pipeline.settings.rules import repeated
from sync_pipeline.settings.sections import Section
from sync_pipeline.settings.yaml_file import read_yaml_file

CONFIG_VARIABLE: Final = "SYNC_PIPELINE_CONFIG"
DEFAULT_FILE: Final = Path("sync_pipeline.yaml")

Values = Mapping[Any, object]
"""Settings as a file has them: a mapping per section."""


def load_settings(
    *,
    config: Path | None = None,
    env: Mapping[str, str] | None = None,
    overrides: Values | None = None,
) -> Settings:
    """Merge all sources and validate the result.

    Args:
        config: The YAML file; None: see ``find_config``.
        env: Environment variables; None: those of this process.
        overrides: Values that win over all others, shaped like the file:
            ``{"sync": {"max_deleted_fraction": 1}}``.

    Raises:
        SettingsError: naming every mistake of every source at once.
    """
    env = os.environ if env is None else env
    path = find_config(config=config, env=env)
    in_file, mistakes = ({}, []) if path is None else read_yaml_file(path)
    environment = read_environment(env)
    mistakes += environment.mistakes
    merged = merge(merge(in_file, nested(environment.values)), overrides or {})
    # `sync:` with every line below it commented out is null, and means nothing.
    present = {key: value for key, value in merged.items() if value is not None}
    variables = _winning(environment, overrides or {})
    present, gone = without_gone(present, variables=variables)
    mistakes += gone
    try:
        settings = Settings.model_validate(present)
    except ValidationError as error:
        mistakes += mistakes_of(error, variables=variables) + _also(present, error)
        raise SettingsError(origin=_origin(path, environment), mistakes=mistakes) from None
    if mistakes:
        raise SettingsError(origin=_origin(path, environment), mistakes=mistakes)
    return settings


def find_config(*, config: Path | None, env: Mapping[str, str]) -> Path | None:
    """Choose the file: the given one, the one ``SYNC_PIPELINE_CONFIG`` names, or the local one.

    Only the local one, ``sync_pipeline.yaml`` in the current folder, may be missing.
    """
    if config is not None:
        return config
    if env.get(CONFIG_VARIABLE):
        return Path(env[CONFIG_VARIABLE])
    return DEFAULT_FILE if DEFAULT_FILE.exists() else None


def nested(values: Mapping[keys.Path, object]) -> dict[Any, object]:
    """Arrange values as a file has them."""
    result: dict[Any, object] = {}
    for path, value in values.items():
        *outer, last = path
        arranged = {last: value}
        for key in reversed(outer):
            arranged = {key: arranged}
        result = merge(result, arranged)
    return result


def merge(
    weaker: Values, stronger: Values, *, model: type[Section] = Settings
) -> dict[Any, object]:
    """Lay one source over another, key by key within a section, and within a section of that.

    A section of the weaker source that is no mapping stays, so that its mistake
    is reported. A mapping that is a value, such as ``search.weights``, is replaced as a whole.
    """
    merged = dict(weaker)
    fields = keys.fields_of(model)
    for key, value in stronger.items():
        below = merged.get(key)
        section = keys.own_section(fields[key]) if key in fields else None
        if not isinstance(value, Mapping) or below is None or section is None:
            merged[key] = value
        elif isinstance(below, Mapping):
            merged[key] = merge(below, value, model=section)
    return merged


def _winning(environment: Environment, overrides: Values) -> dict[keys.Path, str]:
    """Variables whose value was not overridden."""

    def is_overridden(path: keys.Path) -> bool:
        values: object = overrides
        for key in path:
            if not isinstance(values, Mapping) or key not in values:
                return False
            values = values[key]
        return True

    variables = environment.variables.items()
    return {path: name for path, name in variables if not is_overridden(path)}


def _also(values: Values, error: ValidationError) -> list[str]:
    """Find repeated entity names, which pydantic looks for only in entities without mistakes."""
    entities = values.get("entities")
    spoiled = any(
        len(details["loc"]) > 1 and details["loc"][0] == "entities" for details in error.errors()
    )
    if not spoiled or not isinstance(entities, list):
        return []
    names = [entity.get("name") for entity in entities if isinstance(entity, Mapping)]
    mistakes = [repeated_name(name) for name in repeated(names) if name is not None]
    return [f"entities: {mistake.what}; fix: {mistake.fix}" for mistake in mistakes]


def _origin(path: Path | None, environment: Environment) -> str:
    sources = [] if path is None else [str(path)]
    if environment.variables or environment.mistakes or not sources:
        sources.append("the environment")
    return " and ".join(sources)
