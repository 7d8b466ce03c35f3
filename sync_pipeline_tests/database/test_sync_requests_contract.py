"""What every ``SyncRequests`` promises."""

from __future__ import annotations

import uuid

import pytest

from sync_pipeline.core.ports import SyncRequest, SyncRequests


def asked(requests: SyncRequests, *scope_keys: str) -> SyncRequest:
    return requests.add(requested_by="someone", scope_keys=scope_keys)


def current(requests: SyncRequests, request: SyncRequest) -> SyncRequest:
    found = requests.get(request.request_id)
    assert found is not None
    return found


def test_a_request_is_read_back_as_it_was_made(requests: SyncRequests) -> None:
    made = requests.add(
        requested_by="someone",
        scope_keys=["global", "Größe", "acme"],
        mode="incremental",
        force=True,
        max_deleted_fraction=0.75,
        approve_deletions=2**40,
    )

    assert current(requests, made) == made
    assert str(uuid.UUID(made.request_id)) == made.request_id
    assert made.scope_keys == made.waiting_keys == ("global", "Größe", "acme")
    assert (made.requested_by, made.mode, made.force) == ("someone", "incremental", True)
    assert (made.max_deleted_fraction, made.approve_deletions) == (0.75, 2**40)
    assert (made.status, made.run_ids, made.error) == ("pending", {}, None)
    assert made.updated_at == made.requested_at


@pytest.mark.parametrize(
    "request_id", ["", "no uuid", "\0", "3e41fde8-bf60-4ca5-aa6d-389f37c38430", "x" * 500]
)
def test_an_id_that_is_nobodys_is_unknown(requests: SyncRequests, request_id: str) -> None:
    asked(requests, "acme")

    assert requests.get(request_id) is None


def test_open_requests_come_oldest_first_and_recent_ones_newest_first(
    requests: SyncRequests,
) -> None:
    made = [asked(requests, "acme").request_id for _ in range(4)]
    requests.record_end(made[1], status="done")
    requests.record_runs(made[2], run_ids={"acme": "run-1"}, status="started")

    assert [it.request_id for it in requests.list_open(limit=10)] == [made[0], made[2], made[3]]
    assert [it.request_id for it in requests.list_open(limit=1)] == made[:1]
    assert [it.request_id for it in requests.list_recent(limit=10)] == made[::-1]
    assert [it.request_id for it in requests.list_recent(limit=2)] == [made[3], made[2]]


def test_runs_are_added_to_those_that_are_known_and_a_later_one_counts(
    requests: SyncRequests,
) -> None:
    made = asked(requests, "global", "acme", "globex")

    requests.record_runs(made.request_id, run_ids={"global": "run-1"}, status="pending")
    requests.record_runs(
        made.request_id, run_ids={"global": "run-3", "acme": "run-2"}, status="started"
    )

    found = current(requests, made)
    assert (found.run_ids, found.status) == ({"global": "run-3", "acme": "run-2"}, "started")
    assert found.waiting_keys == ("globex",)
    assert found.updated_at >= made.updated_at


def test_the_first_end_counts(requests: SyncRequests) -> None:
    made = asked(requests, "acme")

    requests.record_end(made.request_id, status="failed", error="scope 'acme' failed")
    requests.record_end(made.request_id, status="done")
    requests.record_runs(made.request_id, run_ids={"acme": "run-1"}, status="started")

    found = current(requests, made)
    assert (found.status, found.error, found.run_ids) == ("failed", "scope 'acme' failed", {})
    assert requests.list_open(limit=10) == []


def test_a_request_of_no_scope_is_done_at_once(requests: SyncRequests) -> None:
    assert asked(requests).status == "done"
    assert requests.list_open(limit=10) == []


def test_old_requests_are_forgotten_but_open_ones_stay(requests: SyncRequests) -> None:
    ended, is_open = asked(requests), asked(requests, "acme")

    assert requests.purge(min_age_seconds=3600) == 0
    assert requests.purge(min_age_seconds=0) == 1
    assert requests.get(ended.request_id) is None
    assert current(requests, is_open) == is_open
