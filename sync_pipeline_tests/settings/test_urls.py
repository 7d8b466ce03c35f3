"""Which URLs are accepted, and how each driver gets them."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from sync_pipeline.settings import (
    Settings,
    dagster_storage_url,
    load_settings,
    psycopg2_url,
    psycopg_url,
)
from sync_pipeline.settings.urls import (
    why_not_a_database_url,
    why_not_a_staging_url,
    why_not_an_http_url,
    why_not_an_index_url,
)

NOTICING = (
    "keepalives_idle=60&keepalives_interval=10&keepalives_count=6&tcp_user_timeout=120000"
    "&client_encoding=utf8"
)


@pytest.mark.parametrize(
    "scheme", ["postgres", "postgresql", "postgresql+psycopg", "postgresql+psycopg2"]
)
def test_every_spelling_of_a_database_url_suits_both_drivers(scheme: str) -> None:
    rest = "://app:p%40w@db:5433/x?sslmode=require&options=-c%20geqo%3Doff"

    assert why_not_a_database_url(scheme + rest) is None
    assert psycopg_url(scheme + rest) == f"postgresql+psycopg{rest}"
    assert psycopg2_url(scheme + rest) == f"postgresql+psycopg2{rest}&{NOTICING}"


def test_what_an_address_says_about_a_lost_server_holds() -> None:
    url = make_url(psycopg2_url("postgresql://db/x?keepalives_idle=5&tcp_user_timeout=0"))

    assert url.query["keepalives_idle"] == "5"
    assert url.query["tcp_user_timeout"] == "0"
    assert url.query["keepalives_count"] == "6"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        pytest.param("postgresql:///x?host=/run/postgresql", None, id="unix socket"),
        pytest.param("postgresql://app:@/x?host=/run/pg", None, id="socket with a user"),
        pytest.param("postgresql://db/x?application_name=a@b", None, id="at sign in a parameter"),
        pytest.param("postgresql://[::1]:5432/x", None, id="IPv6"),
        pytest.param("postgresql+asyncpg://db/x", None, id="other driver"),
        pytest.param("sqlite:///x.db", "is not a PostgreSQL URL", id="other database"),
        pytest.param("postgresql:///x", None, id="libpq's own host"),
        pytest.param("postgresql://db:port/x", "cannot be taken apart", id="port in words"),
        pytest.param("postgresql://db:99999/x", "cannot be taken apart", id="port too high"),
        pytest.param("postgresql://[::1/x", "cannot be taken apart", id="open bracket"),
        pytest.param("postgresql://a:1/2@db/x", "cannot be taken apart", id="slash in password"),
        pytest.param("postgresql://a:1#2@db/x", "cannot be taken apart", id="hash in password"),
        pytest.param("postgresql://db/x\n", "has spaces or line breaks", id="line break"),
    ],
)
def test_a_database_url_is_judged(url: str, expected: str | None) -> None:
    mistake = why_not_a_database_url(url)

    assert (mistake and mistake.what) == expected or (mistake and str(expected) in mistake.what)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        pytest.param("edge:index", None, id="embedded"),
        pytest.param("edge:/var/lib/index", None, id="embedded at an absolute path"),
        pytest.param("http://localhost:6333", None, id="server"),
        pytest.param("https://qdrant.example.com:443/prefix", None, id="server behind a prefix"),
        pytest.param("https://qdrant.example.com", None, id="no port"),
        pytest.param("https://qdrant.example.com/", None, id="trailing slash"),
        pytest.param("http://127.0.0.1/qdrant", "has a path and no port", id="path without port"),
        pytest.param("http://127.0.0.1:/qdrant/", "has a path and no port", id="empty port"),
        pytest.param("https://[::1]/qdrant", "has a path and no port", id="IPv6 without port"),
        pytest.param("edge:", "names no folder", id="embedded nowhere"),
        pytest.param("edge://host", "names no folder", id="embedded on a host"),
        pytest.param("localhost:6333", "is no address of an index", id="no scheme"),
        pytest.param("grpc://qdrant:6334", "is not an http:// or https:// URL", id="gRPC"),
        pytest.param("http://", "names no host", id="no host"),
        pytest.param("http://qdrant:x", "cannot be taken apart", id="port in words"),
        pytest.param("http://a:b@qdrant", "has a user name or password in it", id="user"),
        pytest.param("http://qdrant?k=v", "has a ? or # part", id="parameters"),
        pytest.param("http://qdrant /x", "has spaces or line breaks in it", id="space"),
    ],
)
def test_an_index_url_is_judged(url: str, expected: str | None) -> None:
    mistake = why_not_an_index_url(url)

    assert (mistake and mistake.what) == expected


@pytest.mark.parametrize(
    ("url", "fix"),
    [
        (
            "http://127.0.0.1/qdrant/",
            (
                "write http://127.0.0.1:80/qdrant for a proxy on the usual port, or "
                "http://127.0.0.1:6333/qdrant for Qdrant's own"
            ),
        ),
        (
            "https://[::1]/a/b",
            (
                "write https://[::1]:443/a/b for a proxy on the usual port, or "
                "https://[::1]:6333/a/b for Qdrant's own"
            ),
        ),
    ],
)
def test_s67_an_index_url_with_a_path_and_no_port_is_asked_about(url: str, fix: str) -> None:
    """The advice has both addresses that may be meant, ready to copy."""
    mistake = why_not_an_index_url(url)

    assert mistake is not None
    assert mistake.fix == fix


def test_an_embedding_service_is_not_embedded() -> None:
    mistake = why_not_an_http_url("edge:index")

    assert mistake is not None
    assert mistake.what == "is not an http:// or https:// URL"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        pytest.param("staging", None, id="folder"),
        pytest.param("/var/lib/staging?", None, id="absolute folder"),
        pytest.param("s3://bucket/prefix", None, id="object store"),
        pytest.param("file:///var/lib/staging", None, id="file URL"),
        pytest.param("memory://x", None, id="memory"),
        pytest.param(" ", "is empty", id="empty"),
        pytest.param("s3x://bucket", "has the unknown scheme s3x://", id="unknown scheme"),
        pytest.param("s3:///prefix", "names no bucket", id="no bucket"),
        pytest.param("s3://k:s@bucket", "may hold only scheme", id="credentials"),
        pytest.param("abfs://c/x?sig=s", "may hold only scheme", id="signature"),
    ],
)
def test_a_staging_url_is_judged(url: str, expected: str | None) -> None:
    mistake = why_not_a_staging_url(url)

    assert (mistake is None) == (expected is None)
    assert mistake is None or str(expected) in mistake.what


@pytest.mark.parametrize(
    ("url", "options"),
    [
        ("postgres://app:pw@db/x", "-csearch_path=dagster"),
        (
            "postgresql://app:pw@db/x?options=-c%20geqo%3Doff&sslmode=require",
            "-c geqo=off -csearch_path=dagster",
        ),
    ],
    ids=["plain", "with options of its own"],
)
def test_dagster_lives_in_its_own_schema_of_the_state_database(url: str, options: str) -> None:
    parsed = make_url(dagster_storage_url(url))

    assert parsed.drivername == "postgresql+psycopg2"
    assert parsed.query["options"] == options
    assert parsed.query.get("sslmode") == make_url(url).query.get("sslmode")
    assert (parsed.password, parsed.host, parsed.database) == ("pw", "db", "x")


def test_state_and_dagster_follow_the_source_unless_they_have_their_own() -> None:
    shared = load_settings(env={"DATABASE_URL": "postgres://db/x"})
    own = load_settings(
        env={
            "DATABASE_URL": "postgres://db/x",
            "STATE_DATABASE_URL": "postgres://state/x",
            "SYNC_PIPELINE__DAGSTER__STORAGE_URL": "postgres://dagster/x",
        }
    )

    assert shared.state_url == "postgresql+psycopg://db/x"
    assert shared.dagster_url == (
        f"postgresql+psycopg2://db/x?{NOTICING}&options=-csearch_path%3Ddagster"
    )
    assert own.state_url == "postgresql+psycopg://state/x"
    assert own.dagster_url == f"postgresql+psycopg2://dagster/x?{NOTICING}"


def test_everything_embedded_lives_under_home(tmp_path: Path) -> None:
    settings = Settings(home=Path("here"))

    assert settings.postgres_path == tmp_path / "here" / "postgres"
    assert settings.dagster_path == tmp_path / "here" / "dagster"
    assert settings.index_url == f"edge:{tmp_path}/here/index"
    assert settings.staging_url == str(tmp_path / "here" / "staging")
    assert (settings.source_url, settings.state_url, settings.dagster_url) == (None, None, None)
