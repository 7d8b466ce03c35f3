"""Rows that change their owner end in exactly one scope, whichever is synced first."""

from __future__ import annotations

import pytest

from sync_pipeline_tests.engine.steps import SteppedRun
from sync_pipeline_tests.engine.world import World, counts


@pytest.fixture
def moved(world: World) -> World:
    """Row 7 was synced for ``acme`` and belongs to ``globex`` now."""
    world.put_many("1", "7")
    world.put("2", tenant_id="globex")
    world.run_all()
    world.put("7", tenant_id="globex")
    return world


def test_the_new_owner_synced_first_takes_the_point_over(moved: World) -> None:
    there = moved.run("globex")
    here = moved.run("acme")

    assert counts(there) == {"new": 1, "unchanged": 1, "cache_hits": 1}
    assert counts(here) == {"unchanged": 1, "deleted": 1}
    assert (moved.ids("acme"), moved.ids("globex")) == (["1"], ["2", "7"])
    assert moved.is_clean("acme")
    assert moved.is_clean("globex")


def test_the_old_owner_synced_first_deletes_the_point(moved: World) -> None:
    here = moved.run("acme")
    there = moved.run("globex")

    assert counts(here) == {"unchanged": 1, "deleted": 1}
    assert counts(there) == {"new": 1, "unchanged": 1, "cache_hits": 1}
    assert (moved.ids("acme"), moved.ids("globex")) == (["1"], ["2", "7"])
    assert moved.is_clean("acme")
    assert moved.is_clean("globex")


def test_a_move_is_told_once(moved: World) -> None:
    moved.run("globex")
    moved.run("acme")

    assert counts(moved.run("acme")) == {"unchanged": 1}
    assert counts(moved.run("globex")) == {"unchanged": 2}


@pytest.mark.parametrize("order", [("acme", "global"), ("global", "acme")], ids=" then ".join)
def test_a_row_that_became_global_is_new_there_and_deleted_here(
    world: World, order: tuple[str, str]
) -> None:
    world.put_many("1", "7")
    world.run_all()
    world.put("7", is_global=True)

    reports = {key: world.run(key) for key in order}

    assert counts(reports["global"]) == {"new": 1, "cache_hits": 1}
    assert counts(reports["acme"]) == {"unchanged": 1, "deleted": 1}
    assert world.found("globex") == ["global-material-7"]
    assert sorted(world.found("acme")) == ["global-material-7", "tenant-material-1"]


def test_a_global_row_that_became_private_is_hidden_from_the_others(world: World) -> None:
    world.put_many("1", "2", is_global=True)
    world.run_all()
    world.put("1", is_global=False)

    world.run_all()

    assert world.found("globex") == ["global-material-2"]
    assert sorted(world.found("acme")) == ["global-material-2", "tenant-material-1"]


def test_a_row_that_moves_while_its_old_scope_is_written_ends_with_the_new_owner(
    world: World,
) -> None:
    world.put_many("1", "7")
    world.put("2", tenant_id="globex")
    world.run_all()
    world.put("7", name="sand")
    slow = SteppedRun(world.sync, scope_key="acme", run_id="slow")
    slow.step()
    world.put("7", tenant_id="globex")
    world.run("globex")

    report = slow.finish()

    assert report.moved_away == 1
    assert (world.ids("acme"), world.ids("globex")) == (["1"], ["2", "7"])


def test_an_older_snapshot_of_the_former_owner_overwrites_nothing(world: World) -> None:
    world.put_many("1", "7")
    slow = SteppedRun(world.sync, scope_key="acme", run_id="slow")
    slow.step()
    slow.step()
    world.put("7", tenant_id="globex", name="sand")
    world.run("globex")

    slow.step()

    assert world.texts("globex") == {"7": "sand kg"}
    assert world.ids("acme") == ["1"]


def test_a_delete_planned_before_a_move_does_not_touch_the_new_owners_point(world: World) -> None:
    world.put_many("1", "3", "7")
    world.put("2", tenant_id="globex")
    world.run_all()
    world.remove("7")
    slow = SteppedRun(world.sync, scope_key="acme", run_id="slow")
    for _ in range(3):
        slow.step()
    world.put("7", tenant_id="globex")
    world.run("globex")

    slow.step()

    assert world.ids("globex") == ["2", "7"]
    assert world.is_clean("globex")


def test_a_moved_row_that_the_new_owner_cannot_embed_leaves_the_old_scope_all_the_same(
    moved: World,
) -> None:
    moved.put("7", name="☠")

    there = moved.run("globex")
    here = moved.run("acme")

    assert counts(there) == {"new": 1, "unchanged": 1, "failed": 1}
    assert counts(here) == {"unchanged": 1, "deleted": 1}
    assert (moved.ids("acme"), moved.ids("globex")) == (["1"], ["2"])
