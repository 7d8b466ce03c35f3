"""A collection of MongoDB as ``core.ports.RecordOrigin``."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import datetime

from sync_pipeline.core.landing.origin_options import MongoConnection, MongoRequest
from sync_pipeline.core.landing.passes import Order, OriginTraits, Page, Position
from sync_pipeline.core.landing.spec import Landing
from sync_pipeline.core.ports.landing import ChangeHints, Sighting
from sync_pipeline.origins.mongodb.deployment import Deployment
from sync_pipeline.origins.mongodb.examine import examine
from sync_pipeline.origins.mongodb.scan import Scan
from sync_pipeline.origins.mongodb.stream import ChangeFeed


class MongoOrigin:
    """The documents of one collection; their key is the text of their ``_id``.

    ``where`` of the landing is left to core: documents outside of it are read too, so that one
    that leaves it is known to be gone.

    Args:
        landing: Its ``key`` is ``("_id",)``.
        connection: Where the deployment is.
        request: Which collection of it.
        sleep: How waiting is done.
    """

    def __init__(
        self,
        landing: Landing,
        *,
        connection: MongoConnection,
        request: MongoRequest,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._deployment = Deployment(landing, connection=connection, request=request, sleep=sleep)
        self._scan = Scan(self._deployment, landing, request.page_size)
        self._request = request

    @property
    def traits(self) -> OriginTraits:
        """By key, to an end that the server states; it can be gone on with and asked singly."""
        return OriginTraits(
            order=Order.KEY,
            signals_end=True,
            resumes=True,
            looks_up=True,
            follows=self._request.follows,
        )

    def pages(self, *, since: datetime | None, start: Position | None) -> Generator[Page]:
        """The documents in the order of their ``_id``; all of them, whatever ``since`` says."""
        del since
        return self._scan.pages(start)

    def look_up(self, keys: Sequence[str]) -> Iterator[Sighting]:
        """Documents by the text of their ``_id``, as a majority of the set has them."""
        return self._scan.look_up(keys)

    @contextmanager
    def follow(
        self, token: Position | None, *, wait_seconds: float
    ) -> Iterator[Iterator[ChangeHints]]:
        """The change stream of the collection, from a token or from now on."""
        feed = ChangeFeed(self._deployment, token=token)
        with closing(feed):
            yield feed.hints(wait_seconds=wait_seconds)

    def examine(self, landing: Landing) -> Iterator[str]:
        """What is there, in sentences."""
        return examine(self._deployment, self._scan, landing=landing, follows=self._request.follows)

    def close(self) -> None:
        """End connections; twice is no error."""
        self._deployment.close()
