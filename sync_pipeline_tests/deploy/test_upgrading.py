"""What docs/upgrading.md says about two versions over one state."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from sync_pipeline.core.errors import ConfigurationError
from sync_pipeline.database.migrate import migrate
from sync_pipeline.wiring import open_installation
from sync_pipeline_tests.conftest import REPOSITORY
from sync_pipeline_tests.hosting.test_instance import settings_for

NEWER = text("UPDATE sync_pipeline.alembic_version SET version_num = 'r9999_newer'")


def test_a_program_that_is_up_goes_on_after_a_newer_one_migrated_and_a_new_start_is_refused(
    database_url: str, engine: Engine, tmp_path: Path
) -> None:
    installation = open_installation(settings_for(database_url, home=tmp_path / "up"))
    with engine.begin() as connection:
        connection.execute(NEWER)

    assert installation.sync.requests.purge(min_age_seconds=0) == 0
    with pytest.raises(ConfigurationError, match="written by a newer sync-pipeline"):
        # What opening an installation begins with.
        migrate(engine)


def upgrade_calls() -> dict[str, set[str]]:
    """Per revision, what its ``upgrade`` asks Alembic for."""
    found = {}
    for path in sorted((REPOSITORY / "sync_pipeline/migrations/versions").glob("r*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
        reached = [functions["upgrade"]]
        for function in reached:
            called = {name.id for name in ast.walk(function) if isinstance(name, ast.Name)}
            reached += [
                functions[name]
                for name in called & functions.keys()
                if functions[name] not in reached
            ]
        found[path.stem] = {
            node.attr
            for function in reached
            for node in ast.walk(function)
            if isinstance(node, ast.Attribute)
        }
    return found


def test_no_migration_takes_away_what_an_older_program_that_is_up_works_with() -> None:
    calls = upgrade_calls()

    assert len(calls) >= 8
    assert "add_column" in set().union(*calls.values())
    for revision, made in calls.items():
        assert made.isdisjoint({"drop_column", "drop_table", "alter_column"}), revision
