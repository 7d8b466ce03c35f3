"""S1 to S18: nothing is lost, nothing is destroyed."""

from __future__ import annotations

import itertools
import re
import threading
import time
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from sync_pipeline.core.errors import (
    MassDeletionRefusedError,
    PermanentError,
    SourceSchemaError,
    StoreUnavailableError,
    TransientError,
)
from sync_pipeline.core.hashing import point_id
from sync_pipeline.core.scope import Scope
from sync_pipeline.database.engine import make_engine
from sync_pipeline.engine.removal.maintenance import VanishedPolicy, remove_vanished, sweep_orphans
from sync_pipeline.engine.removal.offboard import offboard_tenant
from sync_pipeline.sources.postgres import PostgresRowSource
from sync_pipeline.stores.server.store import lease_server_store
from sync_pipeline_tests.engine.steps import SteppedRun
from sync_pipeline_tests.engine.world import counts
from sync_pipeline_tests.fakes.qdrant_stub import Fault, QdrantStub, Step
from sync_pipeline_tests.fakes.watched import When, watch_context
from sync_pipeline_tests.reliability.site import TABLE, Site


@pytest.mark.parametrize(
    "disaster",
    [
        pytest.param(["TRUNCATE materials"], id="truncated"),
        pytest.param(["DELETE FROM materials WHERE id > 'm0005'"], id="mostly deleted"),
        pytest.param(["ALTER TABLE materials RENAME TO kept", TABLE], id="another table"),
        pytest.param(["UPDATE materials SET tenant_id = NULL"], id="owners lost"),
        pytest.param(["UPDATE materials SET name = NULL, unit = NULL"], id="texts lost"),
    ],
)
def test_s01_a_source_that_suddenly_has_nothing_deletes_nothing(
    site: Site, disaster: list[str]
) -> None:
    """A run that would delete much writes what is new, deletes nothing and says so."""
    site.fill(40)
    site.run()
    site.sql(*disaster)
    site.sql("INSERT INTO materials (id, tenant_id, name) VALUES ('new', 'acme', 'sand')")

    with pytest.raises(MassDeletionRefusedError, match="refused to delete") as refused:
        site.run()

    assert refused.value.stale > 20
    assert site.count("acme") == 41
    assert site.texts()["new"] == "sand kg"


def test_s01_an_approval_is_good_for_its_number_and_once(site: Site) -> None:
    """An approval names a count; another count is refused, and it does not outlast its run."""
    site.fill(60)
    site.run()
    site.sql("DELETE FROM materials WHERE id <= 'm0030'")
    policy = site.options.cleanup

    for approved in (29, 31):
        site.options = replace(site.options, cleanup=replace(policy, approved_deletions=approved))
        with pytest.raises(MassDeletionRefusedError, match="30 of 60"):
            site.run()
    site.options = replace(site.options, cleanup=replace(policy, approved_deletions=30))
    report = site.run()

    assert (report.deleted, site.count("acme")) == (30, 30)


def test_s02_a_policy_that_hides_rows_fails_the_run_before_the_index_is_touched(
    site: Site, database_url: str
) -> None:
    """A row security policy that would filter rows is an error, not a smaller result."""
    site.fill(30)
    site.run()
    role = "reader_s02"
    site.sql(
        f"CREATE ROLE {role} LOGIN",
        f"GRANT SELECT ON materials TO {role}",
        "ALTER TABLE materials ENABLE ROW LEVEL SECURITY",
        "CREATE POLICY mine ON materials USING (tenant_id = current_setting('app.tenant', true))",
    )
    url = sa.make_url(database_url).set(username=role)
    reader = make_engine(url.render_as_string(hide_password=False))
    site.source = PostgresRowSource(reader)
    touched: list[str] = []

    def listener(called: str, when: When) -> None:
        touched.append(called)

    try:
        with pytest.raises(SourceSchemaError, match=r"row.*security"):
            site.run(sync=watch_context(site.sync, listener))
    finally:
        reader.dispose()
        site.sql(f"DROP OWNED BY {role}", f"DROP ROLE {role}")

    assert not [called for called in touched if called.startswith("store.")]
    assert site.count("acme") == 30


def test_s03_a_transaction_that_commits_late_is_not_lost(site: Site) -> None:
    """A row with an old time that becomes visible late is in the next sync."""
    site.fill(3)
    with site.engine.connect() as late:
        transaction = late.begin()
        late.execute(
            sa.text("INSERT INTO materials (id, tenant_id, name) VALUES ('l', 'acme', 'x')")
        )
        site.sql("INSERT INTO materials (id, tenant_id, name) VALUES ('e', 'acme', 'y')")
        site.run()
        before = set(site.texts())
        transaction.commit()

    site.run(mode="incremental")

    assert before == {"m0001", "m0002", "m0003", "e"}
    assert set(site.texts()) == before | {"l"}


@pytest.mark.parametrize("moment", ["1970-01-01", "infinity", "-infinity", None])
def test_s04_no_time_in_a_row_decides_whether_it_is_synced(site: Site, moment: str | None) -> None:
    """Updates are found by what rows say, whatever their time of change says."""
    site.fill(2)
    site.run()
    site.sql(
        "UPDATE materials SET name = 'sand', updated_at = CAST(:moment AS timestamptz) "
        "WHERE id = 'm0001'",
        moment=moment,
    )

    site.run()

    assert site.texts()["m0001"] == "sand kg"


def test_s04_our_own_clock_may_be_wrong(site: Site) -> None:
    """A worker whose clock is years behind writes and deletes the same."""
    site.fill(3)
    site.run()
    site.sql("UPDATE materials SET name = 'sand' WHERE id = 'm0001'")
    site.sql("DELETE FROM materials WHERE id = 'm0002'")
    then = site.sync.now() - timedelta(days=9000)

    site.run(sync=replace(site.sync, now=lambda: then))

    assert site.texts() == {"m0001": "sand kg", "m0003": "cement m3 kg"}


def test_s05_a_scan_during_writes_is_one_instant(site: Site) -> None:
    """Rows inserted, deleted and renamed during the scan are all in, or all out."""
    site.fill(1500)
    is_done = threading.Event()

    def write() -> None:
        numbers = itertools.count(10_000)
        while not is_done.is_set():
            site.sql(
                "DELETE FROM materials WHERE id IN (SELECT id FROM materials LIMIT 20)",
                "INSERT INTO materials (id, tenant_id, name) "
                "SELECT :place || '-' || n, 'acme', 'new' FROM generate_series(1, 20) n",
                "UPDATE materials SET name = name || '!' "
                "WHERE id IN (SELECT id FROM materials ORDER BY id DESC LIMIT 20)",
                place=str(next(numbers)),
            )

    site.allow_everything()
    writer = threading.Thread(target=write)
    writer.start()
    try:
        during = [site.run().documents for _ in range(2)]
    finally:
        is_done.set()
        writer.join()
    site.run()

    # Each transaction replaces as many rows as it deletes.
    assert during == [1500, 1500]
    assert site.is_clean()


def test_s06_visibility_is_one_keyword_and_no_boolean(site: Site) -> None:
    """A wrong or missing ``isGlobal`` in a payload shows a document to nobody else."""
    site.fill(1, tenant="acme")
    site.fill(1, tenant=None, prefix="g")
    site.run("acme")
    site.run("global")
    payload = site.payloads()["m0001"] | {"isGlobal": True, "tenantId": None}
    with site.store() as store:
        store.write_payloads(site.collection, [(point_id("tenant-material-m0001"), payload)])

    assert site.found("globex") == ["global-material-g0001"]


@pytest.mark.parametrize("loss", ["a point", "all points", "the collection", "the folder"])
def test_s07_what_the_index_lost_is_put_back_and_counted(site: Site, loss: str) -> None:
    """The index is the ledger: whatever it lost, the next full sync restores from the cache."""
    site.fill(20)
    site.run()
    with site.store() as store:
        if loss == "a point":
            store.delete(site.collection, site.points_of(["m0007"]), scope_key="acme")
        elif loss == "all points":
            store.delete(site.collection, site.points_of(list(site.texts())), scope_key="acme")
        elif loss == "the collection":
            store.drop_collection(site.collection)
    if loss == "the folder":
        site.folder /= "elsewhere"
        site.__post_init__()

    report = site.run()

    lost = 1 if loss == "a point" else 20
    assert (report.new, report.cache_hits, report.embedded_texts) == (lost, lost, 0)
    assert site.is_clean()


def test_s08_an_embedder_that_fails_anywhere_takes_nothing_away(site: Site) -> None:
    """After a failed embedding every document is still found under its old text."""
    site.options = replace(site.options, embed_chunk_size=2)
    site.fill(8)
    site.run()
    old = site.texts()
    site.sql("UPDATE materials SET name = 'sand ' || id")
    site.sql("DELETE FROM materials WHERE id = 'm0008'")

    for _ in range(4):
        site.embedder.failures[site.embedder.calls + 1] = TransientError("the model is away")
        with pytest.raises(TransientError, match="the model is away"):
            site.run()
        assert site.texts() == old
        site.embedder.failures.clear()
    site.run()

    assert set(site.texts().values()) == {f"sand m000{place} kg" for place in range(1, 8)}


def test_s09_a_run_cut_off_between_index_and_record_repeats_one_batch_at_most(
    site: Site,
) -> None:
    """What was written and not recorded is recognised in the index and not written again."""
    site.options = replace(site.options, upsert_batch_size=5)
    site.fill(20)
    written = 0

    def cut_off(called: str, when: When) -> None:
        nonlocal written
        if (called, when) == ("store.upsert", "after"):
            written += 5
            if written == 10:
                raise TransientError("cut off")

    with pytest.raises(TransientError, match="cut off"):
        site.run(sync=watch_context(site.sync, cut_off))
    report = site.run()

    assert (report.new, report.unchanged, report.repaired) == (10, 10, 5)
    assert site.is_clean()


@pytest.mark.parametrize("fault", [Fault.UNAVAILABLE, Fault.ACKNOWLEDGED, Fault.RESET])
def test_s10_a_batch_that_fails_for_good_fails_the_run_and_the_next_one_converges(
    server_site: Site, stub: QdrantStub, fault: Fault
) -> None:
    """A run whose batches did not all get through is no success."""
    server_site.options = replace(server_site.options, upsert_batch_size=5)
    server_site.fill(20)
    upsert = "PUT /collections/documents_"
    stub.script(Fault.OK, *[fault] * 6, route=f"{upsert}{server_site.collection[10:]}/points")

    with pytest.raises(StoreUnavailableError, match=re.escape("127.0.0.1")):
        server_site.run()
    partial = server_site.count("acme")
    stub._steps.clear()
    server_site.run()

    assert 0 < partial < 20
    assert server_site.count("acme") == 20
    assert server_site.is_clean()


@pytest.mark.parametrize("is_applied", [True, False], ids=["applied", "not applied"])
@pytest.mark.parametrize(
    "fault",
    [
        Fault.ACKNOWLEDGED,
        Fault.WAIT_TIMEOUT,
        Fault.ACCEPTED,
        Fault.RATE_LIMITED,
        Fault.UNAVAILABLE,
        Fault.HTML,
        Fault.SLOW,
        Fault.RESET,
    ],
)
def test_s11_one_uncertain_answer_costs_no_document(
    server_site: Site, stub: QdrantStub, *, fault: Fault, is_applied: bool
) -> None:
    """An answer that does not say completed is looked up, whether it took effect or not."""
    server_site.fill(10)
    stub.script(Step(fault=fault, is_applied=is_applied), route=f"{server_site.collection}/points")

    report = server_site.run()

    assert counts(report) == {"new": 10, "embedded_texts": 10}
    assert server_site.is_clean()
    assert stub.is_exhausted


def test_s12_a_late_duplicate_undoes_nothing(server_site: Site, stub: QdrantStub) -> None:
    """An old write that arrives late loses against a newer point."""
    server_site.fill(3)
    stub.script(Fault.DUPLICATE_LATE, route=f"PUT /collections/{server_site.collection}/points")
    server_site.run()
    server_site.sql("UPDATE materials SET name = 'sand'")
    server_site.run()

    stub.replay_late()

    assert set(server_site.texts().values()) == {"sand kg"}


def test_s12_a_deleted_point_that_a_late_duplicate_brought_back_goes_with_the_next_run(
    server_site: Site, stub: QdrantStub
) -> None:
    """A resurrected point is stale to the next full sync."""
    server_site.fill(3)
    stub.script(Fault.DUPLICATE_LATE, route=f"PUT /collections/{server_site.collection}/points")
    server_site.run()
    server_site.sql("DELETE FROM materials WHERE id = 'm0002'")
    server_site.run()
    stub.replay_late()
    resurrected = server_site.count("acme")

    server_site.run()

    assert resurrected == 3
    assert set(server_site.texts()) == {"m0001", "m0003"}


def test_s12_what_a_late_duplicate_brought_back_of_a_removed_tenant_is_swept(
    server_site: Site, stub: QdrantStub
) -> None:
    """A tenant that is gone altogether is synced no more; the daily job finds its points."""
    server_site.fill(2, tenant="globex", prefix="x")
    server_site.run("globex")
    server_site.fill(3)
    stub.script(Fault.DUPLICATE_LATE, route=f"PUT /collections/{server_site.collection}/points")
    server_site.run()
    server_site.sql("DELETE FROM materials WHERE tenant_id = 'acme'")
    offboard_tenant(server_site.sync, scope=Scope("acme"), owner="offboarding")
    stub.replay_late()
    resurrected = server_site.count("acme")
    young = sweep_orphans(server_site.sync, owner="tidy-1", policy=VanishedPolicy())
    backdate(server_site, "acme", days=8)

    swept = sweep_orphans(server_site.sync, owner="tidy-2", policy=VanishedPolicy())

    assert resurrected == 3
    assert (young.orphaned, young.waiting, young.removed) == (1, 1, ())
    assert (swept.removed, swept.deleted) == (("acme",), 3)
    assert (server_site.count("acme"), server_site.count("globex")) == (0, 2)


def backdate(site: Site, key: str, *, days: int) -> None:
    """Make a scope's points so much older than they are."""
    payloads = site.payloads(key)
    points = site.points_of(list(payloads), key)
    earlier = days * 86_400_000_000
    with site.store() as store:
        stored = store.retrieve(site.collection, points)
        for point in stored:
            revision = int(str(point.payload["source_revision"])) - earlier
            bare = {
                name: point.payload[name] for name in point.payload if name != "source_revision"
            }
            # In two writes, for a point does not go back in time by itself.
            store.write_payloads(site.collection, [(point.point_id, bare)])
            store.write_payloads(
                site.collection, [(point.point_id, {**bare, "source_revision": revision})]
            )


def test_s13_an_index_that_lost_its_last_writes_is_repaired(site: Site) -> None:
    """Whatever a crash of the index takes with it is missing, and is written again."""
    site.fill(20)
    site.run()
    site.sql("INSERT INTO materials (id, tenant_id, name) VALUES ('z', 'acme', 'sand')")
    site.run()
    with site.store() as store:
        store.delete(site.collection, site.points_of(["z"]), scope_key="acme")

    report = site.run()

    assert counts(report) == {"new": 1, "unchanged": 20, "cache_hits": 1}


def test_s14_a_delete_is_checked_by_reading_the_points(server_site: Site, stub: QdrantStub) -> None:
    """A delete that answers completed and did nothing is no success."""
    server_site.fill(5)
    server_site.run()
    server_site.sql("DELETE FROM materials WHERE id = 'm0005'")
    stub.script(*[Fault.UNTRUE] * 5, route="points/delete")

    with pytest.raises(StoreUnavailableError, match="did not confirm deleting 1 points"):
        server_site.run()

    assert server_site.run().deleted == 1
    assert server_site.is_clean()


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_s15_a_delete_spares_a_point_that_another_scope_has_taken_over(
    site: Site, steps: int
) -> None:
    """A delete carries its owner: a point that moved meanwhile is not touched."""
    site.fill(5)
    site.fill(2, tenant="globex", prefix="x")
    site.run("acme")
    site.run("globex")
    site.sql("DELETE FROM materials WHERE id = 'm0003'")
    slow = SteppedRun(site.sync, scope_key="acme", run_id="slow")
    for _ in range(steps):
        slow.step()
    site.sql("INSERT INTO materials (id, tenant_id, name) VALUES ('m0003', 'globex', 'sand')")
    site.run("globex")

    slow.finish()

    assert set(site.texts("globex")) == {"x0001", "x0002", "m0003"}
    assert set(site.texts("acme")) == {"m0001", "m0002", "m0004", "m0005"}
    assert site.is_clean("globex")


def test_s15_a_delete_spares_a_point_whose_new_owner_read_the_source_earlier(site: Site) -> None:
    """The owner alone decides here: the point's snapshot is older than that of the delete."""
    site.fill(5)
    site.run("acme")
    site.sql("UPDATE materials SET tenant_id = 'globex' WHERE id = 'm0003'")
    there = SteppedRun(site.sync, scope_key="globex", run_id="there")
    there.step()
    here = SteppedRun(site.sync, scope_key="acme", run_id="here")
    for _ in range(3):
        here.step()
    there.finish()

    here.finish()

    assert set(site.texts("globex")) == {"m0003"}
    assert set(site.texts("acme")) == {"m0001", "m0002", "m0004", "m0005"}
    assert site.is_clean("globex")


@pytest.mark.parametrize("steps", [0, 1, 2, 3, 4])
def test_s16_a_row_deleted_and_inserted_again_is_an_update(site: Site, steps: int) -> None:
    """The same id again, at any moment of a run, ends as one point with the new text."""
    site.fill(5)
    site.run()
    site.sql("DELETE FROM materials WHERE id = 'm0003'")
    run = SteppedRun(site.sync, scope_key="acme", run_id="run")
    for _ in range(steps):
        run.step()
    site.sql("INSERT INTO materials (id, tenant_id, name) VALUES ('m0003', 'acme', 'sand')")
    run.finish()

    site.run()

    assert site.texts()["m0003"] == "sand kg"
    assert site.count("acme") == 5


def test_s17_two_rows_of_one_identity_are_set_aside_by_name(site: Site) -> None:
    """Two rows that would be one document are named and set aside, not a silent overwrite."""
    site.sql("ALTER TABLE materials DROP CONSTRAINT materials_pkey")
    site.fill(2)
    site.fill(1)

    report = site.run()

    assert (report.rows, report.documents, report.quarantined) == (3, 1, 2)
    assert site.count() == 1


def test_s17_one_id_in_global_and_tenant_rows_is_two_documents(site: Site) -> None:
    """Global and tenant rows never share a point."""
    site.sql("ALTER TABLE materials DROP CONSTRAINT materials_pkey")
    site.fill(1)
    site.fill(1, tenant=None)

    site.run("acme")
    site.run("global")

    assert sorted(site.found("acme")) == ["global-material-m0001", "tenant-material-m0001"]


def test_s18_a_tenant_that_vanished_is_kept_until_its_grace_is_over(site: Site) -> None:
    """A tenant without rows loses nothing at once; removal is late, bounded and counted."""
    for tenant in ("acme", "globex", "initech"):
        site.fill(3, tenant=tenant, prefix=tenant)
        site.run(tenant)
    site.sql("DELETE FROM materials WHERE tenant_id = 'globex'")

    def tidy(**grace: float) -> Any:
        rows = site.source.count_by_scope([site.entity])
        policy = VanishedPolicy(grace=timedelta(**grace))
        return remove_vanished(
            site.sync, rows=rows, owner=f"tidy-{time.monotonic()}", policy=policy
        )

    with pytest.raises(MassDeletionRefusedError, match="3 of 3 points in scope 'globex'"):
        site.run("globex")
    first = tidy(days=7)
    kept = site.count("globex")
    second = tidy(days=0)

    assert (first.vanished, first.removed, kept) == (1, (), 3)
    assert (second.removed, second.deleted) == (("globex",), 3)
    assert (site.count("globex"), site.count("acme")) == (0, 3)
    assert site.sync.scopes.get(scope=Scope("globex")) is None


def test_s10_a_server_that_never_comes_back_ends_the_run_after_bounded_attempts(
    server_site: Site, stub: QdrantStub, waits: list[float]
) -> None:
    """Five attempts per request, waits that grow, and then an error."""
    server_site.fill(1)
    server_site.store = lease_server_store(
        "http://127.0.0.1:9", api_key=None, timeout_seconds=1, sleep=waits.append
    )

    with pytest.raises(StoreUnavailableError, match=re.escape("127.0.0.1:9")):
        server_site.run()

    assert len(waits) == 4
    assert waits == sorted(waits)


def test_s08_a_store_that_refuses_every_write_takes_nothing_away(site: Site) -> None:
    """Deletes come last: a run whose writes are refused deletes nothing."""
    site.fill(20)
    site.run()
    site.sql("UPDATE materials SET name = 'sand' || id", "DELETE FROM materials WHERE id = 'm0020'")

    def refuse(called: str, when: When) -> None:
        if (called, when) == ("store.upsert", "before"):
            raise PermanentError("refused")

    with pytest.raises(PermanentError, match="refused"):
        site.run(sync=watch_context(site.sync, refuse))

    assert site.count("acme") == 20
