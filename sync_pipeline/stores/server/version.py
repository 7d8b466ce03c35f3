"""Which Qdrant servers are recent enough."""

from __future__ import annotations

import re
from typing import Final

from sync_pipeline.core.errors import ConfigurationError

OLDEST_SERVER: Final = (1, 19)
"""Oldest version of a server that this program works with, for what the adapter asks of it:

==========================================================================  =====
how rare a word is, counted in the visible scopes only (``idf.corpus``)     1.19
conditional upserts (``update_filter``)                                     1.16
collection metadata, which says what a collection was built with            1.16
strict mode with the limits of ``server_schema``                            1.13
exact facet counts, for the points of each scope                            1.12
==========================================================================  =====

An older server does not know the first two and may ignore them without an error: other
tenants' texts would move a tenant's scores, and a late duplicate of a write would undo a
newer one.
"""

_VERSION: Final = re.compile(r"v?(\d+)\.(\d+)")


def require_recent(version: str, *, address: str) -> str:
    """Say which server answers.

    Args:
        version: As the server states it. One that is no version, of a build of somebody's
            own, is taken as it is.
        address: Names the server in messages.

    Raises:
        ConfigurationError: it is older than ``OLDEST_SERVER``.
    """
    oldest = ".".join(map(str, OLDEST_SERVER))
    match = _VERSION.match(version)
    if match is not None and (int(match[1]), int(match[2])) < OLDEST_SERVER:
        raise ConfigurationError(
            f"{address} runs Qdrant {version}, and this program needs {oldest} or newer: an older "
            "one may ignore conditions of writes and searches without an error.",
            remedy="Upgrade the server, one minor version after the other, as Qdrant advises; the "
            f"image is qdrant/qdrant:v{oldest}.0 or newer.",
        )
    return f"Qdrant {version} at {address} ({oldest} or newer is needed)"
