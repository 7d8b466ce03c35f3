"""What the change feed costs the application that writes the source tables.

Each statement is its own transaction, timed from the client on the embedded
PostgreSQL, alternately without and with the feed, so that a slow moment of the
machine hits both. Commits do not wait for the disk (``synchronous_commit = off``):
that time is the same with and without, and would hide the difference.

    python benchmarks/feed_cost.py --out feed_cost.json
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import psycopg

from sync_pipeline.core.entity import Entity
from sync_pipeline.database.embedded import embedded_database_url, stop_embedded_database
from sync_pipeline.database.engine import make_engine
from sync_pipeline.database.urls import driver_url
from sync_pipeline.sources.feed.change_feed import PostgresChangeFeed

MATERIAL: Final = Entity(
    name="material",
    table="materials",
    views=(("text", ("name", "category", "supplier", "unit")),),
    payload=(("categoryId", "category"), ("supplierId", "supplier"), ("price", "price")),
)
CREATE: Final = """
CREATE TABLE materials (
    id bigint PRIMARY KEY, tenant_id text, is_global boolean NOT NULL DEFAULT false,
    name text, category text, supplier text, unit text, price numeric, note text
)
"""
NEW_ROWS: Final = (
    "INSERT INTO materials SELECT n, 't' || n % 100, false, 'material ' || n, 'category', "
    "'supplier', 'kg', n, NULL FROM generate_series({first}, {last}) n"
)
STATEMENTS: Final = {
    "insert": NEW_ROWS,
    "update of a mapped column": (
        "UPDATE materials SET name = name || '+' WHERE id BETWEEN {first} AND {last}"
    ),
    "update of other columns": (
        "UPDATE materials SET note = clock_timestamp() WHERE id BETWEEN {first} AND {last}"
    ),
    "delete": "DELETE FROM materials WHERE id BETWEEN {first} AND {last}",
}
WARM_UP: Final = 10


def measure(
    connection: psycopg.Connection, *, rows: int, repeats: int, start: int
) -> Iterator[tuple[str, float]]:
    """Yield statement and seconds: every statement ``repeats`` times, each on ``rows`` rows."""
    for name, statement in STATEMENTS.items():
        for repeat in range(repeats):
            first = start + repeat * rows
            text = statement.format(first=first, last=first + rows - 1)
            began = time.perf_counter()
            connection.execute(text)
            yield name, time.perf_counter() - began


def compare(
    connection: psycopg.Connection,
    feed: PostgresChangeFeed,
    *,
    rows: int,
    repeats: int,
    rounds: int,
) -> Mapping[tuple[str, bool], list[float]]:
    """Seconds per statement, without (False) and with (True) the feed."""
    found: dict[tuple[str, bool], list[float]] = defaultdict(list)
    for _ in range(rounds):
        for has_feed in (False, True):
            if has_feed:
                feed.install([MATERIAL])
            else:
                feed.remove()
            connection.execute("TRUNCATE materials")
            connection.execute(NEW_ROWS.format(first=1, last=20_000))
            connection.execute("VACUUM ANALYZE materials")
            for _ in measure(
                connection, rows=rows, repeats=WARM_UP if rows == 1 else 1, start=10**9
            ):
                pass
            for name, seconds in measure(connection, rows=rows, repeats=repeats, start=10**6):
                found[name, has_feed].append(seconds)
    return found


def summarise(
    found: Mapping[tuple[str, bool], Sequence[float]], *, rows: int
) -> Iterator[dict[str, object]]:
    """One line of the table per statement, in microseconds, medians."""
    for name in STATEMENTS:
        without, with_feed = (
            statistics.median(found[name, has_feed]) * 1e6 for has_feed in (False, True)
        )
        yield {
            "statement": name,
            "rows": rows,
            "runs": len(found[name, True]),
            "without_microseconds": round(without, 1),
            "with_microseconds": round(with_feed, 1),
            "added_microseconds_per_row": round((with_feed - without) / rows, 2),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description="Cost of the change feed for writers.")
    parser.add_argument("--out", type=Path, help="write the numbers as JSON")
    parser.add_argument("--repeats", type=int, default=400, help="single-row statements of a kind")
    parser.add_argument("--rows", type=int, default=10_000, help="rows of a large statement")
    arguments = parser.parse_args()
    rounds = 4
    lines: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory(prefix="sp-") as home:
        folder = Path(home) / "pg"
        url = embedded_database_url(folder)
        engine = make_engine(url)
        feed = PostgresChangeFeed(engine)
        try:
            with psycopg.connect(driver_url(url, "libpq"), autocommit=True) as connection:
                connection.execute("SET synchronous_commit = off")
                connection.execute(CREATE)
                for rows, repeats in ((1, arguments.repeats // rounds), (arguments.rows, 2)):
                    found = compare(connection, feed, rows=rows, repeats=repeats, rounds=rounds)
                    lines += summarise(found, rows=rows)
                version = connection.info.server_version
        finally:
            engine.dispose()
            stop_embedded_database(folder)
    print(f"{'statement':<28}{'rows':>7}{'without':>12}{'with':>12}{'added per row':>16}")
    for line in lines:
        print(
            f"{line['statement']:<28}{line['rows']:>7}{line['without_microseconds']:>10} us"
            f"{line['with_microseconds']:>10} us{line['added_microseconds_per_row']:>13} us"
        )
    if arguments.out is not None:
        result = {"postgresql": version, "statements": lines}
        arguments.out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
