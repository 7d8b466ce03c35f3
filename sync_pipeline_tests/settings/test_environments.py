"""Named environments: what each lays over the file, and what must not happen by accident."""

from __future__ import annotations

from pathlib import Path

import pytest

from sync_pipeline.core.environment import NamedEnvironment, needs_name
from sync_pipeline.core.errors import SettingsError
from sync_pipeline.settings import Settings, load_settings
from sync_pipeline_tests.settings.conftest import WriteYaml

FILE = """
sync: {part_rows: 1000}
schedule: {nightly: null}
environments:
  dev:
  prod:
    protected: true
    source: {url: "${PROD_DATABASE_URL}"}
    index: {url: "https://qdrant.example:6333"}
    schedule: {nightly: "0 1 * * *", timezone: Europe/Prague}
"""
PROD = {"PROD_DATABASE_URL": "postgresql://app:secret@db.example/prod"}


def test_an_environment_is_laid_over_the_other_sections_key_by_key(write_yaml: WriteYaml) -> None:
    loaded = load_settings(config=write_yaml(FILE), environment="prod", env=PROD)

    assert loaded.environment == NamedEnvironment(name="prod", is_protected=True)
    assert loaded.source_url == "postgresql+psycopg://app:secret@db.example/prod"
    assert (loaded.schedule.nightly, loaded.schedule.max_concurrent_runs) == ("0 1 * * *", 4)
    assert loaded.sync.part_rows == 1000
    assert loaded.references == ("PROD_DATABASE_URL",)


def test_the_option_wins_over_the_variable(write_yaml: WriteYaml) -> None:
    config = write_yaml(FILE)
    env = {"SYNC_PIPELINE_ENV": "dev", **PROD}

    named = [
        load_settings(config=config, env=env).environment,
        load_settings(config=config, environment="prod", env=env).environment,
    ]

    assert [str(it) for it in named] == ["dev", "prod (protected)"]


def test_without_a_choice_everything_is_as_if_there_were_no_environments(
    write_yaml: WriteYaml,
) -> None:
    loaded = load_settings(config=write_yaml(FILE), env={})

    assert loaded.environment is None
    assert loaded == Settings.model_validate(
        {"sync": {"part_rows": 1000}, "schedule": {"nightly": None}}
    )


def test_each_environment_has_a_folder_and_an_alias_of_its_own(write_yaml: WriteYaml) -> None:
    config = write_yaml("environments: {a: , b: {home: elsewhere, index: {alias: mine}}}")
    env = {"SYNC_PIPELINE_HOME": "top"}

    first = load_settings(config=config, environment="a", env=env)
    second = load_settings(config=config, environment="b", env={})

    assert (first.home, first.index.alias) == (Path("top/a"), "documents-a")
    assert (second.home, second.index.alias) == (Path("elsewhere"), "mine")


def test_an_alias_in_a_variable_is_meant_as_it_stands(write_yaml: WriteYaml) -> None:
    config = write_yaml("index: {alias: catalogue}\nenvironments: {a: }")
    env = {"SYNC_PIPELINE__INDEX__ALIAS": "chosen"}

    aliases = [
        load_settings(config=config, environment="a", env=given).index.alias for given in (env, {})
    ]

    assert aliases == ["chosen", "catalogue-a"]


def test_two_environments_have_different_fingerprints(write_yaml: WriteYaml) -> None:
    config = write_yaml(
        "environments: {a: {home: x, index: {alias: m}}, b: {home: y, index: {alias: m}}}"
    )

    prints = {load_settings(config=config, environment=name, env={}).fingerprint() for name in "ab"}

    assert len(prints) == 2


@pytest.mark.parametrize("environment", [None, "dev", "prod"])
def test_mistakes_of_all_environments_are_told_at_once_each_with_its_place(
    write_yaml: WriteYaml, environment: str | None
) -> None:
    config = write_yaml(
        "sync: {part_rows: many}\n"
        "environments:\n"
        "  prod: {index: {aliass: x}, schedule: {timezone: Mars}, entities: [{table: t}]}\n"
        "  dev: {sync: {part_rows: 0}, indx: {}}\n"
        "  UP: {}\n"
        "  odd: {protected: maybe}\n"
        "  bare: 7\n"
    )

    with pytest.raises(SettingsError) as refused:
        load_settings(config=config, environment=environment, env={})

    told = "\n".join(refused.value.mistakes)
    for place in (
        "environments.prod.index.aliass: is no setting; fix: did you mean 'alias'?",
        "environments.prod.schedule.timezone: ",
        "environments.prod.entities[0].name: is missing",
        "environments.dev.sync.part_rows: is too small",
        "environments.dev.indx: is no setting",
        "environments.UP: is no name",
        "environments.odd.protected: must be true or false",
        "environments.bare: must be a mapping",
    ):
        assert place in told
    # What dev replaces is no mistake of dev.
    assert ("\nsync.part_rows: must be a whole number" in f"\n{told}") == (environment != "dev")


@pytest.mark.parametrize(
    ("option", "variable", "told"),
    [
        ("prd", None, "--env: there is no environment 'prd'; fix: choose from dev, prod"),
        (None, "prd", "SYNC_PIPELINE_ENV: there is no environment 'prd'"),
    ],
)
def test_an_unknown_name_is_refused_and_the_names_are_listed(
    write_yaml: WriteYaml, option: str | None, variable: str | None, told: str
) -> None:
    env = {} if variable is None else {"SYNC_PIPELINE_ENV": variable}

    with pytest.raises(SettingsError) as refused:
        load_settings(config=write_yaml(FILE), environment=option, env=env)

    assert told in str(refused.value)


def test_a_name_without_any_environments_says_where_to_write_them() -> None:
    with pytest.raises(SettingsError, match="name it under `environments` in the settings file"):
        load_settings(environment="prod", env={})


def test_a_variable_that_the_file_names_and_nobody_set_is_a_mistake(write_yaml: WriteYaml) -> None:
    config = write_yaml(FILE)

    with pytest.raises(SettingsError) as refused:
        load_settings(config=config, environment="prod", env={"PROD_DATABASE_URL": ""})

    [mistake] = refused.value.mistakes
    assert mistake == (
        "environments.prod.source.url: is left to the variable PROD_DATABASE_URL, which is not "
        "set; fix: set PROD_DATABASE_URL"
    )
    assert load_settings(config=config, environment="dev", env={}).environment is not None


def test_a_database_url_of_another_environment_is_refused_without_showing_it(
    write_yaml: WriteYaml,
) -> None:
    env = {**PROD, "DATABASE_URL": "postgresql://me:hidden@localhost/dev"}

    with pytest.raises(SettingsError) as refused:
        load_settings(config=write_yaml(FILE), environment="prod", env=env)

    [mistake] = refused.value.mistakes
    assert mistake.startswith(
        "DATABASE_URL (source.url): leads elsewhere than environments.prod.source.url"
    )
    assert "hidden" not in mistake


def test_null_in_a_variable_does_not_lead_away_from_the_file_either(write_yaml: WriteYaml) -> None:
    env = {**PROD, "SYNC_PIPELINE__SOURCE__URL": "null"}

    with pytest.raises(
        SettingsError, match=r"leads elsewhere than environments\.prod\.source\.url"
    ):
        load_settings(config=write_yaml(FILE), environment="prod", env=env)


def test_a_variable_may_add_the_password_to_the_address_of_the_file(write_yaml: WriteYaml) -> None:
    config = write_yaml(
        "environments: {prod: {protected: true, source: {url: 'postgresql://db.example/prod'}}}"
    )
    env = {"DATABASE_URL": "postgres://app:secret@DB.example:5432/prod"}

    loaded = load_settings(config=config, environment="prod", env=env)

    assert loaded.source_url == "postgresql+psycopg://app:secret@DB.example:5432/prod"


def test_a_protected_environment_takes_no_address_that_its_file_does_not_name(
    write_yaml: WriteYaml,
) -> None:
    text = "environments: {prod: {protected: PROTECTED}}"
    env = {"DATABASE_URL": "postgresql://localhost/dev", "QDRANT_URL": "http://localhost:6333"}

    with pytest.raises(SettingsError) as refused:
        load_settings(
            config=write_yaml(text.replace("PROTECTED", "true")), environment="prod", env=env
        )
    open_one = load_settings(
        config=write_yaml(text.replace("PROTECTED", "false")), environment="prod", env=env
    )

    assert len(refused.value.mistakes) == 2
    assert 'as "${PROD_DATABASE_URL}" where it is a secret' in str(refused.value)
    assert open_one.index_url == "http://localhost:6333"


def test_settings_without_an_environment_do_not_lead_into_a_protected_one(
    write_yaml: WriteYaml,
) -> None:
    env = {**PROD, "DATABASE_URL": "postgresql://db.example:5432/prod"}

    with pytest.raises(SettingsError, match="say --env prod, or unset the variable"):
        load_settings(config=write_yaml(FILE), env=env)


@pytest.mark.parametrize(
    ("other", "told"),
    [
        pytest.param(
            "source: {url: 'postgresql://db/x'}",
            "both lead to the same tables, schema 'sync_pipeline' of one database",
            id="state",
        ),
        pytest.param(
            "source: {url: 'postgresql://db/x'}, state: {schema: other}",
            "both lead to the same history of Dagster's runs; fix: give each a state.url of its",
            id="run history",
        ),
        pytest.param(
            "index: {url: 'http://q:6333', alias: same}",
            "both lead to the same index 'same'",
            id="index",
        ),
    ],
)
@pytest.mark.parametrize("environment", [None, "a", "b"])
def test_two_environments_that_would_write_the_same_are_refused(
    write_yaml: WriteYaml, other: str, told: str, environment: str | None
) -> None:
    first = "source: {url: 'postgresql://db:5432/x'}, index: {url: 'http://q:6333/', alias: same}"
    config = write_yaml(f"environments:\n  a: {{{first}}}\n  b: {{{other}}}\n")

    with pytest.raises(SettingsError) as refused:
        load_settings(config=config, environment=environment, env={})

    assert told in str(refused.value)


@pytest.mark.parametrize(
    ("environment", "said", "needed"),
    [
        (None, None, False),
        (None, "prod", True),
        (NamedEnvironment(name="dev"), None, False),
        (NamedEnvironment(name="dev"), "prod", True),
        (NamedEnvironment(name="prod", is_protected=True), None, True),
        (NamedEnvironment(name="prod", is_protected=True), "dev", True),
        (NamedEnvironment(name="prod", is_protected=True), "prod", False),
    ],
)
def test_only_the_right_name_lets_a_protected_environment_lose_something(
    environment: NamedEnvironment | None, said: str | None, *, needed: bool
) -> None:
    assert needs_name(environment, said=said) is needed
