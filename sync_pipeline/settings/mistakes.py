"""What pydantic found, in one line per mistake that says what to write instead."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from difflib import get_close_matches
from typing import Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from sync_pipeline.core.shortening import beginning
from sync_pipeline.settings.keys import Path, siblings
from sync_pipeline.settings.rules import HIDDEN_PART, MISTAKE, NOT_SHOWN, Mistake
from sync_pipeline.settings.urls import mask_url

_LONGEST_SHOWN: Final = 60
_SECRET_KEYS: Final = frozenset({"api_key", "webhook_url", "smtp_url"})

_SHOWN_OF_CONNECTIONS: Final = frozenset({
    "kind", "method", "database", "concurrent_requests", "requests_per_minute",
    "timeout_seconds", "longest_wait_seconds", "attempts", "allow_plain_http",
})  # fmt: skip
"""Keys of connections whose value is never a secret, not even by mistake."""

_WHOLE: Final = Mistake("must be a whole number", "write digits only, e.g. 500")
_NUMBER: Final = Mistake("must be a number", "write it with a point, e.g. 0.1")
_BOOL: Final = Mistake("must be true or false", "write true or false")
_TEXT: Final = Mistake("must be text", "put it in quotes")
_MAPPING: Final = Mistake("must be a mapping", "write `key: value` lines below it")

_BY_TYPE: Final[Mapping[str, Mistake]] = {
    "missing": Mistake("is missing", "add it"),
    "int_type": _WHOLE,
    "int_parsing": _WHOLE,
    "int_from_float": _WHOLE,
    "float_type": _NUMBER,
    "float_parsing": _NUMBER,
    "finite_number": _NUMBER,
    "bool_type": _BOOL,
    "bool_parsing": _BOOL,
    "string_type": _TEXT,
    "path_type": Mistake("must be a path", "put it in quotes"),
    "model_type": _MAPPING,
    "model_attributes_type": _MAPPING,
    "mapping_type": _MAPPING,
    "dict_type": _MAPPING,
    "tuple_type": Mistake("must be a list", "begin each item with `- `, or write [a, b]"),
    "too_short": Mistake("is empty", "name at least one"),
    "string_too_short": Mistake("is empty", "fill it in, or write null"),
    "invalid_key": Mistake("has a key that is no text", "put the key in quotes"),
    "literal_error": Mistake("is not known here", "choose {expected}"),
    "greater_than": Mistake("is too small", "write more than {gt}"),
    "greater_than_equal": Mistake("is too small", "write at least {ge}"),
    "less_than_equal": Mistake("is too large", "write at most {le}"),
}

_MISSING: Final[Mapping[str, Mapping[str, str]]] = {
    "embedding": {
        "model": "name one that the service offers, e.g. text-embedding-3-small",
        "dimension": (
            "set the length of the model's vectors, e.g. 1536 for text-embedding-3-small"
        ),
    },
    "landings": {
        "connection": "name one of connections, or write from: TABLE",
        "id": "name the field that identifies a record",
        "owner": "write {global: true}, {tenant: acme} or {tenant_field: FIELD}",
        "pages": "say how pages are asked for, e.g. {by: offset}",
        "request": "say which list is asked for, e.g. {path: data/products}",
        "collection": "name the collection; the connection is a MongoDB",
    },
}
"""Per section what to write for a key that cannot be done without."""

Prefix = Callable[[Sequence[int | str]], str]
"""What stands before a location in the file: ``environments.prod.``, or nothing."""


def _nothing(location: Sequence[int | str]) -> str:
    del location
    return ""


def mistakes_of(
    error: ValidationError,
    *,
    variables: Mapping[Path, str],
    prefix: Prefix = _nothing,
    left_out: Collection[Path] = (),
) -> list[str]:
    """Describe everything that pydantic found, without keys and passwords.

    Args:
        error: From validating ``Settings``.
        variables: Per value that came from the environment its variable, which
            is then named too.
        prefix: Which part of the file other values stand in.
        left_out: Values that are missing for a reason that is named already.
    """
    errors = error.errors(include_url=False)
    return [
        _line(details, variables, prefix)
        for details in errors
        if not _is_consequence(details)
        and not (details["type"] == "missing" and _seen(details["loc"]) in left_out)
    ]


def written(location: Sequence[int | str]) -> str:
    """Spell a location as people do: ``entities[0].views.text``."""
    parts = [f"[{part}]" if isinstance(part, int) else f".{part}" for part in location]
    return "".join(parts).removeprefix(".") or "the settings"


def _line(details: ErrorDetails, variables: Mapping[Path, str], prefix: Prefix) -> str:
    location = _seen(details["loc"])
    mistake = _mistake(details, location)
    got = _shown(details, location)
    name = _variable(location, variables)
    place = f"{name} ({written(location)})"
    if name is None:
        place = f"{prefix(location)}{written(location)}"
    return f"{place}: {mistake.what}{got}; fix: {mistake.fix}"


def _seen(location: Sequence[int | str]) -> tuple[int | str, ...]:
    """The location without the parts that only pydantic knows."""
    return tuple(
        part for part in location if part != "[key]" and not str(part).startswith(HIDDEN_PART)
    )


def _variable(location: tuple[int | str, ...], variables: Mapping[Path, str]) -> str | None:
    """The variable that a value came from: its own, or that of what it is a part of."""
    for length in range(len(location), 0, -1):
        name = variables.get(location[:length])  # type: ignore[arg-type]  # a number is in none
        if name is not None:
            return name
    return None


def _is_consequence(details: ErrorDetails) -> bool:
    """Whether a list is only short of items because those given were refused themselves."""
    return details["type"] == "too_short" and bool(details["input"])


def _mistake(details: ErrorDetails, location: tuple[int | str, ...]) -> Mistake:
    kind, context = details["type"], details.get("ctx", {})
    if kind == MISTAKE:
        return Mistake(context["what"], context["fix"])
    if kind == "extra_forbidden":
        return _unknown_key(details["loc"])
    if kind == "missing" and location[0] in _MISSING:
        fix = _MISSING[str(location[0])].get(str(location[-1]), "add it")
        return Mistake("is missing", fix)
    if kind not in _BY_TYPE:
        return Mistake(details["msg"], "see docs/reference/settings.md")
    what, fix = _BY_TYPE[kind]
    return Mistake(what, fix.format_map(context))


def _unknown_key(location: tuple[int | str, ...]) -> Mistake:
    forms = siblings(location)
    this, *others = [tag.removeprefix(HIDDEN_PART) for tag in forms] or [""]
    allowed = next(iter(forms.values()), [])
    owners = [tag for tag in others if location[-1] in forms[f"{HIDDEN_PART}{tag}"]]
    if owners:
        return Mistake(_of_others(location, owners=owners, this=this), "remove it")
    similar = get_close_matches(str(location[-1]), allowed, n=1)
    fix = f"did you mean {similar[0]!r}?" if similar else f"choose from {', '.join(allowed)}"
    return Mistake("is no setting", fix)


def _of_others(location: tuple[int | str, ...], *, owners: Sequence[str], this: str) -> str:
    named = " and ".join(owners)
    if location[0] == "embedding":
        return f"belongs to the provider {named}, this is {this}"
    if location[-3] == "pages":
        return f"belongs to pages by {named}, these are by {this}"
    return f"belongs to the kind {named}, this is {this}"


def _shown(details: ErrorDetails, location: tuple[int | str, ...]) -> str:
    """Show the rejected value where that helps and gives no secret away."""
    value, key = details["input"], location[-1] if location else None
    if key is None or value is NOT_SHOWN:
        return ""
    if location[0] == "connections" and key not in _SHOWN_OF_CONNECTIONS:
        return ""
    if key in _SECRET_KEYS or details["type"] in {"missing", "extra_forbidden", "invalid_key"}:
        return ""
    if isinstance(value, Mapping):
        return " (got a mapping)"
    if isinstance(value, (list, tuple)):
        return " (got a list)"
    if value is None or isinstance(value, bool):
        return f" (got {'null' if value is None else str(value).lower()})"
    if not isinstance(value, str):
        return f" (got {value!s:.{_LONGEST_SHOWN}})"
    if str(key).endswith("url") and "://" not in value:
        # Not even a URL: it may be a password that ended up in the wrong place.
        return ""
    return f" (got {beginning(mask_url(value), length=_LONGEST_SHOWN)!r})"
