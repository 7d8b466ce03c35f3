"""S57: vectors of former texts leave a real cache, and no sync beside it misses one."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
import sqlalchemy as sa

from sync_pipeline.core.errors import PermanentError
from sync_pipeline.core.scope import Scope
from sync_pipeline.engine.removal.cache import prune_cache
from sync_pipeline_tests.reliability.site import Site

ROUNDS = 25
NOW = timedelta(0)


def vectors(site: Site) -> int:
    """How many the cache holds."""
    with site.engine.connect() as connection:
        count = connection.scalar(sa.text("SELECT count(*) FROM sync_pipeline.embedding_cache"))
    return int(count or 0)


@pytest.mark.process
def test_s57_prunes_without_a_pause_take_nothing_from_syncs_whose_texts_come_and_go(
    site: Site,
) -> None:
    """Texts go back and forth, so that a run finds what a prune is about to delete."""
    site.fill(40)
    site.run()
    is_over = threading.Event()
    deleted = [0]
    trouble: list[BaseException] = []

    def prune() -> None:
        while not is_over.is_set():
            try:
                deleted[0] += prune_cache(site.sync, older_than=NOW, wait_seconds=5).deleted
            except PermanentError:
                # A run has written points that it has not recorded yet.
                continue
            except BaseException as error:  # noqa: BLE001 - told below
                trouble.append(error)
                return

    pruning = threading.Thread(target=prune)
    pruning.start()
    try:
        for number in range(ROUNDS):
            site.sql(f"UPDATE materials SET name = 'cement ' || id || {number % 2}")  # noqa: S608 - a number
            report = site.run()
            assert (report.changed, report.failed) == (40, 0)
    finally:
        is_over.set()
        pruning.join()

    assert trouble == []
    assert site.is_clean()
    assert deleted[0] > 0, "no prune ever came in between"
    prune_cache(site.sync, older_than=NOW)
    assert vectors(site) == 40


@pytest.mark.process
def test_s57_a_run_that_was_killed_after_it_looked_up_loses_nothing_either(site: Site) -> None:
    """What it had embedded waits for the next run of its scope."""
    site.fill(3)
    site.run()
    with site.engine.begin() as connection:
        connection.execute(
            sa.text(
                "INSERT INTO sync_pipeline.cache_use (scope_key, owner, since) "
                "VALUES ('acme', 'killed', now())"
            )
        )
    site.sql("UPDATE materials SET name = 'another ' || id")

    during = prune_cache(site.sync, older_than=NOW)
    report = site.run()
    after = prune_cache(site.sync, older_than=NOW)

    assert during.deleted == 0
    assert report.changed == 3
    assert (after.deleted, vectors(site)) == (3, 3)
    assert site.sync.cache.list_uses() == []


@pytest.mark.process
def test_s57_a_removed_tenant_leaves_no_vector_behind(site: Site) -> None:
    """Its own cache goes with it; of a shared one what it alone used goes with the next prune."""
    site.fill(3)
    site.fill(2, tenant="globex", prefix="g")
    site.run()
    site.run("globex")
    site.sql("DELETE FROM materials WHERE tenant_id = 'acme'")
    site.allow_everything()
    site.run()

    report = prune_cache(site.sync, older_than=NOW)

    assert report.deleted == 3
    assert vectors(site) == 2
    assert Scope("acme").key not in report.waits_for
