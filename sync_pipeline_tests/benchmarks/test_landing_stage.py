"""What landings are measured with: a PostgreSQL by TCP, and a REST system of its own process."""

from __future__ import annotations

import json
import shutil
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from benchmarks.landing_erp import running_apart
from benchmarks.tcp_server import TcpServer

pytestmark = [pytest.mark.process, pytest.mark.slow]


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a path that is short enough for a socket."""
    path = Path(tempfile.mkdtemp(prefix="sp-"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


def products_of(url: str) -> dict[str, Any]:
    with urllib.request.urlopen(f"{url}/data/products?offset=0&limit=50") as answer:  # noqa: S310 - the stub
        found: dict[str, Any] = json.load(answer)
    return found


def test_a_server_is_reached_by_tcp_with_its_password_and_with_no_other(folder: Path) -> None:
    with TcpServer(folder / "pg") as server:
        url = server.create()

        with psycopg.connect(url) as connection:
            assert connection.execute("SELECT inet_server_addr() IS NOT NULL").fetchone() == (True,)
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(url, password="another")

    with pytest.raises(psycopg.OperationalError, match="refused"):
        psycopg.connect(url)


def test_a_system_apart_changes_products_and_counts_requests(folder: Path) -> None:
    with running_apart(100, folder=folder) as erp:
        before = products_of(erp.url)
        erp.change(10)
        after = products_of(erp.url)

        assert (before["total"], after["total"]) == (100, 100)
        # Every tenth one, of the first fifty.
        differing = [a["ID"] for a, b in zip(before["data"], after["data"], strict=True) if a != b]
        assert differing == ["00000000", "00000010", "00000020", "00000030", "00000040"]
        assert erp.take_requests() == 1
        assert erp.take_requests() == 0
