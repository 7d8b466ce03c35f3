"""Keys and passwords show up nowhere."""

from __future__ import annotations

import pytest

from sync_pipeline.core.errors import SettingsError
from sync_pipeline.settings import Settings, load_settings, mask_url
from sync_pipeline_tests.settings.conftest import WriteYaml

CANARY = "hunter2"


def secretive() -> Settings:
    return load_settings(
        env={
            "DATABASE_URL": f"postgresql://app:{CANARY}@db/catalogue?sslpassword={CANARY}",
            "STATE_DATABASE_URL": f"postgresql://app:{CANARY}@db/state",
            "SYNC_PIPELINE__DAGSTER__STORAGE_URL": f"postgresql://app:{CANARY}@db/dagster",
            "QDRANT_API_KEY": CANARY,
            "OPENAI_API_KEY": CANARY,
            "SYNC_PIPELINE__ALERTS__WEBHOOK_URL": f"https://hooks.example.org/{CANARY}",
            "SYNC_PIPELINE__ALERTS__SMTP_URL": f"smtps://me:{CANARY}@mail.example.org",
            "SYNC_PIPELINE__ALERTS__EMAIL_TO": '["ops@example.org"]',
        }
    )


def test_no_way_of_showing_settings_shows_a_secret() -> None:
    settings = secretive()

    shown = [
        repr(settings),
        str(settings),
        str(settings.model_dump()),
        settings.model_dump_json(),
        str(settings.source.url),
        f"{settings.index.api_key}",
    ]

    assert CANARY not in "".join(shown)
    assert "postgresql://app:***@db/state" in shown[0]


def test_the_fingerprint_follows_values_but_not_secrets() -> None:
    settings = secretive()
    other_password = load_settings(
        env={
            "DATABASE_URL": "postgresql://app:x@db/catalogue?sslpassword=y",
            "STATE_DATABASE_URL": "postgresql://app:x@db/state",
            "SYNC_PIPELINE__DAGSTER__STORAGE_URL": "postgresql://app:x@db/dagster",
            "QDRANT_API_KEY": "x",
            "OPENAI_API_KEY": "x",
            "SYNC_PIPELINE__ALERTS__WEBHOOK_URL": "https://hooks.example.org/x",
            "SYNC_PIPELINE__ALERTS__SMTP_URL": "smtps://me:x@mail.example.org",
            "SYNC_PIPELINE__ALERTS__EMAIL_TO": '["ops@example.org"]',
        }
    )
    other_value = load_settings(env={}, overrides={"sync": {"part_rows": 5000}})
    default_spelt_out = load_settings(
        env={}, overrides={"source": {"statement_timeout_seconds": "600"}}
    )

    assert settings.fingerprint() == other_password.fingerprint()
    assert other_value.fingerprint() != Settings().fingerprint()
    assert default_spelt_out.fingerprint() == Settings().fingerprint()


def test_redaction_is_told_every_secret() -> None:
    settings = load_settings(
        env={
            "DATABASE_URL": "postgresql://app:p%40ss-one@db/x",
            "QDRANT_API_KEY": "key-one",
            "OPENAI_API_KEY": "key-two",
            "SYNC_PIPELINE__ALERTS__WEBHOOK_URL": "https://hooks.example.org/x",
            "SYNC_PIPELINE__ALERTS__SMTP_URL": "smtps://me:pass-two@mail.example.org",
            "SYNC_PIPELINE__ALERTS__EMAIL_TO": '["ops@example.org"]',
        }
    )

    assert sorted(settings.secret_values) == [
        "https://hooks.example.org/x", "key-one", "key-two", "p%40ss-one", "p@ss-one", "pass-two",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "yaml",
    [
        pytest.param(f"source: {{url: 'mysql://app:{CANARY}@db/x'}}", id="another database"),
        pytest.param(f"source: {{url: 'postgresql://app:{CANARY}/@db/x'}}", id="slash in it"),
        pytest.param(f"source: {{url: 'postgresql://app:a@{CANARY}/b@db/x'}}", id="at sign in it"),
        pytest.param(
            f"source: {{url: 'host=db password={CANARY} sslmod=require'}}", id="key and value form"
        ),
        pytest.param(
            f"source: {{url: 'host=db password={CANARY} x y'}}", id="spaces without quotes"
        ),
        pytest.param(f"source: {{url: 'Host=db;Password={CANARY}'}}", id="semicolons"),
        pytest.param(
            f"source: {{url: 'postgresql://db/x?password={CANARY}&port=no'}}", id="parameters"
        ),
        pytest.param(f"source: {{url: 'app:{CANARY}@db'}}", id="no scheme"),
        pytest.param(f"source: {{url: {CANARY}}}", id="no URL at all"),
        pytest.param(f"source: 'postgresql://app:{CANARY}@db/x'", id="a URL as section"),
        pytest.param(f"index: {{url: 'https://{CANARY}@qdrant'}}", id="key as user name"),
        pytest.param(f"index: {{url: 'https://qdrant/?api_key={CANARY}'}}", id="key as parameter"),
        pytest.param(f"index: {{api_key: [{CANARY}]}}", id="key as list"),
        pytest.param(f"index: {{apikey: {CANARY}}}", id="misspelt key"),
        pytest.param(f"index: {{api_key: *{CANARY}}}", id="an alias"),
        pytest.param(f"index: {{api_key: !{CANARY} x}}", id="a tag"),
        pytest.param(f"index: {{api_key: '{CANARY}", id="an open quote"),
        pytest.param(f"alerts: {{webhook_url: 'ftp://hooks/{CANARY}'}}", id="a webhook"),
        pytest.param(
            f"alerts: {{smtp_url: 'http://me:{CANARY}@mail', email_to: [a@b]}}", id="a mail server"
        ),
        pytest.param(f"staging: {{url: 'sftp://app:{CANARY}@host/x'}}", id="staging"),
        pytest.param(f"embedding: {{base_url: 'http://app:{CANARY}@x'}}", id="embedding service"),
    ],
)
def test_no_mistake_quotes_a_secret(write_yaml: WriteYaml, yaml: str) -> None:
    config = write_yaml(yaml)

    with pytest.raises(SettingsError, match="1 mistake") as caught:
        load_settings(config=config, env={})

    assert CANARY not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    "url",
    [
        pytest.param(f"postgresql://app:{CANARY}@", id="no host"),
        pytest.param(f"host=db user=app password={CANARY}", id="key and value form"),
        pytest.param(f"jdbc:postgresql://db/x?user=app&password={CANARY}", id="of Java"),
    ],
)
def test_an_address_that_libpq_takes_is_taken_and_its_password_kept(url: str) -> None:
    settings = load_settings(env={"DATABASE_URL": url})

    assert CANARY not in repr(settings)
    assert CANARY in settings.secret_values


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (
            "postgresql://app:pw@db:5432/x?sslmode=require",
            "postgresql://app:***@db:5432/x?sslmode=require",
        ),
        ("postgresql://app@db/x", "postgresql://app@db/x"),
        ("postgresql://app://p:w@db/x", "postgresql://app:***@db/x"),
        ("postgresql://db/x", "postgresql://db/x"),
        ("postgresql://app:p@w/d@db/x", "postgresql://app:***@db/x"),
        (
            "postgresql://db/x?user=a&password=pw&sslmode=require",
            "postgresql://db/x?user=a&password=***&sslmode=require",
        ),
        ("https://token@host/x", "https://***@host/x"),
        ("host=db password='p w' user=app", "host=db password=*** user=app"),
        ("edge:.sync-pipeline/index", "edge:.sync-pipeline/index"),
        ("", ""),
    ],
    ids=[
        "password",
        "user only",
        "slashes first",
        "nobody",
        "unencoded",
        "parameter",
        "token",
        "dsn",
        "edge",
        "empty",
    ],
)
def test_a_masked_url_keeps_all_but_the_secret(url: str, shown: str) -> None:
    assert mask_url(url) == shown
