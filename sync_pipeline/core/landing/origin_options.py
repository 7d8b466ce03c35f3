"""What adapters of origins are made with: plain values that the settings lead to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from sync_pipeline.core.entity import Condition
from sync_pipeline.core.landing.spec import Path

Scalar: TypeAlias = str | int | float | bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """How a token is got, and how it is shown."""

    path: str
    method: Literal["POST", "GET"] = "POST"
    json: Mapping[str, Scalar] | None = None
    """Body as JSON."""
    form: Mapping[str, Scalar] | None = None
    """Body as a form."""
    token: Path
    """Where the token is in the answer."""
    header: str = "Authorization"
    scheme: str | None = None
    """Word before the token, e.g. ``Bearer``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RestConnection:
    """A REST system. Values that are secrets stay out of every message and ``repr``."""

    name: str
    base_url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Of every request, e.g. an API key."""
    params: Mapping[str, Scalar] = field(default_factory=dict, repr=False)
    """Of every request."""
    basic: tuple[str, str] | None = field(default=None, repr=False)
    """User and password."""
    login: Login | None = field(default=None, repr=False)
    concurrent_requests: int = 3
    requests_per_minute: float | None = None
    timeout_seconds: float = 60.0
    longest_wait_seconds: float = 900.0
    """A longer ``Retry-After`` defers the pass; it is not cut short."""
    attempts: int = 5
    max_answer_bytes: int = 268_435_456
    """A longer answer is refused, before it is held as a whole."""
    allows_plain_http: bool = False
    """Whether secrets may cross a network unencrypted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ByOffset:
    """Pages by offset and number of records; the list has to be in a fixed order."""

    size: int = 200
    overlap: int = 2
    offset_param: str = "offset"
    size_param: str = "limit"


@dataclass(frozen=True, slots=True, kw_only=True)
class ByPage:
    """Pages by their number."""

    size: int = 200
    first: int = 1
    page_param: str = "page"
    size_param: str | None = "per_page"


@dataclass(frozen=True, slots=True, kw_only=True)
class ByKey:
    """Each page begins after the last key of the one before."""

    size: int = 200
    after_param: str = "after"
    """Takes the last key."""
    size_param: str | None = "limit"
    sort_param: str | None = "sort"
    sort: str | None = None
    """What the list is asked to be sorted by; the key has to be a field that never changes."""
    key: Path
    """Where the key is in a record."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ByLink:
    """Each answer says where the next page is: in its body, or in the header ``Link``."""

    next: Path | None = None
    """Where in the body: an address, or a value for ``cursor_param``. None: the header."""
    cursor_param: str | None = None
    size: int | None = None
    size_param: str | None = None


Paging: TypeAlias = ByOffset | ByPage | ByKey | ByLink


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangesSince:
    """How a list is asked for records that changed since a moment."""

    param: str
    format: Literal["iso", "iso_seconds", "date", "epoch_seconds", "epoch_milliseconds"] = "iso"
    """``iso``: with offset and microseconds; ``iso_seconds``: to the second, in ``timezone``,
    without offset where that is set."""
    timezone: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RestRequest:
    """The list that a landing asks for."""

    path: str
    method: Literal["GET", "POST"] = "GET"
    params: Mapping[str, Scalar] = field(default_factory=dict)
    """In the address of a GET, in the JSON body of a POST."""
    records: Path = ()
    """Where the list is in the answer; empty: the answer is the list."""
    pairs: Path | None = None
    """Where in a record its fields are, as a list of ``{name, value}``."""
    pair_name: str = "name"
    pair_value: str = "value"
    total: Path | None = None
    """Where the answer says how many records there are."""
    total_header: str | None = None
    """Or the header that does."""
    paging: Paging
    since: ChangesSince | None = None
    lookup: str | None = None
    """Path of one record, with ``{id}`` where its key goes."""
    lookup_record: Path = ()
    """Where the record is in that answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MongoConnection:
    """A MongoDB deployment."""

    name: str
    url: str = field(repr=False)
    database: str
    timeout_seconds: float = 60.0
    longest_wait_seconds: float = 900.0
    attempts: int = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class MongoRequest:
    """The collection that a landing reads."""

    collection: str
    page_size: int = 500
    follows: bool = False
    """Whether its change stream is read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoaderSign:
    """How another loader says that what is in its table is complete.

    Every load that a row of the table names has to be among the finished ones; or, without
    ``load_column``, the newest load has to be finished.
    """

    table: str
    """Where it keeps its loads, e.g. ``raw._dlt_loads``."""
    where: tuple[Condition, ...] = ()
    """What a finished load meets, e.g. ``{status: 0}``."""
    newest_by: str | None = None
    """Column by which the newest load is found."""
    load_column: str | None = None
    """Column there that names a load, e.g. ``load_id``."""
    row_column: str | None = None
    """Column of the filled table that names the load of a row, e.g. ``_dlt_load_id``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TableRequest:
    """The table that another loader fills, in the source database."""

    table: str
    page_size: int = 2_000
    complete_when: LoaderSign | None = None
    """Without it nothing is ever deleted."""
