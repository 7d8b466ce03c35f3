"""Addresses of a PostgreSQL database as people have them, brought into one form.

What libpq takes is taken: URLs with several hosts, a service, a socket or options, and lines
of ``key=value``. Applications add words of their own to such a URL: those with an equal are
translated, those about the application's own pool mean nothing here, and any other is named.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Final
from urllib.parse import parse_qsl, quote, unquote

from sync_pipeline.settings.database_words import (
    ADVICE,
    CHOICES,
    LIBPQ,
    NUMBERS,
    RENAMED,
    SESSION_SETTINGS,
    SPELLINGS,
    WITHOUT_MEANING,
    letters_of,
)
from sync_pipeline.settings.rules import Mistake

CANONICAL_SCHEME: Final = "postgresql://"
MAX_PORT: Final = 65_535

_SCHEME: Final = re.compile(r"(?:jdbc:)?([a-z][a-z0-9.-]*)(?:\+[a-z0-9_]+)?://", re.IGNORECASE)
_SCHEMES: Final = frozenset({"postgres", "postgresql", "pgsql", "postgis", "timescale"})
_CONNINFO: Final = re.compile(r"\s*\w+\s*=")
_PAIR: Final = re.compile(
    r"\s*(\w+)\s*=\s*('(?:[^'\\]|\\.)*'|(?:[^\s'\\]|\\.)*)(?=\s|\Z)", re.DOTALL
)
_DOTNET: Final = re.compile(r";\s*[\w ]+=")
_HOST: Final = re.compile(r"(?:\[([^\[\]]+)\]|([^:\[\]]*))(?::([0-9]*))?")
_PLAIN_HOST: Final = re.compile(r"[\w.:-]+")
_HOST_AND_PORT: Final = re.compile(r"([A-Za-z0-9.-]+):([0-9]+)")
_BLANK: Final = re.compile(r"[\s\x00-\x1f\x7f]")
_PLAIN_NAME: Final = re.compile(r"[a-z_][a-z0-9_]*")
_RAILS_VARIABLE: Final = re.compile(r"variables\[(\w+)\]")

_URL_FIX: Final = "write postgresql://USER:PASSWORD@HOST:5432/DATABASE"
_ENCODE_FIX: Final = "percent-encode / ? # @ : in user name and password (%2F %3F %23 %40 %3A)"


@dataclass(slots=True)
class _Reading:
    """Words of libpq so far, settings of the session, and what is wrong."""

    words: dict[str, str] = field(default_factory=dict)
    session: dict[str, str] = field(default_factory=dict)
    mistakes: dict[str, str] = field(default_factory=dict)
    """Per word that is wrong what to do about it."""


def read_address(text: str) -> str | Mistake:
    """Bring an address into the form ``postgresql://...`` that libpq and SQLAlchemy both take.

    One that has it already stays as it is, to the letter.
    """
    scheme = _SCHEME.match(text)
    if scheme is not None:
        return _read_url(text, scheme=scheme)
    if _CONNINFO.match(text) and "://" not in text.partition("=")[0]:
        return _read_conninfo(text)
    if _BLANK.search(text):
        return Mistake("has spaces or line breaks in it", "remove them")
    return Mistake("is not a PostgreSQL URL", _URL_FIX)


def _read_url(text: str, *, scheme: re.Match[str]) -> str | Mistake:
    if _BLANK.search(text):
        return Mistake("has spaces or line breaks in it", "remove them")
    name = scheme[1].lower()
    if name == "prisma" or text.lower().startswith("prisma+"):
        return Mistake(
            "is the address of a proxy of Prisma's, not of a database",
            "write the database's own URL, which Prisma calls directUrl",
        )
    if name not in _SCHEMES:
        return Mistake("is not a PostgreSQL URL", _URL_FIX)
    rest = text[scheme.end() :]
    head, _, query = rest.partition("?")
    place, _, database = head.partition("/")
    if "@" in database or "#" in rest:
        return Mistake("cannot be taken apart", _ENCODE_FIX)
    login, at, hosts = place.rpartition("@")
    reading = _Reading()
    fault = _read_hosts(hosts, into=reading.words)
    if fault is not None:
        return fault
    user, colon, password = login.partition(":")
    words = {"user": user, "password": password, "dbname": database}
    reading.words |= {word: unquote(value) for word, value in words.items() if value}
    plain = dict(reading.words)
    given_pairs = _pairs(query)
    if given_pairs is None:
        return Mistake("has a parameter without a value", "write ?NAME=VALUE&NAME=VALUE")
    pairs = _joined(given_pairs)
    for word, value in pairs:
        _read_word(word, value, into=reading)
    is_plain = (
        "," not in hosts
        and "%" not in hosts
        and "@" not in login
        and "+" not in query
        and pairs == given_pairs
        and not reading.session
        and reading.words == plain | dict(pairs)
        and len(reading.words) == len(plain) + len(pairs)
        and not (at and not login)
        and not (colon and not password and not user)
    )
    return _finish(reading, as_it_is=f"{CANONICAL_SCHEME}{rest}" if is_plain else None)


def _read_conninfo(text: str) -> str | Mistake:
    if _DOTNET.search(text):
        return Mistake(
            "has its parts separated by semicolons",
            "write them with spaces: host=... port=... user=... password=... dbname=...",
        )
    reading = _Reading()
    at = 0
    stripped = text.strip()
    while at < len(stripped):
        pair = _PAIR.match(stripped, at)
        if pair is None:
            return Mistake(
                "cannot be taken apart",
                "write KEY=VALUE with a space between two, and 'VALUE' where it has spaces, "
                "or a URL: postgresql://USER:PASSWORD@HOST:5432/DATABASE",
            )
        value = pair[2]
        quoted = value[1:-1] if value.startswith("'") else value
        _read_word(pair[1], re.sub(r"\\(.)", r"\1", quoted), into=reading)
        at = pair.end()
    return _finish(reading, as_it_is=None)


def _read_hosts(hosts: str, *, into: dict[str, str]) -> Mistake | None:
    """Read ``host:port,host:port``."""
    if not hosts:
        return None
    names, ports = [], []
    for each in hosts.split(","):
        host = _HOST.fullmatch(each)
        if host is None or (host[3] and not 0 < int(host[3]) <= MAX_PORT):
            return Mistake("cannot be taken apart", _ENCODE_FIX)
        names.append(unquote(host[1] or host[2]))
        ports.append(host[3] or "")
    if any(names):
        into["host"] = ",".join(names)
    if any(ports):
        into["port"] = ",".join(ports)
    return None


def _pairs(query: str) -> list[tuple[str, str]] | None:
    """Parameters of a URL, as libpq reads them: a plus is a plus, except among options."""
    try:
        parameters = parse_qsl(
            query.replace("+", "%2B"), keep_blank_values=True, strict_parsing=bool(query)
        )
    except ValueError:
        return None
    return [
        (word, value.replace("+", " ") if word == "options" else value)
        for word, value in parameters
    ]


def _joined(pairs: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Parameters with all hosts in one, where they are given one by one, as SQLAlchemy has them."""
    hosts = [value for word, value in pairs if word == "host"]
    split = [_HOST_AND_PORT.fullmatch(host) for host in hosts]
    if len(hosts) < 2 and not any(split):  # noqa: PLR2004 - several
        return list(pairs)
    names = [part[1] if part else host for part, host in zip(split, hosts, strict=True)]
    ports = [part[2] if part else "" for part in split]
    others = [pair for pair in pairs if pair[0] != "host"]
    return [
        *others,
        ("host", ",".join(names)),
        *([("port", ",".join(ports))] if any(ports) else []),
    ]


def _read_word(word: str, value: str, *, into: _Reading) -> None:
    """Understand one parameter, or note what to do about it."""
    letters = letters_of(word)
    spelled = SPELLINGS.get((letters, value.lower()))
    rails = _RAILS_VARIABLE.fullmatch(word)
    if spelled is not None:
        _set(*spelled, into=into.words)
    elif letters == "ssl" and value in CHOICES["sslmode"]:
        _set("sslmode", value, into=into.words)
    elif letters == "schema":
        into.session["search_path"] = _quoted_name(value)
    elif letters in SESSION_SETTINGS or rails is not None:
        into.session[rails[1] if rails else SESSION_SETTINGS[letters]] = value
    elif letters in WITHOUT_MEANING:
        return
    elif letters in RENAMED:
        keyword = RENAMED[letters]
        fault = _why_not(keyword, value)
        if fault is not None:
            into.mistakes[word] = fault
        elif value or keyword not in {"host", "port", "user", "dbname"}:
            _set(keyword, value, into=into.words)
    else:
        into.mistakes[word] = ADVICE.get(letters) or _similar(word)


def _set(word: str, value: str, *, into: dict[str, str]) -> None:
    """Keep a value; of several words for how strict a connection is, the strictest counts."""
    earlier = into.get(word)
    if word == "sslmode" and earlier is not None:
        value = max(earlier, value, key=CHOICES["sslmode"].index)
    into[word] = value


def _why_not(word: str, value: str) -> str | None:
    """Say what to write instead of a value that libpq would refuse."""
    if word in CHOICES and value not in CHOICES[word]:
        return f"choose from {', '.join(CHOICES[word])}"
    if word in NUMBERS and value and not value.lstrip("-").isdecimal():
        return "write a whole number"
    if word == "port" and not all(
        not port or (port.isdecimal() and 0 < int(port) <= MAX_PORT) for port in value.split(",")
    ):
        return f"write a number from 1 to {MAX_PORT}"
    return None


def _similar(word: str) -> str:
    alike = get_close_matches(word.lower(), [*LIBPQ, *SESSION_SETTINGS.values()], n=1)
    return f"did you mean {alike[0]}?" if alike else "take it out"


def _quoted_name(schema: str) -> str:
    if _PLAIN_NAME.fullmatch(schema):
        return schema
    doubled = schema.replace('"', '""')
    return f'"{doubled}"'


def _finish(reading: _Reading, *, as_it_is: str | None) -> str | Mistake:
    words = reading.words
    if reading.mistakes:
        named = ", ".join(reading.mistakes)
        advice = "; ".join(f"{word}: {what}" for word, what in reading.mistakes.items())
        return Mistake(f"has parameters that cannot be used ({named})", advice)
    hosts, ports = (words.get(word, "").split(",") for word in ("host", "port"))
    if len(ports) not in {1, len(hosts)}:
        return Mistake(
            f"has {len(hosts)} hosts and {len(ports)} ports", "give one port, or one for each host"
        )
    if as_it_is is not None:
        return as_it_is
    if reading.session:
        options = " ".join(filter(None, [words.get("options"), *_switches(reading.session)]))
        words["options"] = options
    return _written(words)


def _switches(session: Mapping[str, str]) -> Iterator[str]:
    """Settings of the session as switches of the server, where a space is escaped."""
    for name, value in session.items():
        escaped = re.sub(r"([\\\s])", r"\\\1", value)
        yield f"-c{name}={escaped}"


def _written(words: Mapping[str, str]) -> str:
    """The URL; what does not fit before its question mark stands after it."""
    left = dict(words)
    login = ""
    if "user" in left:
        login = quote(left.pop("user"), safe="")
        if "password" in left:
            login += f":{quote(left.pop('password'), safe='')}"
        login += "@"
    place = ""
    host = left.get("host", "")
    if _PLAIN_HOST.fullmatch(host) and "," not in left.get("port", ""):
        place = f"[{host}]" if ":" in host else host
        del left["host"]
        if left.get("port"):
            place += f":{left.pop('port')}"
    database = quote(left.pop("dbname", ""), safe="")
    query = "&".join(f"{word}={quote(value, safe='')}" for word, value in left.items())
    return f"{CANONICAL_SCHEME}{login}{place}/{database}{'?' if query else ''}{query}"
