"""What several hosts share: a broker, an object store, an index, a model service, a database."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final, LiteralString

import dagster as dg
import numpy as np
import psycopg
import pytest

from sync_pipeline.database.urls import driver_url
from sync_pipeline.defs.partitions import PARTITIONS_NAME
from sync_pipeline.engine.questions.verify import verify_scope
from sync_pipeline.hosting.instance import instance_settings, open_instance
from sync_pipeline.settings import Settings, load_settings
from sync_pipeline.wiring import Installation, open_installation
from sync_pipeline_tests.fakes.qdrant_stub import running_stub
from sync_pipeline_tests.ports import free_port
from sync_pipeline_tests.reliability.dev_instance import wait_for
from sync_pipeline_tests.scale.hosts import Host, Network, host, network

REDIS: Final = shutil.which("redis-server")
needs_redis: Final = pytest.mark.skipif(
    REDIS is None, reason="redis-server is missing: apt-get install redis-server"
)
DIMENSION: Final = 16
LEASE_SECONDS: Final = 5
TEXTS_PER_SECOND: Final = 500
"""Of the model, which sleeps: it needs no core, so several can be fast at once."""
FASTER: Final[Mapping[str, int]] = {"poll_interval_seconds": 2, "cancel_timeout_seconds": 60}
"""Seconds of Dagster's run monitoring."""
START_SECONDS: Final = 180


@dataclass(slots=True)
class ModelService:
    """Embeddings over OpenAI's interface, at the speed of a model; counts what it is asked."""

    url: str = ""
    texts: Counter[str] = field(default_factory=Counter)
    """How often each text was embedded."""
    seconds_per_text: float = 1 / TEXTS_PER_SECOND

    def documents(self) -> Counter[str]:
        """Those that are of documents, and not the canaries of the model."""
        return Counter({text: n for text, n in self.texts.items() if text.startswith("brick")})


@contextmanager
def model_service(address: str) -> Iterator[ModelService]:
    """The service at an address of this machine, for the length of the ``with``."""
    service = ModelService()
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            texts = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["input"]
            time.sleep(len(texts) * service.seconds_per_text)
            with lock:
                service.texts.update(texts)
            data = [
                {"index": place, "object": "embedding", "embedding": _vector(text)}
                for place, text in enumerate(texts)
            ]
            body = json.dumps({"object": "list", "data": data, "model": "stub"}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as inherited
            pass

    server = ThreadingHTTPServer((address, 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    service.url = f"http://{address}:{server.server_address[1]}/v1"
    try:
        yield service
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _vector(text: str) -> list[float]:
    seed = int.from_bytes(text.encode()[-8:], "little")
    vector = np.random.default_rng(seed).normal(size=DIMENSION)
    return [round(float(number), 5) for number in vector / np.linalg.norm(vector)]


@dataclass(slots=True)
class Bed:
    """Everything shared, and the settings with which every host finds it."""

    folder: Path
    joined: Network
    model: ModelService
    environment: dict[str, str]
    _stack: ExitStack
    _redis: subprocess.Popen[bytes]
    """Ends with the bed."""
    control: Host | None = None

    def host(self, name: str, **more: str) -> Host:
        """Another host, until the end of the test."""
        environment = {**self.environment, **more}
        return self._stack.enter_context(
            host(name, folder=self.folder, joined=self.joined, environment=environment)
        )

    def start_worker(self, name: str, *, concurrency: int = 1) -> Host:
        """A host whose workers do runs and steps."""
        made = self.host(name)
        made.start("worker", "--concurrency", str(concurrency))
        return made

    def start_daemon(self) -> Host:
        """A host with Dagster's daemon, which starts what is asked for and executes nothing."""
        made = self.control = self.host("control")
        home = made.home / "dagster"
        home.mkdir()
        environment = dict(made.environment)
        text = instance_settings(self.settings(), environment=environment)
        for name, seconds in FASTER.items():
            text, count = re.subn(rf"(?<={name}: )\d+", str(seconds), text)
            assert count == 1, name
        (home / "dagster.yaml").write_text(text)
        made.environment = {**environment, "DAGSTER_HOME": str(home)}
        made.start("dagster", "daemon")
        return made

    def settings(self, **environment: str) -> Settings:
        """As every host loads them."""
        return load_settings(env={**self.environment, **environment})

    def installation(self) -> Installation:
        """The same installation, in this process."""
        return open_installation(self.settings())

    @contextmanager
    def instance(self) -> Iterator[dg.DagsterInstance]:
        """Dagster's history, read in this process."""
        environment = {"DAGSTER_HOME": str((self.folder / "here").absolute())}
        (self.folder / "here").mkdir(exist_ok=True)
        text = instance_settings(Settings(), environment={})
        (self.folder / "here" / "dagster.yaml").write_text(text)
        with open_instance(self.installation(), environment=environment) as instance:
            yield instance

    def know(self, *scope_keys: str) -> None:
        """Add partitions, so that no sensor asks for a first sync by itself."""
        with self.instance() as instance:
            instance.add_dynamic_partitions(PARTITIONS_NAME, list(scope_keys))

    def submit(self, *words: str) -> subprocess.Popen[str]:
        """Leave a sync to the queue, in the background; it is answered in JSON."""
        process = subprocess.Popen(
            [sys.executable, "-m", "sync_pipeline", "--json", "sync", *words, "--submit"],
            env={**self.environment, "SYNC_PIPELINE_HOME": str(self.folder / "cli")},
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._stack.callback(_give_up, process)
        return process

    def sql(self, statement: LiteralString, **values: object) -> None:
        """Change the source."""
        url = driver_url(self.environment["DATABASE_URL"], "libpq")
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(statement, values)

    def command(self, *words: str, seconds: float = 600) -> tuple[int, str, str]:
        """Run ``sync-pipeline`` on the control host's side: exit code, output, errors."""
        done = subprocess.run(
            [sys.executable, "-m", "sync_pipeline", *words],
            env={**self.environment, "SYNC_PIPELINE_HOME": str(self.folder / "cli")},
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        return done.returncode, done.stdout, done.stderr

    def verify(self) -> list[str]:
        """Every difference between source, record and index, scope by scope; empty: none."""
        sync = self.installation().sync
        found = []
        for scope in sync.source.list_scopes(sync.entities):
            report = verify_scope(sync, scope=scope)
            if not report.is_clean:
                found.append(f"{scope.key}: {report}")
        return found


def fill(bed: Bed, **rows: int) -> None:
    """Give scopes rows, each with a text of its own; ``everyone`` is the global one."""
    for key, count in rows.items():
        tenant = None if key == "everyone" else key
        bed.sql(ROWS, tenant=tenant, is_global=tenant is None, name=f"brick {key} ", count=count)


@contextmanager
def bed(database_url: str, folder: Path, **settings: str) -> Iterator[Bed]:
    """Everything that hosts share, for the length of the ``with``."""
    with ExitStack() as stack:
        joined = stack.enter_context(network())
        model = stack.enter_context(model_service(joined.address))
        stub = stack.enter_context(running_stub(address=joined.address))
        redis, broker = _start_redis(joined.address, folder=folder)
        stack.callback(_end, redis)
        store, endpoint = _start_object_store(joined.address, folder=folder)
        stack.callback(_end, store)
        environment = {
            **{name: value for name, value in os.environ.items() if "SYNC_PIPELINE" not in name},
            "PYTHONPATH": os.pathsep.join(sys.path),
            "DATABASE_URL": database_url,
            "QDRANT_URL": stub.url,
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "eu-central-1",
            "SYNC_PIPELINE__ENTITIES": json.dumps([ENTITY]),
            "SYNC_PIPELINE__STAGING__URL": "s3://staging/of-this-test",
            "SYNC_PIPELINE__SCALE__EXECUTOR": "celery",
            "SYNC_PIPELINE__SCALE__BROKER_URL": broker,
            "SYNC_PIPELINE__SYNC__LEASE_TTL_SECONDS": str(LEASE_SECONDS),
            "SYNC_PIPELINE__EMBEDDING__PROVIDER": "openai",
            "SYNC_PIPELINE__EMBEDDING__BASE_URL": model.url,
            "SYNC_PIPELINE__EMBEDDING__MODEL": "sleeping",
            "SYNC_PIPELINE__EMBEDDING__DIMENSION": str(DIMENSION),
            "SYNC_PIPELINE__EMBEDDING__PART_TEXTS": "2500",
            "SYNC_PIPELINE__EMBEDDING__FAN_OUT_TEXTS": "1000",
            "SYNC_PIPELINE__SYNC__EMBED_CHUNK_SIZE": "64",
            "SYNC_PIPELINE__SCHEDULE__NIGHTLY": "null",
            **settings,
        }
        made = Bed(folder, joined, model, environment, stack, redis)
        made.sql(TABLES)
        yield made


ENTITY: Final[Mapping[str, object]] = {
    "name": "material",
    "table": "materials",
    "updated_at": "updated_at",
    "views": {"text": ["name"]},
    "payload": {"unit": "unit"},
}
ROWS: Final = """
INSERT INTO materials (tenant_id, is_global, name, unit)
SELECT %(tenant)s::text, %(is_global)s, %(name)s || n, 'kg' FROM generate_series(1, %(count)s) AS n
"""
TABLES: Final = """
CREATE TABLE materials (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id text, is_global boolean NOT NULL DEFAULT false,
    name text NOT NULL, unit text, updated_at timestamptz NOT NULL DEFAULT now()
);
"""


def _start_redis(address: str, *, folder: Path) -> tuple[subprocess.Popen[bytes], str]:
    assert REDIS is not None
    port = free_port(address)
    words = ["--bind", address, "--port", str(port), "--save", "", "--protected-mode", "no"]
    process = _start([REDIS, *words, "--dir", str(folder)], log=folder / "redis.log")
    _wait_for_port(address, port, process)
    return process, f"redis://{address}:{port}/0"


def _start_object_store(address: str, *, folder: Path) -> tuple[subprocess.Popen[bytes], str]:
    port = free_port(address)
    words = [sys.executable, "-m", "moto.server", "-H", address, "-p", str(port)]
    process = _start(words, log=folder / "store.log")
    _wait_for_port(address, port, process)
    endpoint = f"http://{address}:{port}"
    import s3fs  # noqa: PLC0415 - takes a second

    client = {"endpoint_url": endpoint, "region_name": "eu-central-1"}
    s3fs.S3FileSystem(key="test", secret="test", client_kwargs=client).mkdir("staging")
    return process, endpoint


def _start(words: list[str], *, log: Path) -> subprocess.Popen[bytes]:
    with log.open("ab") as file:
        return subprocess.Popen(words, stdout=file, stderr=subprocess.STDOUT)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    process.wait()


def _give_up(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def _wait_for_port(address: str, port: int, process: subprocess.Popen[bytes]) -> None:
    def answers() -> bool | None:
        assert process.poll() is None, "it ended at once"
        try:
            socket.create_connection((address, port), timeout=1).close()
        except OSError:
            return None
        return True

    wait_for(answers, seconds=60, what=f"answer at {address}:{port}")


def runs_by_status(instance: dg.DagsterInstance) -> Counter[str]:
    """How many runs there are of each status."""
    return Counter(run.status.value for run in instance.get_runs())


def facts_of_parts(instance: dg.DagsterInstance, run_id: str) -> list[dict[str, Any]]:
    """What each mapped step of a run showed of itself."""
    return [
        {name: fact.value for name, fact in entry.dagster_event.step_output_data.metadata.items()}
        for entry in instance.all_logs(run_id, of_type=dg.DagsterEventType.STEP_OUTPUT)
        if entry.dagster_event is not None
        and "embed_texts[" in str(entry.dagster_event.step_key)
        and entry.dagster_event.step_output_data is not None
    ]
