"""Which addresses lead to this machine, and where a key would be readable on its way.

The one rule behind ``allow_plain_http``: settings judge addresses by it, and adapters
are told what was decided.
"""

from __future__ import annotations

from urllib.parse import urlsplit


def is_this_machine(host: str) -> bool:
    """Whether a host is this machine, by its name or number alone."""
    if host == "localhost":
        return True
    from ipaddress import ip_address  # noqa: PLC0415 - only where an address is judged

    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def is_readable_on_the_way(url: str) -> bool:
    """Whether what is sent to ``url`` crosses a network in the clear: http, to another machine.

    Raises:
        ValueError: brackets or port of the URL are wrong.
    """
    parts = urlsplit(url)
    return parts.scheme == "http" and not is_this_machine(parts.hostname or "")
