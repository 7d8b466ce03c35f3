"""Addresses of a database as people have them (scenario S67)."""

from __future__ import annotations

from typing import Final

import pytest
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy.engine import make_url

from sync_pipeline.settings.database_url import read_address
from sync_pipeline.settings.rules import Mistake
from sync_pipeline.settings.urls import mask_url, psycopg2_url, psycopg_url

_SHOP: Final = "postgresql://app@db/x?options=-csearch_path%3Dshop"
READ: Final = {
    # As libpq takes it: to the letter.
    "postgresql://app:p%2Fw@db:5433/x": "postgresql://app:p%2Fw@db:5433/x",
    "postgresql://app:p+w@db/x": "postgresql://app:p+w@db/x",
    "postgresql://[::1]:5432/x": "postgresql://[::1]:5432/x",
    "postgresql:///x?host=/run/postgresql": "postgresql:///x?host=/run/postgresql",
    "postgresql:///?service=shop": "postgresql:///?service=shop",
    "postgresql:///x": "postgresql:///x",
    _SHOP: _SHOP,
    # Other schemes and drivers.
    "postgres://app@db/x": "postgresql://app@db/x",
    "postgresql+psycopg2://app@db/x": "postgresql://app@db/x",
    "postgresql+asyncpg://app@db/x": "postgresql://app@db/x",
    "POSTGRESQL://app@db/x": "postgresql://app@db/x",
    "pgsql://app@db/x": "postgresql://app@db/x",
    "postgis://app@db/x": "postgresql://app@db/x",
    "jdbc:postgresql://db:5432/x?user=app&password=p%40w":
        "postgresql://db:5432/x?user=app&password=p%40w",
    # Several hosts.
    "postgresql://app@a:5432,b:5433/x?target_session_attrs=any":
        "postgresql://app@/x?host=a%2Cb&port=5432%2C5433&target_session_attrs=any",
    "postgresql://a,b/x": "postgresql:///x?host=a%2Cb",
    "postgresql://a:5433,b/x": "postgresql:///x?host=a%2Cb&port=5433%2C",
    "postgresql://app@/x?host=a:5432&host=b:5433":
        "postgresql://app@/x?host=a%2Cb&port=5432%2C5433",
    # Sockets and scopes.
    "postgresql://%2Frun%2Fpostgresql/x": "postgresql:///x?host=%2Frun%2Fpostgresql",
    "postgresql://[fe80::1%25eth0]/x": "postgresql:///x?host=fe80%3A%3A1%25eth0",
    # Lines of key=value.
    "host=127.0.0.1 port=5432 user=app dbname=x": "postgresql://app@127.0.0.1:5432/x",
    " host = db  dbname = x ": "postgresql://db/x",
    "host=/run/postgresql dbname=x": "postgresql:///x?host=%2Frun%2Fpostgresql",
    "host=a,b port=1,2 dbname=x": "postgresql:///x?host=a%2Cb&port=1%2C2",
    r"host=db user=app password='it\'s a secret' dbname=x":
        "postgresql://app:it%27s%20a%20secret@db/x",
    "service=shop": "postgresql:///?service=shop",
    "dbname=x": "postgresql:///x",
    # Words of applications' libraries.
    "postgresql://app@db/x?schema=shop": _SHOP,
    "postgres://app@db/x?schema=shop&connection_limit=1&pool_timeout=20&pgbouncer=true": _SHOP,
    "jdbc:postgresql://db/x?user=app&currentSchema=shop&prepareThreshold=0&socketTimeout=3":
        _SHOP,
    "postgresql://db/x?schema=My%20Shop":
        "postgresql://db/x?options=-csearch_path%3D%22My%5C%20Shop%22",
    "postgresql://db/x?options=-c+geqo%3Doff&schema=shop":
        "postgresql://db/x?options=-c%20geqo%3Doff%20-csearch_path%3Dshop",
    "postgresql://db/x?statement_timeout=5000": "postgresql://db/x?options=-cstatement_timeout%3D5000",
    "postgresql://db/x?variables[lock_timeout]=5": "postgresql://db/x?options=-clock_timeout%3D5",
    "postgresql://db/x?connectTimeout=3&ApplicationName=web":
        "postgresql://db/x?connect_timeout=3&application_name=web",
    "postgresql://db/x?client_encoding=latin1": "postgresql://db/x",
    "jdbc:postgresql://a:1,b:2/x?targetServerType=primary&loadBalanceHosts=true":
        "postgresql:///x?host=a%2Cb&port=1%2C2&target_session_attrs=primary"
        "&load_balance_hosts=random",
    # How strict: the strictest word counts, in whatever order.
    "postgresql://db/x?ssl=true": "postgresql://db/x?sslmode=require",
    "postgresql://db/x?ssl=verify-full": "postgresql://db/x?sslmode=verify-full",
    "postgresql://db/x?sslmode=no-verify": "postgresql://db/x?sslmode=require",
    "postgresql://db/x?sslaccept=strict&sslmode=require": "postgresql://db/x?sslmode=verify-full",
    "postgresql://db/x?sslmode=require&sslaccept=strict": "postgresql://db/x?sslmode=verify-full",
    "postgresql://db/x?sslmode=verify-full&ssl=true": "postgresql://db/x?sslmode=verify-full",
}  # fmt: skip

WRONG: Final = {
    "postgresql://db/x?sslmod=require": ("(sslmod)", "did you mean sslmode?"),
    "postgresql://db/x?sslmode=requier": ("(sslmode)", "choose from disable, allow"),
    "postgresql://db/x?sslmode=": ("(sslmode)", "choose from disable, allow"),
    "postgresql://db/x?connect_timeout=10s": ("(connect_timeout)", "write a whole number"),
    "postgresql://db/x?target_session_attrs=master": ("(target_session_attrs)", "primary, standby"),
    "postgresql://db/x?targetServerType=odd": ("(targetServerType)", "target_session_attrs="),
    "postgresql://db/x?sslidentity=a.p12": ("(sslidentity)", "sslcert and sslkey"),
    "postgresql://db/x?foo=1&bar=2": ("(foo, bar)", "foo: take it out; bar: take it out"),
    "postgresql://db/x?foo": ("a parameter without a value", "?NAME=VALUE"),
    "host=a,b,c port=1,2": ("3 hosts and 2 ports", "one for each host"),
    "host=db port=0": ("(port)", "a number from 1 to 65535"),
    "Host=db;Database=x": ("separated by semicolons", "host=... port=..."),
    "host=db dbname=my base": ("taken apart", "'VALUE' where it has spaces"),
    "postgresql://a:1/2@db/x": ("taken apart", "percent-encode"),
    "postgresql://a:1#2@db/x": ("taken apart", "percent-encode"),
    "postgresql://db:99999/x": ("taken apart", "percent-encode"),
    "postgresql://db/x y": ("spaces or line breaks", "remove"),
    "prisma+postgres://accelerate/x": ("a proxy of Prisma's", "directUrl"),
    "mysql://db/x": ("not a PostgreSQL URL", "postgresql://USER"),
    "db/x": ("not a PostgreSQL URL", "postgresql://USER"),
}


@pytest.mark.parametrize("given", READ)
def test_s67_an_address_is_read_as_it_is_meant(given: str) -> None:
    """Every spelling has one form, which stays as it is when it is read again."""
    read = read_address(given)

    assert read == READ[given]
    assert read_address(read) == read


@pytest.mark.parametrize("given", READ)
def test_s67_each_driver_understands_what_was_read(given: str) -> None:
    """libpq and SQLAlchemy take the form, and mean the same host and database by it."""
    parsed = conninfo_to_dict(str(read_address(given)))

    for url in (psycopg_url(given), psycopg2_url(given)):
        made = make_url(url)
        words, options = made.get_dialect()().create_connect_args(made)
        assert not words
        assert str(options.get("host", "")) == parsed.get("host", "")
        assert options.get("dbname", "") == parsed.get("dbname", "")
        assert options.get("options") == parsed.get("options")


@pytest.mark.parametrize(
    "given",
    [
        "postgresql://app:p%2Fw@a:5432,b:5433/x?target_session_attrs=any&sslmode=disable",
        "postgresql://a:5433,b/x",
        "postgresql://%2Frun%2Fpostgresql/x",
        "postgresql://[fe80::1%25eth0]:5432/x",
        "postgresql://app:p+w@db/x?options=-c%20geqo%3Doff&application_name=a@b",
        r"host=db user=app password='it\'s a secret' dbname='my base'",
        "host=a,b port=1,2 dbname=x",
        "hostaddr=127.0.0.1 host=db dbname=x",
        "service=shop",
        "postgresql://",
    ],
)
def test_s67_what_libpq_takes_means_what_libpq_says(given: str) -> None:
    """An address that libpq itself takes has the same words afterwards."""
    assert conninfo_to_dict(str(read_address(given))) == conninfo_to_dict(given)


@pytest.mark.parametrize("given", WRONG)
def test_s67_a_mistake_is_named_with_the_word_that_helps(given: str) -> None:
    """What is wrong names the parameter, and the advice says what to write."""
    what, fix = WRONG[given]

    mistake = read_address(given)

    assert isinstance(mistake, Mistake)
    assert what in mistake.what
    assert fix in mistake.fix


@pytest.mark.parametrize(
    "given",
    [
        "host=db user=app password=hush dbname=x",
        r"host=db password='hush \' hush' dbname=x",
        "host=db password = hush dbname=x",
        "postgresql://db/x?user=app&password=hush",
        "jdbc:postgresql://app:hush@db/x",
        "postgresql://app:hush@a,b/x",
        "postgresql://db/x?sslpassword=hush",
    ],
)
def test_s67_a_password_is_shown_in_no_spelling(given: str) -> None:
    """The masked address has no password in it."""
    assert "hush" not in mask_url(given)
