"""Ids that are not unique: some rows are set aside, everybody else goes on."""

from __future__ import annotations

import pytest

from sync_pipeline.core.document import Reason
from sync_pipeline.core.reports import SyncMode
from sync_pipeline.core.scope import Scope
from sync_pipeline.engine.questions.explain import explain_row
from sync_pipeline.engine.questions.plan import plan_scope
from sync_pipeline_tests.engine.world import World


@pytest.fixture(params=["full", "incremental"])
def mode(request: pytest.FixtureRequest) -> SyncMode:
    found: SyncMode = request.param
    return found


@pytest.fixture
def synced(world: World) -> World:
    """A shop with two articles and one with another, in step."""
    world.put_many("a1", "a2")
    world.put("b1", tenant_id="globex")
    world.run_all()
    return world


def add_row(world: World, row_id: str, **values: object) -> None:
    """Insert a row whatever ids there are."""
    row = {**world.put("template"), "id": row_id, **values}
    world.remove("template")
    world.source.tables["materials"].append(row)


def set_aside(world: World) -> dict[str, list[str]]:
    """Row ids set aside for their ids, by scope key."""
    found: dict[str, list[str]] = {}
    for key, rejection in world.quarantine.list_all():
        assert rejection.reason is Reason.DOUBLED_ID
        found.setdefault(key, []).append(rejection.db_id)
    return found


def test_another_tenant_s_equal_id_takes_nothing_over(synced: World, mode: SyncMode) -> None:
    add_row(synced, "a1", tenant_id="globex", name="batten")
    add_row(synced, "b2", tenant_id="globex")

    report = synced.run("globex", mode=mode)

    assert (report.status, report.quarantined, report.new) == ("success", 1, 1)
    assert synced.texts("acme")["a1"] == "cement a1 kg"
    assert synced.ids("globex") == ["b1", "b2"]
    assert set_aside(synced) == {"globex": ["a1"]}


def test_who_has_the_document_keeps_it_whoever_is_synced_next(
    synced: World, mode: SyncMode
) -> None:
    add_row(synced, "b1", tenant_id="acme", name="batten")
    synced.put("a2", name="gypsum")

    reports = {key: synced.run(key, mode=mode) for key in ("acme", "globex", "acme")}

    assert {report.status for report in reports.values()} == {"success"}
    assert synced.texts("globex") == {"b1": "cement b1 kg"}
    assert synced.texts("acme") == {"a1": "cement a1 kg", "a2": "gypsum kg"}
    assert set_aside(synced) == {"acme": ["b1"]}
    assert synced.is_clean("acme")
    assert synced.is_clean("globex")


def test_a_row_set_aside_takes_its_place_once_it_is_alone(synced: World, mode: SyncMode) -> None:
    add_row(synced, "a1", tenant_id="globex", name="batten")
    synced.run("globex", mode=mode)

    rows = synced.source.tables["materials"]
    rows[:] = [row for row in rows if (row["id"], row["tenant_id"]) != ("a1", "acme")]
    synced.run("acme", mode=mode)
    synced.run("globex", mode=mode)

    assert synced.texts("globex") == {"b1": "cement b1 kg", "a1": "batten kg"}
    assert synced.ids("acme") == ["a2"]
    assert set_aside(synced) == {}


def test_two_rows_of_one_scope_with_one_id_are_set_aside_once(world: World) -> None:
    world.put_many("1", "2")
    add_row(world, "1", name="sand")

    report = world.run()

    assert (report.rows, report.documents, report.quarantined) == (3, 1, 2)
    assert world.ids("acme") == ["2"]
    assert set_aside(world) == {"acme": ["1"]}
    assert world.is_clean()


def test_the_first_sync_of_two_equal_ids_serves_the_same_scope_in_both_orders(
    world: World,
) -> None:
    world.put("1")
    add_row(world, "1", tenant_id="globex", name="batten")

    world.run("globex")
    world.run("acme")

    assert (world.ids("acme"), world.ids("globex")) == (["1"], [])


def test_a_scope_with_rows_set_aside_never_seems_unchanged(world: World) -> None:
    world.put("1")
    add_row(world, "1", tenant_id="globex", name="batten")
    world.run_all()

    records = {key: world.sync.scopes.get(scope=Scope(key)) for key in ("acme", "globex")}

    assert {
        key: record is not None and record.digest is not None for key, record in records.items()
    } == {"acme": True, "globex": False}


def test_a_plan_says_what_the_sync_does(synced: World) -> None:
    add_row(synced, "a1", tenant_id="globex", name="batten")
    add_row(synced, "b2", tenant_id="globex")

    plan = plan_scope(synced.sync, scope=Scope("globex"))

    assert (plan.new, plan.changed, plan.deletes) == (1, 0, 0)


def test_explaining_a_row_set_aside_says_why(synced: World) -> None:
    add_row(synced, "a1", tenant_id="globex", name="batten")
    synced.run("globex")

    explanation = explain_row(synced.sync, entity_type="material", row_id="a1")

    rejections = [found.rejection for found in explanation.documents if found.rejection]
    assert [rejection.reason for rejection in rejections] == [Reason.DOUBLED_ID]
    assert "1 of other tenants have it" in rejections[0].detail
