"""``land follow``, which nobody watches."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import replace

import pytest
from sqlalchemy import Engine

from sync_pipeline.core.changes import Operation
from sync_pipeline.core.entity import Entity
from sync_pipeline_tests.cli.installed import CommandLine
from sync_pipeline_tests.fakes.feed import FakeChangeFeed
from sync_pipeline_tests.fakes.origin import FakeOrigin
from sync_pipeline_tests.landing.script import ScriptedOrigin, scripted
from sync_pipeline_tests.landing.site import LandingSite, product, products

pytestmark = pytest.mark.process

PRODUCT = Entity(name="product", table="landing.products", views=(("text", ("name",)),))


@pytest.fixture
def origin() -> ScriptedOrigin:
    """At its end somebody presses Ctrl-C."""
    found = scripted(3)
    found.at_end = lambda: os.kill(os.getpid(), signal.SIGINT)
    return found


@pytest.fixture
def site(run: CommandLine, engine: Engine, origin: ScriptedOrigin) -> LandingSite:
    site = LandingSite(engine, origin)
    run.land_from(site)
    return site


def test_it_lands_what_is_told_until_it_is_stopped(
    run: CommandLine, site: LandingSite, origin: ScriptedOrigin
) -> None:
    origin.steps = [lambda: origin.change(product(7))]

    result = run("land", "follow", "products", "--json")

    assert result.exit_code == 0
    assert json.loads(result.stdout) == {"ok": True, "batches": 1}
    assert "Following the changes of products; stop with Ctrl-C." in result.stderr
    assert "products: 3 new, 0 changed" in result.stderr
    assert "products: 1 new, 0 changed" in result.stderr
    assert "p00007" in site.ids()


def test_it_brings_what_changed_in_step(
    run: CommandLine, site: LandingSite, origin: ScriptedOrigin
) -> None:
    feed = FakeChangeFeed()
    feed.install([PRODUCT])
    run.source.tables["landing.products"] = []
    run.use(replace(run.sync.rebound(entities=(PRODUCT,)), feed=feed))

    def change() -> None:
        row = {"id": "p00007", "tenant_id": "acme", "is_global": False, "name": "plaster"}
        run.source.tables["landing.products"].append(row)
        feed.record(Operation.INSERT, entity_type="product", db_id="p00007", new="acme")
        origin.change(product(7))

    origin.steps = [change]

    result = run("land", "follow", "products", "--sync")

    assert result.exit_code == 0
    assert "acme: 1 new" in result.stderr
    assert run.documents() == {"tenant-product-p00007"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        pytest.param(["--sync"], "Run `sync-pipeline feed install`", id="no feed"),
        pytest.param([], "nothing tells of the changes of landing 'products'", id="no changes"),
    ],
)
def test_what_cannot_be_followed_is_refused_before_anything_begins(
    run: CommandLine, engine: Engine, origin: ScriptedOrigin, words: list[str], message: str
) -> None:
    run.land_from(LandingSite(engine, origin if words else FakeOrigin.of(*products(3))))
    run.use(replace(run.sync.rebound(entities=(PRODUCT,)), feed=FakeChangeFeed()))

    result = run("land", "follow", "products", *words)

    assert result.exit_code == 2
    assert message in result.stderr
