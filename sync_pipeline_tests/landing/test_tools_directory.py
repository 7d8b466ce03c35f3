"""A directory of tools in MongoDB, with four views: what changes there is found here soon.

Processes of the program itself, against the wire stub. ``SYNC_PIPELINE_LANDING_TOOLS=6000`` takes
all of them and the real model: `make landing`.
"""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from sqlalchemy import Engine, text

from sync_pipeline_tests.origins.mongo_data import StubCollection
from sync_pipeline_tests.origins.mongo_server import MongoStub, running_mongodb

COUNT = int(os.environ.get("SYNC_PIPELINE_LANDING_TOOLS", "300"))
IS_LONG = COUNT > 300
SOON_SECONDS = 5.0
PATIENCE = timedelta(seconds=60)
"""A busy machine makes a test slow, not wrong; what the documents quote is printed."""

pytestmark = [pytest.mark.process, pytest.mark.slow, pytest.mark.timeout(1800 if IS_LONG else 300)]

SETTINGS: dict[str, Any] = {
    "connections": {
        "directory": {"kind": "mongodb", "url": {"env": "MONGODB_URL"}, "database": "directory"}
    },
    "landings": [
        {
            "name": "tools",
            "connection": "directory",
            "table": "landing.tools",
            "collection": "tools",
            "id": "id",
            "where": {"status": "published"},
            "owner": {"global": True},
            "required": ["name"],
            "columns": {
                "name": "name",
                "description": "description",
                "functionality": {"field": "functionality", "join": ", "},
                "categories": {"field": "categories", "join": ", "},
                "interface": {"field": "interface", "join": ", "},
                "deployment": {"field": "deployment", "join": ", "},
                "pricing_model": {"field": "pricingModel"},
                "status": "status",
                "facets": {
                    "fields": ["functionality", "categories", "interface", "deployment"],
                    "type": "jsonb",
                },
            },
            "follow": "change_stream",
        }
    ],
    "entities": [
        {
            "name": "tool",
            "table": "landing.tools",
            "updated_at": "updated_at",
            "views": {
                "text": ["name", "description"],
                "functionality": ["functionality", "categories"],
                "usecases": ["deployment", "categories"],
                "interface": ["interface", "pricing_model", "status"],
            },
            "payload": {"facets": "facets"},
        }
    ],
}


@dataclass(slots=True)
class Directory:
    """The program in a folder of its own, and the collection it lands from."""

    folder: Path
    stub: MongoStub
    tools: StubCollection
    environment: dict[str, str]
    engine: Engine
    seconds: dict[str, float] = field(default_factory=dict)

    def __call__(self, *words: str) -> dict[str, Any]:
        """What a command answers."""
        command = [sys.executable, "-m", "sync_pipeline", *words, "--json"]
        done = subprocess.run(  # noqa: PLW1510 - judged below
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    @contextmanager
    def following(self) -> Iterator[None]:
        """With somebody who lands and syncs what changes."""
        command = [sys.executable, "-m", "sync_pipeline", "land", "follow", "tools", "--sync"]
        with subprocess.Popen(
            command, cwd=self.folder, env=self.environment, stderr=subprocess.PIPE, text=True
        ) as process:
            assert process.stderr is not None
            try:
                for line in process.stderr:
                    if "Following" in line:
                        break
                yield
            finally:
                process.send_signal(signal.SIGTERM)
                process.stderr.read()

    def found(self, words: str) -> list[str]:
        """Ids of tools that a search finds."""
        hits = self("search", words, "--global", "--limit", "3", "--view", "text")["hits"]
        return [hit["payload"]["dbId"] for hit in hits]

    def soon(self, what: str, change: Callable[[], None], *, is_there: bool) -> None:
        """Change the new tool, and note how long it takes until the index is in step with that."""
        query = text("SELECT last_synced_at FROM sync_pipeline.index_state WHERE db_id = 'zyx-new'")
        began = datetime.now(tz=UTC)
        change()
        while (waited := datetime.now(tz=UTC) - began) < PATIENCE:
            with self.engine.connect() as connection:
                written_at = connection.scalar(query)
            if (written_at is not None and written_at > began) if is_there else written_at is None:
                self.seconds[what] = round(waited.total_seconds(), 2)
                return
            time.sleep(0.02)
        raise AssertionError(f"not so after {PATIENCE}: {what}")


@pytest.fixture
def directory(
    short_folder: Path, shared_data: Path, engine: Engine, database_url: str
) -> Iterator[Directory]:
    (short_folder / "sync_pipeline.yaml").write_text(yaml.safe_dump(SETTINGS))
    with running_mongodb() as stub:
        environment = os.environ | {
            "MONGODB_URL": stub.url,
            "DATABASE_URL": database_url,
            "SYNC_PIPELINE_HOME": str(short_folder / "home"),
            "PYTHONPATH": os.pathsep.join(sys.path),
            "NO_COLOR": "1",
        }
        if not IS_LONG:
            environment |= {
                "SYNC_PIPELINE__EMBEDDING__PROVIDER": "hashing",
                "SYNC_PIPELINE__EMBEDDING__DIMENSION": "16",
            }
        tools = stub.collection("directory", "tools")
        tools.insert(*tool_documents(shared_data, COUNT))
        yield Directory(short_folder, stub, tools, environment, engine)


def tool_documents(shared_data: Path, count: int) -> list[dict[str, Any]]:
    """The first tools of the catalogue, as a directory keeps them."""
    with gzip.open(shared_data / "tools" / "biotools.jsonl.gz", "rt") as lines:
        records = [json.loads(line) for line, _ in zip(lines, range(count), strict=False)]
    return [
        {"_id": f"key-{number}", **record, "status": "published"}
        for number, record in enumerate(records)
    ]


def tool(tool_id: str, words: str) -> dict[str, Any]:
    return {
        "id": tool_id,
        "name": words,
        "description": words,
        "functionality": ["Testing"],
        "categories": ["Cellars"],
        "interface": ["Web application"],
        "deployment": ["Linux"],
        "pricingModel": "Free",
        "status": "published",
    }


def test_changes_are_found_soon_with_the_stream_and_after_a_full_pass_without(
    directory: Directory,
) -> None:
    first = directory("land", "tools")["landings"][0]
    synced = directory("sync", "all")
    directory("feed", "install")
    directory("sync", "all")
    assert (first["rows"], synced["totals"]["documents"]) == (COUNT, COUNT)

    with directory.following():
        new = {"_id": "new", **tool("zyx-new", "zyxwine cellar planner")}
        directory.soon("create", lambda: directory.tools.insert(new), is_there=True)
        assert "zyx-new" in directory.found("zyxwine cellar")
        renamed = {"name": "qwvmead brewer", "description": "qwvmead"}
        directory.soon("update", lambda: directory.tools.update("new", renamed), is_there=True)
        assert "zyx-new" in directory.found("qwvmead brewer")
        draft, published = {"status": "draft"}, {"status": "published"}
        directory.soon(
            "leaves the filter", lambda: directory.tools.update("new", draft), is_there=False
        )
        assert "zyx-new" not in directory.found("qwvmead brewer")
        directory.soon(
            "comes back", lambda: directory.tools.update("new", published), is_there=True
        )
        directory.soon("delete", lambda: directory.tools.delete("new"), is_there=False)
        assert "zyx-new" not in directory.found("qwvmead brewer")

    # Nobody follows now: the next full pass finds all of it.
    directory.tools.insert({"_id": "later", **tool("zyx-later", "zyxcider press")})
    directory.tools.update("key-3", {"name": "qwvperry fermenter"})
    directory.tools.delete("key-4")
    directory.tools.update("key-5", {"status": "draft"})
    landed = directory("land", "tools")["landings"][0]
    again = directory("sync", "all")

    assert (landed["new"], landed["changed"], landed["deleted"], landed["rows"]) == (
        1,
        1,
        2,
        COUNT - 1,
    )
    assert again["totals"]["documents"] == COUNT - 1
    assert directory.found("zyxcider press")[0] == "zyx-later"
    assert directory("verify", "all")["ok"]
    unchanged = directory("land", "tools")["landings"][0]
    skipped = directory("sync", "all")
    assert (unchanged["new"], unchanged["changed"], unchanged["deleted"]) == (0, 0, 0)
    assert [scope["status"] for scope in skipped["scopes"]] == ["skipped"]
    sys.stdout.write(json.dumps({"tools": COUNT, "seconds": directory.seconds}) + "\n")
    if IS_LONG:
        assert max(directory.seconds.values()) <= SOON_SECONDS
