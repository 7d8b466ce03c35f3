"""Asking a Qdrant server, again where that can help, and until a write is known to be applied."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from typing import TypeVar

from qdrant_client import QdrantClient, models

from sync_pipeline.core.errors import StoreUnavailableError
from sync_pipeline.core.retrying import Retries
from sync_pipeline.stores.server.errors import UnconfirmedError, server_errors

T = TypeVar("T")


class ServerCalls:
    """Requests to one server: translated errors, five attempts, confirmed writes.

    Args:
        client: Who sends them.
        address: Names the server in messages.
        sleep: How to wait between attempts.
    """

    __slots__ = ("_client", "_retries", "address")

    def __init__(
        self, client: QdrantClient, *, address: str, sleep: Callable[[float], None]
    ) -> None:
        self.address = address
        self._client = client
        self._retries = Retries(sleep=sleep)

    def ask(
        self, doing: str, send: Callable[[QdrantClient], T], *, collection: str | None = None
    ) -> T:
        """Send a request until it is answered.

        Args:
            doing: What is asked, for messages.
            send: Sends it; safe to repeat.
            collection: Which collection it is about, if about one that must exist.

        Raises:
            CollectionMissingError: there is no such collection.
            TransientError: five attempts failed.
            SyncPipelineError: as ``server_errors`` says.
        """

        def attempt() -> T:
            with self._errors(doing, collection):
                return send(self._client)

        return self._retries.call(attempt)

    def write(
        self,
        doing: str,
        send: Callable[[QdrantClient], Sequence[models.UpdateResult]],
        *,
        collection: str,
        is_applied: Callable[[QdrantClient], bool],
        trusts_status: bool = True,
    ) -> None:
        """Send a write until it is known to have been applied.

        Only the status ``completed`` says so. After ``acknowledged``, ``wait_timeout``
        or 202 the points themselves are asked, and the write is repeated where they
        do not show it.

        Args:
            doing: What is written, for messages.
            send: Sends it; safe to repeat.
            collection: Where to.
            is_applied: Reads back whether the points are as they should be.
            trusts_status: Whether ``completed`` is enough.

        Raises:
            StoreUnavailableError: five attempts were not confirmed.
            SyncPipelineError: as ``ask``.
        """

        def attempt() -> None:
            results: Sequence[models.UpdateResult] = []
            with suppress(UnconfirmedError), self._errors(doing, collection):
                results = send(self._client)
            is_completed = bool(results) and all(
                result.status == models.UpdateStatus.COMPLETED for result in results
            )
            if is_completed and trusts_status:
                return
            with self._errors(doing, collection):
                if not is_applied(self._client):
                    raise self.unconfirmed(doing)

        self._retries.call(attempt)

    def unconfirmed(self, doing: str) -> StoreUnavailableError:
        """The error for a write that cannot be seen."""
        return StoreUnavailableError(
            f"{self.address} did not confirm {doing}, and reading back does not show it.",
            remedy="Write it again; if that goes on, look at the server's log and disk.",
        )

    def unanswered(self, doing: str) -> StoreUnavailableError:
        """The error for an answer without what was asked for."""
        return StoreUnavailableError(
            f"{self.address} answered without a result ({doing}).", remedy="Ask again."
        )

    def _errors(self, doing: str, collection: str | None) -> AbstractContextManager[None]:
        return server_errors(store=self.address, doing=doing, collection=collection)
