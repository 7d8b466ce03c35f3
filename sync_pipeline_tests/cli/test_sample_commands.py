from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Engine, inspect

from sync_pipeline.cli.demo import Shown
from sync_pipeline.core.fusion import Fusion
from sync_pipeline.core.point import Hit
from sync_pipeline.embedding.hashing import HashingEmbedder
from sync_pipeline.embedding.sentence_transformers import SentenceTransformersEmbedder
from sync_pipeline.sample.builtin import DEMO_SEARCHES
from sync_pipeline.settings import load_settings
from sync_pipeline_tests.cli.installed import CommandLine, FakeInstallation


@pytest.fixture
def with_database(run: CommandLine, engine: Engine) -> CommandLine:
    """The program over an empty database."""
    run.read_from(engine, embedder=HashingEmbedder())
    return run


@pytest.fixture
def with_model(run: CommandLine, engine: Engine) -> CommandLine:
    """The same with the bundled model, which understands what it reads."""
    run.read_from(engine, embedder=SentenceTransformersEmbedder())
    return run


def demonstrated(run: CommandLine) -> dict[str, Any]:
    result = run("demo", "--json")
    answer: dict[str, Any] = json.loads(result.stdout)
    assert answer["ok"] is (result.exit_code == 0)
    return answer


def test_the_builtin_catalogue_is_loaded_once(with_database: CommandLine) -> None:
    first = json.loads(with_database("sample", "load", "builtin", "--json").stdout)
    second = json.loads(with_database("sample", "load", "builtin", "--json").stdout)

    assert set(first) == {"ok", "catalogue", "rows", "written", "skipped"}
    assert set(first["rows"]) == {"global", "acme", "globex", "severstroy"}
    assert first["written"] == sum(sum(tables.values()) for tables in first["rows"].values())
    assert second["written"] == 0


def test_people_see_what_was_loaded(with_database: CommandLine) -> None:
    result = with_database("sample", "load", "builtin")

    assert "severstroy" in result.stdout
    assert "are new or changed" in result.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        pytest.param(["builtin", "somewhere"], "leave PATH out", id="path of the builtin one"),
        pytest.param(["cwicr"], "sample load cwicr PATH", id="no path"),
        pytest.param(["nonsense"], "nonsense", id="unknown catalogue"),
    ],
)
def test_wrong_usage_ends_with_2(
    with_database: CommandLine, engine: Engine, words: list[str], message: str
) -> None:
    result = with_database("sample", "load", *words)

    assert result.exit_code == 2
    assert message in result.stderr
    assert inspect(engine).get_table_names() == []


@pytest.mark.model
@pytest.mark.slow
def test_the_demo_shows_its_claims_and_embeds_nothing_twice(with_model: CommandLine) -> None:
    answer = demonstrated(with_model)
    again = with_model("demo")

    assert answer["sync"]["totals"]["new"] == answer["loaded"]["written"]
    assert [one["as_claimed"] for one in answer["searches"]] == [True, True, True]
    assert answer["ok"] is True
    assert again.exit_code == 0
    assert "nothing had to be embedded" in again.stdout
    assert "open http://127.0.0.1:3000" in again.stdout


def test_a_claim_that_does_not_hold_ends_with_1(with_database: CommandLine) -> None:
    """Vectors without meaning, which count for nearly everything."""
    fusion = Fusion(weights={"text": 10})
    with_database.sync = replace(with_database.sync, fusion=fusion)
    with_database.installation = FakeInstallation(
        with_database.sync, source_engine=with_database.installation.source_engine
    )

    answer = demonstrated(with_database)

    assert [one["as_claimed"] for one in answer["searches"]] == [False, True, True]
    assert answer["ok"] is False


def test_the_demo_keeps_its_rows_out_of_a_configured_database(
    with_database: CommandLine, engine: Engine
) -> None:
    with_database.settings = load_settings(env={"DATABASE_URL": "postgresql://h/shop"})

    refused = with_database("demo")

    assert refused.exit_code == 2
    assert "say --yes" in refused.stderr
    assert inspect(engine).get_table_names() == []


def test_the_demo_may_be_told_to_use_a_configured_database(
    with_database: CommandLine, engine: Engine
) -> None:
    with_database.settings = load_settings(env={"DATABASE_URL": "postgresql://h/shop"})

    with_database("demo", "--yes")

    assert sorted(inspect(engine).get_table_names()) == ["materials", "works"]


def test_a_claim_is_judged_by_the_hits() -> None:
    found, _, hidden = DEMO_SEARCHES

    def hit(document_id: str) -> Hit:
        return Hit(document_id, 1.0, "text", {})

    assert Shown(search=found, hits=[hit(found.document_id), hit("x")]).is_as_claimed
    assert not Shown(search=found, hits=[hit("x"), hit(found.document_id)]).is_as_claimed
    assert not Shown(search=found, hits=[]).is_as_claimed
    assert Shown(search=hidden, hits=[hit("x")]).is_as_claimed
    assert not Shown(search=hidden, hits=[hit("x"), hit(hidden.document_id)]).is_as_claimed
