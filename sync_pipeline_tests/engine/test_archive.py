"""Old documents of some kind lose their vectors, keep text and payload, and come back."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from sync_pipeline.core.entity import Archive, Condition
from sync_pipeline.core.scope import Scope
from sync_pipeline.engine.questions.checks import check_scope
from sync_pipeline.engine.questions.due import judge_scopes
from sync_pipeline.engine.questions.plan import plan_scope
from sync_pipeline.engine.questions.status import scope_status
from sync_pipeline_tests.engine.world import MATERIAL, World, counts

ACME = Scope("acme")
RULE = Archive(when=(Condition("status", ("completed", "cancelled")),), older_than_days=90)


@pytest.fixture
def world() -> World:
    """Three rows, of which one is completed, synced the day they were changed."""
    world = World(entities=(replace(MATERIAL, archive=RULE),))
    world.put("1", status="active")
    world.put("2", status="completed")
    world.put("3", status="active")
    world.run()
    return world


def age(world: World, days: int) -> None:
    world.source.now += timedelta(days=days)


def vectors(world: World) -> dict[str, bool]:
    return {str(point.payload["dbId"]): bool(point.vectors) for point in world.points.values()}


def test_what_is_old_enough_and_of_the_kind_loses_its_vectors_and_no_other(world: World) -> None:
    before = vectors(world)
    age(world, 91)

    report = world.run()

    assert before == {"1": True, "2": True, "3": True}
    assert vectors(world) == {"1": True, "2": False, "3": True}
    assert counts(report) == {"changed": 1, "unchanged": 2}
    assert report.archived == 1
    assert world.is_clean()


def test_it_is_still_found_by_its_words_and_not_by_its_meaning(world: World) -> None:
    age(world, 91)
    world.run()

    assert "tenant-material-2" in world.found("acme", "cement 2", mode="text")
    assert "tenant-material-2" not in world.found("acme", "cement 2", mode="dense")
    assert world.points["tenant-material-2"].payload["price"] == 10
    assert all(check.passed for check in check_scope(world.sync, scope=ACME, seed="1"))


def test_it_comes_back_without_being_embedded_again(world: World) -> None:
    age(world, 91)
    world.run()
    embedded = list(world.embedder.embedded)
    world.put("2", status="active")

    report = world.run()

    assert vectors(world)["2"]
    assert report.archived == 0
    assert world.embedder.embedded == embedded
    assert "tenant-material-2" in world.found("acme", "cement 2", mode="dense")
    assert world.is_clean()


def test_a_change_of_an_archived_row_begins_its_age_anew(world: World) -> None:
    age(world, 91)
    world.run()
    world.put("2", price=11)

    world.run()

    assert vectors(world)["2"]


def test_nothing_is_written_while_the_rule_goes_on_holding(world: World) -> None:
    age(world, 91)
    world.run()
    age(world, 1)

    assert counts(world.run()) == {"unchanged": 3}


def test_a_scope_is_due_once_a_row_has_become_old_enough(world: World) -> None:
    age(world, 89)
    before = judge_scopes(world.sync, scopes=[ACME])[0].is_due
    age(world, 2)

    assert (before, judge_scopes(world.sync, scopes=[ACME])[0].is_due) == (False, True)


def test_status_and_plan_count_what_is_archived(world: World) -> None:
    age(world, 91)
    planned = plan_scope(world.sync, scope=ACME)
    world.run()

    status = scope_status(world.sync, scope=ACME)

    assert (planned.archived, planned.changed, planned.texts_to_embed) == (1, 1, 0)
    assert (status.archived, status.documents, status.coverage) == (1, 3, 1.0)


def test_a_rule_that_leaves_the_settings_brings_all_of_them_back(world: World) -> None:
    age(world, 91)
    world.run()
    world.entities = (MATERIAL,)

    world.run()

    assert vectors(world) == {"1": True, "2": True, "3": True}
    assert world.is_clean()
