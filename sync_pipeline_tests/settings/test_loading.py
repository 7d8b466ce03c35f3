"""Where a value comes from."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from sync_pipeline.core.errors import SettingsError
from sync_pipeline.settings import Settings, load_settings
from sync_pipeline_tests.settings.conftest import WriteYaml


def test_without_any_source_every_value_is_the_default() -> None:
    assert load_settings(env={}) == Settings()


def test_a_value_of_the_file_replaces_the_default_and_leaves_the_others(
    write_yaml: WriteYaml,
) -> None:
    config = write_yaml("sync: {upsert_batch_size: 7}")

    loaded = load_settings(config=config, env={})

    assert loaded.sync.upsert_batch_size == 7
    assert loaded.sync.delete_batch_size == Settings().sync.delete_batch_size


def test_each_source_wins_over_the_weaker_ones(write_yaml: WriteYaml) -> None:
    config = write_yaml("index: {url: 'https://file', alias: file}\nsync: {part_rows: 1000}")
    env = {
        "QDRANT_URL": "https://known",
        "SYNC_PIPELINE__INDEX__ALIAS": "prefixed",
        "SYNC_PIPELINE__SYNC__PART_ROWS": "2000",
    }

    known = load_settings(config=config, env=env)
    prefixed = load_settings(
        config=config, env={**env, "SYNC_PIPELINE__INDEX__URL": "https://prefixed"}
    )
    explicit = load_settings(config=config, env=env, overrides={"sync": {"part_rows": 3000}})

    assert (known.index.url, known.index.alias) == ("https://known", "prefixed")
    assert prefixed.index.url == "https://prefixed"
    assert (known.sync.part_rows, explicit.sync.part_rows) == (2000, 3000)


def test_the_names_people_already_have_are_understood() -> None:
    loaded = load_settings(
        env={
            "DATABASE_URL": "postgres://app:pw@db/catalogue",
            "STATE_DATABASE_URL": "postgresql://app:pw@db/state",
            "QDRANT_URL": "https://qdrant:6333",
            "QDRANT_API_KEY": "index-key",
            "OPENAI_API_KEY": "model-key",
            "SYNC_PIPELINE_HOME": "elsewhere",
        }
    )

    assert loaded.source_url == "postgresql+psycopg://app:pw@db/catalogue"
    assert loaded.state_url == "postgresql+psycopg://app:pw@db/state"
    assert loaded.index_url == "https://qdrant:6333"
    assert loaded.index.api_key is not None
    assert loaded.index.api_key.get_secret_value() == "index-key"
    assert loaded.embedding.api_key is not None
    assert loaded.embedding.api_key.get_secret_value() == "model-key"
    assert loaded.home == Path("elsewhere")


def test_an_empty_variable_counts_as_not_set() -> None:
    assert load_settings(env={"DATABASE_URL": "", "SYNC_PIPELINE__INDEX__ALIAS": ""}) == Settings()


def test_null_in_a_variable_takes_a_value_of_the_file_back(write_yaml: WriteYaml) -> None:
    config = write_yaml("schedule: {nightly: '0 1 * * *'}")

    loaded = load_settings(config=config, env={"SYNC_PIPELINE__SCHEDULE__NIGHTLY": "null"})

    assert loaded.schedule.nightly is None


def test_a_list_in_a_variable_is_json() -> None:
    entities = '[{"name": "tool", "table": "public.tools", "views": {"about": ["name"]}}]'

    loaded = load_settings(env={"SYNC_PIPELINE__ENTITIES": entities})

    assert [entity.table for entity in loaded.core_entities] == ["public.tools"]
    assert loaded.views == ("about",)


def test_variables_of_other_programs_are_ignored() -> None:
    env = {"SYNC_PIPELINE_TEST_QDRANT_URL": "x", "PATH": "/bin", "SYNC__PART_ROWS": "1"}

    assert load_settings(env=env) == Settings()


def test_a_section_whose_lines_are_all_commented_out_means_nothing(write_yaml: WriteYaml) -> None:
    assert load_settings(config=write_yaml("sync:\n  # part_rows: 5\n"), env={}) == Settings()


def test_an_empty_file_means_nothing(write_yaml: WriteYaml) -> None:
    assert load_settings(config=write_yaml("# nothing\n"), env={}) == Settings()


def test_the_file_in_the_current_folder_is_found_unless_another_is_named(
    write_yaml: WriteYaml,
) -> None:
    Path("sync_pipeline.yaml").write_text("index: {alias: local}")
    named = write_yaml("index: {alias: named}")
    given = Path("given.yaml")
    given.write_text("index: {alias: given}")
    env = {"SYNC_PIPELINE_CONFIG": str(named)}

    loaded = [
        load_settings(env={}),
        load_settings(env=env),
        load_settings(env=env, config=given),
    ]

    assert [settings.index.alias for settings in loaded] == ["local", "named", "given"]


def test_a_named_file_that_is_missing_is_a_mistake() -> None:
    with pytest.raises(SettingsError, match=r"absent\.yaml: does not exist"):
        load_settings(env={"SYNC_PIPELINE_CONFIG": "absent.yaml"})


def test_without_arguments_the_environment_of_the_process_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SYNC_PIPELINE__INDEX__ALIAS", "from_process")

    assert load_settings().index.alias == "from_process"


@pytest.mark.process
def test_importing_reads_nothing_and_brings_no_heavy_library() -> None:
    Path("sync_pipeline.yaml").write_text("not: [valid")
    code = (
        "import sys, sync_pipeline.settings\n"
        "heavy = {'numpy', 'pandas', 'sqlalchemy', 'dagster', 'fsspec', 'qdrant_client'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )

    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"SYNC_PIPELINE__NONSENSE": "1", "PYTHONPATH": ":".join(filter(None, sys.path))},
    )

    assert done.stdout.strip() == "[]"
