"""Removing tenants that are gone, and asking the index about those that are not."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest

from sync_pipeline.core.errors import PermanentError, UnconfirmedSyncError
from sync_pipeline.core.point import Point
from sync_pipeline.core.scope import Scope
from sync_pipeline.engine.lease import scope_lease
from sync_pipeline.engine.questions.checks import check_scope
from sync_pipeline.engine.removal.maintenance import VanishedPolicy, VanishedReport, remove_vanished
from sync_pipeline_tests.engine.world import World
from sync_pipeline_tests.fakes.watched import When, watch_context

WEEK = VanishedPolicy(grace=timedelta(days=7))
A_WEEK_IN_SECONDS = 7 * 86_400


@pytest.fixture
def synced(world: World) -> World:
    """Three tenants and a global row, all in step."""
    world.put("g", is_global=True, tenant_id=None)
    world.put_many("a1", "a2")
    world.put("b1", tenant_id="globex")
    world.put("c1", tenant_id="initech")
    world.run_all()
    return world


def tidy(world: World, policy: VanishedPolicy = WEEK) -> VanishedReport:
    rows = world.source.count_by_scope(world.entities)
    return remove_vanished(world.sync, rows=rows, owner=world.new_run_id(), policy=policy)


def test_where_every_tenant_has_rows_nothing_is_marked(synced: World) -> None:
    report = tidy(synced)
    synced.clock.advance(seconds=A_WEEK_IN_SECONDS)
    later = tidy(synced)

    assert (report.source_scopes, report.vanished) == (4, 0)
    assert (later.vanished, later.removed, later.came_back) == (0, (), 0)


def test_a_tenant_without_rows_is_kept_for_the_time_of_grace_and_then_removed(
    synced: World,
) -> None:
    before = synced.everything()
    synced.remove("b1")

    first = tidy(synced)
    kept = synced.everything() == before
    synced.clock.advance(seconds=A_WEEK_IN_SECONDS)
    second = tidy(synced)

    assert (first.vanished, first.removed) == (1, ())
    assert kept
    assert (second.removed, second.deleted) == (("globex",), 1)
    assert synced.ids("globex") == synced.recorded("globex") == []
    assert synced.sync.scopes.get(scope=Scope("globex")) is None
    assert synced.ids("acme") == ["a1", "a2"]


def test_a_tenant_that_comes_back_in_time_starts_its_grace_anew(synced: World) -> None:
    synced.remove("b1")
    tidy(synced)
    synced.put("b1", tenant_id="globex")
    synced.clock.advance(seconds=A_WEEK_IN_SECONDS - 1)
    tidy(synced)
    synced.remove("b1")
    synced.clock.advance(seconds=2)

    report = tidy(synced)

    assert (report.vanished, report.removed) == (1, ())
    assert synced.ids("globex") == ["b1"]


def test_an_empty_source_is_an_outage_and_decides_nothing(synced: World) -> None:
    synced.remove("g", "a1", "a2", "b1", "c1")

    report = tidy(synced)

    assert report.note == "the source has no rows at all; nothing was decided"
    assert len(synced.points) == 5


def test_a_source_that_lost_most_tenants_is_not_believed(synced: World) -> None:
    synced.remove("a1", "a2", "b1", "c1")
    tidy(synced)
    synced.clock.advance(seconds=A_WEEK_IN_SECONDS)

    with pytest.raises(PermanentError, match="refused to remove 3 of 4 scopes without rows"):
        tidy(synced)

    assert len(synced.points) == 5


def test_a_tenant_that_is_being_written_waits_for_the_next_time(synced: World) -> None:
    synced.remove("b1")
    tidy(synced)
    synced.clock.advance(seconds=A_WEEK_IN_SECONDS)

    with scope_lease(synced.sync, scope=Scope("globex"), owner="other"):
        report = tidy(synced)

    assert (report.busy, report.removed) == (1, ())
    assert synced.ids("globex") == ["b1"]


def test_a_tenant_with_rows_again_when_its_turn_comes_stays(synced: World) -> None:
    synced.remove("b1")
    tidy(synced)
    synced.clock.advance(seconds=A_WEEK_IN_SECONDS)
    rows = synced.source.count_by_scope(synced.entities)
    synced.put("b1", tenant_id="globex")

    report = remove_vanished(synced.sync, rows=rows, owner="late", policy=WEEK)

    assert (report.came_back, report.removed) == (1, ())
    assert synced.ids("globex") == ["b1"]


def test_a_removal_that_the_index_does_not_show_is_an_error(
    synced: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced.remove("b1")
    tidy(synced)
    synced.clock.advance(seconds=A_WEEK_IN_SECONDS)
    monkeypatch.setattr(synced.store, "delete", lambda *_args, **_kwargs: None)

    with pytest.raises(UnconfirmedSyncError, match="'globex' should have 0 points"):
        tidy(synced)

    assert synced.sync.scopes.get(scope=Scope("globex")) is not None


def test_a_removal_that_slept_past_its_lease_spares_what_came_back(synced: World) -> None:
    synced.remove("b1")
    tidy(synced)
    synced.clock.advance(seconds=A_WEEK_IN_SECONDS)
    rows = synced.source.count_by_scope(synced.entities)

    def sleep(called: str, when: When) -> None:
        if (called, when) == ("store.delete", "before"):
            synced.clock.advance(seconds=61)
            synced.put("b1", tenant_id="globex", name="sand")
            synced.run("globex")

    with pytest.raises(UnconfirmedSyncError, match="'globex' should have 0 points"):
        remove_vanished(watch_context(synced.sync, sleep), rows=rows, owner="sleeper", policy=WEEK)

    assert synced.texts("globex") == {"b1": "sand kg"}
    assert synced.is_clean("globex")


def test_a_tenant_that_vanished_after_the_clock_was_set_back_is_removed(synced: World) -> None:
    synced.source.now -= timedelta(days=400)
    synced.remove("b1")
    tidy(synced)
    synced.clock.advance(seconds=A_WEEK_IN_SECONDS)

    report = tidy(synced)

    assert (report.removed, report.deleted) == (("globex",), 1)


# --- the checks after a sync ------------------------------------------------------------


def failed_checks(world: World, key: str = "acme") -> list[str]:
    results = check_scope(world.sync, scope=Scope.from_key(key), seed="seed")
    return [result.claim for result in results if not result.passed]


def test_a_scope_in_step_passes_every_check(synced: World) -> None:
    assert failed_checks(synced) == []
    assert failed_checks(synced, "global") == []


def test_an_empty_scope_that_was_synced_passes(world: World) -> None:
    world.run()

    assert failed_checks(world) == []


def test_a_scope_that_lost_its_cache_is_not_searched(synced: World) -> None:
    synced.cache.vectors.clear()

    assert failed_checks(synced) == []


def test_documents_that_another_scope_took_over_are_not_missed(synced: World) -> None:
    synced.put("a2", tenant_id="globex")
    synced.run("globex")

    assert failed_checks(synced) == []


def test_a_lost_point_is_noticed_by_the_count(synced: World) -> None:
    point = synced.points["tenant-material-a1"]
    synced.store.delete(synced.collection, [point.point_id], scope_key="acme")

    assert failed_checks(synced) == ["points_match_rows"]


@pytest.mark.parametrize(
    ("payload", "claim"),
    [
        pytest.param({"tenantId": "globex"}, "points_carry_their_scope", id="owner"),
        pytest.param({"embed_hash": "no mapping"}, "vectors_are_valid", id="hashes"),
    ],
)
def test_a_spoiled_point_is_noticed(synced: World, payload: dict[str, object], claim: str) -> None:
    held = synced.store._collections[synced.collection].points
    point = synced.points["tenant-material-a1"]
    held[point.point_id] = Point(
        point_id=point.point_id,
        vectors=point.vectors,
        sparse=point.sparse,
        payload={**point.payload, **payload},
    )

    assert claim in failed_checks(synced)


def test_a_vector_that_is_not_its_texts_is_noticed_by_a_search(world: World) -> None:
    world.put_many(*(f"{number:02}" for number in range(40)), name="same words")
    world.run()
    held = world.store._collections[world.collection].points
    wrong = world.embedder.vector("something else").astype(np.float32)
    held.update(
        {
            key: Point(
                point_id=key,
                vectors={"text": wrong},
                sparse=point.sparse,
                payload={**point.payload, "text": f"{point.payload['dbId']}"},
            )
            for key, point in held.items()
        }
    )

    assert failed_checks(world) == []
