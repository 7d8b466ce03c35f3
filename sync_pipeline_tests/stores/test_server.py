"""The server adapter against a server that misbehaves."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from qdrant_client import models

from sync_pipeline.core.errors import (
    ConfigurationError,
    OutOfSpaceError,
    PermanentError,
    RateLimitedError,
    RejectedPointError,
    StoreUnavailableError,
)
from sync_pipeline.core.ports import VectorStore
from sync_pipeline.stores.server import lease_server_store
from sync_pipeline_tests.fakes.qdrant_stub import Fault, QdrantStub, Step
from sync_pipeline_tests.stores.samples import (
    COLLECTION,
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
    lease = lease_server_store(stub.url, api_key=None, timeout_seconds=1, sleep=waits.append)
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
        pytest.param("3600", 60.0, id="at most a minute"),
    ],
)
def test_retry_after_is_honoured(
    store: VectorStore, stub: QdrantStub, waits: list[float], header: str, seconds: float
) -> None:
    stub.script(Step(fault=Fault.RATE_LIMITED, retry_after=header), route=UPSERT)

    store.upsert(COLLECTION, [POINT])

    assert waits == [seconds]


def test_retry_after_as_a_date_is_honoured(
    store: VectorStore, stub: QdrantStub, waits: list[float]
) -> None:
    moment = format_datetime(datetime.now(UTC) + timedelta(seconds=40), usegmt=True)
    stub.script(Step(fault=Fault.RATE_LIMITED, retry_after=moment), route=UPSERT)

    store.upsert(COLLECTION, [POINT])

    (wait,) = waits
    assert 30 < wait <= 40


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


def test_a_lasting_rate_limit_says_how_long_to_wait(
    store: VectorStore, stub: QdrantStub, waits: list[float]
) -> None:
    stub.script(*[Step(fault=Fault.RATE_LIMITED, retry_after="90")] * 5, route=UPSERT)

    with pytest.raises(RateLimitedError, match="asks to wait 90 s") as caught:
        store.upsert(COLLECTION, [POINT])

    assert caught.value.retry_after_seconds == 90
    assert waits == [60] * 4


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


def test_nobody_listening_is_unavailable(waits: list[float]) -> None:
    lease = lease_server_store("http://127.0.0.1:1", api_key=None, sleep=waits.append)

    with lease() as store, pytest.raises(StoreUnavailableError, match="ConnectError"):
        store.count(COLLECTION)

    assert len(waits) == 4


def test_something_that_is_no_qdrant_is_a_configuration_error(stub: QdrantStub) -> None:
    lease = lease_server_store(f"{stub.url}/elsewhere", api_key=None)

    with lease() as store, pytest.raises(ConfigurationError, match="QDRANT_URL"):
        store.list_collections()
