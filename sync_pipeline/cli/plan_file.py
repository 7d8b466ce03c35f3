"""The file of a saved plan: ``plan --out`` writes it, ``sync --plan`` reads it."""

from __future__ import annotations

import json
from pathlib import Path

from sync_pipeline.core.errors import ConfigurationError


def write_plan_file(path: Path, content: object) -> None:
    """Save a plan.

    Raises:
        ConfigurationError: the file cannot be written.
    """
    try:
        path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(
            f"the plan cannot be saved to {path}: {error.strerror}. Name a file in a folder that "
            "exists and that you may write."
        ) from error


def read_plan_file(path: Path) -> object:
    """What the file holds; None where it is no JSON.

    Raises:
        ConfigurationError: the file cannot be read.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"the plan {path} cannot be read: {error.strerror}") from error
    except ValueError:
        return None
