"""A server whose machine goes away without a word, seen from a host that waits for its answer."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from sync_pipeline_tests.conftest import REPOSITORY
from sync_pipeline_tests.scale.hosts import IP, Network, has_namespaces, network

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(not has_namespaces(), reason="hosts need root and network namespaces"),
]

QUICK = {
    "keepalives_idle": 1,
    "keepalives_interval": 1,
    "keepalives_count": 2,
    "tcp_user_timeout": 3000,
}
RELAY = """
import asyncio, sys

async def copy(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
    writer.close()

async def join(reader, writer):
    there, back = await asyncio.open_unix_connection(sys.argv[2])
    await asyncio.gather(copy(reader, back), copy(there, writer))

async def main():
    server = await asyncio.start_server(join, sys.argv[1], 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()

asyncio.run(main())
"""
WAITING = """
import json, sys
import sqlalchemy as sa
from sync_pipeline.core import connecting
from sync_pipeline.core.errors import SyncPipelineError
from sync_pipeline.core.retrying import Retries
from sync_pipeline.database.engine import DEFAULT_SCHEMA, Database, make_engine
from sync_pipeline.settings import psycopg2_url

url, driver, quick = sys.argv[1:]
connecting.NOTICE_LOST_SERVER.update(json.loads(quick))

def wait(connection):
    connection.execute(sa.text("SELECT 1"))
    print("waiting", flush=True)
    connection.execute(sa.text("SELECT pg_sleep(600)"))

try:
    if driver == "ours":
        engine = make_engine(url)
        retries = Retries(attempts=1)
        Database(engine, schema=DEFAULT_SCHEMA, retries=retries).run("waiting", wait)
    else:
        with sa.create_engine(psycopg2_url(url)).connect() as connection:
            wait(connection)
except (SyncPipelineError, sa.exc.OperationalError) as error:
    print(type(error).__name__, flush=True)
"""


@contextmanager
def relay(address: str, socket: Path) -> Iterator[int]:
    """A port of an address that leads to a server's socket, by a process of its own."""
    words = [sys.executable, "-c", RELAY, address, str(socket)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield int(process.stdout.readline())
        finally:
            process.kill()


@contextmanager
def attached(joined: Network, name: str) -> Iterator[str]:
    joined.attach(name)
    try:
        yield name
    finally:
        joined.detach(name)


@pytest.mark.parametrize(
    ("driver", "error"), [("ours", "SourceUnavailableError"), ("dagster's", "OperationalError")]
)
def test_a_server_that_vanishes_in_the_middle_of_an_answer_is_noticed(
    postgres_url: str, driver: str, error: str
) -> None:
    url = make_url(postgres_url)
    socket = Path(str(url.query["host"])) / f".s.PGSQL.{url.query.get('port', 5432)}"
    with network() as joined, attached(joined, f"lonely-{os.getpid()}") as host:
        assert joined.bridge is not None
        with relay(joined.address, socket) as port:
            there = url.set(host=joined.address, port=port, query={})
            words = (there.render_as_string(hide_password=False), driver, json.dumps(QUICK))
            waiting = subprocess.Popen(
                [IP, "netns", "exec", host, sys.executable, "-c", WAITING, *words],
                cwd=REPOSITORY,
                stdout=subprocess.PIPE,
                text=True,
            )
            with waiting:
                try:
                    assert waiting.stdout is not None
                    assert waiting.stdout.readline() == "waiting\n"
                    subprocess.run([IP, "link", "set", joined.bridge, "down"], check=True)
                    found, _ = waiting.communicate(timeout=60)
                finally:
                    waiting.kill()

    assert found == f"{error}\n"
