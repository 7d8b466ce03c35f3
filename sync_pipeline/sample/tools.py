"""Software tools of the bio.tools registry (CC BY 4.0): documents with several views.

Two thirds are shared; the rest belongs to two tenants, by a rule that depends on
a tool's id alone.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from sync_pipeline.core.errors import ConfigurationError
from sync_pipeline.core.hashing import digest
from sync_pipeline.core.scope import GLOBAL_KEY
from sync_pipeline.sample.loading import Catalogue, owner
from sync_pipeline.sample.schema import TOOLS

NAME: Final = "tools"

FILE_NAME: Final = "biotools.jsonl.gz"
OWNERS: Final = (GLOBAL_KEY,) * 4 + ("tools-north", "tools-south")

TEXT_FIELDS: Final = {
    "name": "name",
    "description": "description",
    "functionality": "functionality",
    "categories": "categories",
    "interface": "interface",
    "deployment": "deployment",
    "pricing_model": "pricingModel",
    "license": "license",
    "language": "language",
    "collections": "collections",
    "website": "website",
}
"""Columns and the fields they come from; lists are joined by commas."""

FACETS: Final = ("functionality", "categories", "interface", "deployment", "language")
"""Lists that are kept as lists too, in the column ``facets``, to filter by."""


def read_tools(path: Path) -> Catalogue:
    """Read a file of JSON lines, packed or not, or a folder that holds ``biotools.jsonl.gz``.

    Raises:
        ConfigurationError: no such file, or no tool in it.
    """
    file = path / FILE_NAME if path.is_dir() else path
    catalogue = Catalogue(NAME)
    for number, line in _read_lines(file):
        tool = _parse(line)
        if tool is None:
            catalogue.skip("not a JSON object", key=f"line {number}")
        elif not isinstance(tool.get("id"), str) or not tool["id"]:
            catalogue.skip("no id", key=f"line {number}")
        else:
            catalogue.add(TOOLS, _row(tool), key=str(tool["id"]))
    if TOOLS not in catalogue.rows:
        raise ConfigurationError(
            f"{file} holds no tool: one JSON object with an `id` per line is expected."
        )
    return catalogue


def _read_lines(file: Path) -> Iterator[tuple[int, str]]:
    """Lines that are not blank, with their numbers."""
    opener = gzip.open if file.suffix == ".gz" else open
    try:
        with opener(file, "rt", encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    yield number, str(line)
    except FileNotFoundError as error:
        raise ConfigurationError(
            f"there is no file {file}. Name the file of tools, or the folder that holds "
            f"{FILE_NAME}."
        ) from error
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"{file} cannot be read as JSON lines: {type(error).__name__}. Download it again."
        ) from error


def _parse(line: str) -> Mapping[str, object] | None:
    try:
        tool = json.loads(line)
    except ValueError:
        return None
    return tool if isinstance(tool, dict) else None


def _row(tool: Mapping[str, object]) -> dict[str, object]:
    tool_id = str(tool["id"])
    return {
        "id": tool_id,
        **owner(OWNERS[int(digest(tool_id), 16) % len(OWNERS)]),
        **{column: _text(tool.get(field)) for column, field in TEXT_FIELDS.items()},
        "facets": {name: tool.get(name) for name in FACETS},
    }


def _text(value: object) -> str | None:
    if value is None:
        return None
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
