"""Ports of this machine that nobody listens on."""

from __future__ import annotations

import socket


def free_port(address: str = "127.0.0.1") -> int:
    """A port that was free a moment ago."""
    with socket.create_server((address, 0)) as free:
        port: int = free.getsockname()[1]
    return port
