"""Points of tenants that neither the source nor the record knows are swept, late and bounded."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

import pytest

from sync_pipeline.core.errors import PermanentError, UnconfirmedSyncError
from sync_pipeline.core.point import Point
from sync_pipeline.core.scope import Scope
from sync_pipeline.engine.lease import scope_lease
from sync_pipeline.engine.removal.maintenance import OrphanReport, VanishedPolicy, sweep_orphans
from sync_pipeline.engine.removal.offboard import offboard_tenant
from sync_pipeline_tests.engine.world import World
from sync_pipeline_tests.fakes.watched import When, watch_context

WEEK: Final = VanishedPolicy(grace=timedelta(days=7))
NO_GRACE: Final = VanishedPolicy(grace=timedelta(0))
GLOBEX: Final = Scope("globex")


@pytest.fixture
def orphaned(world: World) -> World:
    """Tenant ``globex`` was removed, and a late write brought its point back; a week ago."""
    world.put("g", is_global=True, tenant_id=None)
    world.put_many("a1", "a2")
    world.put("b1", tenant_id="globex")
    world.run_all()
    late = world.points["tenant-material-b1"]
    world.remove("b1")
    offboard_tenant(world.sync, scope=GLOBEX, owner="offboarding")
    world.store.upsert(world.collection, [late])
    world.source.now += timedelta(days=8)
    return world


def sweep(world: World, policy: VanishedPolicy = WEEK) -> OrphanReport:
    return sweep_orphans(world.sync, owner=world.new_run_id(), policy=policy)


def test_a_point_that_came_back_after_its_tenant_was_removed_is_swept(orphaned: World) -> None:
    report = sweep(orphaned)

    assert report == OrphanReport(orphaned=1, removed=("globex",), deleted=1)
    assert orphaned.ids("globex") == []
    assert (orphaned.ids("acme"), orphaned.ids("global")) == (["a1", "a2"], ["g"])
    assert sweep(orphaned) == OrphanReport(orphaned=0)


def test_its_record_and_its_vector_go_with_it(orphaned: World) -> None:
    vectors = len(orphaned.cache.vectors)
    orphaned.put("b1", tenant_id="globex", name="sand")
    orphaned.run("globex")
    orphaned.remove("b1")
    orphaned.sync.scopes.forget(scope=GLOBEX)
    orphaned.source.now += timedelta(days=8)
    assert len(orphaned.cache.vectors) == vectors + 1

    sweep(orphaned)

    assert orphaned.ids("globex") == orphaned.recorded("globex") == []
    assert len(orphaned.cache.vectors) == vectors


@pytest.mark.parametrize(
    ("policy", "days"),
    [
        pytest.param(WEEK, 6.9, id="within the time of grace"),
        pytest.param(NO_GRACE, 0.9, id="within a day, whatever the grace"),
    ],
)
def test_a_young_point_waits(orphaned: World, policy: VanishedPolicy, days: float) -> None:
    orphaned.source.now -= timedelta(days=8 - days)

    report = sweep(orphaned, policy)

    assert report == OrphanReport(orphaned=1, waiting=1)
    assert orphaned.ids("globex") == ["b1"]


def test_a_point_without_a_revision_is_old(orphaned: World) -> None:
    held = orphaned.store._collections[orphaned.collection].points
    point = orphaned.points["tenant-material-b1"]
    payload = {name: point.payload[name] for name in point.payload if name != "source_revision"}
    held[point.point_id] = Point(
        point_id=point.point_id, vectors=point.vectors, sparse=point.sparse, payload=payload
    )

    assert sweep(orphaned).deleted == 1


def test_a_tenant_whose_record_is_there_is_left_to_its_time_of_grace(orphaned: World) -> None:
    orphaned.put("b1", tenant_id="globex")
    orphaned.run("globex")
    orphaned.remove("b1")
    orphaned.source.now += timedelta(days=8)

    assert sweep(orphaned).orphaned == 0
    assert orphaned.ids("globex") == ["b1"]


def test_a_lost_record_removes_no_tenant_with_rows(orphaned: World) -> None:
    orphaned.scopes.entities.clear()

    report = sweep(orphaned)

    assert (report.orphaned, report.removed) == (1, ("globex",))
    assert orphaned.ids("acme") == ["a1", "a2"]


def test_shared_points_are_never_orphans(orphaned: World) -> None:
    orphaned.remove("g")
    orphaned.scopes.entities.clear()

    assert sweep(orphaned).removed == ("globex",)
    assert orphaned.ids("global") == ["g"]


def test_an_empty_source_decides_nothing(orphaned: World) -> None:
    orphaned.remove("g", "a1", "a2")

    report = sweep(orphaned)

    assert report.note == "the source has no rows at all; nothing was decided"
    assert len(orphaned.points) == 4


def test_more_scopes_than_the_limit_are_not_believed_to_be_gone(orphaned: World) -> None:
    orphaned.remove("a1", "a2")
    orphaned.scopes.entities.clear()

    with pytest.raises(
        PermanentError, match="refused to remove 2 of 2 scopes with neither rows nor a record"
    ):
        sweep(orphaned)

    assert len(orphaned.points) == 4


def test_a_scope_that_is_being_written_waits_for_the_next_time(orphaned: World) -> None:
    with scope_lease(orphaned.sync, scope=GLOBEX, owner="other"):
        report = sweep(orphaned)

    assert (report.busy, report.removed) == (1, ())
    assert orphaned.ids("globex") == ["b1"]


def test_a_tenant_that_comes_back_before_its_turn_keeps_its_points(orphaned: World) -> None:
    def come_back(called: str, when: When) -> None:
        if (called, when) == ("leases.acquire", "before"):
            orphaned.put("b1", tenant_id="globex")

    report = sweep_orphans(watch_context(orphaned.sync, come_back), owner="tidy", policy=WEEK)

    assert (report.came_back, report.removed) == (1, ())
    assert orphaned.ids("globex") == ["b1"]


def test_a_tenant_that_is_recorded_again_before_its_turn_is_left_to_that_record(
    orphaned: World,
) -> None:
    def come_and_go(called: str, when: When) -> None:
        if (called, when) == ("leases.acquire", "before"):
            orphaned.put("b1", tenant_id="globex")
            orphaned.run("globex")
            orphaned.remove("b1")

    report = sweep_orphans(watch_context(orphaned.sync, come_and_go), owner="tidy", policy=WEEK)

    assert (report.came_back, report.removed) == (1, ())
    assert orphaned.ids("globex") == ["b1"]


def test_a_point_that_is_written_while_its_scope_is_swept_is_spared_and_told(
    orphaned: World,
) -> None:
    def write(called: str, when: When) -> None:
        if (called, when) == ("store.delete", "before"):
            orphaned.clock.advance(seconds=61)
            orphaned.put("b1", tenant_id="globex", name="sand")
            orphaned.run("globex")

    with pytest.raises(UnconfirmedSyncError, match="'globex' should have 0 points"):
        sweep_orphans(watch_context(orphaned.sync, write), owner="tidy", policy=WEEK)

    assert orphaned.texts("globex") == {"b1": "sand kg"}


def test_a_scope_key_that_no_tenant_can_have_is_left_alone(orphaned: World) -> None:
    held = orphaned.store._collections[orphaned.collection].points
    point = orphaned.points["tenant-material-b1"]
    held[point.point_id] = Point(
        point_id=point.point_id,
        vectors=point.vectors,
        sparse=point.sparse,
        payload={**point.payload, "scope_key": " globex "},
    )

    assert sweep(orphaned).orphaned == 0
