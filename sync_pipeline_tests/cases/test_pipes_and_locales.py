"""Case pipes-and-locales: terminals of other encodings, and readers that leave (scenario S66)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sync_pipeline_tests.cases.installation import TIMEOUT_SECONDS, Case

TABLE = """
CREATE TABLE items (id int PRIMARY KEY, tenant_id text, is_global boolean DEFAULT false, name text);
INSERT INTO items SELECT g, 'acme', false, 'Штукатурка гипсовая № ' || g
FROM generate_series(1, {rows}) g;
"""
SETTINGS = "entities: [{name: item, table: items, views: {text: [name]}}]\n"
ASCII = {"LC_ALL": "C", "PYTHONIOENCODING": "ascii"}
POSIX = {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
LATIN1 = {"LC_ALL": "C", "PYTHONIOENCODING": "latin1"}


@pytest.fixture
def shop(case: Case) -> Case:
    """Twenty plasters."""
    case.sql(TABLE.format(rows=20))
    case.settings(SETTINGS)
    return case


def shell(case: Case, line: str) -> subprocess.CompletedProcess[bytes]:
    """Run a line of bash, where ``sp`` is the program."""
    inherited = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("SYNC_PIPELINE", "DATABASE", "STATE_", "QDRANT", "PG"))
    }
    return subprocess.run(
        ["/bin/bash", "-c", f'sp() {{ "{sys.executable}" -m sync_pipeline "$@"; }}; {line}'],
        cwd=case.folder,
        env={
            **inherited,
            "DATABASE_URL": case.url,
            "SYNC_PIPELINE_HOME": str(case.folder / "home"),
            "SYNC_PIPELINE_CONFIG": str(case.folder / "sync_pipeline.yaml"),
            "SYNC_PIPELINE__EMBEDDING__PROVIDER": "hashing",
            **case.environment,
        },
        capture_output=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )


def test_s66_a_terminal_of_another_encoding_gets_escapes(shop: Case) -> None:
    """ASCII, POSIX and Latin-1: a search succeeds, the words come through, JSON is ASCII."""
    assert shop.run("sync", "all").returncode == 0

    for surroundings in (ASCII, POSIX, LATIN1):
        words = ("search", "гипсовая", "--tenant", "acme", "--limit", "1")
        shown = shop.run(*words, **surroundings)
        assert shown.returncode == 0, shown.stderr
        assert r"\u0428\u0442\u0443\u043a" in shown.stdout, surroundings
        as_json = shop.run(*words, "--json", **surroundings)
        assert as_json.stdout.isascii()
        answer = json.loads(as_json.stdout)
        assert answer["hits"][0]["text"].startswith("Штукатурка гипсовая")


@pytest.mark.parametrize("surroundings", [ASCII, POSIX, LATIN1], ids=["ascii", "posix", "latin1"])
def test_s66_an_export_is_the_same_rows_in_every_terminal(
    shop: Case, surroundings: dict[str, str]
) -> None:
    """What is written stays JSON that says the same, in ASCII."""
    whole = shop.run("export", "item")
    done = shop.run("export", "item", **surroundings)

    assert done.returncode == 0, done.stderr
    assert done.stdout.isascii()
    assert [*map(json.loads, done.stdout.splitlines())] == [
        *map(json.loads, whole.stdout.splitlines())
    ]


def test_s66_a_reader_that_leaves_ends_the_export_quietly(shop: Case) -> None:
    """``export | head``: no traceback, the exit code of SIGPIPE."""
    shop.sql("INSERT INTO items SELECT g, 'acme', false, repeat('x', 200) "
             "FROM generate_series(21, 3000) g")  # fmt: skip

    done = shell(shop, "sp export item | head -1; exit ${PIPESTATUS[0]}")

    assert done.returncode == 141, done.stderr
    assert len(done.stdout.splitlines()) == 1
    assert b"Traceback" not in done.stderr
    assert b"BrokenPipe" not in done.stderr


def test_s66_closed_streams_stop_no_work(shop: Case) -> None:
    """``>&- 2>&-`` and a reader of standard error that leaves: the sync is done and recorded."""
    silent = shell(shop, "sp sync all >&- 2>&- <&-")
    assert silent.returncode == 0
    assert len(shop.found("гипсовая", tenant="acme")) > 0

    shop.sql("UPDATE items SET name = 'Gips' WHERE id = 1")
    left = shell(shop, "sp sync all 2> >(exec <&-) >/dev/null")
    assert left.returncode == 0
    assert "Gips" in shop.found("Gips", tenant="acme")


def test_s66_a_full_disk_is_named(shop: Case) -> None:
    """An output that cannot be written ends with one line and exit code 1."""
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")

    done = shell(shop, "sp export item > /dev/full")

    assert done.returncode == 1
    assert b"cannot be written" in done.stderr
    assert b"Traceback" not in done.stderr
