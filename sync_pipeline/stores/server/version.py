"""Which Qdrant servers, and which releases of qdrant-client, are recent enough."""

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
strict mode with the limits of ``server.schema``                            1.13
exact facet counts, for the points of each scope                            1.12
==========================================================================  =====

An older server does not know the first two and may ignore them without an error: other
tenants' texts would move a tenant's scores, and a late duplicate of a write would undo a
newer one.
"""

OLDEST_CLIENT: Final = (1, 20)
"""Oldest release of qdrant-client: its models say all of the above, and its interface to the
server has a consistency for counts. ``pyproject.toml`` asks for the same."""

_VERSION: Final = re.compile(r"v?(\d+)\.(\d+)")


def require_recent(version: str, *, address: str, client: str) -> str:
    """Say which server answers, and to whom.

    Args:
        version: As the server states it. One that is no version, of a build of somebody's
            own, is taken as it is.
        address: Names the server in messages.
        client: The release of qdrant-client that is installed.

    Raises:
        ConfigurationError: it is older than ``OLDEST_SERVER``, or the client than
            ``OLDEST_CLIENT``.
    """
    oldest = _written(OLDEST_SERVER)
    if _is_older(client, OLDEST_CLIENT):
        raise ConfigurationError(
            f"qdrant-client {client} is installed, and this program needs "
            f"{_written(OLDEST_CLIENT)} or newer: an older one cannot say all that it asks of "
            f"{address}.",
            remedy="Install this program anew with the versions that it asks for: "
            f'`pip install "qdrant-client>={_written(OLDEST_CLIENT)}"` at least.',
        )
    if _is_older(version, OLDEST_SERVER):
        raise ConfigurationError(
            f"{address} runs Qdrant {version}, and this program needs {oldest} or newer: an older "
            "one may ignore conditions of writes and searches without an error.",
            remedy="Upgrade the server, one minor version after the other, as Qdrant advises; the "
            f"image is qdrant/qdrant:v{oldest}.0 or newer.",
        )
    return f"Qdrant {version} at {address} ({oldest} or newer is needed), qdrant-client {client}"


def _is_older(version: str, oldest: tuple[int, int]) -> bool:
    match = _VERSION.match(version)
    return match is not None and (int(match[1]), int(match[2])) < oldest


def _written(version: tuple[int, int]) -> str:
    return ".".join(map(str, version))
