"""What ``dev`` runs in place of ``python -m dagster``: the same, without two greetings.

They are about nothing a user of ``dev`` can or should do. Every other warning is shown.
"""

from __future__ import annotations

import logging
import runpy
import warnings
from pathlib import Path
from typing import Final

import dagster as dg

from sync_pipeline.hosting.instance import FILE_NAME, shipped_settings

# `dg dev` comes with a package of its own and starts the same processes.
_SUPERSEDED: Final = "Function `dev_command` is superseded"
_FOUND_ANOTHER: Final = f"Found a dagster instance configuration value ({FILE_NAME})"


def main() -> None:
    """Run Dagster's command line with the arguments of this process."""
    warnings.filterwarnings("ignore", message=_SUPERSEDED, category=dg.SupersessionWarning)
    if is_shipped(Path(FILE_NAME)):
        logging.getLogger("dagster").addFilter(_is_worth_saying)
    runpy.run_module("dagster", run_name="__main__", alter_sys=True)


def is_shipped(file: Path) -> bool:
    """Whether a ``dagster.yaml`` is the one that is copied to DAGSTER_HOME, so that it is used."""
    try:
        return file.read_text(encoding="utf-8") == shipped_settings()
    except (OSError, UnicodeDecodeError):
        return False


def _is_worth_saying(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith(_FOUND_ANOTHER)


if __name__ == "__main__":
    main()
