from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from io import StringIO

import pytest
from rich.console import Console
from rich.table import Table

from sync_pipeline.cli.render import (
    followed,
    hits_table,
    status_table,
    sync_remarks,
    sync_table,
    verification_table,
)
from sync_pipeline.cli.tables import printable
from sync_pipeline.core.point import Hit
from sync_pipeline.core.reports import ScopeReport, StepSeconds
from sync_pipeline.core.vocabulary import HELPS
from sync_pipeline.engine.questions.status import ScopeStatusReport
from sync_pipeline.engine.questions.verify import Verification

WIDE = "0f8fad5b-d9cb-469f-a165-70867728950e"

NOW = datetime(2026, 1, 1, tzinfo=UTC)

STATUS = ScopeStatusReport(
    scope_key="acme",
    source_rows=1,
    documents=1,
    points=1,
    coverage=1.0,
    failed=0,
    quarantined=0,
    pending=0,
    last_success_at=None,
    oldest_unsynced_seconds=None,
)


def drawn(table: Table) -> str:
    file = StringIO()
    Console(file=file, width=100, markup=False, emoji=False).print(table)
    return file.getvalue()


def report(key: str = "acme", **counts: int) -> ScopeReport:
    seconds = StepSeconds(export=1.0, embed=2.0, upsert=0.5, cleanup=0.25)
    empty = ScopeReport(scope_key=key, status="success", seconds=seconds)
    return replace(empty, **counts)  # type: ignore[arg-type]  # only counts are given


def test_a_sync_is_one_row_per_scope_and_their_sum() -> None:
    table = drawn(sync_table([report("global", rows=1000, new=7), report("acme", rows=234)]))

    lines = [line.split() for line in table.splitlines() if line.strip(" ─")]
    assert lines == [
        ["scope", "status", "rows", "new", "changed", "payload", "same", "deleted", "failed",
         "embedded", "seconds"],
        ["global", "success", "1,000", "7", "0", "0", "0", "0", "0", "0", "3.8"],
        ["acme", "success", "234", "0", "0", "0", "0", "0", "0", "0", "3.8"],
        ["2", "scopes", "1,234", "7", "0", "0", "0", "0", "0", "0"],
    ]  # fmt: skip


def test_numbers_stay_whole_beside_a_long_tenant_id() -> None:
    counts = dict.fromkeys(
        ("rows", "new", "changed", "payload_changed", "unchanged", "embedded_texts"), 1_234_567
    )

    table = drawn(sync_table([report(WIDE, **counts)]))

    assert table.count("1,234,567") == 6
    assert max(map(len, table.splitlines())) <= 100


def test_remarks_name_errors_and_where_to_look() -> None:
    failed = ScopeReport(scope_key="globex", status="failed", error="no connection")

    remarks = sync_remarks(
        [
            report(documents=1500, quarantined=3, repaired=2, embedded_texts=40, cache_hits=60),
            failed,
        ],
        duration_seconds=2.345,
    )

    assert remarks == [
        "1,500 documents in 2.3 s: 40 texts embedded, 60 from the cache.",
        "Records that did not match the index and were mended: 2.",
        "Rows that cannot become documents: 3; `sync-pipeline quarantine list` names them.",
        "globex: failed: no connection",
    ]


def test_a_stopped_scope_is_told_in_one_line_with_what_was_done() -> None:
    stopped = replace(
        report(rows=1500, new=20, embedded_texts=40, points_written=12, payloads_written=3),
        status="failed",
        error="stopped in scope 'acme' after the batch in flight",
        stopped_reason="asked to stop",
    )

    table = drawn(sync_table([stopped]))
    remarks = sync_remarks([stopped], duration_seconds=1.0)

    line = (
        "acme: stopped, asked to stop: 1,500 rows read, 40 texts embedded, 12 points and 3 "
        "payloads written, 0 points deleted; run the same command again for the rest."
    )
    assert table.splitlines()[-2].split()[:3] == ["acme", "stopped", "1,500"]
    assert remarks[1:] == [line]
    assert followed(stopped) == line


def test_a_verification_says_whether_all_is_equal() -> None:
    clean = Verification(
        scope_key="a",
        source_documents=5,
        state_documents=5,
        points=5,
        missing=0,
        extra=0,
        wrong_scope=0,
        mismatched=0,
    )
    differs = replace(clean, scope_key="b", points=4, missing=1)

    table = drawn(verification_table([clean, differs]))

    assert "a equal" in " ".join(table.split())
    assert "b DIFFERS" in " ".join(table.split())


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        pytest.param(None, "", id="nothing waits"),
        pytest.param(59.0, "59 s", id="seconds"),
        pytest.param(120.0, "2 min", id="minutes"),
        pytest.param(7200.0, "2 h", id="hours"),
        pytest.param(259_200.0, "3 d", id="days"),
    ],
)
def test_waiting_is_shown_in_the_largest_unit_that_fits(seconds: float | None, shown: str) -> None:
    status = replace(STATUS, oldest_unsynced_seconds=seconds)

    row = drawn(status_table([status], now=NOW)).splitlines()[-2]

    assert row.split("never")[1].strip() == shown


def test_the_last_success_is_shown_by_its_age() -> None:
    status = replace(STATUS, last_success_at=NOW - timedelta(hours=30))

    assert "1 d ago" in drawn(status_table([status], now=NOW))


def test_what_a_terminal_would_obey_is_not_printed() -> None:
    assert printable("a\x1b[31mb\u202ec\nd").plain == "a\ufffd[31mb\ufffdc\nd"


def test_markup_in_a_text_is_text() -> None:
    hit = Hit("global-material-1", 0.5, "[bold]beam[/bold] :smile:", {"scope_key": "global"})

    assert "[bold]beam[/bold] :smile:" in drawn(hits_table([hit]))


def test_a_scope_of_which_the_model_knows_little_is_told_with_what_helps() -> None:
    known = {"texts": 10, "unknown_texts": 0, "tokens": 50, "unknown_tokens": 0}
    unknown = {"texts": 6, "unknown_texts": 5, "tokens": 6, "unknown_tokens": 5}
    addis = replace(report("addis"), unknown={"name": unknown, "unit": known})
    london = replace(report("london"), unknown={"name": known})

    remarks = sync_remarks([addis, london], duration_seconds=1)

    assert remarks[1:] == [
        "addis: view 'name': the model does not know 5 of 6 texts (83% of the tokens)",
        f"Such texts are found by their words only; {HELPS}.",
    ]


def test_a_thousand_such_scopes_are_not_a_thousand_lines() -> None:
    unknown = {"texts": 6, "unknown_texts": 5, "tokens": 6, "unknown_tokens": 5}
    reports = [replace(report(f"t{at}"), unknown={"name": unknown}) for at in range(1000)]

    remarks = sync_remarks(reports, duration_seconds=1)

    assert remarks[6] == "... and 995 more"
    assert len(remarks) == 8
