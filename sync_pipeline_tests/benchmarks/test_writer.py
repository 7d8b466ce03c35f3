"""The writer of the run of a model change knows what it has written."""

from __future__ import annotations

import time

import psycopg
import pytest

from benchmarks.acceptance.ledger import Ledger, fact_of, key_of
from benchmarks.acceptance.writer import WEIGHTS, Writer
from benchmarks.catalogue import CatalogueSize, SourceRow, iter_catalogue
from benchmarks.source import load_source
from sync_pipeline.database.urls import driver_url

SIZE = CatalogueSize(rows=400)
_ROWS = (
    "SELECT 'material', id::text, tenant_id, name, category, supplier, unit, price::text "
    "FROM materials UNION ALL "
    "SELECT 'work', id::text, tenant_id, name, category, NULL, unit, price::text FROM works"
)


def read_rows(url: str) -> list[SourceRow]:
    with psycopg.connect(url) as connection:
        return [SourceRow(*row) for row in connection.execute(_ROWS)]


@pytest.mark.process
def test_the_source_is_what_the_writer_says_and_spared_rows_are_as_they_were(
    database_url: str,
) -> None:
    url = driver_url(database_url, "libpq")
    load_source(url, SIZE)
    rows = list(iter_catalogue(SIZE))
    ledger, spared = Ledger(rows), {key_of(row) for row in rows[::7]}
    writer = Writer(url, ledger=ledger, rows=rows, spared=spared, per_second=500, seed=1)

    with writer:
        until = time.monotonic() + 60
        while writer.done.total() < 300 or writer.done.keys() != WEIGHTS.keys():
            assert time.monotonic() < until, writer.done
            time.sleep(0.05)
        with writer.paused():
            paused = read_rows(url)
            assert {key_of(row): fact_of(row) for row in paused} == ledger.expected()

    found = {key_of(row): fact_of(row) for row in read_rows(url)}
    assert writer.faults == []
    assert found == ledger.expected()
    original = {key_of(row): fact_of(row) for row in rows}
    assert {key: found.get(key) for key in spared} == {key: original[key] for key in spared}
    assert sum(found.get(key) != fact for key, fact in original.items()) > 50
