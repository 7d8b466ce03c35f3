"""A cluster of copies that lag: what is written, compared and confirmed, and how it is made.

No real cluster is started here: the copies are clients in memory, joined as the server joins them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager

import pytest
from qdrant_client import models

from sync_pipeline.core.cluster_options import ClusterOptions
from sync_pipeline.core.errors import ConfigurationError, StoreUnavailableError
from sync_pipeline.core.ports import VectorStore
from sync_pipeline.stores.server.cluster import page_after
from sync_pipeline.stores.server.store import lease_server_store
from sync_pipeline_tests.conftest import REPOSITORY
from sync_pipeline_tests.fakes.qdrant_stub import Asked, Fault, QdrantStub, Step, running_stub
from sync_pipeline_tests.stores.samples import (
    COLLECTION,
    SPEC,
    digest_ids,
    found_ids,
    make_point,
    search,
    stored,
)

pytestmark = pytest.mark.process

THREE = ClusterOptions(shard_number=6, replication_factor=3)
UPSERT = f"PUT /collections/{COLLECTION}/points"
WRITES = (UPSERT, f"POST /collections/{COLLECTION}/points/batch")
POINTS = [make_point(number, revision=5) for number in range(20)]


@pytest.fixture
def cluster() -> Iterator[QdrantStub]:
    """Three copies."""
    with running_stub(replicas=3) as stub:
        yield stub


@pytest.fixture
def waits() -> list[float]:
    """Seconds that the store wanted to sleep, in order."""
    return []


def opened(
    stub: QdrantStub, options: ClusterOptions | None, waits: list[float] | None = None
) -> AbstractContextManager[VectorStore]:
    return lease_server_store(
        stub.url,
        api_key=None,
        sleep=(waits if waits is not None else []).append,
        cluster=options,
    )()


def params_of(stub: QdrantStub) -> models.CollectionParams:
    info = stub.answer("GET", f"/collections/{COLLECTION}", b"").result
    assert isinstance(info, models.CollectionInfo)
    return info.config.params


def asked(stub: QdrantStub, *, writes: bool) -> list[Asked]:
    """Requests about points that write, or that read; in the order they came."""
    reading = ("/points/scroll", "/points/count", "/facet", "/points/query")
    about = [it for it in stub.asked if "/points" in it.path or it.path.endswith("/facet")]
    return [
        it
        for it in about
        if writes
        == (not it.path.endswith(reading) and (it.method, it.path[-7:]) != ("POST", "/points"))
    ]


# --- what is sent -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "ordering", "consistency"),
    [
        pytest.param(ClusterOptions(), "weak", None, id="nothing set"),
        pytest.param(THREE, "medium", "majority", id="three copies"),
        pytest.param(
            ClusterOptions(
                replication_factor=3, write_ordering="strong", read_consistency="quorum"
            ),
            "strong",
            "quorum",
            id="said otherwise",
        ),
        pytest.param(
            ClusterOptions(replication_factor=3, read_consistency=2), "medium", 2, id="a number"
        ),
    ],
)
def test_every_write_is_waited_for_in_an_order_and_every_comparing_read_asks_for_agreement(
    cluster: QdrantStub, options: ClusterOptions, ordering: str, consistency: str | int | None
) -> None:
    point = POINTS[0]
    with opened(cluster, options) as store:
        store.ensure_collection(SPEC)
        store.index_texts(COLLECTION)
        store.upsert(COLLECTION, POINTS)
        store.write_payloads(COLLECTION, [(point.point_id, point.payload)])
        digest_ids(store)
        stored(store, point)
        store.count(COLLECTION)
        store.count_by_scope(COLLECTION)
        store.delete(COLLECTION, [point.point_id], scope_key="acme")

    writes, reads = asked(cluster, writes=True), asked(cluster, writes=False)
    assert {it.path.rpartition(COLLECTION)[2] for it in writes} == {
        "/points",
        "/points/batch",
        "/points/delete",
    }
    indexes = [it for it in cluster.asked if it.path.endswith("/index")]
    assert len(indexes) == 3
    assert {(it.parameters.wait, it.parameters.ordering) for it in [*writes, *indexes]} == {
        (True, models.WriteOrdering(ordering))
    }
    assert {it.path.rpartition(COLLECTION)[2] for it in reads} == {
        "/points",
        "/points/scroll",
        "/points/count",
        "/facet",
    }
    assert {it.parameters.consistency for it in reads} == {consistency}


@pytest.mark.parametrize(
    ("options", "consistency"),
    [
        pytest.param(THREE, None, id="fast"),
        pytest.param(
            ClusterOptions(replication_factor=3, search_consistency="majority"),
            "majority",
            id="said otherwise",
        ),
    ],
)
def test_searches_ask_one_copy_unless_that_is_said_otherwise(
    cluster: QdrantStub, options: ClusterOptions, consistency: str | None
) -> None:
    with opened(cluster, options) as store:
        store.ensure_collection(SPEC)
        store.index_texts(COLLECTION)
        store.upsert(COLLECTION, POINTS)
        cluster.asked.clear()
        store.query(COLLECTION, search())
        store.query_batch(COLLECTION, [search()])
        store.retrieve(COLLECTION, [POINTS[0].point_id], as_search=True)
        store.complete(COLLECTION, "шту", scope_keys=["acme"], entity_types=["material"], limit=5)

    assert len(cluster.asked) == 4
    assert {it.parameters.consistency for it in cluster.asked} == {consistency}


# --- lag ----------------------------------------------------------------------------------


def readings(store: VectorStore) -> set[tuple[int, int, int]]:
    """What several readings in a row say: points scrolled, counted, and counted by scope."""
    return {
        (
            len(digest_ids(store, batch_size=6)),
            store.count(COLLECTION),
            store.count_by_scope(COLLECTION).get("acme", 0),
        )
        for _ in range(6)
    }


def test_a_copy_that_lags_is_seen_without_agreement_and_not_with_it(cluster: QdrantStub) -> None:
    with opened(cluster, THREE) as store:
        store.ensure_collection(SPEC)
        store.upsert(COLLECTION, POINTS[:10])
        cluster.replicas.lag(1)
        store.upsert(COLLECTION, POINTS[10:])
        store.delete(COLLECTION, [POINTS[0].point_id], scope_key="acme")

        assert readings(store) == {(19, 19, 19)}
    with opened(cluster, None) as careless:
        assert len(readings(careless)) > 1

    cluster.replicas.catch_up()
    with opened(cluster, None) as careless:
        assert readings(careless) == {(19, 19, 19)}


def test_a_scroll_goes_on_where_copies_disagree_about_a_page(cluster: QdrantStub) -> None:
    """The server takes a page that became shorter by that for the last one."""
    two = ClusterOptions(replication_factor=2, write_consistency_factor=1)
    ordered = sorted(POINTS, key=lambda point: point.point_id)
    with running_stub(replicas=2) as stub, opened(stub, two) as store:
        store.ensure_collection(SPEC)
        store.upsert(COLLECTION, [*ordered[:2], *ordered[3:]])
        stub.replicas.lag(1)
        store.upsert(COLLECTION, [ordered[2]])

        ids = digest_ids(store, batch_size=6)

    assert ids == [it.point_id for it in ordered if it is not ordered[2]]


@pytest.mark.parametrize(
    ("point_id", "following"),
    [
        pytest.param(
            "00000000-0000-0000-0000-0000000000ff",
            "00000000-0000-0000-0000-000000000100",
            id="in between",
        ),
        pytest.param("ffffffff-ffff-ffff-ffff-ffffffffffff", None, id="the last there can be"),
        pytest.param("17", None, id="a number of somebody else's"),
    ],
)
def test_the_next_page_starts_right_behind_the_last_point(
    point_id: str, following: str | None
) -> None:
    assert page_after(point_id) == following


def test_a_write_that_too_few_copies_have_is_repeated_and_not_taken_for_confirmed(
    cluster: QdrantStub, waits: list[float]
) -> None:
    with opened(cluster, THREE, waits) as store:
        store.ensure_collection(SPEC)
        cluster.replicas.lag(1, 2)

        with pytest.raises(StoreUnavailableError, match="2 out of 3 shards failed to apply"):
            store.upsert(COLLECTION, POINTS)

        assert len(waits) == 4
        # One of three has it, and so nobody who compares sees it.
        assert digest_ids(store) == []
        cluster.replicas.catch_up()
        assert len(digest_ids(store)) == len(POINTS)


def test_a_write_is_confirmed_as_soon_as_enough_copies_are_back(
    cluster: QdrantStub,
) -> None:
    waits: list[float] = []

    def catch_up(seconds: float) -> None:
        waits.append(seconds)
        cluster.replicas.catch_up()

    lease = lease_server_store(cluster.url, api_key=None, sleep=catch_up, cluster=THREE)
    with lease() as store:
        store.ensure_collection(SPEC)
        cluster.replicas.lag(1, 2)
        store.upsert(COLLECTION, POINTS)

        assert len(waits) == 1
        assert len(digest_ids(store)) == len(POINTS)


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(Fault.ACKNOWLEDGED, id="acknowledged"),
        pytest.param(Fault.WAIT_TIMEOUT, id="wait timeout"),
        pytest.param(Fault.ACCEPTED, id="202"),
    ],
)
def test_reading_back_confirms_nothing_that_only_one_copy_shows(
    cluster: QdrantStub, waits: list[float], fault: Fault
) -> None:
    with opened(cluster, THREE, waits) as store:
        store.ensure_collection(SPEC)
        cluster.replicas.lag(1, 2)
        cluster.script(*[Step(fault=fault, is_applied=True)] * 5, route=UPSERT)

        with pytest.raises(StoreUnavailableError, match="did not confirm 20 points"):
            store.upsert(COLLECTION, POINTS)

    assert len(waits) == 4


def test_a_delete_that_one_copy_lags_behind_with_is_gone_for_who_compares(
    cluster: QdrantStub, waits: list[float]
) -> None:
    with opened(cluster, THREE, waits) as store:
        store.ensure_collection(SPEC)
        store.upsert(COLLECTION, POINTS)
        cluster.replicas.lag(0)

        store.delete(COLLECTION, [it.point_id for it in POINTS[:5]], scope_key="acme")

        assert waits == []
        assert readings(store) == {(15, 15, 15)}


def test_while_a_node_is_down_searches_go_on_and_comparing_waits_unless_a_quorum_is_enough(
    cluster: QdrantStub, waits: list[float]
) -> None:
    with opened(cluster, THREE, waits) as store:
        store.ensure_collection(SPEC)
        store.upsert(COLLECTION, POINTS[:10])
        cluster.replicas.stop(2)
        store.upsert(COLLECTION, POINTS[10:])

        assert len(found_ids(store, search(limit=20))) == 20
        with pytest.raises(StoreUnavailableError, match="not have enough active replicas"):
            store.count(COLLECTION)
    quorum = ClusterOptions(replication_factor=3, read_consistency="quorum")
    with opened(cluster, quorum) as store:
        assert readings(store) == {(20, 20, 20)}


# --- making and changing a collection -----------------------------------------------------


def test_a_collection_is_made_as_the_settings_say_and_told_only_once(cluster: QdrantStub) -> None:
    options = ClusterOptions(
        shard_number=6, replication_factor=3, read_fan_out_factor=1, payload_on_disk=False
    )
    with opened(cluster, options) as store:
        assert store.ensure_collection(SPEC) is True
        with cluster.counting() as heard:
            assert store.ensure_collection(SPEC) is False

    params = params_of(cluster)
    assert (params.shard_number, params.replication_factor) == (6, 3)
    assert params.write_consistency_factor == 2
    assert params.on_disk_payload is False
    assert cluster.created[COLLECTION].sharding_method is None
    assert not any(request.startswith("PATCH") for request in heard)


def test_nothing_set_is_the_server_s_own_way(stub: QdrantStub) -> None:
    with opened(stub, None) as store:
        store.ensure_collection(SPEC)

    made = stub.created[COLLECTION]
    assert (made.shard_number, made.replication_factor, made.write_consistency_factor) == (
        None,
        None,
        None,
    )
    assert made.on_disk_payload is True
    assert "cluster_options" not in (made.metadata or {})


def test_what_can_be_changed_is_changed_once_and_what_nobody_says_any_more_stays(
    cluster: QdrantStub,
) -> None:
    changed = ClusterOptions(replication_factor=3, read_fan_out_factor=2, payload_on_disk=False)
    with opened(cluster, None) as store:
        store.ensure_collection(SPEC)
        store.upsert(COLLECTION, POINTS)
    with opened(cluster, changed) as store:
        assert store.ensure_collection(SPEC) is False
        with cluster.counting() as heard:
            store.ensure_collection(SPEC)
        assert store.count(COLLECTION) == len(POINTS)
    assert not any(request.startswith("PATCH") for request in heard)
    with opened(cluster, None) as store, cluster.counting() as heard:
        store.ensure_collection(SPEC)

    assert not any(request.startswith("PATCH") for request in heard)
    params = params_of(cluster)
    assert (params.replication_factor, params.write_consistency_factor) == (3, 2)
    assert (params.read_fan_out_factor, params.on_disk_payload) == (2, False)


def test_what_an_operator_changed_on_the_server_stays(cluster: QdrantStub) -> None:
    with opened(cluster, THREE) as store:
        store.ensure_collection(SPEC)
        cluster.answer(
            "PATCH", f"/collections/{COLLECTION}", b'{"params": {"write_consistency_factor": 3}}'
        )
        store.ensure_collection(SPEC)

    assert params_of(cluster).write_consistency_factor == 3


def test_the_name_of_a_collection_does_not_depend_on_the_cluster(cluster: QdrantStub) -> None:
    with opened(cluster, None) as store:
        store.ensure_collection(SPEC)
    with opened(cluster, THREE) as store:
        store.ensure_collection(SPEC)

        assert store.list_collections() == [COLLECTION]


# --- how it lies --------------------------------------------------------------------------


def test_how_a_collection_lies_is_told_as_the_page_shows_it(cluster: QdrantStub) -> None:
    page = (REPOSITORY / "docs" / "qdrant-cluster.md").read_text(encoding="utf-8")
    with opened(cluster, ClusterOptions(shard_number=12, replication_factor=3)) as store:
        store.ensure_collection(SPEC)
        told = store.check_layout(COLLECTION)

    assert told == (
        "12 shards of 3 copies; writes are confirmed by 2, ordering medium; what is compared is "
        "agreed on by majority"
    )
    assert f"`{told}`" in " ".join(page.split())


def test_a_server_of_one_node_lies_in_one_place(stub: QdrantStub) -> None:
    with opened(stub, None) as store:
        store.ensure_collection(SPEC)

        assert store.check_layout(COLLECTION) == "1 shard, 1 copy"


def test_another_number_of_shards_takes_a_rebuild(cluster: QdrantStub) -> None:
    with opened(cluster, THREE) as store:
        store.ensure_collection(SPEC)
    more = ClusterOptions(shard_number=12, replication_factor=3)

    with opened(cluster, more) as store:
        store.ensure_collection(SPEC)
        with pytest.raises(ConfigurationError, match=r"has 6 shards, .*shard_number` is 12") as it:
            store.check_layout(COLLECTION)

    assert "sync-pipeline index rebuild" in str(it.value.remedy)
    assert params_of(cluster).shard_number == 6


def test_copies_that_a_raised_number_did_not_make_are_named(stub: QdrantStub) -> None:
    with opened(stub, ClusterOptions(shard_number=2)) as store:
        store.ensure_collection(SPEC)
    two = ClusterOptions(shard_number=2, replication_factor=2)

    with opened(stub, two) as store:
        store.ensure_collection(SPEC)
        with pytest.raises(ConfigurationError, match="shard 0 has 1, shard 1 has 1") as caught:
            store.check_layout(COLLECTION)

    assert "replicate_shard" in str(caught.value.remedy)


def test_copies_that_the_settings_do_not_know_of_are_a_finding(cluster: QdrantStub) -> None:
    with opened(cluster, THREE) as store:
        store.ensure_collection(SPEC)

    with (
        opened(cluster, None) as store,
        pytest.raises(ConfigurationError, match="keeps 3 copies, and the settings do not") as it,
    ):
        store.check_layout(COLLECTION)

    assert "index.cluster.replication_factor: 3" in str(it.value.remedy)


def test_a_copy_that_is_not_active_is_named(cluster: QdrantStub) -> None:
    one = ClusterOptions(shard_number=1, replication_factor=3)
    with opened(cluster, one) as store:
        store.ensure_collection(SPEC)
        cluster.replicas.stop(2)

        with pytest.raises(StoreUnavailableError, match="shard 0 on peer 2 is Dead"):
            store.check_layout(COLLECTION)
