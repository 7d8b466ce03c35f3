"""Opening a connection to a Qdrant server, with its key kept off the open wire."""

from __future__ import annotations

import functools
import ipaddress
import math
import ssl
from urllib.parse import SplitResult, urlsplit

import httpx
from qdrant_client import QdrantClient

from sync_pipeline.core.errors import ConfigurationError
from sync_pipeline.stores.server_errors import keep_retry_after

DEFAULT_PORT = 6333
"""Qdrant's port, used where the address names none, for https too."""


def server_address(url: str, *, has_key: bool) -> str:
    """Check an address and name the server for messages.

    Args:
        url: ``http(s)://host[:port][/prefix]``.
        has_key: Whether a key will be sent there.

    Returns:
        Scheme, host and port; never credentials.

    Raises:
        ConfigurationError: not such an address, credentials inside it, or a key that
            would cross a network in the clear.
    """
    parts, port = _split(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ConfigurationError(
            "the address of the Qdrant server must look like https://host:6333. "
            "Correct `QDRANT_URL`."
        )
    address = f"{parts.scheme}://{parts.hostname}:{port or DEFAULT_PORT}"
    if parts.username or parts.password:
        raise ConfigurationError(
            f"the address of the Qdrant server {address} contains credentials. Take them out of "
            "`QDRANT_URL` and set `QDRANT_API_KEY`."
        )
    if has_key and parts.scheme == "http" and not is_loopback(parts.hostname):
        raise ConfigurationError(
            f"the API key would be sent in the clear to {address}. Use https in `QDRANT_URL`, or "
            "remove `QDRANT_API_KEY` if that server needs none."
        )
    return address


def is_loopback(host: str) -> bool:
    """Whether a host is this machine, by its name or number alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def open_client(url: str, *, api_key: str | None, timeout_seconds: float) -> QdrantClient:
    """Make a client; it connects with its first request."""
    parts, _ = _split(url)
    return QdrantClient(
        url=url,
        port=DEFAULT_PORT,
        # As a header: given as `api_key`, the client warns about loopback addresses too.
        headers=None if api_key is None else {"api-key": api_key},
        timeout=math.ceil(timeout_seconds),
        check_compatibility=False,
        # A proxy of the environment would carry what is meant for this machine, key
        # included, across the network.
        trust_env=not is_loopback(parts.hostname or ""),
        verify=_trusted_authorities(),
        event_hooks={"response": [keep_retry_after]},
    )


def _split(url: str) -> tuple[SplitResult, int | None]:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ConfigurationError(
            "the address of the Qdrant server cannot be read. Correct `QDRANT_URL`."
        ) from error
    return parts, port


@functools.cache
def _trusted_authorities() -> ssl.SSLContext:
    """Certificate authorities, read once. Measured: 30 ms of the 40 that a client costs."""
    return httpx.create_ssl_context()
