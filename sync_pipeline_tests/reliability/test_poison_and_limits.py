"""S21 to S33: lost connections, poison, and everything that is too much."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

from sync_pipeline.core.errors import (
    InvalidVectorError,
    MassDeletionRefusedError,
    OutOfSpaceError,
    PermanentError,
    RateLimitedError,
    SourceSchemaError,
    SourceUnavailableError,
    SyncPipelineError,
)
from sync_pipeline.core.scope import Scope
from sync_pipeline.database.engine import make_engine
from sync_pipeline.database.urls import driver_url
from sync_pipeline.engine.questions.search import SearchRequest, search
from sync_pipeline.engine.questions.verify import verify_scope
from sync_pipeline.sources.postgres import PostgresRowSource
from sync_pipeline_tests.engine.steps import SteppedRun
from sync_pipeline_tests.engine.world import counts
from sync_pipeline_tests.fakes.embedder import Spoil, not_numbers, one_short
from sync_pipeline_tests.fakes.qdrant_stub import Fault, QdrantStub, Step
from sync_pipeline_tests.fakes.watched import When, watch_context
from sync_pipeline_tests.reliability.site import Site

CUT_OFF = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
    "WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_xmin IS NOT NULL"
)


@pytest.mark.parametrize("batch", [1, 2, 3])
def test_s21_a_connection_cut_in_the_middle_of_a_scan_deletes_nothing(
    site: Site, database_url: str, batch: int
) -> None:
    """An interrupted scan is an error; nothing is deleted because of it."""
    site.fill(12_500)
    reader = make_engine(database_url)
    site.source = PostgresRowSource(reader)
    site.run()
    site.sql("DELETE FROM materials WHERE id > 'm9990'")
    batches = 0

    def cut_off(called: str, when: When) -> None:
        nonlocal batches
        if (called, when) == ("snapshot.iter_rows.next", "before"):
            batches += 1
            if batches == batch:
                site.sql(CUT_OFF)

    try:
        with pytest.raises(SyncPipelineError):
            site.run(sync=watch_context(site.sync, cut_off))
        after = site.count("acme")
        report = site.run()
    finally:
        reader.dispose()

    assert after == 12_500
    assert report.deleted == 9


def test_s21_a_statement_that_takes_too_long_deletes_nothing(site: Site) -> None:
    """A timeout of the source is an outage, and the index stays as it is."""
    site.fill(30)
    site.run()
    site.sql(
        "ALTER TABLE materials RENAME TO kept",
        "CREATE VIEW materials AS SELECT kept.* FROM kept, pg_sleep(5)",
    )
    site.source = PostgresRowSource(site.engine, statement_timeout_seconds=0.1)

    with pytest.raises(SourceUnavailableError, match="statement timeout"):
        site.run()

    assert site.count("acme") == 30


def test_s22_a_renamed_column_is_named_and_nothing_is_touched(site: Site) -> None:
    """Drift of the schema is a configuration error that names every column."""
    site.fill(30)
    site.run()
    site.sql(
        "ALTER TABLE materials RENAME COLUMN name TO title",
        "ALTER TABLE materials DROP COLUMN price",
    )

    with pytest.raises(SourceSchemaError, match="'name'") as refused:
        site.run()

    assert len(refused.value.mistakes) == 2
    assert site.count("acme") == 30


def test_s22_a_column_that_is_suddenly_empty_everywhere_deletes_nothing(site: Site) -> None:
    """Rows whose text is gone are quarantined, and their points guarded as any others."""
    site.fill(30)
    site.run()
    site.sql("UPDATE materials SET name = NULL, unit = NULL")

    with pytest.raises(MassDeletionRefusedError, match="30 of 30"):
        site.run()

    assert site.count("acme") == 30
    assert site.sync.quarantine.count_by_scope() == {"acme": 30}


def poison(site: Site) -> list[str]:
    """Spoil four of the rows, each in its own way; which ones."""
    bad = {
        "m0003": "name = NULL, unit = ' '",
        "m0011": "name = '☠'",
        "m0031": "name = '...', unit = '-'",
        "m0040": "name = chr(8203), unit = chr(65279)",
    }
    for row_id, change in bad.items():
        site.sql(f"UPDATE materials SET {change} WHERE id = '{row_id}'")  # noqa: S608 - our own rows
    return list(bad)


def test_s23_poison_at_any_place_keeps_no_healthy_row_out(site: Site) -> None:
    """Bad rows are quarantined or failed by name, and every other row is synced."""
    site.fill(40)
    bad = poison(site)

    report = site.run()

    assert (report.quarantined, report.failed) == (3, 1)
    assert sorted(set(site.texts()) | set(bad)) == [f"m{place:04}" for place in range(1, 41)]
    assert not set(site.texts()) & set(bad)


def test_s23_mended_rows_are_synced_and_released(site: Site) -> None:
    """What was mended leaves quarantine and failure with the next sync."""
    site.fill(40)
    poison(site)
    site.run()
    site.sql("UPDATE materials SET name = 'sand', unit = 'kg', price = 1, facets = NULL")

    report = site.run()

    assert (report.quarantined, report.failed, report.documents) == (0, 0, 40)
    assert site.is_clean()


@pytest.mark.parametrize("price", ["NaN", "Infinity", "-Infinity"])
def test_s24_a_number_that_no_index_holds_costs_its_value_and_is_named(
    site: Site, price: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A number that is not finite becomes null; its row is synced, its field is named."""
    site.fill(3)
    site.sql("UPDATE materials SET price = CAST(:price AS numeric) WHERE id = 'm0002'", price=price)

    report = site.run()

    prices = {row_id: payload["price"] for row_id, payload in site.payloads().items()}
    assert (report.quarantined, report.failed) == (0, 0)
    assert prices == {"m0001": 1, "m0002": None, "m0003": 3}
    assert site.is_clean()
    (message,) = [record.getMessage() for record in caplog.records]
    assert "scope 'acme', entity 'material': payload field 'price' has null" in message
    assert "1 values in 1 rows" in message


@pytest.mark.parametrize(
    ("facets", "kept"),
    [
        pytest.param('"\\ud800"', None, id="half a character"),
        pytest.param('{"a": "\\udfff", "b": "x\\u0000"}', {"a": None, "b": "x\0"}, id="in a key"),
        pytest.param('{"n": 1e400, "m": 1}', {"n": "1e400", "m": 1}, id="beyond floats"),
        pytest.param("[89490200001234567890]", ["89490200001234567890"], id="beyond 64 bits"),
    ],
)
def test_one_odd_value_inside_json_costs_no_row(site: Site, facets: str, kept: object) -> None:
    """What no index holds inside JSON costs that value; a number is kept as its text."""
    site.fill(2)
    site.sql(
        "UPDATE materials SET facets = CAST(:facets AS json) WHERE id = 'm0002'", facets=facets
    )

    report = site.run()

    assert (report.documents, report.quarantined, report.failed) == (2, 0, 0)
    assert site.payloads()["m0002"]["facets"] == kept
    assert site.is_clean()


@pytest.mark.parametrize("spoil", [not_numbers, one_short], ids=["not numbers", "one short"])
def test_s24_s30_vectors_that_are_wrong_never_reach_the_index(site: Site, spoil: Spoil) -> None:
    """Vectors that are not finite, or not as many as texts, are refused before any write."""
    site.fill(40)
    site.embedder.spoil = spoil

    with pytest.raises((InvalidVectorError, PermanentError), match="the model fake-embedder"):
        site.run()

    assert site.count() == 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("a\ufeffb", "ab kg", id="byte order mark"),
        pytest.param("\u202eabc\u202c", "abc kg", id="bidirectional controls"),
        pytest.param("e\u0301" * 3, "ééé kg", id="combining marks are composed"),
        pytest.param("a\tb\r\n  c", "a b c kg", id="white space"),
        pytest.param("👩\u200d🔧", "👩\u200d🔧 kg", id="joined emoji"),
    ],
)
def test_s25_text_is_normalised_end_to_end(site: Site, text: str, expected: str) -> None:
    """What people cannot see in a text is neither embedded nor shown."""
    site.fill(1)
    site.sql("UPDATE materials SET name = :text", text=text)

    site.run()

    assert site.texts() == {"m0001": expected}


def test_s25_a_hundred_thousand_combining_marks_are_only_a_long_text(site: Site) -> None:
    """A pathological text costs its own length and nobody else's sync."""
    site.fill(2)
    site.sql("UPDATE materials SET name = 'e' || repeat(chr(769), 100000) WHERE id = 'm0001'")

    site.run()

    assert len(site.texts()["m0001"]) < 20_010
    assert site.texts()["m0002"] == "cement m2 kg"


MEASURE = """
import json, resource, sys
from pathlib import Path
import sqlalchemy
from sync_pipeline.database.engine import make_engine
from sync_pipeline.embedding.hashing import HashingEmbedder
from sync_pipeline_tests.reliability.site import Site

url, folder, count = sys.argv[1:]
site = Site(make_engine(url), Path(folder), embedder=HashingEmbedder(dimension=16))

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024

site.run("small")
before = peak()
report = site.run("large")
print(json.dumps({"rows": report.rows, "grown_mb": peak() - before}))
"""


def grown_mb(database_url: str, folder: Path, *, rows: int) -> int:
    """By how many MB the memory of a process grows in syncing the scope ``large``."""
    url = driver_url(database_url, "psycopg")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", MEASURE, url, str(folder), str(rows)],
        capture_output=True,
        text=True,
        check=True,
    )
    seen = json.loads(done.stdout.splitlines()[-1])
    assert seen["rows"] == rows
    return int(seen["grown_mb"])


@pytest.mark.slow
def test_s26_texts_of_ten_megabytes_cost_no_more_memory_than_their_beginning(
    site: Site, database_url: str
) -> None:
    """Texts are cut by the server: a hundred of 10 MB stay below a fixed limit."""
    site.fill(5, tenant="small", prefix="s")
    site.fill(100, tenant="large", prefix="l")
    site.sql("UPDATE materials SET name = repeat('cement ', 1500000) WHERE tenant_id = 'large'")

    grown = grown_mb(database_url, site.folder, rows=100)

    assert grown < 100


@pytest.mark.slow
def test_s28_a_large_scope_is_synced_in_bounded_memory(site: Site, database_url: str) -> None:
    """Rows are streamed and compared part by part: 40,000 cost less than 300 MB."""
    site.fill(5, tenant="small", prefix="s")
    site.fill(40_000, tenant="large", prefix="l")

    grown = grown_mb(database_url, site.folder, rows=40_000)

    assert grown < 300


def test_s28_the_order_of_ids_in_the_database_does_not_matter(site: Site) -> None:
    """Ids that collations sort differently are each synced once."""
    ids = ["a", "A", "ä", "B", "b", "_", "-", "10", "9", "é", "e\u0301", "я", "Я", " a", "a "]
    for row_id in ids:
        site.sql("INSERT INTO materials (id, tenant_id, name) VALUES (:id, 'acme', 'x')", id=row_id)
    site.options = replace(site.options, part_rows=4)

    first, second = site.run(), site.run()

    assert (first.new, second.unchanged) == (len(ids), len(ids))
    assert set(site.texts()) == set(ids)


def test_s27_a_change_beyond_the_models_window_is_noticed_and_truncation_counted(
    site: Site,
) -> None:
    """Two texts that differ only beyond the window have different hashes; both are counted."""
    site.embedder.max_characters = 100
    site.fill(1)
    site.sql("UPDATE materials SET name = repeat('a', 300) || 'x'")
    first = SteppedRun(site.sync, scope_key="acme", run_id="first")
    first.finish()
    site.sql("UPDATE materials SET name = repeat('a', 300) || 'y'")
    second = SteppedRun(site.sync, scope_key="acme", run_id="second")

    second.finish()

    assert first.staged is not None
    assert second.staged is not None
    assert (first.staged.counts.truncated, second.staged.counts.truncated) == (1, 1)
    assert second.staged.counts.changed == 1
    assert site.texts()["m0001"].endswith("y kg")


def test_s29_a_full_index_fails_at_once_and_can_still_be_emptied(
    server_site: Site, stub: QdrantStub, waits: list[float]
) -> None:
    """No room is no outage: it is not tried again, and deletes go on."""
    server_site.fill(5)
    server_site.run()
    points = f"PUT /collections/{server_site.collection}/points"
    server_site.sql("DELETE FROM materials WHERE id = 'm0005'")
    deleted = server_site.run().deleted
    server_site.sql("UPDATE materials SET name = 'sand'")
    stub.script(Fault.FULL, route=points)

    with pytest.raises(OutOfSpaceError, match=r"127\.0\.0\.1"):
        server_site.run()

    assert deleted == 1
    assert waits == []
    assert server_site.run().changed == 4


def test_s30_a_batch_too_large_for_memory_is_made_smaller(site: Site) -> None:
    """Where memory runs out the batch is halved, and nobody is blamed."""
    site.fill(40)
    site.embedder.max_texts_in_memory = 3

    report = site.run()

    assert counts(report) == {"new": 40, "embedded_texts": 40}


@pytest.mark.parametrize(
    ("retry_after", "asked"), [("7", 7.0), ("1.5", 1.5)], ids=["seconds", "a fraction"]
)
def test_s31_a_rate_limit_is_waited_out_as_long_as_it_asks(
    server_site: Site,
    stub: QdrantStub,
    waits: list[float],
    retry_after: str,
    asked: float,
) -> None:
    """``Retry-After`` is honoured in every form, and never less is waited."""
    server_site.fill(3)
    stub.script(
        Step(fault=Fault.RATE_LIMITED, retry_after=retry_after),
        route=f"PUT /collections/{server_site.collection}/points",
    )

    report = server_site.run()

    (wait,) = waits
    assert asked <= wait <= asked + 1
    assert counts(report) == {"new": 3, "embedded_texts": 3}


def test_s31_a_lasting_rate_limit_costs_no_document_an_attempt(
    server_site: Site, stub: QdrantStub, waits: list[float]
) -> None:
    """After five attempts the run is put off; no document is charged."""
    server_site.fill(3)
    limited = Step(fault=Fault.RATE_LIMITED, retry_after="5")
    stub.script(*[limited] * 5, route=f"PUT /collections/{server_site.collection}/points")

    with pytest.raises(RateLimitedError, match=r"127\.0\.0\.1"):
        server_site.run()

    assert [5 <= wait <= 6 for wait in waits] == [True] * 4
    assert server_site.sync.state.count_by_scope() == {}


def test_s31_a_wait_of_more_than_a_minute_is_left_to_who_started_the_run(
    server_site: Site, stub: QdrantStub, waits: list[float]
) -> None:
    """The step is put off at once, with the time that was asked for; the next run is whole."""
    server_site.fill(3)
    limited = Step(fault=Fault.RATE_LIMITED, retry_after="600")
    stub.script(limited, route=f"PUT /collections/{server_site.collection}/points")

    with pytest.raises(RateLimitedError, match="asks to wait 600 s") as caught:
        server_site.run()

    assert (waits, caught.value.retry_after_seconds) == ([], 600)
    assert counts(server_site.run()) == {"new": 3, "cache_hits": 3}


def test_s31_one_failing_request_in_many_fails_nothing(server_site: Site, stub: QdrantStub) -> None:
    """Single failures anywhere in a run are overcome by repeating."""
    server_site.options = replace(server_site.options, upsert_batch_size=2)
    server_site.fill(20)
    faults = [Fault.OK, Fault.OK, Fault.UNAVAILABLE, Fault.OK, Fault.RESET, Fault.OK, Fault.HTML]
    stub.script(*faults * 2)

    report = server_site.run()

    assert report.new == 20
    assert verify_scope(server_site.sync, scope=Scope("acme")).is_clean


def test_s32_a_server_that_takes_less_at_once_gets_smaller_batches(
    server_site: Site, stub: QdrantStub
) -> None:
    """A batch that a limit of the server refuses is halved, and nobody is blamed."""
    server_site.fill(60)
    stub.max_body_bytes = 20_000

    report = server_site.run()

    assert counts(report) == {"new": 60, "embedded_texts": 60}
    assert server_site.count("acme") == 60


def test_s33_a_search_never_claims_more_than_was_verified(site: Site) -> None:
    """``in_sync_to`` moves only after the index was measured."""
    site.fill(3)
    site.fill(1, tenant=None, prefix="g")
    site.run("global")
    site.run("acme")
    seen: list[datetime | None] = []

    def in_sync_to() -> datetime | None:
        request = SearchRequest(text="cement")
        return search(site.sync, scope=Scope("acme"), request=request).in_sync_to

    def look(called: str, when: When) -> None:
        if called in {"store.upsert", "scopes.record_success"} and when == "before":
            seen.append(in_sync_to())

    first = in_sync_to()
    site.run("global")
    site.sql("UPDATE materials SET name = 'sand' WHERE id = 'm0001'")
    site.run(sync=watch_context(site.sync, look))
    with site.engine.connect() as connection:
        now = connection.execute(sa.text("SELECT clock_timestamp()")).scalar_one()

    last = in_sync_to()
    assert first is not None
    assert last is not None
    assert len(seen) == 2
    assert all(moment is not None and moment < last for moment in seen)
    assert first < last < now
