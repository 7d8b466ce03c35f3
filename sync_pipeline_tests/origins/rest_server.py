"""A small ERP with a REST interface, for tests: products, a login, five ways of paging, faults.

::

    with running_erp(Catalogue.of(20_000)) as erp:
        erp.faults.rate_429 = 0.05
        erp.before_page[30] = lambda catalogue: catalogue.delete("00000007")
        ...  # ask erp.url + "/data/products"

It answers under ``/api/v1``:

========================= ==========================================================================
``users/authenticate``    POST {tokenID, tokenHash}: ``{"token": ...}``, to be shown as ``X-Token``
``data/products``         GET or POST: ``{"data": [...], "total": N, ...}``, with the header
                          ``X-Total-Count``; ``modified_since`` leaves out what is older
``data/products/ID``      one product, or 404
========================= ==========================================================================

The list is cut by what the request names: ``offset`` and ``limit``; ``page`` and ``per_page``;
``after`` (an id, or nothing) and ``limit``; otherwise by cursor, with the next page in ``next`` (an
address), in ``cursor`` and in the header ``Link``. Each page is cut in one moment.

What is asked and served is kept, and each fault is counted.
"""

from __future__ import annotations

import base64
import json
import random
import ssl
import threading
import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from sync_pipeline_tests.origins.rest_catalogue import Catalogue, Change, Product, product_of

__all__ = [
    "Catalogue", "Change", "Credentials", "Erp", "Faults", "Product", "Reply", "ServedPage",
    "product_of", "running_erp",
]  # fmt: skip

ROOT: Final = "/api/v1"
LIST: Final = f"{ROOT}/data/products"
LOGIN: Final = f"{ROOT}/users/authenticate"
_DEFAULT_SIZE: Final = 100
_HTML: Final = b"<!DOCTYPE html><html><body>Please sign in</body></html>"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One scripted answer; ``body`` None means what a working system would say."""

    status: int = 200
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    breaks: bool = False
    """Close the connection without an answer."""
    cuts_body: bool = False
    """Announce all of the body, send half of it and close the connection."""
    cuts_json: bool = False
    """Send half of the body as if it were all of it."""
    drip_seconds: float = 0.0
    """Between the bytes of the body."""
    hangs_seconds: float = 0.0
    """Before the answer."""
    is_empty: bool = False
    """A page without records, with the total of the list."""


OK: Final = Reply()
HTML: Final = Reply(body=_HTML, headers={"Content-Type": "text/html; charset=utf-8"})
RESET: Final = Reply(breaks=True)
CUT: Final = Reply(cuts_body=True)
EMPTY: Final = Reply(is_empty=True)


def refusal(status: int, *, retry_after: str | None = None) -> Reply:
    """An answer with a status, and when to come again."""
    headers = {} if retry_after is None else {"Retry-After": retry_after}
    return Reply(status=status, body=b"{}", headers=headers)


@dataclass(slots=True, kw_only=True)
class Faults:
    """What goes wrong with requests of the list; changed at any time."""

    rate_429: float = 0.0
    retry_after: str | None = "0.001"
    """Of these."""
    rate_500: float = 0.0
    rate_reset: float = 0.0
    rate_cut: float = 0.0
    rate_html: float = 0.0
    empty_once_at: set[int] = field(default_factory=set)
    """Offsets at which one page is empty, with 200."""
    empty_always_at: set[int] = field(default_factory=set)
    """Offsets at which every page is."""
    script: list[Reply] = field(default_factory=list)
    """Answers to the next requests of the list, in order."""
    at_request: dict[int, Reply] = field(default_factory=dict)
    """Answers by the number of the request of the list, from 0."""
    logins: list[Reply] = field(default_factory=list)
    """Answers to the next logins."""
    lookups: list[Reply] = field(default_factory=list)
    """Answers to the next requests of one product."""
    counted: Counter[str] = field(default_factory=Counter)
    """Per fault how often it was."""
    dice: random.Random = field(default_factory=lambda: random.Random(0))  # noqa: S311 - of faults

    def next(self, number: int, params: Mapping[str, str]) -> Reply:
        """What becomes of a request of the list."""
        if number in self.at_request:
            self.counted["scripted"] += 1
            return self.at_request[number]
        if self.script:
            self.counted["scripted"] += 1
            return self.script.pop(0)
        offset = int(params.get("offset", -1))
        if offset in self.empty_always_at or offset in self.empty_once_at:
            self.empty_once_at.discard(offset)
            self.counted["empty"] += 1
            return EMPTY
        return self._thrown()

    def _thrown(self) -> Reply:
        faults = (
            ("429", self.rate_429, refusal(429, retry_after=self.retry_after)),
            ("500", self.rate_500, refusal(500)),
            ("reset", self.rate_reset, RESET),
            ("cut", self.rate_cut, CUT),
            ("html", self.rate_html, HTML),
        )
        thrown = self.dice.random()
        for name, rate, reply in faults:
            if thrown < rate:
                self.counted[name] += 1
                return reply
            thrown -= rate
        return OK


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """What a login takes, and how long its token is good."""

    token_id: str = "id-of-the-token"
    token_hash: str = "hash-that-nobody-may-see"
    requests_per_token: int | None = None
    """After so many requests it is refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedPage:
    """One page that was cut."""

    params: Mapping[str, str]
    ids: tuple[str | None, ...]


@dataclass(slots=True, eq=False)
class Erp:
    """A running system: what it has, how it behaves, and what it was asked."""

    catalogue: Catalogue
    credentials: Credentials | None = None
    """None: it asks for none."""
    url: str = ""
    """Of the interface."""
    faults: Faults = field(default_factory=Faults)
    before_page: dict[int, Change] = field(default_factory=dict)
    """What is done before a page is cut, by how many were cut before it."""
    before_each_page: Callable[[int, Catalogue], None] | None = None
    states_total: bool = True
    total_as: Callable[[int], object] = int
    """How the total is written."""
    as_pairs: bool = False
    """Whether records are lists of names and values: ``{"columns": [{"name", "value"}]}``."""
    ignores: set[str] = field(default_factory=set)
    """Parameters that it does not look at."""
    most_per_page: int = 1_000_000
    """However many are asked for."""
    latency_seconds: float = 0.0
    requests: Counter[str] = field(default_factory=Counter)
    """By path; of single products together as ``data/products/{id}``."""
    pages: list[ServedPage] = field(default_factory=list)
    """That were cut, in the order of cutting, those of refused requests not among them."""
    targets: list[str] = field(default_factory=list)
    """Path and parameters of each request."""
    bodies: list[object] = field(default_factory=list)
    """JSON of each POST."""
    headers: list[dict[str, str]] = field(default_factory=list)
    """Of each request, by names in lower case."""
    most_in_flight: int = 0
    """Requests of the list that were under way at the same time."""
    tokens: list[str] = field(default_factory=list)
    """Every token that was given out."""
    lock: threading.RLock = field(default_factory=threading.RLock)
    _token_uses: int = 0
    _in_flight: int = 0

    @property
    def logins(self) -> int:
        """How often a token was given out."""
        return len(self.tokens)

    @property
    def served_ids(self) -> list[str | None]:
        """Of all pages that were cut."""
        return [it for page in self.pages for it in page.ids]

    def expire_tokens(self) -> None:
        """Refuse every token that was given out so far."""
        with self.lock:
            self._token_uses = 1_000_000_000

    # What the handler asks.

    def begin(self, *, target: str, headers: Mapping[str, str], body: object) -> None:
        """Note a request."""
        path = urlsplit(target).path
        name = f"{LIST}/{{id}}" if path.startswith(f"{LIST}/") else path
        with self.lock:
            self.requests[name.removeprefix(f"{ROOT}/")] += 1
            self.targets.append(target)
            self.headers.append(dict(headers))
            if body is not None:
                self.bodies.append(body)

    def log_in(self, body: object) -> Reply:
        """Answer a login."""
        with self.lock:
            if self.faults.logins:
                return self.faults.logins.pop(0)
            wanted = self.credentials or Credentials()
            if body != {"tokenID": wanted.token_id, "tokenHash": wanted.token_hash}:
                return refusal(401)
            self.tokens.append(f"token-{len(self.tokens)}-that-nobody-may-see")
            self._token_uses = 0
            return Reply(body=json.dumps({"token": self.tokens[-1]}).encode())

    def admits(self, headers: Mapping[str, str]) -> bool:
        """Whether a request shows a good token."""
        if self.credentials is None:
            return True
        with self.lock:
            most = self.credentials.requests_per_token
            if not self.tokens or headers.get("x-token") != self.tokens[-1]:
                return False
            if self._token_uses >= (1_000_000_000 if most is None else most):
                return False
            self._token_uses += 1
            return True

    def one(self, product_id: str) -> Reply:
        """Answer a request of one product."""
        with self.lock:
            if self.faults.lookups:
                return self.faults.lookups.pop(0)
        product = self.catalogue.find(product_id)
        if product is None:
            return refusal(404)
        return Reply(body=json.dumps(product, ensure_ascii=False).encode())

    @contextmanager
    def serving(self) -> Iterator[int]:
        """Count a request of the list; its number, from 0."""
        with self.lock:
            number = self.requests["data/products"] - 1
            self._in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self._in_flight)
        try:
            yield number
        finally:
            with self.lock:
                self._in_flight -= 1

    def page(self, params: Mapping[str, str], *, is_empty: bool = False) -> Reply:
        """Cut a page."""
        params = {name: it for name, it in params.items() if name not in self.ignores}
        with self.lock, self.catalogue.lock:
            number = len(self.pages)
            if number in self.before_page:
                self.before_page.pop(number)(self.catalogue)
            if self.before_each_page is not None:
                self.before_each_page(number, self.catalogue)
            since = params.get("modified_since")
            entries = self.catalogue.select(None if since is None else _moment(since))
            found, cursor = _cut(entries, params, most=self.most_per_page)
            total = len(entries)
            if is_empty:
                found = []
            ids = tuple(it.product.get("ID") for it in found)
            self.pages.append(ServedPage(params=params, ids=ids))
            if self.as_pairs:
                encoded = [_as_pairs(it.product) for it in found]
            else:
                encoded = [it.encoded for it in found]
        return self._reply(encoded, total=total, cursor=cursor, params=params)

    def _reply(
        self, encoded: Sequence[bytes], *, total: int, cursor: str | None, params: Mapping[str, str]
    ) -> Reply:
        following = None
        if cursor is not None:
            following = f"{LIST}?{urlencode({**params, 'cursor': cursor})}"
        rest: dict[str, object] = {"next": following, "cursor": cursor}
        headers: dict[str, str] = {}
        if self.states_total:
            rest["total"] = self.total_as(total)
            headers["X-Total-Count"] = str(total)
        if following is not None:
            headers["Link"] = f'<{LIST}>; rel="first", <{following}>; rel="next"'
        beside = json.dumps(rest).encode()
        return Reply(body=b'{"data": [' + b",".join(encoded) + b"], " + beside[1:], headers=headers)


def _cut(
    entries: Sequence[Any], params: Mapping[str, str], *, most: int
) -> tuple[Sequence[Any], str | None]:
    """The entries of a page, and the cursor behind them where the list is walked by cursor."""
    size = min(int(params.get("limit") or params.get("per_page") or _DEFAULT_SIZE), most)
    if "offset" in params:
        begin = int(params["offset"])
        return entries[begin : begin + size], None
    if "page" in params:
        begin = (int(params["page"]) - 1) * size
        return entries[begin : begin + size], None
    after = params.get("after") or _decoded(params.get("cursor"))
    begin = _place_behind(entries, after)
    found = entries[begin : begin + size + 1]
    is_by_key = "after" in params or "sort" in params
    cursor = _encoded(found[size - 1].place) if len(found) > size and not is_by_key else None
    return found[:size], cursor


def _place_behind(entries: Sequence[Any], after: str | None) -> int:
    """Where the entries begin that stand behind an id."""
    return 0 if not after else bisect_right(entries, after, key=lambda entry: str(entry.place))


def _encoded(place: str) -> str:
    return base64.urlsafe_b64encode(place.encode()).decode()


def _decoded(cursor: str | None) -> str | None:
    return None if cursor is None else base64.urlsafe_b64decode(cursor).decode()


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _as_pairs(product: Product) -> bytes:
    pairs = [{"name": name, "value": value} for name, value in product.items()]
    return json.dumps({"columns": pairs}, ensure_ascii=False).encode()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, address: str, erp: Erp) -> None:
        self.erp = erp
        super().__init__((address, 0), _Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that gave up waiting is no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # An answer goes out in one piece, and at once.
    wbufsize = -1
    disable_nagle_algorithm = True
    server: _Server

    def do_GET(self) -> None:
        self._answer(None)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        is_form = "form" in (self.headers.get("Content-Type") or "")
        self._answer(dict(parse_qsl(body.decode())) if is_form else json.loads(body or b"{}"))

    def _answer(self, body: object) -> None:
        erp = self.server.erp
        parts = urlsplit(self.path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        erp.begin(target=self.path, headers=headers, body=body)
        if parts.path == LOGIN:
            self._send(erp.log_in(body))
        elif not erp.admits(headers):
            self._send(refusal(401))
        elif parts.path == LIST:
            params = dict(parse_qsl(parts.query, keep_blank_values=True))
            if isinstance(body, dict):
                params |= {str(name): str(value) for name, value in body.items()}
            self._send_page(params)
        elif parts.path.startswith(f"{LIST}/"):
            self._send(erp.one(unquote(parts.path.removeprefix(f"{LIST}/"))))
        else:
            self._send(refusal(404))

    def _send_page(self, params: Mapping[str, str]) -> None:
        erp = self.server.erp
        with erp.serving() as number:
            with erp.lock:
                reply = erp.faults.next(number, params)
            if erp.latency_seconds:
                time.sleep(erp.latency_seconds)
            if reply.status == 200 and reply.body is None and not reply.breaks:
                page = erp.page(params, is_empty=reply.is_empty)
                reply = replace(reply, body=page.body, headers={**page.headers, **reply.headers})
            self._send(reply)

    def _send(self, reply: Reply) -> None:
        if reply.hangs_seconds:
            time.sleep(reply.hangs_seconds)
        if reply.breaks:
            self.close_connection = True
            return
        body = reply.body or b""
        if reply.cuts_json:
            body = body[: len(body) // 2]
        self.send_response(reply.status)
        for name, value in {"Content-Type": "application/json", **reply.headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if reply.drip_seconds:
            self._drip(body, seconds=reply.drip_seconds)
        elif reply.cuts_body:
            self.wfile.write(body[: len(body) // 2])
            self.close_connection = True
        else:
            self.wfile.write(body)
        self.wfile.flush()

    def _drip(self, body: bytes, *, seconds: float) -> None:
        for place in range(len(body)):
            self.wfile.write(body[place : place + 1])
            self.wfile.flush()
            time.sleep(seconds)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as inherited
        pass


@contextmanager
def running_erp(
    catalogue: Catalogue | None = None,
    *,
    credentials: Credentials | None = None,
    address: str = "127.0.0.1",
    tls: ssl.SSLContext | None = None,
) -> Iterator[Erp]:
    """An ERP on this machine for the length of the ``with``; https with a certificate."""
    erp = Erp(Catalogue() if catalogue is None else catalogue, credentials=credentials)
    server = _Server(address, erp)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    erp.url = (
        f"http{'' if tls is None else 's'}://{quote(address)}:{server.server_address[1]}{ROOT}"
    )
    try:
        yield erp
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
