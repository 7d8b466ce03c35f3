"""``index.cluster``: a section inside a section, and numbers that have to fit each other."""

from __future__ import annotations

import pytest

from sync_pipeline.core.errors import SettingsError
from sync_pipeline.settings import load_settings
from sync_pipeline.settings.sections import ClusterSettings
from sync_pipeline_tests.settings.conftest import WriteYaml

SERVER = "http://qdrant.internal:6333"
PREFIX = "SYNC_PIPELINE__INDEX__CLUSTER__"


def cluster(**env: str) -> ClusterSettings:
    return load_settings(env={"QDRANT_URL": SERVER, **env}).index.cluster


def mistakes(**env: str) -> list[str]:
    with pytest.raises(SettingsError, match="in the settings") as caught:
        cluster(**{f"{PREFIX}{name.upper()}": value for name, value in env.items()})
    return list(caught.value.mistakes)


def test_each_value_has_a_variable_of_its_own() -> None:
    env = {
        "SHARD_NUMBER": "12",
        "REPLICATION_FACTOR": "3",
        "WRITE_CONSISTENCY_FACTOR": "2",
        "WRITE_ORDERING": "strong",
        "READ_CONSISTENCY": "2",
        "SEARCH_CONSISTENCY": "quorum",
        "READ_FAN_OUT_FACTOR": "0",
        "PAYLOAD_ON_DISK": "false",
    }

    told = cluster(**{f"{PREFIX}{name}": value for name, value in env.items()})

    assert told == ClusterSettings(
        shard_number=12,
        replication_factor=3,
        write_consistency_factor=2,
        write_ordering="strong",
        read_consistency=2,
        search_consistency="quorum",
        read_fan_out_factor=0,
        payload_on_disk=False,
    )
    assert {name.lower() for name in env} == set(ClusterSettings.model_fields)


def test_file_and_variables_are_laid_over_each_other_value_by_value(write_yaml: WriteYaml) -> None:
    config = write_yaml(
        "index:\n"
        f"  url: {SERVER}\n"
        "  hnsw_m: 24\n"
        "  cluster: {shard_number: 6, replication_factor: 2, read_consistency: all}\n"
    )

    index = load_settings(
        config=config,
        env={f"{PREFIX}REPLICATION_FACTOR": "3"},
        overrides={"index": {"cluster": {"shard_number": 12}}},
    ).index

    assert (index.url, index.hnsw_m) == (SERVER, 24)
    assert index.cluster == ClusterSettings(
        shard_number=12, replication_factor=3, read_consistency="all"
    )


def test_a_section_with_nothing_in_it_means_nothing(write_yaml: WriteYaml) -> None:
    config = write_yaml("index:\n  cluster:\n    # shard_number: 6\n")

    assert load_settings(config=config, env={}).index.cluster == ClusterSettings()


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        pytest.param(
            {"replication_factor": "2", "write_consistency_factor": "3"},
            "WRITE_CONSISTENCY_FACTOR (index.cluster.write_consistency_factor): wants more copies "
            "than index.cluster.replication_factor makes, 2 (got '3'); fix: write at most 2; 2 is "
            "more than half of them",
            id="more confirmations than copies",
        ),
        pytest.param(
            {"replication_factor": "3", "read_consistency": "4"},
            "READ_CONSISTENCY (index.cluster.read_consistency): wants more copies than "
            "index.cluster.replication_factor makes, 3 (got '4'); fix: write at most 3; 2 is more "
            "than half of them",
            id="more readers than copies",
        ),
        pytest.param(
            {"write_consistency_factor": "2"},
            "WRITE_CONSISTENCY_FACTOR (index.cluster.write_consistency_factor): wants more copies "
            "than the server makes by itself (got '2'); fix: set index.cluster.replication_factor "
            "to 2 or more too",
            id="copies that nobody makes",
        ),
        pytest.param(
            {"read_consistency": "most"},
            "READ_CONSISTENCY (index.cluster.read_consistency): is no number of copies (got "
            "'most'); fix: write majority, quorum, all, or a number from 1 to 100",
            id="an unknown word",
        ),
        pytest.param(
            {"write_ordering": "loose"},
            "WRITE_ORDERING (index.cluster.write_ordering): is not known here (got 'loose'); "
            "fix: choose 'weak', 'medium' or 'strong'",
            id="an unknown ordering",
        ),
        pytest.param(
            {"shard_number": "0"},
            "SHARD_NUMBER (index.cluster.shard_number): is too small (got '0'); fix: write at "
            "least 1",
            id="no shards",
        ),
    ],
)
def test_numbers_that_cannot_be_are_refused_with_what_to_write(
    env: dict[str, str], expected: str
) -> None:
    assert mistakes(**env) == [f"{PREFIX}{expected}"]


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("read_consistency: true", id="yes"),
        pytest.param("read_consistency: 0", id="none"),
        pytest.param("read_consistency: 1.5", id="one and a half"),
    ],
)
def test_what_is_no_number_of_copies_is_refused(write_yaml: WriteYaml, text: str) -> None:
    config = write_yaml(f"index: {{url: '{SERVER}', cluster: {{{text}}}}}")

    with pytest.raises(SettingsError, match="is no number of copies"):
        load_settings(config=config, env={})


@pytest.mark.parametrize(
    "url", [pytest.param("", id="by default"), pytest.param("edge:somewhere", id="by its address")]
)
def test_an_embedded_index_has_no_cluster(url: str) -> None:
    env = {"QDRANT_URL": url, f"{PREFIX}SHARD_NUMBER": "6", f"{PREFIX}PAYLOAD_ON_DISK": "true"}

    with pytest.raises(SettingsError, match="in the settings") as caught:
        load_settings(env=env)

    (mistake,) = caught.value.mistakes
    assert mistake == (
        "index.cluster: has no effect on an embedded index: shard_number, payload_on_disk (got a "
        "mapping); fix: set index.url (QDRANT_URL) to a Qdrant server, or leave this out"
    )


def test_an_address_that_is_wrong_is_the_only_mistake_then() -> None:
    env = {"QDRANT_URL": "qdrant:6333", f"{PREFIX}SHARD_NUMBER": "6"}

    with pytest.raises(SettingsError, match="1 mistake"):
        load_settings(env=env)
