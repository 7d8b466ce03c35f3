"""Whether somebody has switched off what Dagster starts by itself, asked without Dagster.

Importing it takes 0.6 s and opening an instance more, which nobody has to wait for who never did.
"""

from __future__ import annotations

from typing import Final

import psycopg

from sync_pipeline.database.urls import driver_url

_TABLE: Final = "instigators"
"""Of Dagster 1.13: a row per schedule and sensor that ever ran or was switched."""


def has_switched_off(url: str) -> bool:
    """Whether any schedule or sensor is recorded as stopped, ours or not.

    Args:
        url: Of Dagster's storage, in any spelling.

    Returns:
        False also where it cannot be asked: then nothing runs by itself at all, which is told
        elsewhere.
    """
    try:
        with psycopg.connect(driver_url(url, "libpq"), connect_timeout=10) as connection:
            known = connection.execute("SELECT to_regclass(%s)", [_TABLE]).fetchone()
            if known is None or known[0] is None:
                return False
            question = "SELECT EXISTS (SELECT FROM instigators WHERE status = 'STOPPED')"
            return connection.execute(question).fetchone() == (True,)
    except psycopg.Error:
        return False
