"""Settings that are gone: an old file is read, or told what became of them."""

from __future__ import annotations

import pytest

from sync_pipeline import __version__
from sync_pipeline.core.errors import SettingsError
from sync_pipeline.settings import Settings, load_settings
from sync_pipeline.settings.gone import GONE
from sync_pipeline.settings.keys import paths, variable
from sync_pipeline_tests.settings.conftest import WriteYaml

PROCESSES = variable(("embedding", "processes"))


@pytest.mark.parametrize("written", ["1", "'1'", "null"])
def test_an_old_file_that_asks_for_what_happens_anyway_is_read(
    write_yaml: WriteYaml, written: str
) -> None:
    config = write_yaml(f"embedding: {{dtype: float32, processes: {written}}}")

    loaded = load_settings(config=config, env={})

    assert loaded.embedding == Settings().embedding.model_copy(update={"dtype": "float32"})


def test_so_is_an_old_variable() -> None:
    assert load_settings(env={PROCESSES: "1"}) == Settings()


def test_a_file_that_asks_for_more_is_told_since_when_and_what_to_do(write_yaml: WriteYaml) -> None:
    config = write_yaml("embedding: {device: cpu, processes: 4}\nsync: {part_rows: few}")

    with pytest.raises(SettingsError, match="2 mistakes in the settings") as caught:
        load_settings(config=config, env={})

    [gone] = [line for line in caught.value.mistakes if line.startswith("embedding.processes: ")]
    assert "is gone since version 0.1.0; fix: remove it: one process keeps every core busy" in gone


def test_so_is_a_variable_by_its_name() -> None:
    with pytest.raises(SettingsError, match="1 mistake in the settings") as caught:
        load_settings(env={PROCESSES: "4"})

    [mistake] = caught.value.mistakes
    assert mistake.startswith(f"{PROCESSES} (embedding.processes): is gone since version ")


def test_a_misspelled_variable_is_never_told_to_become_one_that_is_gone() -> None:
    with pytest.raises(SettingsError, match="1 mistake") as caught:
        load_settings(env={"SYNC_PIPELINE__EMBEDDING__PROCESS": "4"})

    assert "PROCESSES" not in caught.value.mistakes[0]


def test_a_section_that_is_no_mapping_is_still_a_mistake_of_its_own(write_yaml: WriteYaml) -> None:
    with pytest.raises(SettingsError, match="embedding: must be a mapping"):
        load_settings(config=write_yaml("embedding: 5"), env={})


def test_what_is_gone_is_no_setting_and_left_in_a_version_that_there_is() -> None:
    assert not set(GONE) & set(paths())
    assert all(_parts(gone.since) <= _parts(__version__) for gone in GONE.values())


def _parts(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
