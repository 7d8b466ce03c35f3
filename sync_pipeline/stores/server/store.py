"""The store on a Qdrant server, through qdrant-client's REST interface."""

from __future__ import annotations

import importlib.metadata
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from qdrant_client import QdrantClient, models

from sync_pipeline.core.batching import batched_by_size
from sync_pipeline.core.cluster_options import ClusterOptions
from sync_pipeline.core.errors import (
    CollectionMissingError,
    ConfigurationError,
    InvalidVectorError,
    PermanentError,
)
from sync_pipeline.core.index_options import IndexOptions
from sync_pipeline.core.payload import ENTITY_TYPE, SCOPE_KEY, TEXT, Payload
from sync_pipeline.core.point import (
    CollectionSpec,
    Point,
    PointDigests,
    SearchQuery,
    StoredPoint,
)
from sync_pipeline.core.ports import Lease, StoreCapabilities, VectorStore
from sync_pipeline.stores.checks import (
    RefusedError,
    VectorSchema,
    blaming_single,
    check_ids,
    check_name,
    check_payloads,
    check_points,
    check_query,
    schema_asked_for,
)
from sync_pipeline.stores.server.calls import ServerCalls
from sync_pipeline.stores.server.cluster import (
    agreement,
    cluster_changes,
    of_writes,
    page_after,
    require_layout,
)
from sync_pipeline.stores.server.connection import server_address, shared_connection
from sync_pipeline.stores.server.requests import (
    completion_filter,
    entity_filter,
    item_bytes,
    owned_points,
    payload_operation,
    point_bytes,
    point_struct,
    query_arguments,
    query_request,
    scope_filter,
    stored_point,
    unless_newer,
)
from sync_pipeline.stores.server.schema import (
    MAX_BATCH,
    MAX_PAGE,
    PAYLOAD_INDEXES,
    TEXT_INDEX,
    creation,
    option_changes,
    schema_of,
)
from sync_pipeline.stores.server.version import require_recent
from sync_pipeline.stores.stored import (
    DIGEST_FIELDS,
    OWNER_FIELDS,
    Page,
    by_revision,
    count_pages,
    facet_counts,
    finds_nothing,
    is_deletable,
    is_written,
    iter_page_digests,
    known_hits,
    known_points,
)

Item = TypeVar("Item")
T = TypeVar("T")


class ServerStore:
    """The ``VectorStore`` over a ``QdrantClient``; made by ``lease_server_store``.

    Args:
        client: Also one of ``:memory:``, in tests.
        address: Names the server in messages.
        sleep: How to wait between attempts.
        schemas: What is known of collections, shared by the stores of one client.
        options: Of the collections that are made, and of searches.
        cluster: How those are spread and kept several times, and what reads and writes wait for.
    """

    capabilities = StoreCapabilities(explicit_optimize=False, has_layout=True)

    def __init__(
        self,
        client: QdrantClient,
        *,
        address: str,
        sleep: Callable[[float], None] = time.sleep,
        schemas: dict[str, VectorSchema] | None = None,
        options: IndexOptions | None = None,
        cluster: ClusterOptions | None = None,
    ) -> None:
        self._calls = ServerCalls(client, address=address, sleep=sleep)
        self._schemas = {} if schemas is None else schemas
        self._options = options or IndexOptions()
        self._cluster = cluster or ClusterOptions()
        self._written = of_writes(self._cluster)
        # Of what is compared, confirmed and verified, and of what applications search.
        self._compared = agreement(self._cluster.comparing)
        self._searched = agreement(self._cluster.search_consistency)

    def check_engine(self) -> str:
        """See ``VectorStore``."""
        return self._require_recent(self._version())

    def check_layout(self, collection: str) -> str:
        """See ``VectorStore``."""
        info = self._info(collection)
        placed = self._calls.ask(
            "reading where a collection lies",
            lambda client: client.collection_cluster_info(collection),
            collection=collection,
        )
        return require_layout(
            info,
            placed,
            options=self._cluster,
            collection=collection,
            address=self._calls.address,
        )

    def alias_target(self, alias: str) -> str | None:
        """See ``VectorStore``."""
        return self._calls.ask("reading aliases", _aliases).get(alias)

    def set_alias(self, alias: str, *, collection: str) -> None:
        """See ``VectorStore``.

        One ``create_alias`` action overwrites at once; Qdrant saves each action by
        itself, so that a pair of delete and create could leave no alias.
        """
        check_name(alias)
        doing = f"setting alias {alias!r}"
        action = models.CreateAliasOperation(
            create_alias=models.CreateAlias(collection_name=collection, alias_name=alias)
        )

        def switch(client: QdrantClient) -> None:
            client.update_collection_aliases([action])
            if _aliases(client).get(alias) != collection:
                raise self._calls.unconfirmed(doing)

        self._calls.ask(doing, switch, collection=collection)

    def list_collections(self) -> list[str]:
        """See ``VectorStore``."""
        answer = self._calls.ask("listing collections", lambda client: client.get_collections())
        return sorted(entry.name for entry in answer.collections)

    def ensure_collection(self, spec: CollectionSpec) -> bool:
        """See ``VectorStore``; also makes what a crash, an old release or other settings left out.

        Other options of a collection the server builds by itself, answering searches meanwhile.
        """
        check_name(spec.collection)
        if spec.collection not in self._schemas:
            self._refuse_old_server()
        is_created = self._create(spec)
        info = self._info(spec.collection)
        # The writes that follow need not ask again. One that is not ours is refused then.
        with suppress(PermanentError):
            self._keep_schema(spec.collection, info)
        self._change(spec.collection, option_changes(info, self._options, views=spec.views))
        self._change(spec.collection, cluster_changes(info, self._cluster))
        for field in PAYLOAD_INDEXES.keys() - info.payload_schema.keys():
            self._index_payloads(spec.collection, field, PAYLOAD_INDEXES[field])
        return is_created

    def drop_collection(self, collection: str) -> None:
        """See ``VectorStore``."""
        self._schemas.pop(collection, None)
        self._calls.ask(
            "deleting a collection", lambda client: client.delete_collection(collection)
        )

    def upsert(self, collection: str, points: Sequence[Point]) -> None:
        """See ``VectorStore``."""
        if not points:
            return

        def write(schema: VectorSchema) -> None:
            check_points(points, schema=schema)
            for revision, group in by_revision(points, lambda point: point.payload).items():
                for batch in self._cut(group, point_bytes):
                    self._upsert(collection, batch, revision=revision)

        with blaming_single([(point.point_id, point.payload) for point in points]):
            self._with_schema(collection, write)

    def write_payloads(self, collection: str, payloads: Sequence[tuple[str, Payload]]) -> None:
        """See ``VectorStore``."""
        if not payloads:
            return
        check_payloads(payloads)
        with blaming_single(payloads):
            for batch in self._cut(payloads, item_bytes):
                self._write_payloads(collection, batch)

    def delete(
        self,
        collection: str,
        point_ids: Sequence[str],
        *,
        scope_key: str,
        up_to_revision: int | None = None,
    ) -> None:
        """See ``VectorStore``.

        What is gone is read back by id: a filter trusts the index on ``scope_key``,
        and an index that misses a point makes a delete succeed without deleting.
        """
        check_ids(point_ids)
        if not point_ids:
            return
        owned = models.FilterSelector(
            filter=owned_points(point_ids, scope_key=scope_key, up_to_revision=up_to_revision)
        )

        def is_gone(client: QdrantClient) -> bool:
            left = self._payloads(client, collection, point_ids, fields=OWNER_FIELDS)
            return not any(
                is_deletable(payload, scope_key=scope_key, up_to_revision=up_to_revision)
                for payload in left.values()
            )

        with suppress(CollectionMissingError):
            self._calls.write(
                f"deleting {len(point_ids)} points",
                lambda client: [client.delete(collection, points_selector=owned, **self._written)],
                collection=collection,
                is_applied=is_gone,
                trusts_status=False,
            )

    def iter_digests(
        self,
        collection: str,
        *,
        scope_key: str,
        views: Sequence[str],
        entity_types: Sequence[str] | None = None,
        start: str | None = None,
        stop: str | None = None,
        batch_size: int = 5000,
    ) -> Iterator[PointDigests]:
        """See ``VectorStore``."""
        check_ids([bound for bound in (start, stop) if bound is not None])
        if entity_types is not None and not entity_types:
            return
        matching = scope_filter([scope_key], entity_types=entity_types)
        with suppress(CollectionMissingError):
            yield from iter_page_digests(
                lambda offset: self._scroll(
                    collection,
                    offset,
                    fields=DIGEST_FIELDS,
                    matching=matching,
                    batch_size=batch_size,
                ),
                views=views,
                start=start,
                stop=stop,
            )

    def count(self, collection: str, *, scope_key: str | None = None) -> int:
        """See ``VectorStore``."""
        return self._count(collection, None if scope_key is None else scope_filter([scope_key]))

    def count_by_scope(self, collection: str, *, entity_type: str | None = None) -> dict[str, int]:
        """See ``VectorStore``; where the index on ``scope_key`` misses points, reads them all."""
        matching = None if entity_type is None else entity_filter(entity_type)
        counts = self._count_by(SCOPE_KEY, collection, matching)
        counts.pop("", None)
        return counts

    def count_by_entity(self, collection: str, *, scope_key: str | None = None) -> dict[str, int]:
        """See ``VectorStore``; where there is no index on ``type``, reads the points."""
        matching = None if scope_key is None else scope_filter([scope_key])
        return self._count_by(ENTITY_TYPE, collection, matching)

    def retrieve(
        self,
        collection: str,
        point_ids: Sequence[str],
        *,
        with_vectors: bool = False,
        as_search: bool = False,
    ) -> list[StoredPoint]:
        """See ``VectorStore``."""
        check_ids(point_ids)
        if not point_ids:
            return []
        consistency = self._searched if as_search else self._compared
        with suppress(CollectionMissingError):
            records = self._calls.ask(
                "reading points",
                lambda client: client.retrieve(
                    collection,
                    list(point_ids),
                    with_payload=True,
                    with_vectors=with_vectors,
                    consistency=consistency,
                ),
                collection=collection,
            )
            return known_points(map(stored_point, records))
        return []

    def query(self, collection: str, query: SearchQuery) -> list[tuple[float, StoredPoint]]:
        """See ``VectorStore``."""

        def ask(schema: VectorSchema) -> list[tuple[float, StoredPoint]]:
            check_query(query, schema=schema)
            if finds_nothing(query):
                return []
            answer = self._calls.ask(
                "searching",
                lambda client: client.query_points(
                    collection,
                    **query_arguments(query, self._options, schema=schema),
                    consistency=self._searched,
                ),
                collection=collection,
            )
            return known_hits((point.score, stored_point(point)) for point in answer.points)

        # The server itself refuses unknown views and other lengths, so a first search need not
        # ask for them. What finds nothing never reaches the server.
        assumed = None if finds_nothing(query) else schema_asked_for(query)
        return self._with_schema(collection, ask, assumed=assumed)

    def query_batch(
        self, collection: str, queries: Sequence[SearchQuery]
    ) -> list[list[tuple[float, StoredPoint]]]:
        """See ``VectorStore``."""

        def ask(schema: VectorSchema) -> list[list[tuple[float, StoredPoint]]]:
            for query in queries:
                check_query(query, schema=schema)
            asked = [query for query in queries if not finds_nothing(query)]
            if not asked:
                return [[] for _ in queries]
            requests = [query_request(query, self._options, schema=schema) for query in asked]
            answers = iter(
                self._calls.ask(
                    "searching",
                    lambda client: client.query_batch_points(
                        collection, requests, consistency=self._searched
                    ),
                    collection=collection,
                )
            )
            return [
                []
                if finds_nothing(query)
                else known_hits((hit.score, stored_point(hit)) for hit in next(answers).points)
                for query in queries
            ]

        return self._with_schema(collection, ask, assumed=None)

    def index_texts(self, collection: str) -> None:
        """See ``VectorStore``."""
        with suppress(CollectionMissingError):
            if TEXT not in self._info(collection).payload_schema:
                self._index_payloads(collection, TEXT, TEXT_INDEX)

    def complete(
        self,
        collection: str,
        typed: str,
        *,
        scope_keys: Sequence[str],
        entity_types: Sequence[str],
        limit: int,
    ) -> list[StoredPoint]:
        """See ``VectorStore``."""
        matching = completion_filter(typed, scope_keys=scope_keys, entity_types=entity_types)
        with suppress(CollectionMissingError):
            records, _ = self._calls.ask(
                "completing",
                lambda client: client.scroll(
                    collection,
                    scroll_filter=matching,
                    limit=limit,
                    with_payload=True,
                    consistency=self._searched,
                ),
                collection=collection,
            )
            return known_points(map(stored_point, records))
        return []

    def optimize(self, collection: str) -> bool:
        """See ``VectorStore``; a server does it by itself."""
        del collection
        return False

    def _refuse_old_server(self) -> None:
        """Once per process and collection, before anything of it is written."""
        try:
            version = self._version()
        except ConfigurationError:
            # A proxy may let through nothing but collections.
            return
        self._require_recent(version)

    def _version(self) -> str:
        return self._calls.ask("asking for its version", lambda client: client.info()).version

    def _require_recent(self, version: str) -> str:
        client = importlib.metadata.version("qdrant-client")
        return require_recent(version, address=self._calls.address, client=client)

    def _create(self, spec: CollectionSpec) -> bool:
        def exists() -> bool:
            return self._calls.ask(
                "looking for a collection",
                lambda client: client.collection_exists(spec.collection),
            )

        if exists():
            return False
        try:
            self._calls.ask(
                "making a collection",
                lambda client: client.create_collection(
                    spec.collection, **creation(spec, self._cluster)
                ),
            )
        except RefusedError:
            # Another process was faster, or an attempt that timed out had worked.
            if not exists():
                raise
            return False
        return True

    def _upsert(self, collection: str, points: Sequence[Point], *, revision: int | None) -> None:
        structs = [point_struct(point) for point in points]
        condition = None if revision is None else unless_newer(revision)
        payloads = {point.point_id: point.payload for point in points}

        def is_applied(client: QdrantClient) -> bool:
            stored = self._payloads(client, collection, list(payloads))
            return all(
                point_id in stored and is_written(payload, over=stored[point_id])
                for point_id, payload in payloads.items()
            )

        self._calls.write(
            f"{len(points)} points",
            lambda client: [
                client.upsert(collection, structs, update_filter=condition, **self._written)
            ],
            collection=collection,
            is_applied=is_applied,
        )

    def _write_payloads(self, collection: str, items: Sequence[tuple[str, Payload]]) -> None:
        operations = [payload_operation(point_id, payload) for point_id, payload in items]
        payloads = dict(items)

        def is_applied(client: QdrantClient) -> bool:
            stored = self._payloads(client, collection, list(payloads))
            return all(is_written(payloads[point_id], over=stored[point_id]) for point_id in stored)

        self._calls.write(
            f"{len(items)} payloads",
            lambda client: client.batch_update_points(collection, operations, **self._written),
            collection=collection,
            is_applied=is_applied,
        )

    def _change(self, collection: str, changes: Mapping[str, Any]) -> None:
        if changes:
            self._calls.ask(
                "changing a collection's options",
                lambda client: client.update_collection(collection, **changes),
                collection=collection,
            )

    def _info(self, collection: str) -> models.CollectionInfo:
        return self._calls.ask(
            "reading a collection's settings",
            lambda client: client.get_collection(collection),
            collection=collection,
        )

    def _index_payloads(
        self, collection: str, field: str, params: models.PayloadSchemaParams
    ) -> None:
        self._calls.write(
            f"indexing {field}",
            lambda client: [
                client.create_payload_index(
                    collection, field_name=field, field_schema=params, **self._written
                )
            ],
            collection=collection,
            is_applied=lambda _: field in self._info(collection).payload_schema,
        )

    def _count(self, collection: str, matching: models.Filter | None) -> int:
        with suppress(CollectionMissingError):
            return self._calls.ask(
                "counting",
                lambda client: self._ask_count(client, collection, matching),
                collection=collection,
            )
        return 0

    def _ask_count(
        self, client: QdrantClient, collection: str, matching: models.Filter | None
    ) -> int:
        if self._compared is None:
            return client.count(collection, count_filter=matching, exact=True).count
        # qdrant-client 1.20 has a consistency for counts in the interface that it is generated
        # with, and not in its own method.
        answer = client.http.points_api.count_points(
            collection,
            consistency=self._compared,
            count_request=models.CountRequest(filter=matching, exact=True),
        )
        if answer.result is None:
            raise self._calls.unanswered("counting")
        return answer.result.count

    def _count_by(
        self, field: str, collection: str, matching: models.Filter | None
    ) -> dict[str, int]:
        """Count points per value of a payload field; by reading them where no index knows all."""
        with suppress(CollectionMissingError):
            # A collection that an earlier release made has no index on the entity yet.
            with suppress(RefusedError):
                answer = self._calls.ask(
                    f"counting by {field}",
                    lambda client: client.facet(
                        collection,
                        key=field,
                        facet_filter=matching,
                        limit=MAX_PAGE,
                        exact=True,
                        consistency=self._compared,
                    ),
                    collection=collection,
                )
                counts = facet_counts(answer.hits)
                if sum(counts.values()) == self._count(collection, matching):
                    return counts
            return count_pages(
                lambda offset: self._scroll(collection, offset, fields=[field], matching=matching),
                field=field,
            )
        return {}

    def _with_schema(
        self,
        collection: str,
        act: Callable[[VectorSchema], T],
        *,
        assumed: VectorSchema | None = None,
    ) -> T:
        """Act on what is known of a collection, and once more where that is outdated.

        Somebody else may have dropped the collection, or made it anew in another way. That
        shows as a refusal: by the server, or by our own look at what is to be sent.

        Args:
            collection: Physical name.
            act: Does something with the schema; safe to repeat.
            assumed: What to act on where nothing is known yet; None asks the server first.
        """
        schema = self._schemas.get(collection, assumed)
        if schema is None:
            return act(self._read_schema(collection))
        try:
            return act(schema)
        except (InvalidVectorError, RefusedError, CollectionMissingError) as error:
            self._schemas.pop(collection, None)
            fresh = self._read_schema(collection)
            if fresh == schema and not isinstance(error, CollectionMissingError):
                raise
        return act(fresh)

    def _read_schema(self, collection: str) -> VectorSchema:
        return self._keep_schema(collection, self._info(collection))

    def _keep_schema(self, collection: str, info: models.CollectionInfo) -> VectorSchema:
        schema = schema_of(info, collection=collection, address=self._calls.address)
        self._schemas[collection] = schema
        return schema

    def _scroll(
        self,
        collection: str,
        offset: str | None,
        *,
        fields: Sequence[str],
        matching: models.Filter | None = None,
        batch_size: int = 5000,
    ) -> Page:
        records, following = self._calls.ask(
            "scrolling",
            lambda client: client.scroll(
                collection,
                scroll_filter=matching,
                limit=batch_size,
                offset=offset,
                with_payload=list(fields),
                with_vectors=False,
                consistency=self._compared,
            ),
            collection=collection,
        )
        rows = [(str(record.id), record.payload or {}) for record in records]
        if following is None and rows and self._compared is not None:
            following = page_after(rows[-1][0])
        return rows, None if following is None else str(following)

    def _payloads(
        self,
        client: QdrantClient,
        collection: str,
        point_ids: Sequence[str],
        *,
        fields: Sequence[str] | None = None,
    ) -> dict[str, Payload]:
        selected = True if fields is None else list(fields)
        records = client.retrieve(
            collection, list(point_ids), with_payload=selected, consistency=self._compared
        )
        return {str(record.id): record.payload or {} for record in records}

    def _cut(self, items: Sequence[Item], size_of: Callable[[Item], int]) -> Iterator[list[Item]]:
        return batched_by_size(
            items,
            max_items=MAX_BATCH,
            max_bytes=self.capabilities.max_batch_bytes,
            size_of=size_of,
        )


def _aliases(client: QdrantClient) -> dict[str, str]:
    aliases = client.get_aliases().aliases
    return {entry.alias_name: entry.collection_name for entry in aliases}


def lease_server_store(
    url: str,
    *,
    api_key: str | None,
    allows_plain_http: bool = False,
    timeout_seconds: float = 30,
    sleep: Callable[[float], None] = time.sleep,
    options: IndexOptions | None = None,
    cluster: ClusterOptions | None = None,
) -> Lease[VectorStore]:
    """Lease a connection to a Qdrant server; nothing is sent before it is used.

    Leases of one process share a client and what it knows of collections.

    Args:
        url: ``http(s)://host[:port][/prefix]``; the port is 6333 where it is left out.
        api_key: Sent to https and to this machine only.
        allows_plain_http: Send it over http to another machine too.
        timeout_seconds: Most seconds to connect, and between two parts of an answer.
        sleep: How to wait between attempts.
        options: Of the collections that are made, and of searches.
        cluster: How those are spread and kept several times, and what reads and writes wait for.

    Raises:
        ConfigurationError: the address is wrong, or the key would be sent in the clear.
    """
    address = server_address(url, has_key=api_key is not None, allows_plain_http=allows_plain_http)

    @contextmanager
    def lease() -> Iterator[VectorStore]:
        shared = shared_connection(url, api_key=api_key, timeout_seconds=timeout_seconds)
        yield ServerStore(
            shared.client,
            address=address,
            sleep=sleep,
            schemas=shared.schemas,
            options=options,
            cluster=cluster,
        )

    return lease
