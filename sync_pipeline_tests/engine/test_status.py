"""How scopes stand, and whether the installation is sound."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sync_pipeline.core.entity import Condition, Criterion
from sync_pipeline.core.errors import SourceUnavailableError
from sync_pipeline.core.run_order import RunOrder
from sync_pipeline.core.scope import Scope
from sync_pipeline.engine.questions.doctor import Finding, ask, examine
from sync_pipeline.engine.questions.status import (
    ScopeStatusReport,
    scope_status,
    scope_statuses,
    unknown_scopes,
)
from sync_pipeline_tests.engine.world import MATERIAL, UNGUARDED, WORK, World


def statuses(world: World) -> dict[str, ScopeStatusReport]:
    return {status.scope_key: status for status in scope_statuses(world.sync)}


def test_a_scope_in_step_is_fully_covered(world: World) -> None:
    world.put_many("1", "2")
    world.run()

    status = statuses(world)["acme"]

    assert (status.source_rows, status.documents, status.points) == (2, 2, 2)
    assert (status.coverage, status.pending, status.failed) == (1.0, 0, 0)
    assert status.last_success_at is not None
    assert status.oldest_unsynced_seconds is None


def test_global_comes_first_and_tenants_by_key(world: World) -> None:
    world.put("1", tenant_id="b")
    world.put("2", tenant_id="Z")
    world.put("3", tenant_id="a")

    assert list(statuses(world)) == ["global", "Z", "a", "b"]


def test_new_rows_are_pending_since_the_last_snapshot(world: World) -> None:
    world.put("1")
    world.run()
    world.put_many("2", "3", "4")
    world.clock.now = world.source.now
    world.clock.advance(seconds=90)

    status = statuses(world)["acme"]

    assert (status.pending, status.coverage) == (3, 0.25)
    assert status.oldest_unsynced_seconds == 90


def test_a_scope_that_was_never_synced_does_not_know_how_long_it_waits(world: World) -> None:
    world.put("1")

    status = statuses(world)["acme"]

    assert (status.pending, status.coverage) == (1, 0.0)
    assert status.oldest_unsynced_seconds is None
    assert status.last_success_at is None


def test_failed_and_quarantined_rows_are_not_pending(world: World) -> None:
    world.put("1")
    world.put("2", name="☠")
    world.put("3", name=None, unit=None)
    world.run()

    status = statuses(world)["acme"]

    assert (status.failed, status.quarantined, status.pending) == (1, 1, 0)


def test_a_scope_without_rows_that_still_has_points_is_listed(world: World) -> None:
    world.put("1")
    world.run()
    world.remove("1")

    status = statuses(world)["acme"]

    assert (status.source_rows, status.points, status.coverage) == (0, 1, 0.0)
    assert status.surplus == 1


def test_an_emptied_scope_is_covered(world: World) -> None:
    world.put("1")
    world.run()
    world.remove("1")
    world.set_options(cleanup=UNGUARDED)
    world.run()

    assert statuses(world)["acme"].coverage == 1.0


@pytest.mark.parametrize("key", ["global", "acme", "globex", "gone", "unknown"])
def test_one_scope_stands_as_it_does_among_all(world: World, key: str) -> None:
    world.put_many("1", "2")
    world.put("3", tenant_id="globex", name="")
    world.put("4", tenant_id="gone")
    world.run_all()
    world.remove("4")
    world.put("5")

    alone = scope_status(world.sync, scope=Scope.from_key(key))

    among_all = statuses(world).get(key)
    assert alone == among_all or (among_all is None and alone.source_rows == alone.points == 0)
    unknown = unknown_scopes(world.sync, scopes=[Scope.from_key(key)])
    assert (unknown == []) is (among_all is not None)


def findings(world: World) -> dict[str, Finding]:
    return {finding.name: finding for finding in examine(world.sync)}


def test_a_sound_installation_has_an_answer_to_every_question(world: World) -> None:
    world.put("1")
    world.run()

    found = findings(world)

    assert all(finding.ok for finding in found.values())
    assert found["source tables"].detail == "1 rows in materials, works of fake"
    assert found["index"].detail == f"1 points in {world.collection}"
    assert found["index engine"].detail == "fake store"
    assert found["embedding model"].detail == "fake-embedder, 16 dimensions"


def test_what_comes_first_is_told(world: World) -> None:
    assert findings(world)["what comes first"].detail == (
        "within a scope: no entity has a priority. scopes by priority (global 1, others 0), of "
        "equals the largest first; what waits longer than 60 minutes goes before all"
    )

    world.put("1", status="active")
    rule = Criterion(when=(Condition("status", ("active",)),))
    newest = Criterion(column="updated_at", is_descending=True)
    world.entities = (replace(MATERIAL, priority=(rule, newest)), WORK)
    world.set_options(run_order=RunOrder(priorities={"acme": 5, "acne": 4}))
    found = findings(world)["what comes first"]

    assert found.ok
    assert found.detail == (
        "within a scope: material by status is active, then updated_at descending. scopes by "
        "priority (acme 5, acne 4, global 1, others 0), of equals the largest first; what waits "
        "longer than 60 minutes goes before all. No rows has any of: 'acne'"
    )


def test_an_installation_before_its_first_sync_is_sound(world: World) -> None:
    assert findings(world)["index"].detail == "reachable, nothing behind 'documents' yet"


def test_an_outage_is_a_finding_and_the_other_questions_are_asked(world: World) -> None:
    world.source.is_available = False

    found = findings(world)

    assert not found["source tables"].ok
    assert found["index"].ok


def test_a_finding_says_what_is_wrong_and_what_to_do() -> None:
    def question() -> str:
        raise SourceUnavailableError(
            "The server 10.0.0.7. is away. It was up at 8.", remedy="Start it. Then try again."
        )

    assert ask("source", question) == Finding(
        name="source",
        ok=False,
        detail="The server 10.0.0.7. is away. It was up at 8",
        fix="Start it. Then try again.",
    )


def test_a_defect_is_not_turned_into_a_finding() -> None:
    def question() -> str:
        raise ZeroDivisionError("a defect")

    with pytest.raises(ZeroDivisionError, match="a defect"):
        ask("source", question)
