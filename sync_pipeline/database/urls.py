"""One database URL in the spellings that different programs need."""

from __future__ import annotations

from typing import Final, Literal

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from sync_pipeline.core.errors import ConfigurationError

Driver = Literal["psycopg", "psycopg2", "libpq"]
"""``psycopg`` for our own engines, ``psycopg2`` for Dagster, ``libpq`` for psql and people."""

_BACKENDS: Final = ("postgresql", "postgres")


def parse_url(url: str) -> URL:
    """Read a PostgreSQL URL.

    Raises:
        ConfigurationError: it is not one. The message does not repeat it: it may hold a password.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        parsed = None
    if parsed is None or parsed.get_backend_name() not in _BACKENDS:
        raise ConfigurationError(
            "a database URL is not one of PostgreSQL.",
            remedy="Write it as "
            "postgresql://USER:PASSWORD@HOST:5432/DATABASE; special characters of the password "
            "are percent-encoded (`@` is %40).",
        )
    return parsed


def driver_url(url: str, driver: Driver) -> str:
    """Spell a URL for one driver, password included."""
    scheme = "postgresql" if driver == "libpq" else f"postgresql+{driver}"
    spelled = parse_url(url).set(drivername=scheme).render_as_string(hide_password=False)
    if driver != "libpq":
        return spelled
    # SQLAlchemy writes spaces of the query as plus signs, which libpq takes for plus signs.
    base, mark, query = spelled.partition("?")
    return f"{base}{mark}{query.replace('+', '%20')}"


def describe_url(url: URL) -> str:
    """Host, port and database for messages, or the service; never user or password."""
    service = url.query.get("service")
    if service and not url.host and "host" not in url.query:
        return f"service {service}"
    host = url.host or url.query.get("host") or "local socket"
    shown = host if isinstance(host, str) else ",".join(host)
    port_number = url.port or url.query.get("port")
    port = f":{port_number}" if port_number else ""
    return f"{shown}{port}, database {url.database or 'default'}"
