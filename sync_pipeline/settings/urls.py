"""URLs: which are accepted, how they are shown, and how each driver spells them."""

from __future__ import annotations

import re
from typing import Annotated, Final
from urllib.parse import SplitResult, parse_qs, quote, urlsplit

from pydantic import Secret

from sync_pipeline.core.addresses import is_readable_on_the_way
from sync_pipeline.core.connecting import NOTICE_LOST_SERVER
from sync_pipeline.settings.database_url import CANONICAL_SCHEME, read_address
from sync_pipeline.settings.rules import Mistake, checked

EDGE_PREFIX: Final = "edge:"
"""Starts the address of an embedded index."""

DAGSTER_SCHEMA: Final = "dagster"
"""Schema of Dagster's own tables inside the state database."""

_POSTGRES: Final = re.compile(r"(?:postgres|postgresql)(?:\+\w+)?://")
_SCHEME: Final = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_UNPRINTABLE: Final = re.compile(r"[\s\x00-\x1f\x7f]")
_USER_AND_PASSWORD: Final = re.compile(r"\A([^:/@]*):.*@", re.DOTALL)
_USERINFO: Final = re.compile(r"\A.*@", re.DOTALL)
_SECRET_PARAMETER: Final = re.compile(
    r"((?:\A|[?&;\s])(?:\w*passw(?:or)?d|api[_-]?key|\w*token|\w*secret\w*|sig(?:nature)?)\s*=\s*)"
    r"(?:'(?:[^'\\]|\\.)*'|(?:[^&\s\\]|\\.)*)",
    re.IGNORECASE,
)
_BROKERS: Final = frozenset(
    {"redis", "rediss", "redis+socket", "sentinel", "amqp", "amqps", "pyamqp", "rpc"}
)
_SMTP_FIX: Final = "write smtp://USER:PASSWORD@HOST:587 or smtps://USER:PASSWORD@HOST:465"


def mask_url(url: str) -> str:
    """Hide what may be a secret, for messages and ``repr``.

    Everything up to the last ``@`` counts as the password, because one that was
    not percent-encoded may hold an ``@`` or a ``/`` itself. A PostgreSQL user name
    stays readable; elsewhere a user name may be a token and is hidden too.
    """
    match = _SCHEME.match(url)
    scheme = "" if match is None else match.group()
    rest = url.removeprefix(scheme)
    if scheme and not _POSTGRES.match(url):
        rest = _USERINFO.sub("***@", rest)
    else:
        rest = _USER_AND_PASSWORD.sub(r"\1:***@", rest)
    return scheme + _SECRET_PARAMETER.sub(r"\1***", rest)


def passwords_of(url: str) -> list[str]:
    """Passwords of a valid address as they stand there, percent-encoded or not."""
    read = read_address(url)
    parts = urlsplit(url if isinstance(read, Mistake) else read)
    words = parse_qs(parts.query)
    return list(
        filter(None, [parts.password, *words.get("password", []), *words.get("sslpassword", [])])
    )


def psycopg_url(url: str) -> str:
    """Spell the valid address of a database for SQLAlchemy with psycopg 3."""
    return _spelled(url, "postgresql+psycopg://")


def psycopg2_url(url: str) -> str:
    """Spell it for Dagster, whose event log fails on psycopg 3.

    Its connections are told to speak UTF-8 and to notice a lost server, as ours are.
    """
    base, _, query = _spelled(url, "postgresql+psycopg2://").partition("?")
    kept = [part for part in query.split("&") if part and not part.startswith("client_encoding=")]
    said = {part.partition("=")[0] for part in kept}
    added = [f"{name}={value}" for name, value in NOTICE_LOST_SERVER.items() if name not in said]
    return f"{base}?{'&'.join([*kept, *added, 'client_encoding=utf8'])}"


def _spelled(url: str, scheme: str) -> str:
    read = read_address(url)
    if isinstance(read, Mistake):
        raise ValueError(f"no address of a database: it {read.what}")  # noqa: TRY004 - not a type
    return scheme + read.removeprefix(CANONICAL_SCHEME)


def dagster_storage_url(state_url: str) -> str:
    """Derive where Dagster keeps its tables: the state database, in a schema of their own.

    The schema is chosen by ``search_path`` (Dagster has no setting for it), added
    last so that it wins over one in ``state_url``. It must exist before Dagster starts.
    """
    base, _, query = psycopg2_url(state_url).partition("?")
    kept = [part for part in query.split("&") if part and not part.startswith("options=")]
    stated_options = parse_qs(query).get("options", [])
    options = quote(" ".join([*stated_options, f"-csearch_path={DAGSTER_SCHEMA}"]), safe="")
    return f"{base}?{'&'.join([*kept, f'options={options}'])}"


def names_dagster_schema(url: str) -> bool:
    """Whether an address has connections start in the schema that ``dagster_storage_url`` adds."""
    options = parse_qs(urlsplit(url).query).get("options", [])
    return any(f"search_path={DAGSTER_SCHEMA}" in option for option in options)


def why_not_a_database_url(url: str) -> Mistake | None:
    """Judge the address of a PostgreSQL database."""
    read = read_address(url)
    return read if isinstance(read, Mistake) else None


def why_not_an_http_url(url: str, *, instead: str = "api_key") -> Mistake | None:
    """Judge the base URL of an HTTP service.

    Args:
        url: The address.
        instead: Which key of the settings is for secrets.
    """
    if _UNPRINTABLE.search(url):
        return Mistake("has spaces or line breaks in it", "remove them")
    if not url.lower().startswith(("http://", "https://")):
        return Mistake("is not an http:// or https:// URL", "write http(s)://HOST:PORT")
    parts = _split(url)
    if parts is None:
        return Mistake("cannot be taken apart", "write http(s)://HOST:PORT")
    if "@" in url:
        return Mistake(
            "has a user name or password in it", f"remove it and set `{instead}` instead"
        )
    if parts.query or parts.fragment:
        return Mistake("has a ? or # part", f"remove it; set a key as `{instead}`")
    if not parts.hostname:
        return Mistake("names no host", "write http(s)://HOST:PORT")
    return None


def why_not_a_webhook_url(url: str) -> Mistake | None:
    """Judge the address that alerts are posted to; its path and parameters may be a secret."""
    parts = None if _UNPRINTABLE.search(url) else _split(url)
    if parts is None or not url.lower().startswith(("http://", "https://")):
        return Mistake("is not an http:// or https:// URL", "write https://HOST/PATH")
    if not parts.hostname or "@" in parts.netloc or parts.fragment:
        return Mistake("cannot be posted to", "write https://HOST/PATH without user and #")
    if is_readable_on_the_way(url):
        return Mistake("would cross the network unencrypted", "use https://")
    return None


def why_not_an_smtp_url(url: str) -> Mistake | None:
    """Judge the address of a mail server."""
    parts = None if _UNPRINTABLE.search(url) else _split(url)
    if parts is None or parts.scheme not in {"smtp", "smtps"} or not parts.hostname:
        return Mistake("is not the URL of a mail server", _SMTP_FIX)
    if parts.path.strip("/") or parts.query or parts.fragment:
        return Mistake("has more than user, password, host and port", _SMTP_FIX)
    if (parts.username is None) != (parts.password is None):
        return Mistake("names a user without a password", _SMTP_FIX)
    return None


def why_not_a_broker_url(url: str) -> Mistake | None:
    """Judge the address of what Celery's tasks or answers go through."""
    fix = "write redis://:PASSWORD@HOST:6379/0 or amqp://USER:PASSWORD@HOST//"
    parts = None if _UNPRINTABLE.search(url) else _split(url)
    if parts is None or parts.scheme not in _BROKERS:
        return Mistake("is not the URL of a broker", fix)
    # A socket has a path, and rpc:// answers through the broker itself.
    if not parts.hostname and parts.scheme not in {"redis+socket", "rpc"}:
        return Mistake("names no host", fix)
    return None


def is_embedded(index_url: str | None) -> bool:
    """Whether an index is embedded; without an address it is."""
    return index_url is None or index_url.startswith(EDGE_PREFIX)


def why_not_an_index_url(url: str) -> Mistake | None:
    """Judge the address of an index: embedded or a server."""
    if url.startswith(EDGE_PREFIX):
        path = url.removeprefix(EDGE_PREFIX)
        if path.strip() and not path.startswith("//"):
            return None
        return Mistake("names no folder", "write edge:PATH, e.g. edge:.sync-pipeline/index")
    mistake = why_not_an_http_url(url)
    if mistake is not None and "://" not in url:
        return Mistake("is no address of an index", "write edge:PATH or http(s)://HOST:6333")
    return mistake or _why_not_without_port(urlsplit(url))


def _why_not_without_port(parts: SplitResult) -> Mistake | None:
    """Ask which port is meant behind a path: a proxy's, or Qdrant's own, which is the default."""
    path = parts.path.rstrip("/")
    if parts.port is not None or not path:
        return None
    host = parts.netloc.rstrip(":")
    usual = 443 if parts.scheme.lower() == "https" else 80
    base = f"{parts.scheme}://{host}"
    return Mistake(
        "has a path and no port",
        f"write {base}:{usual}{path} for a proxy on the usual port, or "
        f"{base}:6333{path} for Qdrant's own",
    )


def why_not_a_staging_url(url: str) -> Mistake | None:
    """Judge a folder or an object-store URL."""
    if not url.strip():
        return Mistake("is empty", "write a folder or a URL such as s3://BUCKET/PREFIX")
    if not _SCHEME.match(url):
        return None
    parts = _split(url)
    if parts is None or parts.password is not None or parts.query or parts.fragment:
        return Mistake(
            "may hold only scheme, host or bucket, and path",
            "give credentials the way the object store's library reads them, in the environment",
        )
    from fsspec import available_protocols  # noqa: PLC0415 - only where a URL is used

    if parts.scheme not in available_protocols():
        return Mistake(
            f"has the unknown scheme {parts.scheme}://", "use e.g. s3://, gs://, abfs://"
        )
    if not parts.netloc and parts.scheme not in {"file", "local", "memory"}:
        return Mistake("names no bucket", f"write {parts.scheme}://BUCKET/PREFIX")
    return None


def _split(url: str) -> SplitResult | None:
    """Take a URL apart; None where its brackets or its port are wrong."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return None
    return parts


class DatabaseUrl(Secret[Annotated[str, checked(why_not_a_database_url)]]):
    """The URL of a PostgreSQL database; shown with its password masked."""

    def _display(self) -> str:
        return mask_url(self.get_secret_value())


class BrokerUrl(Secret[Annotated[str, checked(why_not_a_broker_url)]]):
    """The URL of a broker; shown without user and password."""

    def _display(self) -> str:
        return mask_url(self.get_secret_value())


class WebhookUrl(Secret[Annotated[str, checked(why_not_a_webhook_url)]]):
    """Where alerts are posted; shown with its host only, for whoever knows the rest can post."""

    def _display(self) -> str:
        return f"{urlsplit(self.get_secret_value()).hostname}/***"


class SmtpUrl(Secret[Annotated[str, checked(why_not_an_smtp_url)]]):
    """The URL of a mail server; shown without user and password."""

    def _display(self) -> str:
        return mask_url(self.get_secret_value())
