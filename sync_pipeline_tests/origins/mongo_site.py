"""Where tests of the MongoDB origin read: the stub, or a real server where one is named.

``SYNC_PIPELINE_TEST_MONGODB_URL`` names a replica set, which may have one member. Tests make a
database of their own there and drop it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol

import pytest
from bson.binary import UuidRepresentation
from bson.codec_options import CodecOptions, DatetimeConversion
from pymongo import MongoClient
from pymongo.collection import Collection
from pymongo.database import Database

from sync_pipeline.core.landing.fields import parse_field
from sync_pipeline.core.landing.origin_options import MongoConnection, MongoRequest
from sync_pipeline.core.landing.passes import Page, Position
from sync_pipeline.core.landing.spec import ColumnRule, ColumnType, Landing, Owner
from sync_pipeline.origins.mongodb import MongoOrigin
from sync_pipeline_tests.origins.mongo_server import MongoStub, running_mongodb

REAL_VARIABLE: Final = "SYNC_PIPELINE_TEST_MONGODB_URL"
DEPLOYMENTS: Final = (
    pytest.param("stub", id="stub"),
    pytest.param(
        "real",
        id="real",
        marks=pytest.mark.skipif(
            REAL_VARIABLE not in os.environ,
            reason=f"no real MongoDB: set {REAL_VARIABLE} to the address of a replica set",
        ),
    ),
)
TOOLS: Final = Landing(
    name="tools",
    connection="directory",
    table="landing.tools",
    id=(("_id",),),
    key=("_id",),
    owner=Owner(),
    columns=(
        ColumnRule(name="name", fields=(parse_field("name"),)),
        ColumnRule(name="price", fields=(parse_field("price"),), type=ColumnType.NUMERIC),
    ),
)
_GIVEN: Final[CodecOptions[dict[str, Any]]] = CodecOptions(
    uuid_representation=UuidRepresentation.STANDARD,
    datetime_conversion=DatetimeConversion.DATETIME_AUTO,
)


class Written(Protocol):
    """A collection that tests write to."""

    def create(self) -> None: ...
    def insert(self, *documents: Mapping[str, Any]) -> None: ...
    def replace(self, key: Any, document: Mapping[str, Any]) -> None: ...
    def update(self, key: Any, changes: Mapping[str, Any]) -> None: ...
    def delete(self, *keys: Any) -> None: ...
    def drop(self) -> None: ...
    def rename(self, to: str) -> None: ...


@dataclass(frozen=True, slots=True)
class RealCollection:
    """The same on a real server."""

    database: Database[dict[str, Any]]
    name: str

    @property
    def _collection(self) -> Collection[dict[str, Any]]:
        return self.database.get_collection(self.name, codec_options=_GIVEN)

    def create(self) -> None:
        self.database.create_collection(self.name)

    def insert(self, *documents: Mapping[str, Any]) -> None:
        self._collection.insert_many([dict(document) for document in documents])

    def replace(self, key: Any, document: Mapping[str, Any]) -> None:
        self._collection.replace_one({"_id": key}, document)

    def update(self, key: Any, changes: Mapping[str, Any]) -> None:
        self._collection.update_one({"_id": key}, {"$set": changes})

    def delete(self, *keys: Any) -> None:
        self._collection.delete_many({"_id": {"$in": list(keys)}})

    def drop(self) -> None:
        self._collection.drop()

    def rename(self, to: str) -> None:
        self._collection.rename(to, dropTarget=True)


@dataclass(slots=True)
class MongoSite:
    """Makes origins, and closes them."""

    url: str
    database: str
    collection: Callable[[str], Written]
    stub: MongoStub | None = None
    waited: list[float] = field(default_factory=list)
    """What origins waited for, without waiting."""
    _opened: list[MongoOrigin] = field(default_factory=list)

    def origin(
        self,
        landing: Landing = TOOLS,
        *,
        collection: str = "tools",
        page_size: int = 3,
        follows: bool = True,
        **connection: Any,
    ) -> MongoOrigin:
        """An origin of this collection."""
        made = MongoOrigin(
            landing,
            connection=replace(
                MongoConnection(name="directory", url=self.url, database=self.database),
                **connection,
            ),
            request=MongoRequest(collection=collection, page_size=page_size, follows=follows),
            sleep=self.waited.append,
        )
        self._opened.append(made)
        return made

    def close(self) -> None:
        """Close what was made."""
        for origin in self._opened:
            origin.close()


def pages_of(origin: MongoOrigin, start: Position | None = None) -> list[Page]:
    """All of them."""
    return list(origin.pages(since=None, start=start))


def ids_of(pages: Sequence[Page]) -> list[str]:
    """The texts of every ``_id``, in the order in which they came."""
    return [record["_id"] for page in pages for record in page.records]  # type: ignore[index]  # documents


@contextmanager
def stub_site(*, is_replica_set: bool = True) -> Iterator[MongoSite]:
    """On a stub of its own."""
    with running_mongodb(is_replica_set=is_replica_set) as stub:
        site = MongoSite(
            url=stub.url,
            database="directory",
            collection=lambda name: stub.collection("directory", name),
            stub=stub,
        )
        try:
            yield site
        finally:
            site.close()


@contextmanager
def real_site() -> Iterator[MongoSite]:
    """In a database of its own on the real server."""
    url = os.environ[REAL_VARIABLE]
    name = f"sync_pipeline_test_{os.getpid()}"
    client: MongoClient[dict[str, Any]] = MongoClient(url)
    with client:
        client.drop_database(name)
        site = MongoSite(
            url=url,
            database=name,
            collection=lambda collection: RealCollection(client[name], collection),
        )
        try:
            yield site
        finally:
            site.close()
            client.drop_database(name)


@contextmanager
def open_site(deployment: str) -> Iterator[MongoSite]:
    """By the name of ``DEPLOYMENTS``."""
    with stub_site() if deployment == "stub" else real_site() as site:
        yield site
