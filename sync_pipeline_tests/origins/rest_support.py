"""What tests of the REST origin are made of."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from sync_pipeline.core.landing.fields import parse_field
from sync_pipeline.core.landing.origin_options import (
    ByOffset,
    Login,
    Paging,
    RestConnection,
    RestRequest,
)
from sync_pipeline.core.landing.passes import Page, Position
from sync_pipeline.core.landing.spec import (
    ColumnRule,
    ColumnType,
    FieldTest,
    Landing,
    Owner,
    TimeOfChange,
)
from sync_pipeline.core.ports import RateLimiter
from sync_pipeline.origins.rest.origin import RestOrigin
from sync_pipeline_tests.embedding.limiting import SetClock
from sync_pipeline_tests.origins.rest_server import Erp

LANDING: Final = Landing(
    name="products",
    connection="erp",
    table="landing.products",
    id=(("ID",),),
    owner=Owner(),
    columns=(
        ColumnRule(name="name", fields=(("Nazev",),)),
        ColumnRule(name="price", fields=(("Cena",),), type=ColumnType.NUMERIC),
        ColumnRule(name="tags", fields=(("Stitky",),), join=", "),
        ColumnRule(
            name="stock_prague", fields=(parse_field("Sklad.praha"),), type=ColumnType.INTEGER
        ),
    ),
    required=(("Nazev",),),
    gone_when=FieldTest(field=("Smazano",), accepted=(True,)),
    changed=TimeOfChange(field=("last_modified",)),
)

LOGIN: Final = Login(
    path="users/authenticate",
    json={"tokenID": "id-of-the-token", "tokenHash": "hash-that-nobody-may-see"},
    token=("token",),
    header="X-Token",
)


def request_of(paging: Paging | None = None, **options: Any) -> RestRequest:
    """The list of products, with its total unless another one is said."""
    given = {"path": "data/products", "records": ("data",), "total": ("total",), **options}
    return RestRequest(paging=paging or ByOffset(size=50), **given)


def connection_to(erp: Erp, **options: Any) -> RestConnection:
    """A connection to a running system."""
    login = LOGIN if erp.credentials is not None else None
    return RestConnection(**{"name": "erp", "base_url": erp.url, "login": login, **options})


@contextmanager
def opened(
    erp: Erp,
    request: RestRequest | None = None,
    *,
    clock: SetClock | None = None,
    limiter: RateLimiter | None = None,
    landing: Landing = LANDING,
    sleep: Callable[[float], None] | None = None,
    **connection: Any,
) -> Iterator[RestOrigin]:
    """An origin that waits by a clock of its own, in no time."""
    set_clock = clock or SetClock()
    with closing(
        RestOrigin(
            landing,
            connection=connection_to(erp, **connection),
            request=request or request_of(),
            limiter=limiter,
            sleep=sleep or set_clock.sleep,
            clock=set_clock,
        )
    ) as origin:
        yield origin


@contextmanager
def reading(
    origin: RestOrigin, *, since: datetime | None = None, start: Position | None = None
) -> Iterator[Iterator[Page]]:
    """Pages of a pass, which ends with the ``with``."""
    pages = origin.pages(since=since, start=start)
    assert isinstance(pages, Generator)
    with closing(pages):
        yield pages


def read(
    origin: RestOrigin,
    *,
    since: datetime | None = None,
    start: Position | None = None,
    most: int | None = None,
) -> list[Page]:
    """Pages of a pass, all of them or the first ones."""
    taken: list[Page] = []
    with reading(origin, since=since, start=start) as pages:
        for page in pages:
            taken.append(page)
            if len(taken) == most:
                break
    return taken


def ids_of(pages: Sequence[Page]) -> list[str]:
    """Ids of all records, as they came."""
    return [
        str(record["ID"])
        for page in pages
        for record in page.records
        if isinstance(record, Mapping) and "ID" in record
    ]


def until(is_so: Callable[[], bool], *, seconds: float = 5.0) -> bool:
    """Wait for something that another thread does; whether it was done in time."""
    deadline = time.monotonic() + seconds
    while not is_so() and time.monotonic() < deadline:
        time.sleep(0.002)
    return is_so()


def without_total(request: RestRequest) -> RestRequest:
    """The same list, of which nobody knows how long it is."""
    return replace(request, total=None)
