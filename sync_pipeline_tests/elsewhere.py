"""A name of another machine that leads to this one, as a line in /etc/hosts would."""

from __future__ import annotations

import socket
from typing import Any, Final
from urllib.parse import urlsplit

import pytest

OTHER_MACHINE: Final = "service.internal"


def lead_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make ``OTHER_MACHINE`` an address of this machine, for this process."""
    ask = socket.getaddrinfo

    def with_alias(host: Any, *args: Any, **options: Any) -> Any:
        return ask("127.0.0.1" if host == OTHER_MACHINE else host, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", with_alias)


def elsewhere(url: str) -> str:
    """The same port and path, by the other machine's name."""
    parts = urlsplit(url)
    return f"http://{OTHER_MACHINE}:{parts.port}{parts.path}"
