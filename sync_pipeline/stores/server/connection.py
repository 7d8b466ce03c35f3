"""Opening a connection to a Qdrant server, with its key kept off the open wire."""

from __future__ import annotations

import atexit
import functools
import math
import os
import ssl
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import SplitResult, urlsplit

import httpx
from qdrant_client import QdrantClient

from sync_pipeline.core.addresses import is_readable_on_the_way, is_this_machine
from sync_pipeline.core.errors import ConfigurationError, UnusableProxyError
from sync_pipeline.stores.checks import VectorSchema
from sync_pipeline.stores.server.errors import keep_retry_after

DEFAULT_PORT = 6333
"""Qdrant's port, used where the address names none, for https too."""

_LIMITS: Final = httpx.Limits(max_connections=100, keepalive_expiry=3)
"""An idle connection is given up before the server does so (Qdrant after 5 s), for a request
that meets the server's end of it fails. To this machine qdrant-client keeps none: there a new
one costs nothing."""


def server_address(url: str, *, has_key: bool, allows_plain_http: bool) -> str:
    """Check an address and name the server for messages.

    Args:
        url: ``http(s)://host[:port][/prefix]``.
        has_key: Whether a key will be sent there.
        allows_plain_http: Whether it may cross a network in the clear.

    Returns:
        Scheme, host and port; never credentials.

    Raises:
        ConfigurationError: not such an address, credentials inside it, or a key that
            would cross a network in the clear without being allowed to.
    """
    parts, port = _split(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ConfigurationError(
            "the address of the Qdrant server must look like https://host:6333.",
            remedy="Correct `QDRANT_URL`.",
        )
    address = f"{parts.scheme}://{parts.hostname}:{port or DEFAULT_PORT}"
    if parts.username or parts.password:
        raise ConfigurationError(
            f"the address of the Qdrant server {address} contains credentials.",
            remedy="Take them out of `QDRANT_URL` and set `QDRANT_API_KEY`.",
        )
    if has_key and not allows_plain_http and is_readable_on_the_way(url):
        raise ConfigurationError(
            f"the API key would be sent in the clear to {address}.",
            remedy="Use https in `QDRANT_URL`, or "
            "remove `QDRANT_API_KEY` if that server needs none; where the network itself is "
            "private, set `index.allow_plain_http`.",
        )
    return address


@dataclass(frozen=True, slots=True)
class Connection:
    """A client, and what is known of the collections behind it."""

    client: QdrantClient
    schemas: dict[str, VectorSchema] = field(default_factory=dict)
    """Per collection; whoever relies on one forgets it where the server disagrees."""


_connections: Final[dict[tuple[int, str, str | None, float], Connection]] = {}
"""Per process, address, key and timeout. A forked child makes its own: two processes that
write to one socket would mix their requests."""


def shared_connection(url: str, *, api_key: str | None, timeout_seconds: float) -> Connection:
    """The connection of this process to a server; its sockets are closed at exit.

    Threads share it. Making a client costs 10 ms, and each new one would shake hands with
    the server again and ask it for what this one knows.
    """
    key = (os.getpid(), url, api_key, timeout_seconds)
    connection = _connections.get(key)
    if connection is None:
        made = Connection(open_client(url, api_key=api_key, timeout_seconds=timeout_seconds))
        # No lock, which a fork could leave locked for ever: the first one in wins.
        connection = _connections.setdefault(key, made)
        if connection is not made:
            made.client.close()
    return connection


@atexit.register
def close_connections() -> None:
    """Close what this process has opened; a later lease connects anew."""
    for key in [key for key in _connections if key[0] == os.getpid()]:
        _connections.pop(key).client.close()


def open_client(url: str, *, api_key: str | None, timeout_seconds: float) -> QdrantClient:
    """Make a client; it connects with its first request.

    Raises:
        UnusableProxyError: the environment names one that is none.
    """
    parts, _ = _split(url)
    host = parts.hostname or ""
    may_use_proxy = _may_use_proxy(url, host=host, has_key=api_key is not None)
    try:
        return QdrantClient(
            url=url,
            port=DEFAULT_PORT,
            # As a header: given as `api_key`, the client warns about loopback addresses too.
            headers=None if api_key is None else {"api-key": api_key},
            timeout=math.ceil(timeout_seconds),
            check_compatibility=False,
            trust_env=may_use_proxy,
            verify=_trusted_authorities(),
            event_hooks={"response": [keep_retry_after]},
            limits=None if is_this_machine(host) else _LIMITS,
        )
    except (ImportError, ValueError, httpx.InvalidURL) as error:
        # httpx's, about the proxy: without `socksio` it has no SOCKS.
        if not may_use_proxy:
            raise
        raise UnusableProxyError(host=host) from error


def _may_use_proxy(url: str, *, host: str, has_key: bool) -> bool:
    """Whether a proxy named in the environment may carry requests.

    Not what is meant for this machine, and not a key in the clear: the network that
    was said to be private ends there.
    """
    return not is_this_machine(host) and not (has_key and is_readable_on_the_way(url))


def _split(url: str) -> tuple[SplitResult, int | None]:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ConfigurationError(
            "the address of the Qdrant server cannot be read.",
            remedy="Correct `QDRANT_URL`.",
        ) from error
    return parts, port


@functools.cache
def _trusted_authorities() -> ssl.SSLContext:
    """Certificate authorities, read once. Measured: 30 ms of the 40 that a client costs."""
    return httpx.create_ssl_context()
