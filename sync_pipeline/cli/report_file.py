"""A command's report in a file: what ``--json`` prints, for programs that collect files."""

from __future__ import annotations

import uuid
from contextlib import suppress
from pathlib import Path
from typing import Final

from sync_pipeline.core.errors import ConfigurationError

_REMEDY: Final = "Name a file in a folder that exists and that you may write."


def require_writable(path: Path) -> None:
    """Find out before the work whether a report can be left there.

    Raises:
        ConfigurationError: its folder is missing or takes no files, or something else has the name.
    """
    if path.exists() and not path.is_file():
        raise ConfigurationError(
            f"the report cannot be written to {path}: that is no file.", remedy=_REMEDY
        )
    draft = _draft(path)
    try:
        draft.touch()
        draft.unlink()
    except OSError as error:
        raise ConfigurationError(
            f"the report cannot be written to {path}: {error.strerror}.", remedy=_REMEDY
        ) from error


def write_report(path: Path, text: str) -> str | None:
    """Put a report in the place of the one before; whoever reads sees one or the other.

    Returns:
        Why it could not be written, for people; None where it was. The work is done by then.
    """
    draft = _draft(path)
    try:
        # As standard output does: half a character of a tenant's id is an escape in JSON too.
        draft.write_text(text + "\n", encoding="utf-8", errors="backslashreplace")
        draft.replace(path)
    except OSError as error:
        with suppress(OSError):
            draft.unlink()
        return f"warning: the report cannot be written to {path}: {error.strerror}"
    return None


def _draft(path: Path) -> Path:
    return path.with_name(f".{path.name}.{uuid.uuid4().hex}")
