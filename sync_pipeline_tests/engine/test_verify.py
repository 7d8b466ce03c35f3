"""Verification names every difference between source, record and index, and writes nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from sync_pipeline.core.errors import StoppedError
from sync_pipeline.core.scope import Scope
from sync_pipeline.engine.questions.verify import Verification, verify_scope
from sync_pipeline_tests.engine.world import World
from sync_pipeline_tests.fakes.row_source import FakeSnapshot

ACME = Scope("acme")


@pytest.fixture
def synced(world: World) -> World:
    """Three documents of ``acme``, all in step."""
    world.put_many("1", "2", "3")
    world.run()
    return world


def differences(found: Verification) -> dict[str, int]:
    names = ("missing", "extra", "wrong_scope", "mismatched")
    return {name: getattr(found, name) for name in names if getattr(found, name)}


def test_a_scope_in_step_is_clean(synced: World) -> None:
    found = verify_scope(synced.sync, scope=ACME)

    assert found.is_clean
    assert (found.source_documents, found.state_documents, found.points) == (3, 3, 3)
    assert found.examples == {}


def test_an_empty_scope_is_clean(world: World) -> None:
    assert verify_scope(world.sync, scope=ACME).is_clean


def lose_a_point(world: World) -> None:
    point = world.points["tenant-material-1"]
    world.store.delete(world.collection, [point.point_id], scope_key="acme")


def lose_a_record(world: World) -> None:
    del world.state.documents[world.collection, "tenant-material-1"]


def lose_a_row(world: World) -> None:
    world.remove("1")


def change_a_text(world: World) -> None:
    world.put("1", name="sand")


def change_a_payload(world: World) -> None:
    world.put("1", price=99)


def blank_a_row(world: World) -> None:
    world.put("1", name=" ", unit=None)


def move_a_row(world: World) -> None:
    world.put("1", tenant_id="globex")
    world.run("globex")
    world.put("1", tenant_id="acme")


def spoil_a_record(world: World) -> None:
    key = world.collection, "tenant-material-1"
    world.state.documents[key] = replace(world.state.documents[key], payload_hash="other")


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        pytest.param(lose_a_point, {"missing": 1}, id="a lost point is missing"),
        pytest.param(lose_a_record, {"missing": 1}, id="a lost record is missing"),
        pytest.param(lose_a_row, {"extra": 1}, id="a deleted row leaves something extra"),
        pytest.param(blank_a_row, {"extra": 1}, id="a blanked row leaves something extra"),
        pytest.param(change_a_text, {"mismatched": 1}, id="a changed text is mismatched"),
        pytest.param(change_a_payload, {"mismatched": 1}, id="a changed payload is mismatched"),
        pytest.param(move_a_row, {"wrong_scope": 1}, id="a point of another scope is named so"),
        pytest.param(spoil_a_record, {"mismatched": 1}, id="a wrong record is mismatched"),
    ],
)
def test_each_difference_is_counted_and_named(
    synced: World, fault: Callable[[World], None], expected: dict[str, int]
) -> None:
    fault(synced)
    before = synced.everything()

    found = verify_scope(synced.sync, scope=ACME)

    (kind,) = expected
    assert differences(found) == expected
    assert found.examples == {kind: ["tenant-material-1"]}
    assert not found.is_clean
    assert synced.everything() == before


def test_a_record_without_row_and_point_is_extra(synced: World) -> None:
    lose_a_point(synced)
    synced.remove("1")

    found = verify_scope(synced.sync, scope=ACME)

    assert differences(found) == {"extra": 1}


def test_at_most_twenty_examples_are_named(world: World) -> None:
    world.put_many(*(f"{number:02}" for number in range(30)))

    found = verify_scope(world.sync, scope=ACME)

    assert found.missing == 30
    assert len(found.examples["missing"]) == 20


def test_verification_can_be_stopped(synced: World) -> None:
    with pytest.raises(StoppedError, match="stopped in scope 'acme'"):
        verify_scope(replace(synced.sync, should_stop=lambda: True), scope=ACME)


def test_rows_with_the_same_id_that_the_source_did_not_notice_are_an_error_of_their_scope_alone(
    synced: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeSnapshot, "find_doubled", lambda *_args, **_kwargs: {})
    synced.put("8", tenant_id="globex")
    synced.source.tables["materials"].append(dict(synced.put("9")))

    found = verify_scope(synced.sync, scope=ACME)

    assert found.error is not None
    assert "'acme' have the same id: tenant-material-9" in found.error
    assert not found.is_clean
    assert verify_scope(synced.sync, scope=Scope("globex")).missing == 1
