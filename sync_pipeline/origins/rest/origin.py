"""The origin of a landing that is a REST system."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Final

from sync_pipeline.core.errors import OriginConfigurationError
from sync_pipeline.core.landing.origin_options import (
    ByKey,
    ByLink,
    ByOffset,
    ByPage,
    RestConnection,
    RestRequest,
    Scalar,
)
from sync_pipeline.core.landing.passes import Order, OriginTraits, Page, Position
from sync_pipeline.core.landing.spec import Landing
from sync_pipeline.core.ports import RateLimiter
from sync_pipeline.core.ports.landing import ChangeHints, Sighting
from sync_pipeline.engine.overlap import in_flight
from sync_pipeline.origins.rest.addresses import Addresses
from sync_pipeline.origins.rest.answers import ListReader
from sync_pipeline.origins.rest.client import RestClient
from sync_pipeline.origins.rest.costs import Cost
from sync_pipeline.origins.rest.examining import iter_findings
from sync_pipeline.origins.rest.paging.key import KeyPages
from sync_pipeline.origins.rest.paging.link import LinkedPages
from sync_pipeline.origins.rest.paging.lister import Lister
from sync_pipeline.origins.rest.paging.number import NumberedPages
from sync_pipeline.origins.rest.paging.offset import OffsetPages
from sync_pipeline.origins.rest.since import told_since
from sync_pipeline.origins.rest.transport import Ask

_GONE: Final = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.GONE})


def _present() -> datetime:
    return datetime.now(UTC)


class RestOrigin:
    """``RecordOrigin`` over HTTP and JSON.

    Args:
        landing: Whose records are asked for.
        connection: The system.
        request: The list there.
        limiter: Gives turns among all who use the same account; None: there is no limit.
        sleep: Waits a little.
        now: The present, for dates that a system asks to wait until.
        clock: Seconds, by which all threads wait together.

    Raises:
        OriginConfigurationError: its address is none, or credentials would be readable on the way.
    """

    def __init__(
        self,
        landing: Landing,
        *,
        connection: RestConnection,
        request: RestRequest,
        limiter: RateLimiter | None = None,
        sleep: Callable[[float], None] = time.sleep,
        now: Callable[[], datetime] = _present,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._landing = landing
        self._connection = connection
        self._request = request
        self._addresses = Addresses(landing.name, connection)
        self._reader = ListReader(landing, request)
        self._client = RestClient(
            landing.name,
            connection=connection,
            addresses=self._addresses,
            limiter=limiter,
            sleep=sleep,
            now=now,
            clock=clock,
        )

    @property
    def traits(self) -> OriginTraits:
        """What it can promise; its end is a page that is empty, which a failure may be too."""
        return OriginTraits(
            order=_order_of(self._request),
            signals_end=False,
            resumes=True,
            looks_up=self._request.lookup is not None,
            tells_changes=self._request.since is not None,
        )

    def pages(self, *, since: datetime | None, start: Position | None) -> Generator[Page]:
        """The records page by page, the next ones being asked for meanwhile."""
        lister = self._lister(self._since_params(since), most=self._connection.concurrent_requests)
        yield from self._walk(lister, start=start)

    def look_up(self, keys: Sequence[str]) -> Iterator[Sighting]:
        """Ask for single records, several at a time; the answers are in the order of the keys."""
        template = self._request.lookup
        if template is None:
            raise self._cannot("has no address of single records", remedy="Set `deletes.lookup`.")

        def sighting(key: str) -> Sighting:
            ask = Ask(
                url=self._addresses.of_record(template, key),
                told=f"{str(self._addresses.base).rstrip('/')}/{template.lstrip('/').partition('?')[0]}",
            )
            found = self._client.ask(ask, Cost(), absent=_GONE)
            if found.status in _GONE:
                return Sighting(key, None)
            return Sighting(key, self._reader.record(found.document, key=key, told=str(ask)))

        return in_flight(sighting, keys, most=self._connection.concurrent_requests)

    def follow(
        self, token: Position | None, *, wait_seconds: float
    ) -> AbstractContextManager[Iterator[ChangeHints]]:
        """A REST system tells of nothing by itself.

        Raises:
            OriginConfigurationError: always.
        """
        del token, wait_seconds
        raise self._cannot(
            "cannot be followed: a REST system does not tell of changes by itself",
            remedy="Land what changed on a schedule (`incremental`).",
        )

    def examine(self, landing: Landing) -> Iterator[str]:
        """Log in, read one page and say what was found."""
        if self._client.log_in(Cost()):
            yield f"Logged in to {self._addresses.base.host}."
        with closing(self._walk(self._lister({}, most=0), start=None)) as pages:
            page = next(pages)
        yield from iter_findings(landing, self._request, page)

    def close(self) -> None:
        """End connections; twice is no error."""
        self._client.close()

    def _walk(self, lister: Lister, *, start: Position | None) -> Generator[Page, None, None]:
        match self._request.paging:
            case ByOffset() as paging:
                yield from OffsetPages(paging, lister, start=start)
            case ByPage() as paging:
                yield from NumberedPages(paging, lister, start=start)
            case ByKey() as paging:
                yield from KeyPages(paging, lister, start=start)
            case ByLink() as paging:
                yield from LinkedPages(paging, lister, start=start)

    def _lister(self, params: Mapping[str, Scalar], *, most: int) -> Lister:
        return Lister(
            self._landing,
            self._request,
            client=self._client,
            reader=self._reader,
            addresses=self._addresses,
            params=params,
            most=most,
        )

    def _since_params(self, since: datetime | None) -> Mapping[str, Scalar]:
        if since is None:
            return {}
        options = self._request.since
        if options is None:
            raise self._cannot(
                "cannot be asked for changes alone",
                remedy="Set `incremental.param`, or land all of it (`--mode full`).",
            )
        return {options.param: told_since(since, options)}

    def _cannot(self, what: str, *, remedy: str) -> OriginConfigurationError:
        return OriginConfigurationError(
            f"{self._addresses.base.host} {what}.", landing=self._landing.name, remedy=remedy
        )


def _order_of(request: RestRequest) -> Order:
    match request.paging:
        case ByKey():
            return Order.KEY
        case ByOffset() as paging if paging.overlap:
            return Order.SEAMS
        case _:
            return Order.POSITION
