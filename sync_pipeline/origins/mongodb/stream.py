"""Change streams as hints: which documents changed, never what they became.

Of an event only ``documentKey._id`` is used; the document is read again. So it does not matter
whether an event is heard twice, and nothing has to be set up for the collection.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Final

from bson.timestamp import Timestamp
from pymongo.change_stream import CollectionChangeStream
from pymongo.errors import OperationFailure, PyMongoError

from sync_pipeline.core.landing.passes import Position
from sync_pipeline.core.ports.landing import ChangeHints
from sync_pipeline.origins.mongodb.codec import from_json, to_json
from sync_pipeline.origins.mongodb.deployment import Deployment, Document, stop_if_asked
from sync_pipeline.origins.mongodb.errors import LOST_PLACE
from sync_pipeline.origins.mongodb.identity import key_text
from sync_pipeline.origins.mongodb.values import ID

MAX_HINTS: Final = 500
"""Most keys that are told at once."""
_SLICE_SECONDS: Final = 0.25
"""How long one request waits for an event, how long a stop may go unnoticed, and how long the
first of several keys is kept back for the next."""
_NEEDED: Final = ({"$project": {"operationType": 1, "documentKey": 1, "clusterTime": 1}},)
"""Documents stay on the server; the token, ``_id`` of an event, always comes."""
_ENDS: Final = {
    "drop": "the collection was dropped",
    "rename": "the collection was renamed, or another one to its name",
    "dropDatabase": "the database was dropped",
    "invalidate": "the collection was dropped or renamed",
}
"""After these the same name means another collection, or none."""
_RESUME: Final = "resume"


class ChangeFeed:
    """What a collection tells of its changes, over any number of lost connections."""

    def __init__(self, deployment: Deployment, *, token: Position | None) -> None:
        self._deployment = deployment
        self._token: Document | None = None if token is None else from_json(token[_RESUME])
        """Where an opened stream goes on; as old as the last hints that were given."""
        self._stream: CollectionChangeStream[Document] | None = None
        self._missed: str | None = None
        """Why only a full pass helps, until that was told."""

    def hints(self, *, wait_seconds: float) -> Iterator[ChangeHints]:
        """What happens, and hints without keys where nothing does; without a token those first.

        Raises:
            OriginConfigurationError: the deployment has no change streams.
            OriginUnavailableError: it cannot be reached.
            StoppedError: asked to stop.
        """
        if not self._deployment.described.tells_changes:
            raise self._deployment.errors.needs_replica_set()
        longest = min(_SLICE_SECONDS, wait_seconds)
        is_new = self._token is None
        opened = self._deployment.call(lambda: self._attempt(longest, listens=False))
        if is_new or opened.needs_full_pass:
            yield opened
        quiet_since = time.monotonic()
        while True:
            stop_if_asked()
            found = self._deployment.call(lambda: self._attempt(longest))
            now = time.monotonic()
            if found.keys or found.needs_full_pass or now - quiet_since >= wait_seconds:
                yield found
                quiet_since = time.monotonic()

    def close(self) -> None:
        """End the stream."""
        if self._stream is not None:
            with suppress(PyMongoError):
                self._stream.close()
            self._stream = None

    def _attempt(self, longest_seconds: float, *, listens: bool = True) -> ChangeHints:
        """Hear what is at hand, from the last hints on; done again it hears the same."""
        try:
            if self._missed is None:
                self._open(longest_seconds)
                keys, self._missed = self._listen() if listens else (set(), None)
                if self._missed is None:
                    return self._hints(keys)
        except OperationFailure as error:
            self.close()
            if error.code not in LOST_PLACE or self._token is None:
                raise
            self._missed = LOST_PLACE[error.code]
        except PyMongoError:
            self.close()
            raise
        return self._anew(longest_seconds)

    def _anew(self, longest_seconds: float) -> ChangeHints:
        """Follow from now on, after what only a full pass can find."""
        self.close()
        self._token = None
        self._open(longest_seconds)
        hints = self._hints(set(), self._missed)
        self._missed = None
        return hints

    def _hints(self, keys: set[str], reason: str | None = None) -> ChangeHints:
        self._token = self._reached()
        return ChangeHints(
            keys=frozenset(keys), token={_RESUME: to_json(self._token)}, needs_full_pass=reason
        )

    def _open(self, longest_seconds: float) -> None:
        if self._stream is not None and self._stream.alive:
            return
        # startAfter, for resumeAfter refuses the token of a stream that a drop has ended.
        self._stream = self._deployment.collection().watch(
            list(_NEEDED),
            start_after=self._token,
            max_await_time_ms=max(1, round(longest_seconds * 1000)),
            batch_size=MAX_HINTS,
        )

    def _reached(self) -> Document:
        """Token behind what was heard; of a batch without events one that is as new as it."""
        token = None if self._stream is None else self._stream.resume_token
        if token is None:
            raise self._deployment.errors.refused(
                "its change stream has no token to go on from.",
                "Upgrade MongoDB to 4.2 or newer, or leave out `follow`.",
            )
        return dict(token)

    def _listen(self) -> tuple[set[str], str | None]:
        """Keys of what changed, and why no more will come."""
        keys: set[str] = set()
        enough_at = None
        while len(keys) < MAX_HINTS and (enough_at is None or time.monotonic() < enough_at):
            event = self._next()
            if event is None:
                break
            ended = _ENDS.get(event["operationType"])
            if ended is not None:
                return keys, ended
            keys |= _keys_of(event)
            self._see(event.get("clusterTime"))
            enough_at = enough_at or time.monotonic() + _SLICE_SECONDS
        return keys, None

    def _next(self) -> Document | None:
        return None if self._stream is None else self._stream.try_next()

    def _see(self, moment: Any) -> None:
        """Documents that are read after an event are not older than it."""
        if isinstance(moment, Timestamp):
            self._deployment.see_as_of(moment)


def _keys_of(event: Document) -> set[str]:
    key = event.get("documentKey")
    return {key_text(key[ID])} if key else set()
