"""An ERP with a REST interface, for the demo: it listens on this machine alone, and forgets all.

::

    with running_erp() as erp:
        ...  # ask erp.url + "/products"

===================== ============================================================================
``POST login``        ``{user, password}``: ``{"token": ...}``, to be shown as ``X-Token``
``GET products``      ``{"data": [...], "total": N}``, in the order of ``ID``; ``offset`` and
                      ``limit`` cut a page, ``modified_since`` leaves out what is older
``GET products/ID``   one product, or 404
===================== ============================================================================

It is as such systems are: a token expires, one answer asks to wait, one fails, a record is there
twice, one has no id, and one price is a text. Its products are those of the built-in catalogue.
"""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

from sync_pipeline.sample.lines import Article, read_lines

Product = dict[str, Any]

ROOT: Final = "/api/v1/"
LIST: Final = "products"
ONE: Final = f"{LIST}/"
LOGIN: Final = "login"
USER: Final = "demo"
PASSWORD: Final = "not-much-of-a-secret"  # noqa: S105 - of a system that lives for a minute

REQUESTS_PER_TOKEN: Final = 8
"""After so many requests a token is refused."""
ASKS_TO_WAIT_AT: Final = 3
FAILS_AT: Final = 6
"""Numbers of the requests of the list that are answered with 429 and 500, each once."""
WAIT_SECONDS: Final = 1

TABLE: Final = "materials_english"
"""Of lines of products; see ``sample.lines``."""
REPEATED_AT: Final = 250
WITHOUT_ID_AT: Final = 500
COMMA_AT: Final = 750
"""Places of the three records that are not as they should be."""
_AGE_STEP: Final = timedelta(hours=1)
"""So much later than the one before it a product was changed last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What goes back."""

    status: int = HTTPStatus.OK
    body: object = None
    headers: Mapping[str, str] = field(default_factory=dict)


def read_products(*, now: datetime) -> list[Product]:
    """The list: the catalogue in the order of its ids, with three records that are not so good.

    Args:
        now: Nothing was changed after it.
    """
    articles = [it for line in read_lines(TABLE, entity="material") for it in line.iter_articles()]
    began = now - len(articles) * _AGE_STEP
    products = [
        _product(it, place, modified=began + place * _AGE_STEP) for place, it in enumerate(articles)
    ]
    price = str(products[COMMA_AT]["Price"]).replace(".", ",")
    products[COMMA_AT]["Price"] = price if "," in price else f"{price},50"
    older = {**products[REPEATED_AT], "Price": 1, "Modified": began.isoformat()}
    nameless = {**products[WITHOUT_ID_AT], "ID": None, "Name": "Deposit for a pallet"}
    products.insert(WITHOUT_ID_AT, nameless)
    products.insert(REPEATED_AT, older)
    return products


def _product(article: Article, place: int, *, modified: datetime) -> Product:
    return {
        "ID": f"P-{place + 1:04}",
        "Number": article.number,
        "Name": article.name,
        "Category": article.category,
        "Supplier": article.supplier,
        "Unit": article.unit,
        "Price": float(article.price),
        "Stock": {"warehouse": place * 7 % 120, "shop": place % 5},
        "Tags": [article.category, article.unit],
        "Modified": modified.isoformat(),
    }


class Erp:
    """What it has, how it answers, and what it was asked; any thread may use it.

    Args:
        products: Its list, in its order.
        now: When something is changed.
    """

    def __init__(self, products: Sequence[Product], *, now: Callable[[], datetime]) -> None:
        self.url = ""
        """Of the interface, once it listens."""
        self.asked: Final[Counter[str]] = Counter()
        """Requests that were answered, by what was asked for; 401, 429 and 500 by their number."""
        self._products = [dict(it) for it in products]
        self._now = now
        self._lock = threading.Lock()
        self._token: str | None = None
        self._token_uses = 0
        self._lists = 0

    @property
    def ids(self) -> frozenset[str]:
        """Of all products that have one."""
        with self._lock:
            return frozenset(it["ID"] for it in self._products if it["ID"] is not None)

    def find(self, name: str) -> Product:
        """The first product whose name contains this.

        Raises:
            StopIteration: there is none.
        """
        with self._lock:
            return dict(next(it for it in self._products if name in it["Name"] and it["ID"]))

    def change(self, product_id: str, **fields: object) -> None:
        """Change fields of a product; it keeps its place."""
        with self._lock:
            for product in self._products:
                if product["ID"] == product_id:
                    product |= {**fields, "Modified": self._now().isoformat()}

    def add(self, product_id: str, like: Product, **fields: object) -> None:
        """Add a product at the end: another one with other fields."""
        changed = {"ID": product_id, "Modified": self._now().isoformat()}
        with self._lock:
            self._products.append({**like, **fields, **changed})

    def delete(self, product_id: str) -> None:
        """Remove a product. Nothing of it is left, so nobody is told."""
        with self._lock:
            self._products = [it for it in self._products if it["ID"] != product_id]

    def answer(self, target: str, *, headers: Mapping[str, str], body: object = None) -> Answer:
        """Answer one request.

        Args:
            target: Path and parameters.
            headers: By name in lower case.
            body: JSON of a POST.
        """
        parts = urlsplit(target)
        path = unquote(parts.path).removeprefix(ROOT)
        with self._lock:
            if path == LOGIN:
                found = self._log_in(body)
            elif not self._admits(headers.get("x-token")):
                found = Answer(status=HTTPStatus.UNAUTHORIZED)
            elif path == LIST:
                found = self._page(dict(parse_qsl(parts.query)))
            elif path.startswith(ONE):
                found = self._one(path.removeprefix(ONE))
            else:
                found = Answer(status=HTTPStatus.NOT_FOUND)
            what = path.partition("/")[0] if found.status < HTTPStatus.BAD_REQUEST else None
            if path.startswith(ONE) and found.status != HTTPStatus.UNAUTHORIZED:
                what = "look-ups"
            self.asked[what or str(int(found.status))] += 1
        return found

    def _log_in(self, body: object) -> Answer:
        if body != {"user": USER, "password": PASSWORD}:
            return Answer(status=HTTPStatus.UNAUTHORIZED)
        self._token, self._token_uses = f"token-{self.asked[LOGIN] + 1}", 0
        return Answer(body={"token": self._token})

    def _admits(self, token: str | None) -> bool:
        self._token_uses += 1
        return token is not None and token == self._token and self._token_uses <= REQUESTS_PER_TOKEN

    def _page(self, params: Mapping[str, str]) -> Answer:
        self._lists += 1
        if self._lists == ASKS_TO_WAIT_AT:
            headers = {"Retry-After": str(WAIT_SECONDS)}
            return Answer(status=HTTPStatus.TOO_MANY_REQUESTS, headers=headers)
        if self._lists == FAILS_AT:
            return Answer(status=HTTPStatus.INTERNAL_SERVER_ERROR)
        found = self._products
        if "modified_since" in params:
            since = datetime.fromisoformat(params["modified_since"])
            found = [it for it in found if datetime.fromisoformat(it["Modified"]) >= since]
        offset, limit = int(params.get("offset", 0)), int(params.get("limit", 100))
        page = [dict(it) for it in found[offset : offset + limit]]
        return Answer(body={"data": page, "total": len(found)})

    def _one(self, product_id: str) -> Answer:
        for product in self._products:
            if product["ID"] == product_id:
                return Answer(body=dict(product))
        return Answer(status=HTTPStatus.NOT_FOUND)


@contextmanager
def running_erp() -> Iterator[Erp]:
    """An ERP that listens on a free port of this machine, for the length of the ``with``."""

    def now() -> datetime:
        return datetime.now(UTC)

    erp = Erp(read_products(now=now()), now=now)
    server = _Server(erp)
    thread = threading.Thread(
        target=server.serve_forever, args=(0.05,), name="demo-erp", daemon=True
    )
    thread.start()
    erp.url = f"http://127.0.0.1:{server.server_address[1]}{ROOT.rstrip('/')}"
    try:
        yield erp
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, erp: Erp) -> None:
        self.erp = erp
        super().__init__(("127.0.0.1", 0), _Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that has gone is no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True
    server: _Server

    def do_GET(self) -> None:
        self._send(None)

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        self._send(json.loads(self.rfile.read(length) or b"null"))

    def _send(self, body: object) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        answer = self.server.erp.answer(self.path, headers=headers, body=body)
        text = json.dumps(answer.body).encode()
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)
        self.wfile.flush()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as inherited
        """Requests are counted, not printed."""


MARK: Final = "# Written by `sync-pipeline demo --source rest`, and anew by every run of it."
"""First line of the settings file: what stands beside it may be removed."""

_SETTINGS: Final = """\
{mark}
# The system that it names answers while the demo runs; what landed is there afterwards.
home: {home}
connections:
  erp:
    kind: rest
    base_url: {url}
    login:
      path: {login}
      json: {{user: {user}, password: {password}}}   # of a real system: {{env: ERP_PASSWORD}}
      token: token
      header: X-Token
landings:
  - name: products
    connection: erp
    table: landing.products
    request: {{path: {list}}}
    records: data
    total: total
    pages: {{by: offset, size: 100}}
    incremental: {{param: modified_since, field: Modified}}
    id: ID
    required: [Name]
    owner: {{global: true}}
    columns:
      name: Name
      category: Category
      supplier: Supplier
      unit: Unit
      price: {{field: Price, type: numeric}}
      stock: {{field: Stock.warehouse, type: integer}}
      tags: {{field: Tags, type: jsonb}}
    deletes: {{confirm: lookup, lookup: "{one}{{id}}"}}
entities:
  - name: product
    table: landing.products
    updated_at: updated_at
    views: {{text: [name, category, supplier, unit]}}
    payload: {{category: category, supplier: supplier, unit: unit, price: price, stock: stock,
              tags: tags}}
"""


def settings_text(*, url: str, home: str) -> str:
    """A settings file that lands and syncs what the ERP has.

    Args:
        url: Of its interface.
        home: Folder for everything embedded.
    """
    return _SETTINGS.format(
        mark=MARK,
        home=json.dumps(home),
        url=url,
        login=LOGIN,
        user=USER,
        password=PASSWORD,
        list=LIST,
        one=ONE,
    )
