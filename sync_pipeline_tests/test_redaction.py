"""What logs never show."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator

import pytest

from sync_pipeline import redaction
from sync_pipeline.redaction import hide, redact, redact_logs

CANARY = "hunter2canary"


@pytest.fixture(autouse=True)
def _as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Leave the process as it was."""
    monkeypatch.setattr(redaction, "_known", set())
    factory = logging.getLogRecordFactory()
    yield
    logging.setLogRecordFactory(factory)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        pytest.param(
            f"connecting to postgresql+psycopg://app:{CANARY}@db:5432/shop?x=1",
            "connecting to postgresql+psycopg://app:***@db:5432/shop?x=1",
            id="a database URL keeps its user",
        ),
        pytest.param(
            f"postgresql://app:p@/{CANARY}@db/shop",
            "postgresql://app:***@db/shop",
            id="not encoded",
        ),
        pytest.param(
            f"GET https://{CANARY}@qdrant:6333/x", "GET https://***@qdrant:6333/x", id="a token"
        ),
        pytest.param(f"smtps://me:{CANARY}@mail:465", "smtps://***@mail:465", id="a mail account"),
        pytest.param(
            f"Authorization: Bearer {CANARY}", "Authorization: Bearer ***", id="a bearer token"
        ),
        pytest.param(
            f"{{'api-key': '{CANARY}', 'n': 1}}", "{'api-key': ***, 'n': 1}", id="a header"
        ),
        pytest.param(f"api_key={CANARY}&limit=3", "api_key=***&limit=3", id="a parameter"),
        pytest.param(
            f"host=db password='{CANARY} x' user=app", "host=db password=*** user=app", id="a DSN"
        ),
        pytest.param(f"key sk-proj-{CANARY} refused", "key sk-*** refused", id="an OpenAI key"),
        pytest.param(
            f"https://hooks.slack.com/services/T0/{CANARY}",
            "https://hooks.slack.com/***",
            id="a webhook",
        ),
    ],
)
def test_secrets_are_masked_by_their_place(text: str, shown: str) -> None:
    assert redact(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("the token count is 256", id="a word like a secret"),
        pytest.param("postgresql://app@db:5432/shop", id="a URL without a password"),
        pytest.param("see https://example.org/a?limit=3", id="another URL"),
        pytest.param("mail to me@example.org", id="an address"),
        pytest.param("", id="nothing"),
    ],
)
def test_everything_else_stays(text: str) -> None:
    assert redact(text) == text


def test_known_secrets_are_masked_wherever_they_stand() -> None:
    hide([CANARY, f"{CANARY}-longer"])

    assert redact(f"odd place <{CANARY}-longer> and {CANARY}") == "odd place <***> and ***"


def test_a_very_short_secret_does_not_empty_the_log() -> None:
    hide(["a", ""])

    assert redact("a cat sat") == "a cat sat"


def test_messages_arguments_and_tracebacks_of_any_logger_are_redacted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    hide([CANARY])
    redact_logs()
    log = logging.getLogger("some.library")

    log.warning("connecting to %s as %s", f"http://x:{CANARY}@host", CANARY)
    try:
        raise ValueError(f"password={CANARY}")
    except ValueError:
        log.exception("it failed")

    assert CANARY not in caplog.text
    assert "connecting to http://***@host as ***" in caplog.text
    assert "ValueError: password=***" in caplog.text


def test_a_record_with_wrong_arguments_is_left_to_logging(
    caplog: pytest.LogCaptureFixture,
) -> None:
    redact_logs()

    record = logging.getLogRecordFactory()("n", logging.INFO, "p", 1, "%d", ("x",), None)

    assert record.msg == "%d"
    assert caplog.text == ""


def test_asking_twice_redacts_once() -> None:
    redact_logs()
    factory = logging.getLogRecordFactory()

    redact_logs()

    assert logging.getLogRecordFactory() is factory


@pytest.mark.parametrize("word", ["x", "apikey", "-", "token_"])
def test_a_long_word_takes_no_longer_than_others(word: str) -> None:
    began = time.process_time()

    redact(word * (50_000 // len(word)))

    assert time.process_time() - began < 1


@pytest.mark.parametrize(
    "name", ["pgpasswd", "OPENAI_API_KEY", "x-api-key", "my_signature", "PASS"]
)
def test_a_name_may_begin_with_anything(name: str) -> None:
    shown = redact(f"a {name}={CANARY} b")

    assert shown == (f"a {name}={CANARY} b" if name == "PASS" else f"a {name}=*** b")
