"""A directory of tools in MongoDB, with four views: what changes there is found here soon.

Processes of the program itself, against the wire stub. ``SYNC_PIPELINE_LANDING_TOOLS=6000`` takes
all of them and the real model: `make landing`.
"""

from __future__ import annotations

import gzip
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

from sync_pipeline_tests.landing.program import HASHING, Program
from sync_pipeline_tests.landing.told import tell
from sync_pipeline_tests.origins.mongo_data import StubCollection
from sync_pipeline_tests.origins.mongo_server import running_mongodb

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
    """The program, and the collection that it lands from."""

    run: Program
    tools: StubCollection
    engine: Engine
    seconds: dict[str, float] = field(default_factory=dict)

    def found(self, words: str) -> list[str]:
        """Ids of tools that a search finds."""
        hits = self.run("search", words, "--global", "--limit", "3", "--view", "text")["hits"]
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
    with running_mongodb() as stub:
        tools = stub.collection("directory", "tools")
        tools.insert(*tool_documents(shared_data, COUNT))
        run = Program.of(
            short_folder,
            SETTINGS,
            database_url=database_url,
            environment={"MONGODB_URL": stub.url, **({} if IS_LONG else HASHING)},
        )
        yield Directory(run, tools, engine)


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
    first = directory.run("land", "tools")["landings"][0]
    synced = directory.run("sync", "all")
    directory.run("feed", "install")
    directory.run("sync", "all")
    assert (first["rows"], synced["totals"]["documents"]) == (COUNT, COUNT)

    with directory.run.beside("land", "follow", "tools", "--sync", until="Following"):
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
    landed = directory.run("land", "tools")["landings"][0]
    again = directory.run("sync", "all")

    assert (landed["new"], landed["changed"], landed["deleted"], landed["rows"]) == (
        1,
        1,
        2,
        COUNT - 1,
    )
    assert again["totals"]["documents"] == COUNT - 1
    assert directory.found("zyxcider press")[0] == "zyx-later"
    assert directory.run("verify", "all")["ok"]
    unchanged = directory.run("land", "tools")["landings"][0]
    skipped = directory.run("sync", "all")
    assert (unchanged["new"], unchanged["changed"], unchanged["deleted"]) == (0, 0, 0)
    assert [scope["status"] for scope in skipped["scopes"]] == ["skipped"]
    tell("a directory of tools", tools=COUNT, seconds=directory.seconds)
    if IS_LONG:
        assert max(directory.seconds.values()) <= SOON_SECONDS
