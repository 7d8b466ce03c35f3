"""Which keys there are, where they are in a file, and what their variables are called."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Union, get_args, get_origin

from pydantic import Tag

from sync_pipeline.settings.model import Settings
from sync_pipeline.settings.rules import HIDDEN_PART
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


def sections_of(annotation: object, *, tag: str = "") -> dict[str, type[Section]]:
    """The sections inside a field's type, also as the item of a list, each by its form's tag."""
    if _is_section(annotation):
        return {tag: annotation}  # type: ignore[dict-item]  # as was just looked at
    if get_origin(annotation) is Annotated:
        annotation, *notes = get_args(annotation)
        tag = next((note.tag for note in notes if isinstance(note, Tag)), tag)
        return sections_of(annotation, tag=tag)
    found: dict[str, type[Section]] = {}
    for argument in get_args(annotation):
        for form, section in sections_of(argument, tag=tag).items():
            found.setdefault(form, section)
    return found


def own_sections(field: Any) -> dict[str, type[Section]]:
    """The section that a field is, by itself: not the item of a list, nor one with a name.

    Returns:
        One per form by its tag, where it has several, the form of the default first; none for a
        field that is a value.
    """
    annotation = field.annotation
    if get_origin(annotation) is not Union:
        return {"": annotation} if _is_section(annotation) else {}
    forms = sections_of(annotation)
    return forms if len(forms) == len(get_args(annotation)) else {}


def own_section(field: Any) -> type[Section] | None:
    """The section that a field is, where it has several forms that of its default."""
    return next(iter(own_sections(field).values()), None)


def paths(model: type[Section] = Settings) -> list[Path]:
    """Every value that can be set, in the order of the reference; a list counts as one value."""
    all_paths: list[Path] = []
    for key, field in fields_of(model).items():
        sections = own_sections(field).values()
        inner = [path for section in sections for path in paths(section)] if sections else [()]
        all_paths += [(key, *path) for path in dict.fromkeys(inner)]
    return all_paths


def variable(path: Path) -> str:
    """Name the variable of a value: ``SYNC_PIPELINE__SYNC__PART_ROWS``."""
    return PREFIX + SEPARATOR.join(path).upper()


def siblings(location: tuple[int | str, ...]) -> dict[str, list[str]]:
    """Keys that are allowed where the last part of a location stands.

    Args:
        location: As pydantic gives it: the form that a section has is a part of it.

    Returns:
        Keys by the tag of the form that has them; those of the form at hand first.
    """
    forms: dict[str, type[Section]] = {"": Settings}
    is_named = False
    for part in location[:-1]:
        if part in forms and str(part).startswith(HIDDEN_PART):
            forms = {str(part): forms[str(part)], **forms}
            continue
        if isinstance(part, int) or is_named:
            is_named = False
            continue
        field = fields_of(next(iter(forms.values()))).get(part)
        forms = {} if field is None else sections_of(field.annotation)
        if field is None or not forms:
            return {}
        is_named = _is_mapping(field.annotation)
    return {tag: list(fields_of(section)) for tag, section in forms.items()}


def _is_section(annotation: object) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, Section)


def _is_mapping(annotation: object) -> bool:
    """Whether a field's value has keys that people choose."""
    return get_origin(annotation) in (Mapping, dict)


LOG_FILE: Final = variable(("logging", "file"))
"""What ``--log-file`` sets for programs that a command starts."""
