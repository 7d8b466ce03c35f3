"""Loading a catalogue into the source tables, by name: what ``sample load`` offers."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

from sync_pipeline.sample.builtin import read_builtin
from sync_pipeline.sample.loading import LoadReport, load
from sync_pipeline.sample.schema import create_source_tables


def load_builtin(engine: sa.Engine) -> LoadReport:
    """Load the built-in sample: shared rows and those of ``acme``, ``globex``, ``severstroy``."""
    return load(engine, read_builtin())


def load_cwicr(engine: sa.Engine, folder: Path) -> LoadReport:
    """Load the CWICR editions in a folder: the British one shared, ``cwicr-<language>`` others.

    Raises:
        ConfigurationError: the folder or a file is not what is expected.
    """
    # pandas is imported where it is needed: it takes 0.4 s.
    from sync_pipeline.sample.cwicr import read_cwicr  # noqa: PLC0415

    catalogue = read_cwicr(folder)
    # It has no works, but the default entities name that table too.
    create_source_tables(engine)
    return load(engine, catalogue)


def load_cpv(engine: sa.Engine, folder: Path) -> LoadReport:
    """Load the procurement vocabulary in a folder: English shared, ``cpv-<language>`` others.

    Raises:
        ConfigurationError: the folder or a file is not what is expected.
    """
    from sync_pipeline.sample.cpv import read_cpv  # noqa: PLC0415

    return load(engine, read_cpv(folder))


def load_tools(engine: sa.Engine, path: Path) -> LoadReport:
    """Load software tools from a file, or a folder that holds ``biotools.jsonl.gz``.

    Raises:
        ConfigurationError: the file is not what is expected.
    """
    from sync_pipeline.sample.tools import read_tools  # noqa: PLC0415

    return load(engine, read_tools(path))
