"""After a tenant was removed nothing of it is left, and nobody else has lost anything."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from sync_pipeline.core.changes import Operation
from sync_pipeline.core.errors import (
    ScopeBusyError,
    ScopeHasRowsError,
    StoppedError,
    StoreUnavailableError,
    UnconfirmedSyncError,
)
from sync_pipeline.core.point import CollectionSpec
from sync_pipeline.core.scope import GLOBAL, Scope
from sync_pipeline.engine.context import SyncContext
from sync_pipeline.engine.lease import scope_lease
from sync_pipeline.engine.removal.offboard import UNUSED_GRACE_SECONDS, Removal, offboard_tenant
from sync_pipeline.engine.staged import run_folder
from sync_pipeline.engine.steps.export import export_scope
from sync_pipeline_tests.engine.world import MATERIAL, World
from sync_pipeline_tests.fakes.feed import FakeChangeFeed

ACME = Scope("acme")


@pytest.fixture
def synced(world: World) -> World:
    """Two tenants and the global scope in step; ``acme`` shares a text and has a broken row."""
    world.put("g", is_global=True, tenant_id=None, name="shared with all")
    world.put("a1", name="only here")
    world.put("a2", name="shared with globex")
    world.put("a3", name=None, unit=None)
    world.put("b1", tenant_id="globex", name="shared with globex")
    world.put("b2", tenant_id="globex", name=None, unit=None)
    world.run_all()
    return world


def leave(world: World) -> None:
    """The application deletes the rows of ``acme``."""
    world.remove("a1", "a2", "a3")


def remove(world: World, *, sync: SyncContext | None = None, **options: Any) -> Removal:
    return offboard_tenant(sync or world.sync, scope=ACME, owner="offboarding", **options)


def of_others(world: World) -> dict[str, object]:
    """Everything that does not belong to ``acme``, but for the vectors of its texts."""
    return {
        "points": {
            name: (dict(point.payload), {view: v.tobytes() for view, v in point.vectors.items()})
            for name, point in world.points.items()
            if point.payload["scope_key"] != "acme"
        },
        "records": [known for known in world.state.documents.values() if known.scope_key != "acme"],
        "scopes": [found for found in world.sync.scopes.list_all() if found.scope_key != "acme"],
        "quarantine": dict(world.quarantine.rejections["globex"]),
    }


def mentions(world: World) -> list[str]:
    """Where ``acme`` still occurs."""
    everywhere = {
        "points": [point.payload for point in world.points.values()],
        "records": list(world.state.documents.values()),
        "scopes": world.sync.scopes.list_all(),
        "quarantine": world.quarantine.list_all(),
    }
    return [place for place, found in everywhere.items() if "acme" in str(found)]


def test_nothing_of_the_tenant_is_left(synced: World) -> None:
    leave(synced)

    removal = remove(synced)

    assert mentions(synced) == []
    assert (removal.points, removal.records, removal.quarantined) == (2, 2, 1)


def test_other_scopes_keep_every_byte(synced: World) -> None:
    leave(synced)
    before = of_others(synced)

    remove(synced)

    assert of_others(synced) == before
    assert synced.is_clean("globex")
    assert synced.is_clean("global")


def test_vectors_of_its_texts_go_unless_another_document_has_the_text(synced: World) -> None:
    leave(synced)
    before = len(synced.cache.vectors)

    removal = remove(synced)
    synced.put("b3", tenant_id="globex", name="shared with globex")
    report = synced.run("globex")

    assert (before, removal.vectors) == (3, 1)
    assert (report.new, report.embedded_texts) == (1, 0)


def test_vectors_of_its_former_texts_go_once_they_are_a_day_old(synced: World) -> None:
    synced.put("a1", name="another text")
    synced.run("acme")
    leave(synced)
    synced.clock.advance(seconds=UNUSED_GRACE_SECONDS)

    remove(synced)

    assert len(synced.cache.vectors) == 2


def test_unused_vectors_are_kept_while_the_record_misses_documents(synced: World) -> None:
    synced.put("b1", tenant_id="globex", name="another text")
    synced.run("globex")
    synced.state.documents.clear()
    synced.clock.advance(seconds=UNUSED_GRACE_SECONDS)
    leave(synced)
    before = set(synced.cache.vectors)

    remove(synced)

    gone = before - set(synced.cache.vectors)
    assert len(gone) == 2, "only the two texts of acme's points"


def test_where_each_scope_has_a_cache_of_its_own_all_of_it_goes(world: World) -> None:
    world.set_options(shares_cache=False)
    world.put("a1", name="same text")
    world.put("b1", tenant_id="globex", name="same text")
    world.run_all()
    world.remove("a1")

    removal = remove(world)

    assert removal.vectors == 1
    assert [model for model, _ in world.cache.vectors] == ["fake-embedder for globex"]


def test_a_tenant_with_rows_is_refused_and_keeps_everything(synced: World) -> None:
    before = synced.everything()

    with pytest.raises(ScopeHasRowsError, match=r"still has 3 rows .*--even-with-rows"):
        remove(synced)

    assert synced.everything() == before


def test_it_can_be_removed_with_rows_and_the_next_sync_brings_it_back(synced: World) -> None:
    removal = remove(synced, even_with_rows=True)
    gone = synced.ids("acme")
    synced.run("acme")

    assert (removal.points, gone, synced.ids("acme")) == (2, [], ["a1", "a2"])


def test_pending_changes_and_staged_files_go_too(synced: World) -> None:
    feed = FakeChangeFeed()
    feed.install([MATERIAL])
    feed.record(Operation.DELETE, entity_type="material", db_id="a1", old="acme")
    feed.record(Operation.DELETE, entity_type="material", db_id="b9", old="globex")
    fed = replace(synced.sync, feed=feed)
    with scope_lease(fed, scope=ACME, owner="failed") as fence:
        export_scope(fed, scope=ACME, run_id="failed", fence=fence)
    leave(synced)

    removal = remove(synced, sync=fed)

    assert removal.events == 1
    assert [event.old for event in feed.events.values()] == ["globex"]
    staged = f"{run_folder(scope=ACME, run_id='failed')}/exported_documents"
    with pytest.raises(Exception, match="exported_documents"):
        synced.staging.open_dataset(staged)


def test_points_in_collections_of_earlier_settings_go_too(synced: World) -> None:
    earlier = CollectionSpec(
        alias="documents", model_id="old", dimension=16, views=("text",), sparse_id="bm25"
    )
    foreign = replace(earlier, model_id="of another installation")
    for spec in (earlier, foreign):
        synced.store.ensure_collection(spec)
        synced.store.upsert(spec.collection, list(synced.points.values()))
    synced.generations.record(earlier, recipe={})
    leave(synced)

    remove(synced)

    assert "acme" not in synced.store.count_by_scope(earlier.collection)
    assert synced.store.count_by_scope(foreign.collection)["acme"] == 2


def test_a_tenant_that_is_being_synced_is_left_to_that_run(synced: World) -> None:
    leave(synced)
    synced.leases.acquire(scope=ACME, owner="run-9", ttl_seconds=60)

    with pytest.raises(ScopeBusyError, match="run-9"):
        remove(synced)

    assert synced.ids("acme") == ["a1", "a2"]


def test_a_removal_that_was_cut_short_is_finished_by_another(synced: World) -> None:
    leave(synced)
    synced.set_options(delete_batch_size=1)
    synced.store.fail_next("delete", StoreUnavailableError("down"), is_applied=True)

    with pytest.raises(StoreUnavailableError, match="down"):
        remove(synced)
    between = mentions(synced)
    remove(synced)

    assert "scopes" in between
    assert mentions(synced) == []


def test_a_store_that_does_not_delete_is_found_out(synced: World) -> None:
    class Forgetful(type(synced.store)):  # type: ignore[misc]  # a store that lies
        def delete(self, *_args: object, **_kwargs: object) -> None:
            pass

    leave(synced)
    synced.store.__class__ = Forgetful

    with pytest.raises(UnconfirmedSyncError, match="holds 2"):
        remove(synced)

    assert synced.recorded("acme") != []


def test_it_stops_between_batches_when_asked_to(synced: World) -> None:
    leave(synced)

    with pytest.raises(StoppedError, match="acme"):
        remove(synced, sync=replace(synced.sync, should_stop=lambda: True))


def test_the_global_scope_is_no_tenant(synced: World) -> None:
    with pytest.raises(ValueError, match="not a tenant"):
        offboard_tenant(synced.sync, scope=GLOBAL, owner="offboarding")


def test_removing_twice_is_not_an_error(synced: World) -> None:
    leave(synced)
    remove(synced)

    assert remove(synced) == Removal(
        scope_key="acme", points=0, records=0, quarantined=0, events=0, vectors=0
    )
