"""Rows that leave a tenant's sight leave its answers at their commit, not at the next sync."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sync_pipeline.core.scope import Scope
from sync_pipeline.engine.context import SyncContext
from sync_pipeline.engine.questions.search import SearchRequest, search
from sync_pipeline.sources.feed.change_feed import PostgresChangeFeed
from sync_pipeline_tests.reliability.site import Site

ACME = Scope("acme")
GLOBEX = Scope("globex")
FLIPS = 1_000


@pytest.fixture
def fed(site: Site) -> SyncContext:
    """Five rows of everybody, synced, with the feed installed."""
    site.fill(5, tenant=None, prefix="g")
    feed = PostgresChangeFeed(site.engine)
    feed.install([site.entity])
    site.run("global", sync=replace(site.sync, feed=feed))
    return replace(site.sync, feed=feed)


def shown(sync: SyncContext, scope: Scope) -> set[str]:
    request = SearchRequest(text="cement", limit=100, mode="text")
    return {str(hit.payload["dbId"]) for hit in search(sync, scope=scope, request=request).hits}


FLIP = "UPDATE materials SET is_global = :shared, tenant_id = :owner WHERE id = 'g0003'"


def test_s45_a_row_that_becomes_a_tenants_own_is_never_shown_to_another_again(
    site: Site, fed: SyncContext
) -> None:
    """A thousand times, with a sync of either scope in between now and then."""
    seen_again = 0
    for flip in range(FLIPS):
        is_own = flip % 2 == 0
        site.sql(FLIP, shared=not is_own, owner="globex" if is_own else None)

        visible = shown(fed, ACME)

        assert ("g0003" in visible) <= (not is_own), flip
        assert visible >= {"g0001", "g0002", "g0004", "g0005"}
        seen_again += "g0003" in visible
        if flip % 50 == 17:
            site.run("global", sync=fed, mode="incremental")
        if flip % 70 == 18:
            site.run("globex", sync=fed, mode="incremental")
    assert seen_again > FLIPS / 8


def test_s45_a_deleted_row_is_shown_to_nobody_and_an_inserted_one_after_its_sync(
    site: Site, fed: SyncContext
) -> None:
    site.sql("DELETE FROM materials WHERE id = 'g0003'")
    after_delete = shown(fed, ACME)
    site.sql("INSERT INTO materials (id, is_global, name) VALUES ('g0003', true, 'cement again')")
    before_sync = shown(fed, ACME)
    site.run("global", sync=fed, mode="incremental")

    assert "g0003" not in after_delete
    # The index still has the old text of a row that is there again: it may be shown.
    assert before_sync == shown(fed, ACME) == {f"g000{n}" for n in range(1, 6)}


def test_s45_nothing_of_an_emptied_table_is_shown(site: Site, fed: SyncContext) -> None:
    site.sql("TRUNCATE materials")

    assert shown(fed, ACME) == set()
