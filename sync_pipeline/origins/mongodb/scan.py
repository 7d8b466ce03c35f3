"""Whole collections in the order of ``_id``, page by page, and single documents.

``_id`` never changes and is unique, so a document that lives throughout a pass is in exactly one
of its pages, without a snapshot and however long the pass takes. Each page is a query of its own,
from the last ``_id`` on, so there is no cursor that could be lost between pages.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final
from uuid import UUID

import bson
from pymongo.collection import Collection

from sync_pipeline.core.batching import batched
from sync_pipeline.core.errors import OriginUnavailableError
from sync_pipeline.core.landing.passes import Page, Position
from sync_pipeline.core.landing.records import named_fields
from sync_pipeline.core.landing.spec import Landing
from sync_pipeline.core.ports.landing import Sighting
from sync_pipeline.origins.mongodb import keyset
from sync_pipeline.origins.mongodb.codec import CODEC, from_json, to_json
from sync_pipeline.origins.mongodb.deployment import Deployment, Document
from sync_pipeline.origins.mongodb.identity import candidates, key_text
from sync_pipeline.origins.mongodb.values import ID, plain_record

MAX_REPLACED: Final = 3
"""So often may a collection be replaced during one pass before that is given up."""
_LOOKED_UP_AT_ONCE: Final = 100
_AFTER: Final = "after"
_COLLECTION: Final = "collection"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a scan is."""

    collection: str | None
    """Which collection bears the name, as the server tells; None where it does not."""
    is_begun: bool = False
    last: Any = None
    """The last ``_id``, exactly as it came."""

    @classmethod
    def read(cls, position: Position) -> Place:
        """Undo ``position``.

        Raises:
            ValueError: or another error, for what ``position`` never gives.
        """
        collection = position[_COLLECTION]
        if _AFTER not in position:
            return cls(collection=collection)
        return cls(collection=collection, is_begun=True, last=from_json(position[_AFTER]))

    def position(self) -> Position:
        """As JSON, with the exact type of the ``_id``."""
        found: dict[str, Any] = {_COLLECTION: self.collection}
        if self.is_begun:
            found[_AFTER] = to_json(self.last)
        return found

    def passed(self, documents: Sequence[Document]) -> Place:
        """Behind these."""
        if not documents:
            return self
        return replace(self, is_begun=True, last=documents[-1][ID])


@dataclass(frozen=True, slots=True)
class Scan:
    """Reads one landing's collection."""

    deployment: Deployment
    landing: Landing
    page_size: int

    def pages(self, start: Position | None) -> Generator[Page]:
        """Every document, from ``start`` on.

        A collection that is dropped and made anew, or renamed, is not the one that was read: the
        scan then begins anew, so that nothing in the new one is missed.
        """
        place = None if start is None else Place.read(start)
        for _ in range(1 + MAX_REPLACED):
            before = self.deployment.attempts
            found = _told(self.deployment.check_collection())
            if place is None or _differ(place.collection, found):
                place = Place(collection=found)
            for page, behind in self._pages_from(place, spent=self.deployment.attempts - before):
                place = behind
                if page.is_last and _differ(found, _told(self.deployment.check_collection())):
                    yield replace(page, is_last=False)
                    break
                yield page
                if page.is_last:
                    return
        raise OriginUnavailableError(
            f"the collection {self.deployment.name} was replaced {1 + MAX_REPLACED} times while "
            "it was read.",
            landing=self.landing.name,
        )

    def look_up(self, keys: Sequence[str]) -> Iterator[Sighting]:
        """Single documents by their keys.

        Where some are absent the collection has to be there all the same: without it everything
        would look deleted.
        """
        collection = self.deployment.collection()
        for some in batched(list(dict.fromkeys(keys)), _LOOKED_UP_AT_ONCE):
            found = self._find_keys(collection, some)
            if any(key not in found for key in some):
                self.deployment.check_collection()
            for key in some:
                yield Sighting(key=key, record=found.get(key))

    def sample(self) -> list[dict[str, Any]]:
        """The first page, with every field of its documents."""
        self.deployment.check_collection()
        documents, _ = self._read(Place(collection=None))
        return [plain_record(document) for document in documents]

    def _pages_from(self, place: Place, *, spent: int) -> Iterator[tuple[Page, Place]]:
        is_last = False
        while not is_last:
            before = self.deployment.attempts
            documents, is_last = self._read(place)
            place = place.passed(documents)
            page = Page(
                records=[plain_record(document) for document in documents],
                resume=place.position(),
                is_last=is_last,
                requests=self.deployment.attempts - before + spent,
            )
            spent = 0
            yield page, place

    def _read(self, place: Place) -> tuple[list[Document], bool]:
        """What comes after a place, and whether that is all.

        The first page has whole documents, so that fields that nobody named are told of. Of each
        query the first answer of the server is taken, which it cuts at 16 MB.
        """
        collection = self.deployment.collection()
        query = keyset.after(place.last, is_begun=place.is_begun)
        projection = self._projection() if place.is_begun else None

        def find() -> tuple[list[Document], bool]:
            with collection.find_raw_batches(
                query,
                projection,
                sort=[(ID, 1)],
                limit=self.page_size,
                batch_size=self.page_size,
                session=self.deployment.session,
            ) as cursor:
                documents = _decoded(next(cursor, b""))
                return documents, len(documents) < self.page_size and not cursor.cursor_id

        return self.deployment.call(find)

    def _find_keys(
        self, collection: Collection[Document], keys: Sequence[str]
    ) -> dict[str, dict[str, Any]]:
        wanted = [value for key in keys for value in candidates(key)]

        def find() -> dict[str, dict[str, Any]]:
            with collection.find(
                {ID: {"$in": wanted}},
                self._projection(),
                session=self.deployment.session,
            ).sort(ID, 1) as cursor:
                # Of several with one text the last counts, as in a pass.
                return {key_text(document[ID]): plain_record(document) for document in cursor}

        return self.deployment.call(find)

    def _projection(self) -> dict[str, bool] | None:
        """The mapped fields alone; None where one of them could not be named in a query."""
        names = named_fields(self.landing) | {ID}
        if any("." in name or name.startswith("$") or not name for name in names):
            return None
        return dict.fromkeys(sorted(names), True)


def _decoded(batch: Any) -> list[Document]:
    """The documents of a batch.

    Raises:
        BSONError: it is none.
    """
    return bson.decode_all(batch, CODEC)


def _told(collection: UUID | None) -> str | None:
    return None if collection is None else str(collection)


def _differ(one: str | None, other: str | None) -> bool:
    return one is not None and other is not None and one != other
