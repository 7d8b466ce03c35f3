"""``feed install`` and ``feed status`` say what the feed sees and what it does not."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from sync_pipeline_tests.cli.installed import CommandLine
from sync_pipeline_tests.fakes.feed import FakeChangeFeed


@pytest.fixture
def feed(run: CommandLine) -> FakeChangeFeed:
    """A feed that is not installed yet."""
    feed = FakeChangeFeed()
    run.sync = replace(run.sync, feed=feed)
    run.installation.sync = run.sync
    return feed


def test_installing_names_what_cannot_have_the_feed_and_what_it_does_not_see(
    run: CommandLine, feed: FakeChangeFeed
) -> None:
    feed.unable["work"] = "works is a view; incremental syncs look at its column 'at' instead"
    feed.blind_spots["material"] = ("a subscription writes it",)

    result = run("feed", "install")

    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "feed of entity 'material'",
        "work: works is a view; incremental syncs look at its column 'at' instead",
        "material: not seen: a subscription writes it",
        "Now run `sync-pipeline sync all`: changes made before are not in the feed.",
    ]


def test_installing_where_nothing_can_have_the_feed_fails(
    run: CommandLine, feed: FakeChangeFeed
) -> None:
    feed.unable = {"work": "works is a view", "material": "materials is a view"}

    result = run("feed", "install")

    assert result.exit_code == 2
    assert "works is a view" in result.stderr
    assert "materials is a view" in result.stderr


def test_status_shows_states_epochs_and_blind_spots(run: CommandLine, feed: FakeChangeFeed) -> None:
    feed.unable["work"] = "works is a view"
    feed.blind_spots["material"] = ("a subscription writes it",)
    run("feed", "install")

    shown = run("feed", "status").stdout
    answer = json.loads(run("feed", "status", "--json").stdout)

    assert "material: not seen: a subscription writes it" in shown
    assert "work: works is a view" in shown
    assert [
        (one["entity_type"], one["state"], one["epoch"], one["blind_spots"])
        for one in answer["entities"]
    ] == [
        ("material", "installed", "epoch 1", ["a subscription writes it"]),
        ("work", "unable", None, []),
    ]
