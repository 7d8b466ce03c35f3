"""What is refused, and that everything is refused at once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sync_pipeline.core.errors import SettingsError
from sync_pipeline.settings import load_settings
from sync_pipeline_tests.settings.conftest import WriteYaml


def mistakes(config: Path | None = None, **env: str) -> list[str]:
    with pytest.raises(SettingsError, match="in the settings") as caught:
        load_settings(config=config, env=env)
    return list(caught.value.mistakes)


def test_three_mistakes_of_one_file_are_all_named(write_yaml: WriteYaml) -> None:
    config = write_yaml(
        "sync: {upsert_batchsize: 500, max_deleted_fraction: lots}\n"
        "entities: [{name: material, table: 'materials; drop table x', views: {text: [name]}}]\n"
    )

    assert mistakes(config) == [
        (
            "sync.max_deleted_fraction: must be a number (got 'lots'); "
            "fix: write it with a point, e.g. 0.1"
        ),
        "sync.upsert_batchsize: is no setting; fix: did you mean 'upsert_batch_size'?",
        (
            "entities[0].table: is not a safe table name (got 'materials; drop table x'); "
            "fix: write `table` or `schema.table` with letters, digits and _"
        ),
    ]


def test_mistakes_of_file_and_environment_come_together(write_yaml: WriteYaml) -> None:
    config = write_yaml("sync: {part_rows: few}\nembedding: {provider: magic}")

    found = mistakes(
        config,
        SYNC_PIPELINE__SYNC__LEASE_TTL_SECONDS="soon",
        SYNC_PIPELINE__SYNC__LEASE_TTL="60",
        SYNC_PIPELINE__ENTITIES="[",
        DATABASE_URL="mysql://db/x",
    )

    assert [line.split(":")[0] for line in found] == [
        "SYNC_PIPELINE__SYNC__LEASE_TTL",
        "SYNC_PIPELINE__ENTITIES",
        "DATABASE_URL (source.url)",
        "embedding.provider",
        "sync.part_rows",
        "SYNC_PIPELINE__SYNC__LEASE_TTL_SECONDS (sync.lease_ttl_seconds)",
    ]
    assert "did you mean SYNC_PIPELINE__SYNC__LEASE_TTL_SECONDS?" in found[0]


def test_the_error_says_how_many_mistakes_and_where(write_yaml: WriteYaml) -> None:
    config = write_yaml("sync: {part_rows: few}")

    with pytest.raises(SettingsError, match=r"1 mistake in the settings \(.*settings\.yaml\):"):
        load_settings(config=config, env={})


def test_mistakes_of_an_unreadable_file_and_the_environment_come_together(
    write_yaml: WriteYaml,
) -> None:
    config = write_yaml("sync:\n  part_rows: [1")

    found = mistakes(config, SYNC_PIPELINE__SYNC__PART_ROWS="few")

    assert len(found) == 2
    assert "is not valid YAML at line 2, column 16" in found[0]
    assert "SYNC_PIPELINE__SYNC__PART_ROWS (sync.part_rows)" in found[1]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("- a\n- b", "is not a mapping", id="a list"),
        pytest.param("just text", "is not a mapping", id="a text"),
        pytest.param("a: 1\n b: 2", "is not valid YAML at line 2", id="bad indentation"),
        pytest.param("index: {api_key: *x}", "quotes that start with & * or !", id="an alias"),
        pytest.param("index: {api_key: !x y}", "quotes that start with & * or !", id="a tag"),
        pytest.param("a: \x07", "YAML at character 4", id="a control character"),
        pytest.param("? [a, b]\n: 1", "is not valid YAML at line 1", id="a list as key"),
        pytest.param("1: x", "[1]: has a key that is no text", id="a number as key"),
        pytest.param("sync: 5", "sync: must be a mapping (got 5)", id="a number as section"),
        pytest.param("entities: {a: b}", "entities: must be a list", id="a mapping as list"),
        pytest.param("entities: []", "entities: is empty", id="no entities"),
        pytest.param("sync: {part_rows: }", "must be a whole number (got null)", id="no value"),
        pytest.param("sync: {part_rows: 1.5}", "must be a whole number", id="a fraction"),
        pytest.param("sync: {part_rows: yes}", "must be a number (got true)", id="yes as number"),
        pytest.param("sync: {part_rows: 5}", "is too small (got 5); fix: write at least", id="low"),
        pytest.param("sync: {max_deleted_fraction: 2}", "write at most 1", id="high"),
        pytest.param("sync: {max_deleted_fraction: .nan}", "must be a number", id="not a number"),
        pytest.param("embedding: {dtype: fp8}", "choose 'auto', 'float32'", id="not in the list"),
        pytest.param("embedding: {device: gpu}", "is no device", id="device"),
        pytest.param(
            "embedding: {provider: openai, model: m, dimension: 8, query_fields: {model: x}}",
            "embedding.query_fields.model: is a field that the pipeline fills in",
            id="a field of ours",
        ),
        pytest.param(
            "embedding: {provider: openai, model: m, dimension: 8, query_fields: {A-b: x}}",
            "is no name of a field",
            id="a field's name",
        ),
        pytest.param("embedding: {bm25_language: klingon}", "is not known here", id="language"),
        pytest.param("embedding: {model: 7}", "must be text (got 7)", id="a number as text"),
        pytest.param("embedding: {model: ''}", "embedding.model: is empty", id="empty text"),
        pytest.param("embedding: {trust_remote_code: true}", "is no setting", id="remote code"),
        pytest.param("state: {schema: pg_catalog}", "belongs to PostgreSQL", id="system schema"),
        pytest.param("state: {schema: 'a b'}", "is not a safe schema name", id="schema"),
        pytest.param("index: {alias: ../x}", "is not an alias", id="alias"),
        pytest.param("schedule: {timezone: Mars}", "is not a time zone", id="time zone"),
        pytest.param("schedule: {nightly: daily}", "has 1 cron fields", id="cron"),
    ],
)
def test_what_is_wrong_is_named(write_yaml: WriteYaml, text: str, expected: str) -> None:
    [mistake] = mistakes(write_yaml(text))

    assert expected in mistake


def test_a_file_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    config = tmp_path / "settings.yaml"
    config.write_bytes("index: {alias: Ротбанд}".encode("cp1251"))

    [mistake] = mistakes(config)

    assert "is not UTF-8 (byte 15)" in mistake


def test_a_folder_instead_of_a_file_is_refused(tmp_path: Path) -> None:
    [mistake] = mistakes(tmp_path)

    assert "cannot be read (Is a directory)" in mistake


def test_every_repeated_key_is_refused_with_both_lines(write_yaml: WriteYaml) -> None:
    config = write_yaml("sync:\n  part_rows: 1000\n  part_rows: 2000\nindex: {}\nindex: {}\n")

    found = mistakes(config)

    assert [line.split(";")[0] for line in found] == [
        "line 5: has the key 'index' again, after line 4",
        "line 3: has the key 'part_rows' again, after line 2",
    ]


@pytest.mark.parametrize(
    ("entity", "place", "expected"),
    [
        pytest.param({"name": "Material"}, "name", "is not an entity name", id="upper case"),
        pytest.param({"name": "a-b"}, "name", "is not an entity name", id="hyphen"),
        pytest.param({"table": "a.b.c"}, "table", "is not a safe table name", id="three parts"),
        pytest.param({"table": 'a"'}, "table", "is not a safe table name", id="quote in table"),
        pytest.param({"id": "id--"}, "id", "is not a safe column name", id="comment in column"),
        pytest.param({"tenant": "x" * 64}, "tenant", "is not a safe column", id="too long"),
        pytest.param({"views": {}}, "views", "is empty", id="no view"),
        pytest.param({"views": {"text": []}}, "views.text", "is empty", id="view of nothing"),
        pytest.param({"views": {"bm25": ["a"]}}, "views.bm25", "sparse vector", id="bm25"),
        pytest.param({"views": {"A b": ["a"]}}, "views.A b", "is not a view name", id="view name"),
        pytest.param(
            {"views": {"text": ["a", "b c"]}}, "views.text[1]", "safe column", id="view column"
        ),
        pytest.param(
            {"payload": {"tenantId": "a"}}, "payload.tenantId", "by the pipeline", id="reserved"
        ),
        pytest.param({"payload": {"a.b": "a"}}, "payload.a.b", "payload field", id="path"),
        pytest.param({"payload": {"a": "b;c"}}, "payload.a", "safe column", id="payload column"),
        pytest.param({"tabel": "x"}, "tabel", "did you mean 'table'?", id="unknown key"),
    ],
)
def test_an_entity_that_cannot_work_is_refused(
    entity: dict[str, object], place: str, expected: str
) -> None:
    good: dict[str, object] = {"name": "a", "table": "t", "views": {"text": ["name"]}}

    [mistake] = mistakes(SYNC_PIPELINE__ENTITIES=json.dumps([{**good, **entity}]))

    assert mistake.startswith(f"SYNC_PIPELINE__ENTITIES (entities[0].{place}): ")
    assert expected in mistake


@pytest.mark.parametrize("second", [{}, {"table": "b;"}], ids=["alone", "beside another mistake"])
def test_two_entities_of_one_name_are_refused(
    write_yaml: WriteYaml, second: dict[str, object]
) -> None:
    entity = {"name": "a", "table": "t", "views": {"text": ["name"]}}
    config = write_yaml(json.dumps({"entities": [entity, {**entity, **second}]}))

    found = mistakes(config)

    assert len(found) == 1 + len(second)
    assert found[-1].startswith("entities: has two entities called 'a'")


def test_the_openai_provider_needs_a_model_and_its_dimension(write_yaml: WriteYaml) -> None:
    found = mistakes(write_yaml("embedding: {provider: openai}"))

    assert found == [
        (
            "embedding.model: is missing; "
            "fix: name one that the service offers, e.g. text-embedding-3-small"
        ),
        (
            "embedding.dimension: is missing; fix: set the length of the model's vectors, "
            "e.g. 1536 for text-embedding-3-small"
        ),
    ]


def test_a_key_of_another_provider_is_refused_with_whose_it_is(write_yaml: WriteYaml) -> None:
    found = mistakes(
        write_yaml(
            "embedding:\n"
            "  {provider: openai, model: m, dimension: 8, device: cpu, dtype: float16,\n"
            "   bach_size: 3, models: {titles: {base_url: 'https://x', revision: ''},\n"
            "   h: {provider: hashing, model: m}}}"
        )
    )

    foreign = "belongs to the provider"
    assert found == [
        "embedding.models.titles.revision: is empty (got ''); fix: fill it in, or write null",
        (
            f"embedding.models.titles.base_url: {foreign} openai, this is sentence-transformers; "
            "fix: remove it"
        ),
        (
            f"embedding.models.h.model: {foreign} sentence-transformers and openai, this is "
            "hashing; fix: remove it"
        ),
        (
            "embedding.device: belongs to the provider sentence-transformers, this is openai; "
            "fix: remove it"
        ),
        (
            "embedding.dtype: belongs to the provider sentence-transformers, this is openai; "
            "fix: remove it"
        ),
        "embedding.bach_size: is no setting; fix: did you mean 'batch_size'?",
    ]


def test_the_model_of_the_package_is_none_of_a_service_s(write_yaml: WriteYaml) -> None:
    [mistake] = mistakes(write_yaml("embedding: {provider: openai, model: bundled, dimension: 8}"))

    assert "is not a model of the provider 'openai' (got 'bundled')" in mistake


def test_a_key_of_another_provider_in_a_variable_is_named_by_it() -> None:
    [mistake] = mistakes(SYNC_PIPELINE__EMBEDDING__BASE_URL="https://models.example/v1")

    assert mistake == (
        "SYNC_PIPELINE__EMBEDDING__BASE_URL (embedding.base_url): belongs to the provider openai, "
        "this is sentence-transformers; fix: remove it"
    )


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("base_url: null, dimension: null, reduce_dimension: false", id="of services"),
        pytest.param(
            "provider: openai, model: m, dimension: 8, device: auto, dtype: auto", id="of here"
        ),
        pytest.param("provider: hashing, model: bundled, batch_size: 64", id="of others"),
    ],
)
def test_another_provider_s_default_asks_for_nothing(write_yaml: WriteYaml, text: str) -> None:
    """Files of earlier releases may spell out every key."""
    loaded = load_settings(config=write_yaml(f"embedding: {{{text}}}"), env={})

    assert not {"device", "base_url"} & loaded.embedding.model_fields_set


@pytest.mark.parametrize("provider", ["magic", "[openai]", "null", "7"])
def test_a_provider_that_there_is_not_is_refused_with_those_there_are(
    write_yaml: WriteYaml, provider: str
) -> None:
    [mistake] = mistakes(write_yaml(f"embedding: {{models: {{m: {{provider: {provider}}}}}}}"))

    assert mistake.startswith("embedding.models.m.provider: is not known here")
    assert "choose 'sentence-transformers', 'openai' or 'hashing'" in mistake


def test_a_named_service_s_key_does_not_cross_a_network_unencrypted(write_yaml: WriteYaml) -> None:
    model = "{provider: openai, model: m, dimension: 8, base_url: 'http://x', api_key: k}"

    [mistake] = mistakes(write_yaml(f"embedding: {{models: {{m: {model}}}}}"))

    assert mistake.startswith("embedding.models.m.api_key: would cross the network unencrypted")


OPENAI = "embedding: {provider: openai, model: m, dimension: 8, base_url: 'http://x', api_key: k}"


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("index: {url: 'http://qdrant:6333', api_key: k}", id="index"),
        pytest.param("index: {url: 'http://127.example.com', api_key: k}", id="lookalike"),
        pytest.param(OPENAI, id="embedding service"),
    ],
)
def test_a_key_does_not_cross_a_network_unencrypted(write_yaml: WriteYaml, text: str) -> None:
    [mistake] = mistakes(write_yaml(text))

    assert "api_key: would cross the network unencrypted" in mistake


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("index: {url: 'http://127.0.0.1:6333', api_key: k}", id="loopback"),
        pytest.param("index: {url: 'http://localhost:6333', api_key: k}", id="localhost"),
        pytest.param("index: {url: 'http://[::1]:6333', api_key: k}", id="IPv6 loopback"),
        pytest.param("index: {url: 'https://qdrant:6333', api_key: k}", id="https"),
        pytest.param("index: {url: 'http://qdrant:6333'}", id="no key"),
        pytest.param("index: {url: 'http://q', api_key: k, allow_plain_http: true}", id="allowed"),
        pytest.param("embedding: {api_key: k}", id="service not used"),
    ],
)
def test_a_key_goes_where_nobody_listens_or_where_that_is_allowed(
    write_yaml: WriteYaml, text: str
) -> None:
    loaded = load_settings(config=write_yaml(text), env={})

    assert loaded.model_fields_set <= {"index", "embedding"}


@pytest.mark.parametrize(
    ("index", "expected"),
    [
        pytest.param(
            "{quantization_rescore: false}",
            (
                "index.quantization_rescore: has no effect without quantization (got false); "
                "fix: set index.quantization to scalar or binary, or leave this out"
            ),
            id="rescoring of nothing",
        ),
        pytest.param(
            "{quantization: none, quantization_oversampling: 4}",
            (
                "index.quantization_oversampling: has no effect without quantization (got 4); "
                "fix: set index.quantization to scalar or binary, or leave this out"
            ),
            id="oversampling of nothing",
        ),
        pytest.param(
            "{quantization: binary, quantization_rescore: false, quantization_oversampling: 4}",
            (
                "index.quantization_oversampling: has no effect without rescoring (got 4); "
                "fix: set index.quantization_rescore: true, or leave this out"
            ),
            id="oversampling without rescoring",
        ),
        pytest.param(
            "{quantization: product}",
            (
                "index.quantization: is not known here (got 'product'); "
                "fix: choose 'none', 'scalar' or 'binary'"
            ),
            id="a kind that is not offered",
        ),
        pytest.param(
            "{hnsw_m: 0}",
            "index.hnsw_m: is too small (got 0); fix: write at least 4",
            id="no links over all scopes",
        ),
    ],
)
def test_options_of_the_index_without_effect_are_refused(
    write_yaml: WriteYaml, index: str, expected: str
) -> None:
    assert mistakes(write_yaml(f"index: {index}")) == [expected]


def test_options_that_are_said_at_their_default_are_no_mistake(write_yaml: WriteYaml) -> None:
    config = write_yaml(
        "index: {quantization: scalar, quantization_rescore: false, quantization_oversampling: 2}"
    )

    assert load_settings(config=config, env={}).index.quantization_rescore is False
