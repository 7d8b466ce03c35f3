"""From file and environment to ``Settings``; nothing is read at import."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from sync_pipeline.core.errors import SettingsError
from sync_pipeline.settings import environments, keys
from sync_pipeline.settings.entities import repeated_name
from sync_pipeline.settings.environment import Environment, read_environment
from sync_pipeline.settings.environments import Overlay
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
    environment: str | None = None,
    env: Mapping[str, str] | None = None,
    overrides: Values | None = None,
) -> Settings:
    """Merge all sources and validate the result.

    Args:
        config: The YAML file; None: see ``find_config``.
        environment: Which of the file's environments; None: the one that ``SYNC_PIPELINE_ENV``
            names, or none.
        env: Environment variables; None: those of this process.
        overrides: Values that win over all others, shaped like the file:
            ``{"sync": {"max_deleted_fraction": 1}}``.

    Raises:
        SettingsError: naming every mistake of every source at once.
    """
    env = os.environ if env is None else env
    overrides = overrides or {}
    path = find_config(config=config, env=env)
    in_file, mistakes = ({}, []) if path is None else read_yaml_file(path)
    base, overlays, wrong_form = environments.take_out(in_file)
    chosen, unknown = environments.choose(overlays, option=environment, env=env)
    variables = read_environment(env)
    mistakes += [*wrong_form, *unknown, *variables.mistakes]
    laid = base if chosen is None else merge(base, chosen.values)
    expanded = environments.expand(laid, env=env)
    mistakes += environments.missing_variables(expanded.missing, chosen)
    spoken = environments.expand_connections(nested(variables.values), env=env)
    mistakes += environments.missing_variables(spoken.missing, None)
    merged = merge(merge(expanded.values, spoken.values), overrides)
    if chosen is not None:
        mistakes += environments.contradictions(
            chosen, in_file=expanded.values, environment=variables
        )
        stronger = (nested(variables.values), overrides)
        merged = environments.settled(merged, chosen, stronger=stronger)
    settings = _validated(
        merged,
        chosen,
        variables=_winning(variables, overrides),
        mistakes=mistakes,
        left_out={*expanded.missing, *spoken.missing},
    )
    others = _located(base, overlays, chosen, env=env, mistakes=mistakes)
    if settings is not None:
        mistakes += _too_near(settings, chosen, others=others)
    mistakes = list(dict.fromkeys(mistakes))
    if settings is None or mistakes:
        raise SettingsError(origin=_origin(path, variables), mistakes=mistakes)
    return settings.located(
        None if chosen is None else chosen.named, references=(*expanded.names, *spoken.names)
    )


def _validated(
    values: Values,
    overlay: Overlay | None,
    *,
    variables: Mapping[keys.Path, str],
    mistakes: list[str],
    left_out: Collection[keys.Path],
) -> Settings | None:
    """The settings; None where there is a mistake, which is added to ``mistakes``.

    Args:
        values: All sections.
        overlay: The environment.
        variables: Per value the variable that said it.
        mistakes: What is wrong so far.
        left_out: Values that are only missing because their variable is.
    """
    # `sync:` with every line below it commented out is null, and means nothing.
    present = {key: value for key, value in values.items() if value is not None}
    present, gone = without_gone(present, variables=variables)
    mistakes += gone

    def prefix(location: Sequence[int | str]) -> str:
        return environments.prefix_of(overlay, location)

    try:
        return Settings.model_validate(present)
    except ValidationError as error:
        mistakes += mistakes_of(error, variables=variables, prefix=prefix, left_out=left_out)
        mistakes += _also(present, error, prefix=prefix(("entities",)))
        return None


def _located(
    base: Values,
    overlays: Sequence[Overlay],
    chosen: Overlay | None,
    *,
    env: Mapping[str, str],
    mistakes: list[str],
) -> list[tuple[Overlay, Settings]]:
    """The settings of environments that are not chosen, as far as the file tells them.

    Their mistakes are added too, but not those that only a variable could mend.
    """
    located = []
    for overlay in overlays:
        if overlay is chosen:
            continue
        expanded = environments.expand(merge(base, overlay.values), env=env)
        values = environments.settled(expanded.values, overlay)
        wrong: list[str] = []
        settings = _validated(
            values, overlay, variables={}, mistakes=wrong, left_out=expanded.missing
        )
        mistakes += [line for line in wrong if line.startswith(f"{overlay.place}.")]
        if settings is not None and not expanded.missing:
            located.append((overlay, settings))
    return located


def _too_near(
    settings: Settings, chosen: Overlay | None, *, others: Sequence[tuple[Overlay, Settings]]
) -> list[str]:
    """Environments that would write what another one does."""
    located = {overlay.place: other for overlay, other in others}
    if chosen is not None:
        return environments.shared_places({chosen.place: settings, **located})
    mistakes = environments.shared_places(located)
    for overlay, other in others:
        what = environments.leads_into(settings, other) if overlay.is_protected else None
        if what is not None:
            mistakes.append(
                f"{overlay.place}: is protected, and without --env these settings lead to its "
                f"{what}; fix: say --env {overlay.name}, or unset the variable that leads there"
            )
    return mistakes


def find_config(*, config: Path | None, env: Mapping[str, str]) -> Path | None:
    """Choose the file: the given one, the one ``SYNC_PIPELINE_CONFIG`` names, or the local one.

    Only the local one, ``sync_pipeline.yaml`` in the current folder, may be missing.
    """
    if config is not None:
        return config
    if env.get(CONFIG_VARIABLE):
        return Path(env[CONFIG_VARIABLE])
    return DEFAULT_FILE if DEFAULT_FILE.exists() else None


def config_to_write(config: Path | None) -> Path:
    """The settings file that programs started here read, whether it is there or not."""
    return find_config(config=config, env=os.environ) or DEFAULT_FILE


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


def _also(values: Values, error: ValidationError, *, prefix: str) -> list[str]:
    """Find repeated entity names, which pydantic looks for only in entities without mistakes."""
    entities = values.get("entities")
    spoiled = any(
        len(details["loc"]) > 1 and details["loc"][0] == "entities" for details in error.errors()
    )
    if not spoiled or not isinstance(entities, list):
        return []
    names = [entity.get("name") for entity in entities if isinstance(entity, Mapping)]
    mistakes = [repeated_name(name) for name in repeated(names) if name is not None]
    return [f"{prefix}entities: {mistake.what}; fix: {mistake.fix}" for mistake in mistakes]


def _origin(path: Path | None, environment: Environment) -> str:
    sources = [] if path is None or path == Path(os.devnull) else [str(path)]
    if environment.variables or environment.mistakes or not sources:
        sources.append("the environment")
    return " and ".join(sources)
