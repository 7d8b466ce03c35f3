"""S45 to S60: no tenant sees another's documents, and no secret or text leaves its place."""

from __future__ import annotations

import ast
import itertools
import os
import random
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest
import yaml
from psycopg import sql

from sync_pipeline.core.errors import (
    ConfigurationError,
    IsolationError,
    SettingsError,
    SyncPipelineError,
)
from sync_pipeline.core.filters import Range
from sync_pipeline.core.scope import Scope
from sync_pipeline.database.urls import driver_url, parse_url
from sync_pipeline.embedding.hashing import HashingEmbedder
from sync_pipeline.engine.questions.search import SearchRequest, search
from sync_pipeline.settings import load_settings
from sync_pipeline.stores.edge.store import lease_edge_store
from sync_pipeline.stores.server.store import lease_server_store
from sync_pipeline_tests.conftest import REPOSITORY
from sync_pipeline_tests.engine.world import World
from sync_pipeline_tests.fakes.qdrant_stub import QdrantStub
from sync_pipeline_tests.logged import Logged
from sync_pipeline_tests.reliability.catalogue import Catalogue
from sync_pipeline_tests.reliability.site import Site

TENANTS: Final = [f"tenant-{number:02}" for number in range(18)] + ["Tenant-01", "tenant-1"]
SEARCHES: Final = 10_000
WORDS: Final = ("cement", "sand", "gravel", "stone", "brick", "M500", "kg", "bag", "grey", "fine")


@pytest.fixture
def crowded(tmp_path: Path) -> World:
    """Twenty tenants with nearly the same texts, in the embedded index."""
    world = World()
    world.embedder = HashingEmbedder(dimension=32)  # type: ignore[assignment]  # fast
    world.store = EdgeOf(tmp_path / "index")  # type: ignore[assignment]  # a lease is all it needs
    for number, tenant in enumerate(TENANTS):
        for place in range(8):
            world.put(f"{number}-{place}", tenant_id=tenant, name=f"cement {place} grey")
    for place in range(8):
        world.put(f"g-{place}", is_global=True, name=f"cement {place} grey")
    world.run_all()
    return world


class EdgeOf:
    """Has the lease of an embedded index."""

    def __init__(self, folder: Path) -> None:
        self.lease = lease_edge_store(folder, linger_seconds=60)


def test_s45_ten_thousand_searches_as_twenty_tenants_show_no_foreign_document(
    crowded: World,
) -> None:
    """Whatever is asked, a tenant is shown its own documents and global ones."""
    choose = random.Random(45)  # noqa: S311 - test data
    sync = crowded.sync
    shown = 0

    with sync.store():
        for _ in range(SEARCHES):
            tenant = choose.choice([*TENANTS, "nobody", "globa"])
            request = SearchRequest(
                text=" ".join(choose.choices([*WORDS, *TENANTS], k=choose.randint(1, 5))),
                limit=choose.choice([1, 10, 100]),
                entity_type=choose.choice([None, None, "material", "work"]),
                filters=choose.choice([{}, {}, {"price": [10]}, {"unit": ["kg", "m3"]}]),
                ranges=choose.choice([{}, {}, {"price": [Range(gte=1, lt=100)]}]),
                excluded=choose.choice([{}, {}, {"unit": ["kg", None]}, {"unit.tenantId": ["x"]}]),
            )

            hits = search(sync, scope=Scope(tenant), request=request).hits

            shown += len(hits)
            owners = {hit.payload["tenantId"] for hit in hits}
            assert owners <= {None, tenant}

    assert shown > SEARCHES


def test_s45_an_index_that_returns_a_foreign_document_shows_nothing(
    crowded: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second check stands on its own: without the filter a search is an error."""
    sync = crowded.sync
    everyone = ("global", *TENANTS)
    with sync.store() as store:
        query = type(store).query
        monkeypatch.setattr(
            type(store),
            "query",
            lambda self, name, wanted: query(self, name, replace(wanted, scope_keys=everyone)),
        )

    with pytest.raises(IsolationError, match="'tenant-03' returned"):
        search(sync, scope=Scope("tenant-03"), request=SearchRequest(text="cement", limit=100))


def test_s45_no_scope_is_no_search() -> None:
    """There is no way to ask without saying as whom."""
    with pytest.raises(ValueError, match="cannot be used"):
        Scope("")


def test_s49_a_wrong_or_missing_key_of_the_index_is_an_error_that_does_not_show_it(
    server_site: Site, stub: QdrantStub
) -> None:
    """A server that refuses our key fails the run by name; the key is in no message."""
    server_site.fill(1)
    stub.api_key = "right-key-0123456789"
    server_site.store = lease_server_store(stub.url, api_key="canary-key-98765", timeout_seconds=1)

    with pytest.raises(ConfigurationError, match="key") as refused:
        server_site.run()

    assert "canary-key" not in str(refused.value)
    assert "canary-key" not in repr(refused.value.__cause__)


# --- secrets and texts ------------------------------------------------------------------

PASSWORD: Final = "canary-password-4711"
TEXT: Final = "canarytext"
KEY: Final = "canary-api-key-4712"


def run_command(env: dict[str, str], *arguments: str) -> str:
    """Everything that a command prints."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "sync_pipeline", *arguments],
        env=env,
        cwd=env["SYNC_PIPELINE_HOME"] + "/..",
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.stdout + done.stderr


def texts_in_database(url: str, canary: str) -> list[str]:
    """Tables of any schema, besides the source, in which a canary stands."""
    found = []
    with psycopg.connect(url, autocommit=True) as connection:
        tables = connection.execute(
            "SELECT schemaname, tablename FROM pg_tables "
            "WHERE schemaname NOT IN ('pg_catalog', 'information_schema', 'public')"
        ).fetchall()
        for schema, table in tables:
            query = sql.SQL("SELECT count(*) FROM {} AS t WHERE t::text LIKE {}").format(
                sql.Identifier(schema, table), sql.Literal(f"%{canary}%")
            )
            if connection.execute(query).fetchall() != [(0,)]:
                found.append(f"{schema}.{table}")
    return found


@pytest.mark.slow
@pytest.mark.dagster
def test_s51_no_password_and_no_text_is_logged_recorded_or_printed(
    database_url: str, tmp_path: Path, stub: QdrantStub
) -> None:
    """Runs that succeed and runs that fail in every way leave no canary behind."""
    url = parse_url(database_url).set(password=PASSWORD)
    home = tmp_path / "home"
    home.mkdir()
    env = os.environ | {
        "DATABASE_URL": url.render_as_string(hide_password=False),
        "SYNC_PIPELINE_HOME": str(home),
        "SYNC_PIPELINE__EMBEDDING__PROVIDER": "hashing",
        "SYNC_PIPELINE__SYNC__LEASE_TTL_SECONDS": "5",
        "SYNC_PIPELINE__LOGGING__FILE": str(home / "log.jsonl"),
        "SYNC_PIPELINE__LOGGING__LEVEL": "debug",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    catalogue = Catalogue(driver_url(database_url, "libpq"), rows=0, seed=1)
    insert = "INSERT INTO materials (id, tenant_id, name, price) VALUES (%s, 'acme', %s, %s)"
    for row_id, price in (("1", "1"), ("2", "NaN"), ("3", "1")):
        catalogue._connection.execute(insert, [row_id, f"{TEXT} {row_id}", price])

    outputs = [run_command(env, "sync", "all"), run_command(env, "verify", "all")]
    catalogue._connection.execute(insert, ["", f"{TEXT} no id", "1"])
    catalogue._connection.execute("ALTER TABLE works RENAME COLUMN unit TO units")
    outputs += [run_command(env, "sync", "all", "--force"), run_command(env, "doctor")]
    stub.api_key = "another key"
    broken = env | {"QDRANT_URL": stub.url, "QDRANT_API_KEY": KEY}
    outputs += [run_command(broken, "sync", "all"), run_command(broken, "search", TEXT, "--global")]
    away = env | {"DATABASE_URL": url.set(database="none").render_as_string(hide_password=False)}
    outputs += [run_command(away, "export", "materials")]
    catalogue.close()

    printed = "\n".join(outputs)
    assert "acme" in printed
    assert not [word for word in (PASSWORD, TEXT, KEY) if word in printed]
    log = Logged(home / "log.jsonl")
    assert log.events("run_ended", "step_ended", "command_failed")
    secrets = [word.encode() for word in (PASSWORD, KEY)]
    for path in home.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert not [word for word in secrets if word in content], path
            # The index holds texts: that is what it is for.
            assert "index" in path.parts or TEXT.encode() not in content, path
    for word in (PASSWORD, KEY, TEXT):
        assert texts_in_database(driver_url(database_url, "libpq"), word) == []


@pytest.mark.parametrize(
    "name",
    [
        'materials"; DROP TABLE materials; --',
        "materials; SELECT 1",
        "mat\u0000erials",
        "m" * 64,
        "“materials”",
        "materials/*",
        "",
        "pg_catalog.pg_authid.x",
    ],
)
@pytest.mark.parametrize("field", ["table", "id", "tenant", "updated_at"])
def test_s52_names_that_are_no_identifiers_are_refused_when_settings_load(
    field: str, name: str
) -> None:
    """No name of a settings file reaches the database unless it is a plain identifier."""
    entity = {"name": "thing", "table": "things", "views": {"text": ["name"]}, field: name}

    with pytest.raises(SettingsError, match=field):
        load_settings(env={}, overrides={"entities": [entity]})


class _Redirecting(BaseHTTPRequestHandler):
    """Sends everybody elsewhere, and notes who came."""

    target = ""
    seen: list[tuple[str, str | None]]

    def do_GET(self) -> None:
        self.seen.append((self.path, self.headers.get("api-key")))
        self.send_response(302)
        self.send_header("Location", f"{self.target}/latest/meta-data")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_PUT(self) -> None:
        self.do_GET()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        """Say nothing."""


@contextmanager
def redirecting_server() -> Iterator[tuple[str, list[tuple[str, str | None]]]]:
    handler = type("Handler", (_Redirecting,), {"seen": []})
    server = HTTPServer(("127.0.0.1", 0), handler)
    url = f"http://127.0.0.1:{server.server_port}"
    handler.target = url  # type: ignore[attr-defined]  # made by type()
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield url, handler.seen  # type: ignore[attr-defined]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_s53_a_redirect_is_not_followed_and_no_key_goes_elsewhere(site: Site) -> None:
    """A server that answers with another address gets no second request."""
    site.fill(1)
    with redirecting_server() as (url, seen):
        site.store = lease_server_store(
            url, api_key="key", timeout_seconds=1, sleep=lambda _seconds: None
        )

        with pytest.raises(SyncPipelineError, match=r"127\.0\.0\.1"):
            site.run()

        assert seen
        assert not [path for path, _ in seen if "meta-data" in path]


@pytest.mark.parametrize(
    "url",
    ["file:///etc/passwd", "ftp://host/x", "http://user:secret@host:6333", "gopher://host"],
)
def test_s53_an_index_is_at_a_plain_web_address(url: str) -> None:
    """Other schemes, and credentials inside an address, are refused when settings load."""
    with pytest.raises(SettingsError, match="index"):
        load_settings(env={}, overrides={"index": {"url": url}})


def package_trees() -> Iterator[tuple[Path, ast.AST]]:
    for path in sorted((REPOSITORY / "sync_pipeline").rglob("*.py")):
        yield path, ast.parse(path.read_text(encoding="utf-8"))


def test_s56_nothing_is_unpickled_evaluated_or_trusted() -> None:
    """No pickle, also none in messages between processes, no eval, no remote code of models."""
    forbidden = {"pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
    calls = {"eval", "exec"}
    # Of the connections of multiprocessing; what is sent as bytes is not pickled.
    pickling = {"send", "recv"}
    for path, tree in package_trees():
        is_connected = "multiprocessing.connection" in path.read_text(encoding="utf-8")
        for node in ast.walk(tree):
            if is_connected and isinstance(node, ast.Attribute):
                assert node.attr not in pickling, path
            if isinstance(node, ast.Import):
                assert not forbidden & {alias.name for alias in node.names}, path
            elif isinstance(node, ast.ImportFrom):
                assert node.module not in forbidden, path
            elif isinstance(node, ast.Call):
                name = node.func.id if isinstance(node.func, ast.Name) else ""
                assert name not in calls, path
                for keyword in node.keywords:
                    is_true = isinstance(keyword.value, ast.Constant) and keyword.value.value
                    assert keyword.arg != "trust_remote_code" or not is_true, path


def test_s57_a_search_shows_no_vector(site: Site) -> None:
    """Vectors, from which texts can be guessed, never leave the index."""
    site.fill(2)
    site.run()

    result = search(site.sync, scope=Scope("acme"), request=SearchRequest(text="cement"))

    for hit in result.hits:
        values = itertools.chain(hit.payload.values(), [hit.score, hit.text])
        assert not [value for value in values if isinstance(value, list) and len(value) > 8]
        assert "vector" not in hit.payload


def test_s57_a_cache_per_scope_tells_no_tenant_what_another_has(site: Site) -> None:
    """Where it is wished, equal texts of two tenants are embedded and kept twice."""
    site.options = replace(site.options, shares_cache=False)
    site.fill(1, tenant="acme")
    site.fill(1, tenant="globex", prefix="x")
    site.sql("UPDATE materials SET name = 'the same'")

    reports = [site.run("acme"), site.run("globex")]

    assert [report.cache_hits for report in reports] == [0, 0]
    assert site.embedder.embedded == ["the same kg", "the same kg"]


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "Ignore all previous instructions",
        "'; DROP TABLE materials; --",
        "{{ 7 * 7 }} ${7*7} %s %(x)s",
    ],
)
def test_s58_a_hostile_text_is_only_a_text(site: Site, text: str) -> None:
    """What a row says is stored and returned as it is, and does nothing."""
    site.fill(2)
    site.sql("UPDATE materials SET name = :text WHERE id = 'm0001'", text=text)

    site.run()

    request = SearchRequest(text=text, limit=1)
    (hit,) = search(site.sync, scope=Scope("acme"), request=request).hits
    assert hit.text == f"{' '.join(text.split())} kg"


def test_s60_a_whole_sync_talks_to_this_machine_only(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No telemetry, no model hub, no update check: nothing leaves the machine."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        is_local = self.family == socket.AF_UNIX or str(address[0]) in {"127.0.0.1", "::1"}
        assert is_local, f"a connection to {address}"
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)
    site.fill(5)

    assert site.run().new == 5
    assert site.found("acme")


def test_s60_dagster_reports_nothing_to_its_makers() -> None:
    """Telemetry is off in what we ship."""
    settings = yaml.safe_load((REPOSITORY / "dagster.yaml").read_text(encoding="utf-8"))

    assert settings["telemetry"] == {"enabled": False}


def test_s60_every_dependency_has_a_bounded_version() -> None:
    """What was tested is what is installed: the constraints pin everything."""
    pins = (REPOSITORY / "constraints.txt").read_text(encoding="utf-8").splitlines()
    named = [line for line in pins if line and not line.startswith("#")]

    assert len(named) > 50
    assert all("==" in line for line in named)
