"""A database of an encoding of its own, beside those of the other tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import psycopg
from psycopg import sql

from sync_pipeline.database.urls import driver_url, parse_url

_NAME: Final = "encoded"


@contextmanager
def encoded_database(url: str, encoding: str) -> Iterator[str]:
    """Make an empty database of an encoding next to the one of ``url``; dropped afterwards.

    Args:
        url: A database that may make others.
        encoding: As PostgreSQL names it, WIN1251 for instance.

    Yields:
        Its URL for libpq.
    """
    parsed = parse_url(url)
    made = f"{parsed.database}_{_NAME}"
    name = sql.Identifier(made)
    with psycopg.connect(driver_url(url, "libpq"), autocommit=True) as administrator:
        administrator.execute(
            sql.SQL(
                "CREATE DATABASE {} ENCODING {} TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'"
            ).format(name, sql.Literal(encoding))
        )
        try:
            found = parsed.set(database=made).render_as_string(hide_password=False)
            yield driver_url(found, "libpq")
        finally:
            administrator.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))
