"""``feed follow``, which nobody watches."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from sync_pipeline.core.changes import Operation
from sync_pipeline.core.errors import StoreUnavailableError
from sync_pipeline.core.reports import ScopeReport
from sync_pipeline.core.scope import Scope
from sync_pipeline_tests.cli.installed import CommandLine, FakeOrchestrator
from sync_pipeline_tests.fakes.feed import FakeChangeFeed


class AwayOnce(FakeOrchestrator):
    """The index is away the first time; the second time is the last."""

    def __init__(self, run: CommandLine) -> None:
        super().__init__(run.sync)
        self.asked: list[list[str]] = []

    def run_scopes(self, settings: Any, scopes: Sequence[Scope], **kept: Any) -> list[ScopeReport]:
        self.asked.append([scope.key for scope in scopes])
        if len(self.asked) == 1:
            raise StoreUnavailableError("the index does not answer")
        os.kill(os.getpid(), signal.SIGINT)
        return super().run_scopes(settings, scopes, **kept)


@pytest.fixture
def followed(run: CommandLine) -> AwayOnce:
    """An installation with a change in its feed."""
    feed = FakeChangeFeed()
    feed.install(run.sync.entities)
    feed.record(Operation.INSERT, entity_type="material", db_id="a1", new="acme")
    run.sync = replace(run.sync, feed=feed)
    run.installation.sync = run.sync
    run.orchestrator = AwayOnce(run)
    return run.orchestrator


def test_an_index_that_does_not_answer_does_not_end_it(
    run: CommandLine, followed: AwayOnce
) -> None:
    result = run("feed", "follow", "--poll-seconds", "0.1")

    assert result.exit_code == 0
    assert "the changes have to wait: the index does not answer" in result.output
    assert followed.asked == [["acme"], ["acme"]]
