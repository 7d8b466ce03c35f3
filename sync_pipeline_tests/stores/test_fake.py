"""What tests may ask of the fake beyond the contract."""

from __future__ import annotations

import pytest

from sync_pipeline.core.errors import RejectedPointError, StoreUnavailableError
from sync_pipeline.stores.checks import RefusedError, blaming_single
from sync_pipeline_tests.fakes.vector_store import FakeVectorStore
from sync_pipeline_tests.stores.samples import COLLECTION, SPEC, make_point

POINT = make_point(1)


@pytest.fixture
def store() -> FakeVectorStore:
    fake = FakeVectorStore()
    fake.ensure_collection(SPEC)
    return fake


def test_the_next_call_fails_and_the_one_after_works(store: FakeVectorStore) -> None:
    store.fail_next("upsert", StoreUnavailableError("gone"))

    with pytest.raises(StoreUnavailableError, match="gone"):
        store.upsert(COLLECTION, [POINT])
    assert store.points(COLLECTION) == {}

    store.upsert(COLLECTION, [POINT])
    assert list(store.points(COLLECTION)) == [POINT.point_id]


def test_a_confirmation_can_be_lost_after_the_write(store: FakeVectorStore) -> None:
    store.fail_next("upsert", StoreUnavailableError("lost"), is_applied=True)

    with pytest.raises(StoreUnavailableError, match="lost"):
        store.upsert(COLLECTION, [POINT])

    assert list(store.points(COLLECTION)) == [POINT.point_id]


def test_a_failure_can_wait_in_an_iteration(store: FakeVectorStore) -> None:
    store.fail_next("iter_digests", StoreUnavailableError("gone"))

    with pytest.raises(StoreUnavailableError, match="gone"):
        list(store.iter_digests(COLLECTION, scope_key="acme", views=SPEC.views))


def test_a_missing_collection_has_no_points(store: FakeVectorStore) -> None:
    assert store.points("missing") == {}


def test_a_refused_batch_of_one_is_the_refusal_of_that_point() -> None:
    refusal = RefusedError(store="q", doing="1 points", reason="no")
    named = [(POINT.point_id, POINT.payload)]

    with pytest.raises(RejectedPointError, match="'tenant-material-1': no"), blaming_single(named):
        raise refusal
    with pytest.raises(RefusedError, match="q refused 1 points: no"), blaming_single(named * 2):
        raise refusal
