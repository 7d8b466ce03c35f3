"""Which scopes an incremental sync leaves out, because the feed says that nothing happened."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from sync_pipeline.core.changes import Operation
from sync_pipeline.core.hashing import point_id
from sync_pipeline.core.scope import GLOBAL, Scope
from sync_pipeline.engine.context import SyncContext
from sync_pipeline.engine.questions.due import FEW_SCOPES
from sync_pipeline.engine.questions.quiet import quiet_scopes
from sync_pipeline_tests.engine.fed import Fed
from sync_pipeline_tests.engine.world import MATERIAL, WORK, World
from sync_pipeline_tests.fakes.embedder import FakeEmbedder
from sync_pipeline_tests.fakes.watched import When, watch_context

ACME, GLOBEX, SHARED = Scope("acme"), Scope("globex"), GLOBAL
SCOPES = [SHARED, ACME, GLOBEX]


@pytest.fixture
def fed(world: World) -> Fed:
    """Two tenants and global, all synced in full with the feed there."""
    world.put_many("1", "2", "3")
    world.put("4", tenant_id="globex")
    world.put("5", tenant_id=None, is_global=True)
    return Fed.since_a_full_sync(world, "global", "acme", "globex")


class Killed(BaseException):
    """The process is gone."""


def quiet(fed: Fed, sync: SyncContext | None = None) -> set[str]:
    return {judged.scope.key for judged in quiet_scopes(sync or fed.sync, scopes=SCOPES)}


def test_a_scope_of_which_the_feed_says_nothing_is_left_out(fed: Fed) -> None:
    fed.change("1", name="sand")

    assert quiet(fed) == {"global", "globex"}

    fed.world.run(sync=fed.sync, mode="incremental")

    assert quiet(fed) == {"global", "acme", "globex"}


def test_what_is_left_out_is_reported_with_what_its_scope_holds(fed: Fed) -> None:
    by_scope = {judged.scope: judged for judged in quiet_scopes(fed.sync, scopes=SCOPES)}

    report = by_scope[ACME].skipped_report()

    assert (report.status, report.rows, report.documents, report.unchanged) == ("skipped", 3, 3, 3)
    assert str(report.error).startswith("no change is known since the sync of 2026-01-01")


def test_scopes_are_judged_alike_alone_and_among_all(fed: Fed) -> None:
    fed.tell(Operation.DELETE, "4", old="globex")

    alone = quiet_scopes(fed.sync, scopes=SCOPES)

    assert alone == quiet_scopes(fed.sync, scopes=SCOPES, are_all=True)
    assert alone == quiet_scopes(fed.sync, scopes=SCOPES * (FEW_SCOPES + 1))[: len(alone)]


def test_a_row_that_moves_concerns_both_of_its_scopes(fed: Fed) -> None:
    fed.tell(Operation.UPDATE, "1", old="acme", new="globex")

    assert quiet(fed) == {"global"}


def lost_point(fed: Fed) -> SyncContext:
    ids = [point_id("tenant-material-1")]
    fed.world.store.delete(fed.world.collection, ids, scope_key="acme")
    return fed.sync


def failed_document(fed: Fed) -> SyncContext:
    fed.world.store.refused = {"tenant-material-1"}
    fed.change("1", name="sand")
    fed.world.run(sync=fed.sync, mode="incremental")
    assert not fed.feed.events
    return fed.sync


def new_entity(fed: Fed) -> SyncContext:
    # Its feed is there, but no sync of the scope has seen it.
    entity = replace(MATERIAL, name="tool")
    fed.feed.install([MATERIAL, WORK, entity])
    return fed.sync.rebound(entities=(MATERIAL, WORK, entity))


def cut_off(fed: Fed) -> SyncContext:
    fed.change("1", name="sand")

    def kill(called: str, when: When) -> None:
        if (called, when) == ("store.upsert", "after"):
            raise Killed

    with pytest.raises(Killed):
        fed.world.run(sync=watch_context(fed.sync, kill), mode="incremental")
    fed.feed.events.clear()
    return fed.sync


@pytest.mark.parametrize("what", [lost_point, failed_document, cut_off])
def test_a_scope_that_is_not_whole_runs(fed: Fed, what: Callable[[Fed], SyncContext]) -> None:
    assert quiet(fed, what(fed)) == {"global", "globex"}


def emptied_table(fed: Fed) -> SyncContext:
    fed.tell(Operation.TRUNCATE, None)
    return fed.sync


def replaced_feed(fed: Fed) -> SyncContext:
    fed.feed.remove([WORK])
    fed.feed.install([MATERIAL, WORK])
    return fed.sync


def blind_feed(fed: Fed) -> SyncContext:
    fed.feed.is_losing = True
    return fed.sync


def no_feed(fed: Fed) -> SyncContext:
    return replace(fed.sync, feed=None)


def other_model(fed: Fed) -> SyncContext:
    fed.world.embedder = FakeEmbedder(model_id="other", dimension=8)
    return fed.sync


def standby_model(fed: Fed) -> SyncContext:
    fed.world.standby_models = [FakeEmbedder(model_id="other", dimension=8)]
    return fed.sync


@pytest.mark.parametrize(
    "what",
    [emptied_table, replaced_feed, blind_feed, no_feed, new_entity, other_model, standby_model],
)
def test_where_events_do_not_tell_all_every_scope_runs(
    fed: Fed, what: Callable[[Fed], SyncContext]
) -> None:
    assert quiet(fed, what(fed)) == set()


def test_a_truncate_concerns_each_scope_until_that_has_answered_it(fed: Fed) -> None:
    fed.tell(Operation.TRUNCATE, None)
    fed.feed.spread_truncates(SCOPES)
    for key in ("global", "globex"):
        fed.world.run(key, sync=fed.sync, mode="incremental")

    assert quiet(fed) == {"global", "globex"}


def test_no_row_is_read(fed: Fed) -> None:
    calls: list[str] = []
    sync = watch_context(fed.sync, lambda called, _: calls.append(called))

    assert quiet(fed, sync) == {"global", "acme", "globex"}
    assert not [called for called in calls if called.startswith(("source.", "snapshot."))]
