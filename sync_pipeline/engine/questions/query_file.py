"""A file of labelled queries, as ``core.labelled`` reads them."""

from __future__ import annotations

from pathlib import Path

from sync_pipeline.core.errors import ConfigurationError
from sync_pipeline.core.labelled import LabelledQuery, read_labelled
from sync_pipeline.core.remedy import Remedy


def read_query_file(
    path: Path, *, remedy: Remedy | str
) -> tuple[dict[int, LabelledQuery], dict[int, str]]:
    """Read a file of labelled queries.

    Args:
        path: Of the file.
        remedy: What whoever named it can do where it cannot be read.

    Returns:
        See ``read_labelled``.

    Raises:
        ConfigurationError: the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            return read_labelled(file)
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be read: {error.strerror}.", remedy=remedy
        ) from error
