"""Which keys there are, where they are in a file, and what their variables are called."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, get_args, get_origin

from sync_pipeline.settings.model import Settings
from sync_pipeline.settings.sections import Section

Path = tuple[str, ...]
"""Where a value is: ``("sync", "part_rows")``, ``("index", "cluster", "shard_number")``, or
``("entities",)``."""

PREFIX: Final = "SYNC_PIPELINE__"
SEPARATOR: Final = "__"

WELL_KNOWN: Final[Mapping[str, Path]] = {
    "DATABASE_URL": ("source", "url"),
    "STATE_DATABASE_URL": ("state", "url"),
    "QDRANT_URL": ("index", "url"),
    "QDRANT_API_KEY": ("index", "api_key"),
    "OPENAI_API_KEY": ("embedding", "api_key"),
    "SYNC_PIPELINE_HOME": ("home",),
    "SYNC_PIPELINE_LOG_FILE": ("logging", "file"),
    "OTEL_EXPORTER_OTLP_ENDPOINT": ("tracing", "endpoint"),
    "OTEL_SERVICE_NAME": ("tracing", "service_name"),
}
"""Variables that people already have; weaker than those with the prefix."""


def fields_of(model: type[Section]) -> dict[str, Any]:
    """Fields of a section by the key that a file uses."""
    return {field.alias or name: field for name, field in model.model_fields.items()}


def section_of(annotation: object) -> type[Section] | None:
    """Find the section inside a field's type, also as the item of a list."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation
    sections = (section_of(argument) for argument in get_args(annotation))
    return next((section for section in sections if section is not None), None)


def own_section(field: Any) -> type[Section] | None:
    """The section that a field is, by itself: not the item of a list, nor one with a name."""
    annotation = field.annotation
    is_section = isinstance(annotation, type) and issubclass(annotation, Section)
    return annotation if is_section else None


def paths(model: type[Section] = Settings) -> list[Path]:
    """Every value that can be set, in the order of the reference; a list counts as one value."""
    all_paths: list[Path] = []
    for key, field in fields_of(model).items():
        section = own_section(field)
        inner: list[Path] = [()] if section is None else paths(section)
        all_paths += [(key, *path) for path in inner]
    return all_paths


def variable(path: Path) -> str:
    """Name the variable of a value: ``SYNC_PIPELINE__SYNC__PART_ROWS``."""
    return PREFIX + SEPARATOR.join(path).upper()


def siblings(location: tuple[int | str, ...]) -> list[str]:
    """Keys that are allowed where the last part of a location stands."""
    model: type[Section] = Settings
    is_named = False
    for part in location[:-1]:
        if isinstance(part, int) or is_named:
            is_named = False
            continue
        field = fields_of(model).get(part)
        inner = None if field is None else section_of(field.annotation)
        if field is None or inner is None:
            return []
        model, is_named = inner, _is_mapping(field.annotation)
    return list(fields_of(model))


def _is_mapping(annotation: object) -> bool:
    """Whether a field's value has keys that people choose."""
    return get_origin(annotation) in (Mapping, dict)


LOG_FILE: Final = variable(("logging", "file"))
"""What ``--log-file`` sets for programs that a command starts."""
