"""Which generation serves, changed over HTTP."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sync_pipeline_tests.cli.installed import CommandLine, use_dimension
from sync_pipeline_tests.service.served import Served, serving

ADMIN = ("admin", None)


def change_model(run: CommandLine) -> None:
    """Two generations: that of the settings serves, the one before is kept."""
    use_dimension(run, 32)
    assert run("sync", "all").exit_code == 0


@pytest.fixture
def changed(tmp_path: Path) -> Iterator[Served]:
    with serving(tmp_path, prepare=change_model) as served:
        yield served


def serves(served: Served) -> str | None:
    with served.run.sync.store() as store:
        return store.alias_target(served.run.sync.alias)


def post(served: Served, path: str) -> Any:
    return served.client.post(path, headers=served.headers(*ADMIN))


def followed(served: Served, location: str) -> Any:
    """How an attempt ended."""
    until = time.monotonic() + 10
    while True:
        state = served.client.get(location, headers=served.headers(*ADMIN)).json()
        if state["status"] != "started":
            return state
        assert time.monotonic() < until
        time.sleep(0.01)


def test_the_index_goes_back_at_once_and_forth_once_it_is_checked(changed: Served) -> None:
    wanted = changed.run.sync.spec.collection

    back = post(changed, "/api/index/rollback")
    between = serves(changed)
    asked = post(changed, "/api/index/switch")
    done = followed(changed, asked.headers["location"])

    assert back.status_code == 200, back.text
    assert back.json()["serves"] == between != wanted
    assert back.json()["in_sync_to"] is not None
    assert asked.status_code == 202
    assert done == {"status": "done", "serves": wanted, "error": None}
    assert serves(changed) == wanted


def test_what_keeps_a_generation_from_serving_is_told(tmp_path: Path) -> None:
    with serving(tmp_path, prepare=lambda run: use_dimension(run, 32)) as served:
        before = serves(served)
        asked = post(served, "/api/index/switch")

        state = followed(served, asked.headers["location"])

    assert state["status"] == "failed"
    assert state["error"].startswith("3 of 3 scopes are not filled: global, acme, globex; run")
    assert serves(served) == before


def test_nothing_was_asked_for_at_first(changed: Served) -> None:
    state = changed.client.get("/api/index/switch", headers=changed.headers(*ADMIN)).json()

    assert state == {"status": "none", "serves": None, "error": None}


def test_the_page_offers_the_way_back_and_forth_to_admins(changed: Served) -> None:
    def page(role: str) -> str:
        answer = changed.client.get("/", headers=changed.headers(role, None))
        assert answer.status_code == 200
        return str(answer.text)

    before, other = page("admin"), page("worker")
    post(changed, "/api/index/rollback")
    changed.run.sync.generations.note_refusal(
        collection=changed.run.sync.spec.collection, reason="it was <b>slow</b>"
    )
    after = page("admin")

    assert 'data-post="/api/index/rollback"' in before
    assert "Served before, and is kept in step." in before
    assert "/api/index/" not in other
    assert 'data-post="/api/index/switch"' in after
    assert 'data-post="/api/index/rollback"' not in after
    assert "It does not serve: it was &lt;b&gt;slow&lt;/b&gt;." in after
