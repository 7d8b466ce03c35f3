"""What answers say: records, how many there are, and where the next ones are."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any, Final

import httpx

from sync_pipeline.core.errors import OriginConfigurationError
from sync_pipeline.core.hashing import digest
from sync_pipeline.core.landing.fields import MISSING, told_field, value_at
from sync_pipeline.core.landing.origin_options import ByLink, RestRequest
from sync_pipeline.core.landing.records import record_key
from sync_pipeline.core.landing.spec import Landing, Path
from sync_pipeline.core.shortening import beginning
from sync_pipeline.origins.rest.costs import Cost
from sync_pipeline.origins.rest.transport import Answer

_KEYS_SHOWN: Final = 20
_SHOWN_CHARACTERS: Final = 40
_NOT_A_NUMBER: Final = Decimal("NaN")
_CHARSET: Final = re.compile(r'charset\s*=\s*"?([^\s";]+)', re.IGNORECASE)
_LINK: Final = re.compile(r'<([^>]*)>((?:\s*;\s*[^\s=;,"]+(?:\s*=\s*(?:"[^"]*"|[^";,]*))?)*)')
_RELATION: Final = re.compile(r';\s*rel\s*=\s*(?:"([^"]*)"|([^";,\s]*))', re.IGNORECASE)


class Unreadable(Exception):  # noqa: N818 - what came, in words; caught in this package
    """An answer that is no JSON: ``"HTML instead of JSON"``."""


@dataclass(slots=True, kw_only=True)
class Listing:
    """One answer of a list."""

    records: list[object]
    keys: tuple[str, ...]
    """What each record is called by; of one without a name a digest of it."""
    total: int | None = None
    following: str | None = None
    """Where the next page is, as the answer says it."""
    cost: Cost = field(default_factory=Cost)


def read_json(answer: Answer) -> object:
    """The JSON of an answer; numbers with a fraction exact, NaN and Infinity as unusable ones.

    Raises:
        Unreadable: it is none.
    """
    content_type = answer.headers.get("content-type", "")
    if "html" in content_type.lower() or answer.body.lstrip()[:1] == b"<":
        raise Unreadable("HTML or XML instead of JSON")
    try:
        text = _text(answer.body, charset=_charset(content_type))
    except UnicodeError:
        raise Unreadable("a text in another encoding than it says") from None
    try:
        return json.loads(text, parse_float=_exact, parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise Unreadable(f"no whole JSON in {len(answer.body):,} bytes") from None


def _charset(content_type: str) -> str | None:
    found = _CHARSET.search(content_type)
    return None if found is None else found[1]


def _text(body: bytes, *, charset: str | None) -> str:
    if charset is not None and charset.lower() not in {"utf-8", "utf8"}:
        try:
            return body.decode(charset)
        except LookupError:
            # Nobody knows the name; JSON says by itself what it is.
            pass
    return body.decode(json.detect_encoding(body))


def _exact(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:
        return _NOT_A_NUMBER


def _no_number(name: str) -> Decimal:
    del name
    return _NOT_A_NUMBER


class ListReader:
    """Reads the answers of one landing.

    Args:
        landing: Says what a record is called by.
        request: Says where things are in an answer.
    """

    def __init__(self, landing: Landing, request: RestRequest) -> None:
        self._landing = landing
        self._request = request

    def listing(self, document: object, headers: httpx.Headers, *, told: str) -> Listing:
        """Read an answer of the list.

        Args:
            document: Its JSON.
            headers: Its headers.
            told: What was asked, for messages.

        Raises:
            OriginConfigurationError: something is not where the settings say; what is there
                instead is named.
        """
        path = self._request.records
        found = _value(document, path)
        # Programs in Go write an empty list as null.
        records = [] if found is None else found
        if not isinstance(records, list):
            raise self._misfit(f"{told} has no list at {_place(path)}", document, path, "records")
        objects = [self._plain(record) for record in records]
        return Listing(
            records=objects,
            keys=tuple(record_key(self._landing, it) or _digest(it) for it in objects),
            total=self._total(document, headers, told=told),
            following=self._following(document, headers),
        )

    def record(self, document: object, *, key: str, told: str) -> object:
        """Read an answer about one record.

        Raises:
            OriginConfigurationError: it is none, or another one.
        """
        path = self._request.lookup_record
        found = _value(document, path)
        # Some answer with a list of one.
        record = self._plain(found[0] if isinstance(found, list) and len(found) == 1 else found)
        if not isinstance(record, Mapping):
            raise self._misfit(
                f"{told} has no record at {_place(path)}", document, path, "lookup_record"
            )
        came = record_key(self._landing, record)
        if came is None:
            raise self._misfit(f"{told} has no record with an id", record, (), "lookup_record")
        if came != key:
            raise OriginConfigurationError(
                f"{told} answered with the record {beginning(came, length=_SHOWN_CHARACTERS)!r}, "
                f"asked for {beginning(key, length=_SHOWN_CHARACTERS)!r}.",
                landing=self._landing.name,
                remedy="Correct `deletes.lookup`: the address of one record, with {id} where its "
                "id goes.",
            )
        return record

    def _plain(self, record: object) -> object:
        """A record whose fields are a list of names and values as an object."""
        path = self._request.pairs
        if path is None:
            return record
        pairs = _value(record, path)
        if not isinstance(pairs, list):
            return record
        name, value = self._request.pair_name, self._request.pair_value
        fields = {
            str(pair[name]): pair.get(value)
            for pair in pairs
            if isinstance(pair, Mapping) and pair.get(name) is not None
        }
        beside = record if isinstance(record, Mapping) else {}
        return {**{key: it for key, it in beside.items() if key != path[0]}, **fields}

    def _total(self, document: object, headers: httpx.Headers, *, told: str) -> int | None:
        request = self._request
        if request.total_header is not None:
            found: object = headers.get(request.total_header, MISSING)
            where = f"in the header {request.total_header!r}"
        elif request.total is not None:
            found = _value(document, request.total)
            where = f"at {_place(request.total)}"
        else:
            return None
        total = _count(found)
        if total is not None:
            return total
        if request.total is not None and (found is MISSING or isinstance(found, Mapping | list)):
            raise self._misfit(f"{told} has no number {where}", document, request.total, "total")
        was = "nothing" if found is MISSING else repr(found)
        raise OriginConfigurationError(
            f"{told} has no number of records {where}, but "
            f"{beginning(was, length=_SHOWN_CHARACTERS)}.",
            landing=self._landing.name,
            remedy="Correct `total`, or write null where the list does not say how many there are.",
        )

    def _following(self, document: object, headers: httpx.Headers) -> str | None:
        paging = self._request.paging
        if not isinstance(paging, ByLink):
            return None
        if paging.next is None:
            return next_link(headers.get("link", ""))
        found = _value(document, paging.next)
        if isinstance(found, bool) or not isinstance(found, str | int | Decimal):
            return None
        return str(found) or None

    def _misfit(
        self, what: str, document: object, path: Path, setting: str
    ) -> OriginConfigurationError:
        return OriginConfigurationError(
            f"{what}; {_there(document, path)}.",
            landing=self._landing.name,
            remedy=f"Correct `{setting}` of the landing, or the path that it asks for.",
        )


def next_link(header: str) -> str | None:
    """Where the next page is by a header ``Link`` (RFC 8288)."""
    for target, parameters in _LINK.findall(header):
        relation = _RELATION.search(parameters)
        if relation is not None and "next" in (relation[1] or relation[2] or "").lower().split():
            return str(target)
    return None


def _value(document: object, path: Path) -> Any:
    return value_at(document, path)


def _count(found: object) -> int | None:
    if isinstance(found, bool) or not isinstance(found, int | str | Decimal):
        return None
    try:
        number = Decimal(found)
    except InvalidOperation:
        return None
    is_count = number.is_finite() and number >= 0 and number == number.to_integral_value()
    return int(number) if is_count else None


def _place(path: Path) -> str:
    return f"`{told_field(path)}`" if path else "its top"


def _there(document: object, path: Path) -> str:
    """What is where a path ends, or comes no further."""
    reached = next(
        length
        for length in range(len(path), -1, -1)
        if _value(document, path[:length]) is not MISSING
    )
    found = _value(document, path[:reached])
    return f"at {_place(path[:reached])} there is {_told(found)}"


def _told(found: object) -> str:
    match found:
        case Mapping():
            names = sorted(beginning(str(key), length=_SHOWN_CHARACTERS) for key in found)
            more = ", ..." if len(names) > _KEYS_SHOWN else ""
            keys = ", ".join(names[:_KEYS_SHOWN]) + more
            return f"an object with {keys}" if keys else "an empty object"
        case list():
            return f"a list of {len(found):,}"
        case None:
            return "null"
        case bool():
            return "true or false"
        case str():
            return "a text"
        case _:
            return "a number"


def _digest(record: object) -> str:
    return f"#{digest(repr(record))}"
