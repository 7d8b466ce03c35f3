"""How PostgreSQL's client library connects, and what it says when it cannot.

libpq tells the reason as text only, without an SQLSTATE; ``sources``, ``database`` and
``defs`` all ask here whether a setting is at fault.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

NOTICE_LOST_SERVER: Final[Mapping[str, int]] = {
    "keepalives_idle": 60,
    "keepalives_interval": 10,
    "keepalives_count": 6,
    "tcp_user_timeout": 120_000,
}
"""Parameters of a connection, in seconds, seconds, probes and milliseconds. A server that went away
without a word (its machine lost power, a firewall forgot the connection) is noticed after two
minutes; by itself a system takes more than two hours, and whoever waits for an answer with it."""

_LOGIN: Final = "check user, password and database"
_POOLER: Final = (
    "leave `schema` and `options` out of the address, which this pooler refuses, and name tables "
    "with their schema (shop.items)"
)
_FAULTS: Final[tuple[tuple[re.Pattern[str], str], ...]] = tuple(
    (re.compile(pattern, re.IGNORECASE), advice)
    for pattern, advice in (
        (r"root certificate file", "correct `sslrootcert`, or write sslrootcert=system"),
        (r"certificate verify failed", "name the authority's file as `sslrootcert`"),
        (r"does not match host name", "write the host as the certificate does, or `sslmode`"),
        (r"private key", "correct `sslkey`: a file that only you may read"),
        (r"certificate (file|present)|client certificate", "correct `sslcert`"),
        (r"server does not support SSL|SSL was required", "correct `sslmode`"),
        (r"GSSAPI encryption required|GSSAPI .*not support", "correct `gssencmode`"),
        (r"channel binding", "correct `channel_binding`"),
        (r"authentication method requirement", "correct `require_auth`"),
        (r"definition of service|service file|service specifications", "correct `service`"),
        (r"unsupported startup parameter.*options|unsupported startup parameter: search_path",
         _POOLER),
        (r"unsupported startup parameter", "take this parameter out of the address"),
        (r"unrecognized configuration parameter|invalid value for parameter", "correct `options`"),
        (r"invalid connection option|invalid URI query parameter", "take it out of the address"),
        (r"invalid \S+ value|invalid integer value|invalid port number|could not match",
         "correct this parameter of the address"),
        (r"password authentication failed|no password supplied|no pg_hba\.conf entry", _LOGIN),
        (r"is not permitted to log in|permission denied for database", _LOGIN),
        (r"authentication failed for user", _LOGIN),
        (r"(role|database) \"[^\"]*\" does not exist", _LOGIN),
    )
)  # fmt: skip


def settings_fault(reason: str) -> str | None:
    """Say what to correct where the reason for a failed connection lies in the address.

    None where it does not: the server may be down, or the network.
    """
    return next((advice for pattern, advice in _FAULTS if pattern.search(reason)), None)


def is_login(advice: str) -> bool:
    """Whether a fault is that the server knows neither user, password nor database."""
    return advice == _LOGIN


def is_pooler(advice: str) -> bool:
    """Whether a fault is that a pooler refuses to pass on how a session starts."""
    return advice == _POOLER
