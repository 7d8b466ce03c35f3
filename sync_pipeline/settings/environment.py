"""Values from environment variables."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final

from sync_pipeline.settings.gone import variables_gone
from sync_pipeline.settings.keys import PREFIX, WELL_KNOWN, Path, paths, variable

_AS_JSON: Final[Mapping[Path, str]] = {
    ("connections",): """an object such as '{"erp": {"kind": "rest", "base_url": "..."}}'""",
    ("entities",): "a list such as '[{...}]'",
    ("landings",): "a list such as '[{...}]'",
    ("alerts", "email_to"): "a list such as '[{...}]'",
    ("scopes", "priority"): """a mapping such as '{"acme": 10}'""",
    ("embedding", "document_fields"): """an object such as '{"input_type": "document"}'""",
    ("embedding", "query_fields"): """an object such as '{"input_type": "query"}'""",
    ("embedding", "models"): 'an object such as \'{"titles": {"model": "..."}}\'',
    ("scale", "embedding_resources"): """an object such as '{"limits": {"nvidia.com/gpu": "1"}}'""",
    ("search", "weights"): "an object such as '{\"text\": 2}'",
}
"""Values that are written as JSON in a variable, each with what that looks like."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """What the environment says about the settings."""

    values: Mapping[Path, object]
    variables: Mapping[Path, str]
    """Per value the variable it came from."""
    mistakes: tuple[str, ...]


def read_environment(env: Mapping[str, str]) -> Environment:
    """Read the variables that concern the settings.

    An empty variable counts as not set (compose files pass on empty ones) and
    ``null`` as null; lists and mappings are JSON. Numbers stay text: pydantic converts them.
    """
    # The later of two variables for one value wins: the one with the prefix.
    ours = {variable(path): path for path in paths()}
    known_variables = {**WELL_KNOWN, **ours, **variables_gone()}
    values: dict[Path, object] = {}
    variables: dict[Path, str] = {}
    mistakes = [_unknown(name, ours) for name in sorted(env) if _is_unknown(name, known_variables)]
    for name, path in known_variables.items():
        text = env.get(name, "")
        if not text:
            continue
        try:
            values[path] = json.loads(text) if path in _AS_JSON or text == "null" else text
        except ValueError:
            mistakes.append(f"{name}: is not valid JSON; fix: write {_AS_JSON[path]}")
            continue
        variables[path] = name
    return Environment(values=values, variables=variables, mistakes=tuple(mistakes))


def _is_unknown(name: str, known_variables: Mapping[str, Path]) -> bool:
    return name.startswith(PREFIX) and name not in known_variables


def _unknown(name: str, known_variables: Mapping[str, Path]) -> str:
    endings = [
        ending.removeprefix(PREFIX) for ending in known_variables if ending.startswith(PREFIX)
    ]
    similar = get_close_matches(name.removeprefix(PREFIX).upper(), endings, n=1, cutoff=0.7)
    fix = (
        f"did you mean {PREFIX}{similar[0]}?"
        if similar
        else "remove it; see docs/reference/settings.md"
    )
    return f"{name}: is no variable of the settings; fix: {fix}"
