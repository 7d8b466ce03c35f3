"""Settings of earlier versions: what an old file or variable may still say, and what it is told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sync_pipeline.settings.keys import Path, variable


@dataclass(frozen=True, slots=True, kw_only=True)
class Gone:
    """A setting that this version does not have any more."""

    since: str
    """First version without it."""
    harmless: Sequence[object]
    """Values that ask for what happens anyway, as files and variables spell them."""
    instead: str
    """What to do, and what became of what it was for."""


GONE: Final[Mapping[Path, Gone]] = {
    ("embedding", "processes"): Gone(
        since="0.1.0",
        harmless=(1, "1", None),
        instead="remove it: one process keeps every core busy, and since its threads wait without "
        "spinning it is as fast beside other programs as several processes were",
    )
}
"""Where each was. A line stays as long as somebody may have a file that names it."""


def variables_gone() -> dict[str, Path]:
    """Variables of the settings that are gone, each with its place."""
    return {variable(path): path for path in GONE}


def without_gone(
    values: Mapping[Any, object], *, variables: Mapping[Path, str]
) -> tuple[dict[Any, object], list[str]]:
    """Take out what is gone; an old value that would change nothing is no mistake.

    Args:
        values: Settings as a file has them: a mapping per section.
        variables: Per value that came from the environment its variable.

    Returns:
        The values that are left, and a line for each mistake.
    """
    left, mistakes = dict(values), []
    for (section, key), gone in GONE.items():
        inside = left.get(section)
        if not isinstance(inside, Mapping) or key not in inside:
            continue
        left[section] = {name: value for name, value in inside.items() if name != key}
        if inside[key] not in gone.harmless:
            name = variables.get((section, key))
            place = f"{section}.{key}" if name is None else f"{name} ({section}.{key})"
            mistakes.append(f"{place}: is gone since version {gone.since}; fix: {gone.instead}")
    return left, mistakes
