"""What the service works with, and how a request reaches it."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final, Self

from fastapi import Depends, Request
from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from sync_pipeline.core.errors import SyncPipelineError
from sync_pipeline.engine.context import SyncContext
from sync_pipeline.engine.questions.search import Sharing
from sync_pipeline.engine.roles import serving_by_record
from sync_pipeline.operations.asking import prepare_suggestions, search_many
from sync_pipeline.service.authentication import Authenticator
from sync_pipeline.service.metrics import Metrics
from sync_pipeline.service.principals import Principal, Role
from sync_pipeline.service.problems import BusyError
from sync_pipeline.service.shared_models import SharedModels
from sync_pipeline.service.switching import IndexSwitch
from sync_pipeline.service.threads import SearchThreads
from sync_pipeline.service.timing import timed_lease
from sync_pipeline.service.turns import Turns
from sync_pipeline.settings import Settings
from sync_pipeline.wiring import Installation

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sync_pipeline.core.scope import Scope
    from sync_pipeline.engine.questions.search import SearchRequest, SearchResult

SERVER_SEARCHES: Final = 8
"""Searches that ask a Qdrant server at the same time."""
BREATH_SECONDS: Final = 0.003
"""Between two searches that ask the embedded index."""
_log: Final = logging.getLogger(__name__)


@dataclass(slots=True)
class Service:
    """One installation, opened to answer requests."""

    settings: Settings
    sync: SyncContext
    """Its search texts are embedded together."""
    models: SharedModels
    authenticator: Authenticator
    limiter: MovingWindowRateLimiter
    metrics: Metrics
    turns: Turns
    switching: IndexSwitch
    threads: SearchThreads
    is_ready: bool = False
    """Whether the model is in memory."""

    @classmethod
    def open(cls, installation: Installation) -> Self:
        """Make the service of an installation; loads no model."""
        settings = installation.settings
        metrics = Metrics(installation.sync, environment=settings.environment)
        models = SharedModels(
            installation.sync,
            max_waiting=settings.service.max_waiting_queries,
            on_busy=lambda: metrics.count_busy("model"),
        )
        store = timed_lease(installation.sync.store, on_busy=lambda: metrics.count_busy("index"))
        sync = models.context(store=store)
        return cls(
            settings=settings,
            sync=sync,
            models=models,
            authenticator=Authenticator(settings.service),
            limiter=MovingWindowRateLimiter(MemoryStorage()),
            metrics=metrics,
            turns=_turns(
                is_embedded=settings.embedded_index_path is not None,
                on_busy=lambda: metrics.count_busy("index"),
            ),
            # Has patience for the index, and a model that need not wait for searches.
            switching=IndexSwitch(installation.sync),
            threads=SearchThreads(),
        )

    def warm_up(self) -> None:
        """Load the model of what serves, so that the first search need not.

        That of a generation which is being filled is loaded too, once the service is ready.
        """
        served = self._served()
        _warm_up(served)
        try:
            prepare_suggestions(self.sync)
        except SyncPipelineError as error:
            # Searches work all the same, and the next start tries again.
            _log.warning("suggestions are not ready: %s", error)
        self.is_ready = True
        self.metrics.note_ready()
        if served is not self.sync:
            _warm_up(self.sync)

    def _served(self) -> SyncContext:
        """What serves; that of the settings where our record cannot be read now."""
        try:
            return serving_by_record(self.sync)
        except SyncPipelineError:
            return self.sync

    def search(self, requests: Sequence[SearchRequest], *, scope: Scope) -> list[SearchResult]:
        """Search as ``scope``; the index is asked in turn.

        Raises:
            BusyError: too many wait for the model, or another process keeps the index.
            SyncPipelineError: see ``operations.asking.search_many``.
        """
        sharing = Sharing(turn=self.turns.turn, ahead=self.threads.ahead)
        return search_many(self.sync, scope=scope, requests=requests, sharing=sharing)

    def close(self) -> None:
        """End its threads."""
        self.threads.close()
        self.switching.close()
        self.models.close()

    def admit(self, principal: Principal) -> None:
        """Count a request of a caller.

        Raises:
            BusyError: it is one too many.
        """
        limit = RateLimitItemPerMinute(self.settings.service.requests_per_minute)
        name = f"{principal.role.value}/{principal.tenant_id or ''}/{principal.subject}"
        if not self.limiter.hit(limit, name):
            self.metrics.count_busy("caller")
            raise BusyError(
                f"more than {self.settings.service.requests_per_minute} requests in a minute",
                status=429,
                retry_after=5,
            )


def service_of(request: Request) -> Service:
    """The service that a request came to."""
    service: Service = request.app.state.service
    return service


def known_caller(request: Request) -> Principal:
    """Who is asking, counted.

    Raises:
        InvalidTokenError: nobody that we know.
        BusyError: asking too often.
    """
    service = service_of(request)
    principal = service.authenticator.authenticate(request)
    # What an error may tell depends on who asks.
    request.state.principal = principal
    service.admit(principal)
    return principal


# What waits for nothing is a coroutine: a function would cost each request a thread of its own.


async def opened(request: Request) -> Service:
    """See ``service_of``."""
    return service_of(request)


async def caller(request: Request) -> Principal:
    """See ``known_caller``."""
    return known_caller(request)


async def operator(principal: Annotated[Principal, Depends(caller)]) -> Principal:
    """A worker or an admin.

    Raises:
        ForbiddenError: a tenant.
    """
    principal.require(Role.WORKER)
    return principal


async def admin(principal: Annotated[Principal, Depends(caller)]) -> Principal:
    """An admin.

    Raises:
        ForbiddenError: anybody else.
    """
    principal.require(Role.ADMIN)
    return principal


Opened = Annotated[Service, Depends(opened)]
Caller = Annotated[Principal, Depends(caller)]
Operator = Annotated[Principal, Depends(operator)]
Admin = Annotated[Principal, Depends(admin)]


def _turns(*, is_embedded: bool, on_busy: Callable[[], None]) -> Turns:
    """The embedded index keeps the interpreter to itself while a query takes; a server does not."""
    if is_embedded:
        return Turns(1, on_busy=on_busy, breath_seconds=BREATH_SECONDS)
    return Turns(SERVER_SEARCHES, on_busy=on_busy)


def _warm_up(sync: SyncContext) -> None:
    """Load every model of a generation."""
    for embedder in sync.embedders.values():
        embedder.embed_queries(["warm up"])
