"""The server adapter against a server that misbehaves."""

from __future__ import annotations

import importlib.metadata
import itertools
import os
import re
import threading
import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import numpy as np
import pytest
from qdrant_client import models

from sync_pipeline.core.errors import (
    CollectionMissingError,
    ConfigurationError,
    InvalidVectorError,
    OutOfSpaceError,
    PermanentError,
    RateLimitedError,
    RejectedPointError,
    StoreUnavailableError,
)
from sync_pipeline.core.point import CollectionSpec, Point, SearchQuery
from sync_pipeline.core.ports import VectorStore
from sync_pipeline.stores.server.connection import close_connections, shared_connection
from sync_pipeline.stores.server.schema import creation
from sync_pipeline.stores.server.store import lease_server_store
from sync_pipeline.stores.server.version import OLDEST_CLIENT, OLDEST_SERVER, require_recent
from sync_pipeline_tests.conftest import REPOSITORY
from sync_pipeline_tests.elsewhere import elsewhere, lead_here
from sync_pipeline_tests.fakes.qdrant_stub import Fault, QdrantStub, Step
from sync_pipeline_tests.stores.samples import (
    COLLECTION,
    DIMENSION,
    SPEC,
    digest_ids,
    found_ids,
    make_point,
    search,
    stored,
)

UPSERT = f"PUT /collections/{COLLECTION}/points"
BATCH = f"POST /collections/{COLLECTION}/points/batch"
DELETE = f"POST /collections/{COLLECTION}/points/delete"
POINT = make_point(1, revision=5)


@pytest.fixture
def waits() -> list[float]:
    """Seconds that the store wanted to sleep, in order."""
    return []


@pytest.fixture
def store(stub: QdrantStub, waits: list[float]) -> Iterator[VectorStore]:
    """A store on the stub that sleeps without waiting."""
    lease = lease_server_store(stub.url, api_key=None, timeout_seconds=3, sleep=waits.append)
    with lease() as opened:
        opened.ensure_collection(SPEC)
        yield opened


# --- trying again -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "step",
    [
        pytest.param(Step(fault=Fault.RATE_LIMITED), id="rate limited"),
        pytest.param(Step(fault=Fault.UNAVAILABLE), id="unavailable"),
        pytest.param(Step(fault=Fault.HTML), id="a proxy's page"),
        pytest.param(Step(fault=Fault.RESET), id="reset, not applied"),
        pytest.param(Step(fault=Fault.RESET, is_applied=True), id="applied, then reset"),
        pytest.param(Step(fault=Fault.SLOW, is_applied=True), id="applied, but too slow"),
        pytest.param(Step(fault=Fault.ACKNOWLEDGED), id="acknowledged, not applied"),
        pytest.param(Step(fault=Fault.WAIT_TIMEOUT), id="wait timeout, not applied"),
        pytest.param(Step(fault=Fault.ACCEPTED), id="202, not applied"),
    ],
)
def test_one_failure_is_overcome_by_one_repetition(
    store: VectorStore, stub: QdrantStub, waits: list[float], step: Step
) -> None:
    stub.script(step, route=UPSERT)

    store.upsert(COLLECTION, [POINT])

    assert stored(store, POINT)[POINT.point_id].payload == POINT.payload
    assert stub.is_exhausted
    assert len(waits) == 1


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(Fault.ACKNOWLEDGED, id="acknowledged"),
        pytest.param(Fault.WAIT_TIMEOUT, id="wait timeout"),
        pytest.param(Fault.ACCEPTED, id="202"),
    ],
)
def test_a_silent_success_is_recognised_by_reading_back(
    store: VectorStore, stub: QdrantStub, waits: list[float], fault: Fault
) -> None:
    changed = {**POINT.payload, "color": "red"}
    step = Step(fault=fault, is_applied=True)
    stub.script(step, route=UPSERT)
    stub.script(step, route=BATCH)
    stub.script(step, route=DELETE)

    store.upsert(COLLECTION, [POINT])
    store.write_payloads(COLLECTION, [(POINT.point_id, changed)])
    assert stored(store, POINT)[POINT.point_id].payload == changed
    store.delete(COLLECTION, [POINT.point_id], scope_key="acme")

    assert store.count(COLLECTION) == 0
    assert stub.is_exhausted
    assert waits == []


def test_losing_against_a_newer_revision_counts_as_written(
    store: VectorStore, stub: QdrantStub, waits: list[float]
) -> None:
    store.upsert(COLLECTION, [make_point(1, revision=9)])
    stub.script(Step(fault=Fault.ACKNOWLEDGED, is_applied=True), route=UPSERT)

    store.upsert(COLLECTION, [POINT])

    assert stored(store, POINT)[POINT.point_id].payload["source_revision"] == 9
    assert waits == []


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(Fault.ACKNOWLEDGED, id="acknowledged"),
        pytest.param(Fault.UNAVAILABLE, id="unavailable"),
        pytest.param(Fault.RESET, id="reset"),
        pytest.param(Fault.HTML, id="a proxy's page"),
    ],
)
def test_a_write_that_is_never_confirmed_fails_after_five_attempts(
    store: VectorStore, stub: QdrantStub, waits: list[float], fault: Fault
) -> None:
    stub.script(*[fault] * 5, route=UPSERT)

    with pytest.raises(StoreUnavailableError, match="1 points"):
        store.upsert(COLLECTION, [POINT])

    assert stub.is_exhausted
    assert len(waits) == 4


def test_waits_grow_from_two_seconds_with_jitter(
    store: VectorStore, stub: QdrantStub, waits: list[float]
) -> None:
    stub.script(*[Fault.UNAVAILABLE] * 5, route=UPSERT)

    with pytest.raises(StoreUnavailableError, match="503"):
        store.upsert(COLLECTION, [POINT])

    assert all(low <= wait <= low + 1 for low, wait in zip([2, 4, 8, 16], waits, strict=True))


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        pytest.param("7", 7.0, id="whole seconds"),
        pytest.param("1.5", 1.5, id="fraction"),
        pytest.param("0", 0.0, id="at once"),
        pytest.param("-3", 0.0, id="negative"),
    ],
)
def test_retry_after_is_honoured(
    store: VectorStore, stub: QdrantStub, waits: list[float], header: str, seconds: float
) -> None:
    stub.script(Step(fault=Fault.RATE_LIMITED, retry_after=header), route=UPSERT)

    store.upsert(COLLECTION, [POINT])

    (wait,) = waits
    assert seconds <= wait <= seconds + 1


def test_retry_after_as_a_date_is_honoured(
    store: VectorStore, stub: QdrantStub, waits: list[float]
) -> None:
    moment = format_datetime(datetime.now(UTC) + timedelta(seconds=40), usegmt=True)
    stub.script(Step(fault=Fault.RATE_LIMITED, retry_after=moment), route=UPSERT)

    store.upsert(COLLECTION, [POINT])

    (wait,) = waits
    assert 30 < wait <= 41


@pytest.mark.parametrize(
    "header", [pytest.param("soon", id="words"), pytest.param("nan", id="not a number")]
)
def test_a_retry_after_that_says_nothing_is_ignored(
    store: VectorStore, stub: QdrantStub, waits: list[float], header: str
) -> None:
    stub.script(Step(fault=Fault.RATE_LIMITED, retry_after=header), route=UPSERT)

    store.upsert(COLLECTION, [POINT])

    (wait,) = waits
    assert 2 <= wait <= 3


def test_a_long_rate_limit_is_left_to_the_caller_at_once(
    store: VectorStore, stub: QdrantStub, waits: list[float]
) -> None:
    stub.script(Step(fault=Fault.RATE_LIMITED, retry_after="90"), route=UPSERT)

    with pytest.raises(RateLimitedError, match="asks to wait 90 s") as caught:
        store.upsert(COLLECTION, [POINT])

    assert caught.value.retry_after_seconds == 90
    assert waits == []


@pytest.mark.parametrize(
    ("fault", "error", "message"),
    [
        pytest.param(Fault.FULL, OutOfSpaceError, "no room left", id="disk full"),
        pytest.param(Fault.FORBIDDEN, ConfigurationError, "QDRANT_API_KEY", id="forbidden"),
    ],
)
def test_what_repeating_cannot_help_is_not_repeated(
    store: VectorStore,
    stub: QdrantStub,
    waits: list[float],
    *,
    fault: Fault,
    error: type[Exception],
    message: str,
) -> None:
    stub.script(fault, route=UPSERT)

    with pytest.raises(error, match=message):
        store.upsert(COLLECTION, [POINT])

    assert waits == []


def test_reads_are_tried_again(store: VectorStore, stub: QdrantStub, waits: list[float]) -> None:
    points = [make_point(number) for number in range(20)]
    store.upsert(COLLECTION, points)
    routes = [
        "/points/scroll",
        "/points/count",
        "/facet",
        "/points/query",
        f"POST /collections/{COLLECTION}/points",
    ]
    for route in routes:
        stub.script(Fault.UNAVAILABLE, route=route)

    assert len(digest_ids(store, batch_size=6)) == 20
    assert store.count(COLLECTION) == 20
    assert store.count_by_scope(COLLECTION) == {"acme": 20}
    assert len(found_ids(store, search(limit=5))) == 5
    assert len(stored(store, *points)) == 20
    assert stub.is_exhausted
    assert len(waits) == len(routes)


def test_one_failure_in_many_requests_fails_nothing(store: VectorStore, stub: QdrantStub) -> None:
    faults = itertools.cycle([Fault.RESET, Fault.OK, Fault.ACKNOWLEDGED, Fault.OK, Fault.OK])
    stub.script(*itertools.islice(faults, 60), route=UPSERT)
    points = [make_point(number, revision=1) for number in range(30)]

    for point in points:
        store.upsert(COLLECTION, [point])

    assert store.count(COLLECTION) == 30


# --- late and untrue answers ------------------------------------------------------------


def test_a_late_duplicate_does_not_undo_a_newer_write(store: VectorStore, stub: QdrantStub) -> None:
    stub.script(Fault.DUPLICATE_LATE, route=UPSERT)
    stub.script(Fault.DUPLICATE_LATE, route=BATCH)
    old = make_point(1, revision=5, color="old")
    new = make_point(1, revision=6, color="new")
    store.upsert(COLLECTION, [old])
    store.write_payloads(COLLECTION, [(old.point_id, old.payload)])
    store.upsert(COLLECTION, [new])

    stub.replay_late()

    assert stored(store, new)[new.point_id].payload == new.payload


def test_a_delete_that_did_nothing_is_no_success(
    store: VectorStore, stub: QdrantStub, waits: list[float]
) -> None:
    store.upsert(COLLECTION, [POINT])
    stub.script(*[Fault.UNTRUE] * 5, route=DELETE)

    with pytest.raises(StoreUnavailableError, match="did not confirm deleting 1 points"):
        store.delete(COLLECTION, [POINT.point_id], scope_key="acme")

    assert len(waits) == 4


def test_scopes_are_counted_from_the_points_where_the_index_misses_some(
    store: VectorStore, stub: QdrantStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.upsert(COLLECTION, [make_point(1), make_point(2, scope_key="globex")])
    gap = models.FacetResponse(hits=[models.FacetValueHit(value="acme", count=1)])
    monkeypatch.setattr(stub.client, "facet", lambda *_, **__: gap)

    assert store.count_by_scope(COLLECTION) == {"acme": 1, "globex": 1}


def test_an_alias_is_read_back(
    store: VectorStore, stub: QdrantStub, waits: list[float], alias: str
) -> None:
    stub.script(Fault.ACCEPTED, route="POST /collections/aliases")

    store.set_alias(alias, collection=COLLECTION)

    assert store.alias_target(alias) == COLLECTION
    assert len(waits) == 1


# --- making a collection ----------------------------------------------------------------


def test_a_collection_made_by_an_attempt_that_seemed_lost_is_taken(
    stub: QdrantStub, waits: list[float]
) -> None:
    lease = lease_server_store(stub.url, api_key=None, sleep=waits.append)
    stub.script(Step(fault=Fault.RESET, is_applied=True), route=f"PUT /collections/{COLLECTION}")

    with lease() as store:
        store.ensure_collection(SPEC)
        store.upsert(COLLECTION, [POINT])

        assert store.count_by_scope(COLLECTION) == {"acme": 1}


def test_an_index_that_a_crash_left_out_is_made(stub: QdrantStub) -> None:
    stub.client.create_collection(
        COLLECTION,
        vectors_config={"text": models.VectorParams(size=8, distance=models.Distance.COSINE)},
        sparse_vectors_config={"bm25": models.SparseVectorParams()},
    )

    with lease_server_store(stub.url, api_key=None)() as store:
        assert store.ensure_collection(SPEC) is False

    info = stub.answer("GET", f"/collections/{COLLECTION}", b"").result
    assert isinstance(info, models.CollectionInfo)
    assert info.payload_schema["scope_key"].params == models.KeywordIndexParams(
        type=models.KeywordIndexType.KEYWORD, is_tenant=True
    )


def test_entities_of_a_collection_without_an_index_on_them_are_counted_from_the_points(
    store: VectorStore, stub: QdrantStub
) -> None:
    points = [make_point(n, type="work" if n % 3 else "material") for n in range(9)]
    store.upsert(COLLECTION, points)
    stub.forget_index(COLLECTION, "type")

    before = store.count_by_entity(COLLECTION, scope_key="acme")
    store.ensure_collection(SPEC)
    after = store.count_by_entity(COLLECTION, scope_key="acme")

    assert before == after == {"material": 3, "work": 6}
    info = stub.answer("GET", f"/collections/{COLLECTION}", b"").result
    assert isinstance(info, models.CollectionInfo)
    assert info.payload_schema["type"].params == models.KeywordIndexParams(
        type=models.KeywordIndexType.KEYWORD, enable_hnsw=False
    )


def test_a_collection_that_somebody_else_made_is_refused(stub: QdrantStub) -> None:
    stub.client.create_collection(
        COLLECTION, vectors_config=models.VectorParams(size=8, distance=models.Distance.DOT)
    )

    with (
        lease_server_store(stub.url, api_key=None)() as store,
        pytest.raises(PermanentError, match="something else made it"),
    ):
        store.upsert(COLLECTION, [POINT])


# --- sizes ------------------------------------------------------------------------------


def test_requests_stay_below_the_byte_limit(store: VectorStore, stub: QdrantStub) -> None:
    stub.max_body_bytes = store.capabilities.max_batch_bytes
    points = [make_point(number, filler="ы" * 200_000) for number in range(60)]

    store.upsert(COLLECTION, points)
    store.write_payloads(
        COLLECTION, [(point.point_id, {**point.payload, "color": "red"}) for point in points]
    )

    assert store.count(COLLECTION) == 60
    assert stored(store, points[59])[points[59].point_id].payload["color"] == "red"


def test_a_point_that_alone_is_too_large_is_rejected_by_name(
    store: VectorStore, stub: QdrantStub
) -> None:
    stub.max_body_bytes = 10_000
    large = make_point(1, filler="x" * 20_000)

    with pytest.raises(RejectedPointError, match="413") as caught:
        store.upsert(COLLECTION, [large])

    assert caught.value.document_id == "tenant-material-1"


def test_a_batch_that_is_too_large_can_be_halved(store: VectorStore, stub: QdrantStub) -> None:
    stub.max_body_bytes = 10_000
    points = [make_point(number, filler="x" * 6000) for number in range(2)]

    with pytest.raises(PermanentError, match="413") as caught:
        store.upsert(COLLECTION, points)

    assert not isinstance(caught.value, RejectedPointError)
    assert store.count(COLLECTION) == 0


# --- address and key --------------------------------------------------------------------


def test_the_key_reaches_a_server_on_this_machine(stub: QdrantStub) -> None:
    stub.api_key = "s3cret"

    with lease_server_store(stub.url, api_key="s3cret")() as store:
        assert store.list_collections() == []


def test_a_proxy_of_the_environment_does_not_see_what_is_for_this_machine(
    stub: QdrantStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")

    with lease_server_store(stub.url, api_key="s3cret")() as store:
        assert store.list_collections() == []


def test_a_wrong_key_is_a_configuration_error_that_does_not_show_it(stub: QdrantStub) -> None:
    stub.api_key = "s3cret"

    with (
        lease_server_store(stub.url, api_key="wr0ng")() as store,
        pytest.raises(ConfigurationError, match="QDRANT_API_KEY") as caught,
    ):
        store.list_collections()

    assert "wr0ng" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        pytest.param("http://qdrant.example:6333", id="name"),
        pytest.param("http://10.0.0.7", id="private address"),
        pytest.param("http://127.0.0.1.example", id="looks like loopback"),
        pytest.param("HTTP://qdrant.example", id="upper case"),
    ],
)
def test_the_key_is_never_sent_in_the_clear(url: str) -> None:
    with pytest.raises(ConfigurationError, match="in the clear") as caught:
        lease_server_store(url, api_key="s3cret")

    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        pytest.param("https://qdrant.example", id="https"),
        pytest.param("http://localhost:6333", id="localhost"),
        pytest.param("http://127.9.9.9:6333", id="127.0.0.0/8"),
        pytest.param("http://[::1]:6333", id="IPv6 loopback"),
    ],
)
def test_the_key_may_be_sent_encrypted_or_to_this_machine(url: str) -> None:
    assert callable(lease_server_store(url, api_key="s3cret"))


@pytest.mark.parametrize(
    ("url", "message"),
    [
        pytest.param("https://me:pass@qdrant.example", "contains credentials", id="credentials"),
        pytest.param("qdrant.example:6333", "must look like", id="no scheme"),
        pytest.param("ftp://qdrant.example", "must look like", id="another scheme"),
        pytest.param("https://", "must look like", id="no host"),
        pytest.param("https://host:port", "cannot be read", id="no number"),
    ],
)
def test_an_address_that_cannot_be_used_is_refused_without_showing_secrets(
    url: str, message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message) as caught:
        lease_server_store(url, api_key=None)

    assert "pass@" not in str(caught.value)


@pytest.mark.process
def test_nobody_listening_is_unavailable(waits: list[float]) -> None:
    lease = lease_server_store("http://127.0.0.1:1", api_key=None, sleep=waits.append)

    with lease() as store, pytest.raises(StoreUnavailableError, match="ConnectError"):
        store.count(COLLECTION)

    assert len(waits) == 4


def test_something_that_is_no_qdrant_is_a_configuration_error(stub: QdrantStub) -> None:
    lease = lease_server_store(f"{stub.url}/elsewhere", api_key=None)

    with lease() as store, pytest.raises(ConfigurationError, match="QDRANT_URL"):
        store.list_collections()


# --- one connection per process ---------------------------------------------------------


INFO = f"GET /collections/{COLLECTION}"
QUERY = f"POST /collections/{COLLECTION}/points/query"


def test_many_leases_share_one_connection_and_what_they_know(
    stub: QdrantStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    lead_here(monkeypatch)
    lease = lease_server_store(elsewhere(stub.url), api_key=None)
    with lease() as store:
        store.ensure_collection(SPEC)

    with stub.counting() as requests:
        for number in range(3):
            with lease() as store:
                store.upsert(COLLECTION, [make_point(number)])

    assert requests == [UPSERT] * 3
    assert stub.connections == 1


def test_a_process_that_finds_a_collection_asks_once_what_it_is(stub: QdrantStub) -> None:
    with lease_server_store(stub.url, api_key=None)() as store:
        store.ensure_collection(SPEC)
    close_connections()
    lease = lease_server_store(stub.url, api_key=None)

    with stub.counting() as requests:
        for number in range(3):
            with lease() as store:
                store.upsert(COLLECTION, [make_point(number)])

    assert requests == [INFO, *[UPSERT] * 3]


def test_a_search_is_one_request_also_the_first_one(stub: QdrantStub) -> None:
    with lease_server_store(stub.url, api_key=None)() as store:
        store.ensure_collection(SPEC)
        store.upsert(COLLECTION, [make_point(1)])
    close_connections()

    with stub.counting() as requests, lease_server_store(stub.url, api_key=None)() as store:
        first, second = found_ids(store, search()), found_ids(store, search())

    assert first == second == [make_point(1).point_id]
    assert requests == [QUERY] * 2


def test_another_process_has_a_client_of_its_own(
    stub: QdrantStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = shared_connection(stub.url, api_key=None, timeout_seconds=30)
    with monkeypatch.context() as forked:
        forked.setattr(os, "getpid", lambda: 1)
        theirs = shared_connection(stub.url, api_key=None, timeout_seconds=30)
        close_connections()

    assert theirs.client is not ours.client
    assert shared_connection(stub.url, api_key=None, timeout_seconds=30) is ours
    assert ours.client.get_collections().collections == []


def test_another_key_or_timeout_is_another_client(stub: QdrantStub) -> None:
    clients = {
        id(shared_connection(stub.url, api_key=key, timeout_seconds=seconds).client)
        for key, seconds in [(None, 30.0), ("k", 30.0), ("k", 5.0), ("k", 5.0)]
    }

    assert len(clients) == 3


def test_threads_that_begin_together_share_a_client(stub: QdrantStub) -> None:
    together = threading.Barrier(8)

    def ask(_: int) -> int:
        together.wait()
        return id(shared_connection(stub.url, api_key=None, timeout_seconds=30).client)

    with ThreadPoolExecutor(8) as threads:
        assert len(set(threads.map(ask, range(8)))) == 1


# --- a collection that somebody else drops or makes anew --------------------------------


WIDER = replace(SPEC, dimension=DIMENSION + 2)


def make_anew(stub: QdrantStub, spec: CollectionSpec) -> None:
    """What somebody else does behind our back: the same name, made in another way."""
    stub.client.delete_collection(COLLECTION)
    stub.client.create_collection(COLLECTION, **creation(spec) | {"on_disk_payload": None})


def wide_point(number: int) -> Point:
    raw = np.ones(WIDER.dimension, dtype=np.float32)
    return make_point(number, vectors={"text": raw / np.linalg.norm(raw)})


def test_a_write_into_a_collection_that_was_made_anew_in_another_way_is_written(
    store: VectorStore, stub: QdrantStub
) -> None:
    store.upsert(COLLECTION, [POINT])
    make_anew(stub, WIDER)

    with stub.counting() as requests:
        store.upsert(COLLECTION, [wide_point(2)])
        store.upsert(COLLECTION, [wide_point(3)])

    assert store.count(COLLECTION) == 2
    assert requests == [INFO, UPSERT, UPSERT]


def test_a_write_that_no_longer_fits_the_collection_says_so(
    store: VectorStore, stub: QdrantStub
) -> None:
    store.upsert(COLLECTION, [POINT])
    make_anew(stub, WIDER)

    with pytest.raises(InvalidVectorError, match=r"expected \(n, 10\)"):
        store.upsert(COLLECTION, [POINT])

    assert store.count(COLLECTION) == 0


def test_a_search_follows_a_collection_that_was_made_anew(
    store: VectorStore, stub: QdrantStub
) -> None:
    store.upsert(COLLECTION, [POINT])
    make_anew(stub, WIDER)
    wide = wide_point(2)
    store.upsert(COLLECTION, [wide])

    query = SearchQuery(
        scope_keys=("acme",), vectors={"text": wide.vectors["text"]}, sparse=None, limit=1
    )
    assert found_ids(store, query) == [wide.point_id]
    with pytest.raises(InvalidVectorError, match="expected"):
        store.query(COLLECTION, search())


def test_a_collection_that_somebody_dropped_is_missing_and_no_longer_known(
    store: VectorStore, stub: QdrantStub
) -> None:
    store.upsert(COLLECTION, [POINT])
    stub.client.delete_collection(COLLECTION)

    with pytest.raises(CollectionMissingError, match=COLLECTION):
        store.upsert(COLLECTION, [POINT])
    with pytest.raises(CollectionMissingError, match=COLLECTION):
        store.query(COLLECTION, search())

    store.ensure_collection(SPEC)
    store.upsert(COLLECTION, [POINT])
    assert store.count(COLLECTION) == 1


def test_a_refusal_that_has_another_cause_is_not_repeated(
    store: VectorStore, stub: QdrantStub
) -> None:
    stub.max_body_bytes = 10

    with stub.counting() as requests, pytest.raises(RejectedPointError, match="bytes are too many"):
        store.upsert(COLLECTION, [POINT])

    assert requests == [UPSERT, INFO]


# --- the server's version ---------------------------------------------------------------


@pytest.mark.parametrize("version", ["1.19.0", "1.20.0-dev", "v2.0.1", "of my own"])
def test_a_recent_server_says_what_it_is(stub: QdrantStub, version: str) -> None:
    stub.version = version

    with lease_server_store(stub.url, api_key=None)() as store:
        assert store.check_engine().startswith(f"Qdrant {version} at http://127.0.0.1:")


@pytest.mark.parametrize("version", ["1.18.2", "1.9.0", "0.11.7"])
def test_a_server_that_is_too_old_is_refused_with_what_to_do(
    stub: QdrantStub, version: str
) -> None:
    stub.version = version

    with (
        lease_server_store(stub.url, api_key=None)() as store,
        pytest.raises(ConfigurationError, match=rf"runs Qdrant {version}.* needs 1\.19") as caught,
    ):
        store.check_engine()

    assert str(caught.value.remedy).startswith("Upgrade the server")


def test_nothing_is_made_on_a_server_that_is_too_old(stub: QdrantStub) -> None:
    stub.version = "1.18.2"

    with (
        lease_server_store(stub.url, api_key=None)() as store,
        pytest.raises(ConfigurationError, match=r"runs Qdrant 1\.18\.2"),
    ):
        store.ensure_collection(SPEC)

    assert stub.client.get_collections().collections == []


def test_a_proxy_that_hides_the_version_is_no_old_server(stub: QdrantStub) -> None:
    stub.script(Fault.FORBIDDEN, route="GET /")

    with lease_server_store(stub.url, api_key=None)() as store:
        assert store.ensure_collection(SPEC) is True
    assert stub.is_exhausted


@pytest.mark.parametrize("client", ["1.19.2", "1.9.0", "0.11.7"])
def test_a_client_that_is_too_old_is_refused_with_what_to_do(client: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"qdrant-client {client} is installed") as caught:
        require_recent("1.20.0", address="http://q:6333", client=client)

    assert "qdrant-client>=1.20" in str(caught.value.remedy)


def test_the_package_asks_for_the_oldest_client() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    (asked,) = [it for it in project["project"]["dependencies"] if it.startswith("qdrant-client")]

    assert asked.startswith(f"qdrant-client>={'.'.join(map(str, OLDEST_CLIENT))},")


def test_ci_and_the_documents_name_the_versions_in_use() -> None:
    oldest = ".".join(map(str, OLDEST_SERVER))
    client = ".".join(importlib.metadata.version("qdrant-client").split(".")[:2])

    workflow = (REPOSITORY / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    (image,) = re.findall(r"qdrant/qdrant:v(\d+\.\d+)\.\d+", workflow)
    configuration = (REPOSITORY / "docs" / "configuration.md").read_text(encoding="utf-8")

    assert image == client
    assert f"Qdrant {oldest} or newer" in configuration
