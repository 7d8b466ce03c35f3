"""Rows that leave a tenant's sight leave its answers at their commit, not at the next sync."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from sync_pipeline.core.scope import Scope
from sync_pipeline.engine.context import SyncContext
from sync_pipeline.engine.questions.search import ALONE, SearchRequest, Sharing, search_batch
from sync_pipeline.engine.questions.suggest import suggest
from sync_pipeline.operations.asking import document_as, prepare_suggestions
from sync_pipeline.service.threads import SharedReads
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


@pytest.fixture
def sharing() -> Iterator[Sharing]:
    """As the service searches."""
    with ThreadPoolExecutor(2) as ahead:
        yield Sharing(ahead=SharedReads(ahead))


def shown(sync: SyncContext, scope: Scope, sharing: Sharing = ALONE) -> set[str]:
    request = SearchRequest(text="cement", limit=100, mode="text")
    (result,) = search_batch(sync, scope=scope, requests=[request], sharing=sharing)
    return {str(hit.payload["dbId"]) for hit in result.hits}


FLIP = "UPDATE materials SET is_global = :shared, tenant_id = :owner WHERE id = 'g0003'"


def test_s45_a_row_that_becomes_a_tenants_own_is_never_shown_to_another_again(
    site: Site, fed: SyncContext, sharing: Sharing
) -> None:
    """A thousand times, asked as a command does and as the service does, with syncs in between."""
    seen_again = 0
    for flip in range(FLIPS):
        is_own = flip % 2 == 0
        site.sql(FLIP, shared=not is_own, owner="globex" if is_own else None)

        visible = shown(fed, ACME, sharing if flip % 3 else ALONE)

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


def test_s45_a_row_that_left_is_neither_read_by_its_id_nor_completed(
    site: Site, fed: SyncContext
) -> None:
    def read(number: int) -> str | None:
        point = document_as(fed, f"global-{site.entity.name}-g000{number}", scope=ACME)
        return None if point is None else point.row_id

    prepare_suggestions(fed)
    before = [read(3), read(4)]
    texts = suggest(fed, scope=ACME, typed="cem", limit=20)
    site.sql(FLIP, shared=False, owner="globex")

    assert before == ["g0003", "g0004"]
    assert [read(3), read(4)] == [None, "g0004"]
    assert len(suggest(fed, scope=ACME, typed="cem", limit=20)) == len(texts) - 1
