"""A command about one tenant looks at that tenant only."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from sync_pipeline.core.scope import Scope
from sync_pipeline_tests.cli.installed import CommandLine
from sync_pipeline_tests.fakes.watched import When, watch_context

LOOKS_AT_ALL = (
    "source.count_by_scope",
    "source.count_by_entity",
    "source.list_scopes",
    "source.digest_by_scope",
    "store.count_by_scope",
    "scopes.list_all",
)
"""Calls whose cost grows with the number of tenants."""


@contextmanager
def looks(run: CommandLine) -> Iterator[list[str]]:
    """The calls of a command that look at all scopes."""
    heard: list[str] = []

    def listen(called: str, when: When) -> None:
        if when == "before" and called in LOOKS_AT_ALL:
            heard.append(called)

    before, run.installation.sync = run.sync, watch_context(run.sync, listen)
    yield heard
    run.installation.sync = before


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(["sync", "tenant", "acme"], id="sync"),
        pytest.param(["sync", "tenant", "acme", "globex"], id="sync of two"),
        pytest.param(["sync", "tenant", "acme", "--force"], id="sync in any case"),
        pytest.param(["sync", "global"], id="sync of the global scope"),
        pytest.param(["plan", "tenant", "acme"], id="plan"),
        pytest.param(["verify", "tenant", "acme"], id="verify"),
        pytest.param(["export", "all", "--tenant", "acme"], id="export"),
        pytest.param(["search", "cement", "--tenant", "acme"], id="search"),
        pytest.param(["tenants", "remove", "acme"], id="what removing would do"),
        pytest.param(["explain", "material", "a1"], id="explain"),
    ],
)
def test_a_command_about_one_scope_looks_at_no_other(synced: CommandLine, words: list[str]) -> None:
    with looks(synced) as heard:
        result = synced(*words)

    assert result.exit_code in {0, 2}, result.stderr
    assert heard == []


def test_a_tenant_that_was_never_synced_is_looked_up_alone(run: CommandLine) -> None:
    with looks(run) as heard:
        result = run("plan", "tenant", "acme")

    assert result.exit_code == 0
    assert heard == []


def test_only_an_unknown_tenant_costs_a_look_at_all(synced: CommandLine) -> None:
    with looks(synced) as heard:
        result = synced("sync", "tenant", "acne")

    assert result.exit_code == 2
    assert "Did you mean 'acme'?" in result.stderr
    assert heard.count("source.count_by_entity") == 1


def test_a_sync_of_all_looks_at_all_once(synced: CommandLine) -> None:
    with looks(synced) as heard:
        synced("sync", "all")

    assert heard.count("source.count_by_entity") == 1
    assert heard.count("source.digest_by_scope") == 1


def test_a_tenant_that_only_the_index_knows_can_be_removed(synced: CommandLine) -> None:
    for table in synced.source.tables.values():
        table[:] = [row for row in table if row["tenant_id"] != "acme"]
    synced.sync.scopes.forget(scope=Scope("acme"))

    with looks(synced) as heard:
        result = synced("tenants", "remove", "acme")

    assert "This would remove" in result.stdout
    assert heard == []
