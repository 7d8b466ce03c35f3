from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from pydantic import SecretStr

from sync_pipeline import __version__
from sync_pipeline.engine.questions.doctor import Finding
from sync_pipeline.operations.ports import DagsterProgram
from sync_pipeline.service.principals import Role
from sync_pipeline.service.tokens import TokenVerifier
from sync_pipeline.settings import ServiceSettings, Settings
from sync_pipeline_tests.cli.installed import CommandLine

GOOD = Finding(name="index", ok=True, detail="6 points")
BAD = Finding(name="source tables", ok=False, detail="no table works", fix="create it")


def test_the_version_is_printed(run: CommandLine) -> None:
    assert run("--version").stdout == f"sync-pipeline {__version__}\n"


def test_migrate_names_what_was_applied(run: CommandLine) -> None:
    run.installation.applied = ["0001_state", "0002_feed"]

    assert run("migrate").stdout == "Applied: 0001_state, 0002_feed.\n"
    assert json.loads(run("migrate", "--json").stdout) == {
        "ok": True,
        "applied": ["0001_state", "0002_feed"],
    }


def test_migrate_says_when_there_was_nothing_to_do(run: CommandLine) -> None:
    assert run("migrate").stdout == "The tables are up to date.\n"


def test_the_database_url_is_whole(run: CommandLine) -> None:
    url = "postgresql://somebody:secret@localhost/shop"

    assert run("database", "url").stdout == f"{url}\n"
    assert json.loads(run("database", "url", "--json").stdout) == {"url": url}


def test_doctor_is_content_when_everything_is_sound(run: CommandLine) -> None:
    run.installation.findings = [GOOD]

    result = run("doctor")

    assert result.exit_code == 0
    assert "6 points" in result.stdout


def test_doctor_says_what_to_do_and_ends_with_1(run: CommandLine) -> None:
    run.installation.findings = [GOOD, BAD]

    result = run("doctor", "--json")

    assert result.exit_code == 1
    assert json.loads(result.stdout) == {
        "ok": False,
        "findings": [
            {"name": "index", "ok": True, "detail": "6 points", "fix": ""},
            {"name": "source tables", "ok": False, "detail": "no table works", "fix": "create it"},
        ],
    }
    assert "create it" in run("doctor").stdout


def test_doctor_names_what_somebody_has_switched_off(run: CommandLine) -> None:
    run.installation.findings = [GOOD]
    run.installation.is_something_off = True

    result = run("doctor")

    assert result.exit_code == 1
    assert "Switch it on" in result.stdout


SECRET = "qJ4vX1nB8sT6wZ0kR3mY7cF2hL5pD9gA"


def test_serve_listens_where_the_settings_or_the_command_line_say(run: CommandLine) -> None:
    run.settings = Settings(service=ServiceSettings(port=9000))

    default = run("serve")
    chosen = run("serve", "--host", "::1", "--port", "9001")

    assert (default.exit_code, chosen.exit_code) == (0, 0)
    assert "http://127.0.0.1:9000" in default.stderr
    assert "::1" in chosen.stderr


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.2", "example.org", "::"])  # noqa: S104 - refused
def test_serve_answers_others_only_where_they_show_tokens(run: CommandLine, host: str) -> None:
    refused = run("serve", "--host", host)
    run.settings = Settings(service=ServiceSettings(secret=SecretStr(SECRET)))
    allowed = run("serve", "--host", host)

    assert (refused.exit_code, allowed.exit_code) == (2, 0)
    assert "set service.secret or service.key_file" in refused.stderr


def test_a_token_is_printed_and_nothing_else(run: CommandLine) -> None:
    run.settings = Settings(service=ServiceSettings(secret=SecretStr(SECRET)))

    shown = run("token", "create", "--tenant", "acme", "--ttl", "30m")
    as_json = json.loads(run("token", "create", "--role", "admin", "--json").stdout)

    principal = TokenVerifier(run.settings.service).verify(shown.stdout.strip())
    assert (principal.role, principal.tenant_id) == (Role.TENANT, "acme")
    assert as_json["expires_in"] == 3600
    assert TokenVerifier(run.settings.service).verify(as_json["token"]).role is Role.ADMIN


@pytest.mark.parametrize(
    ("words", "message"),
    [
        pytest.param(["--tenant", "acme"], "set service.secret", id="no secret"),
        pytest.param(["--tenant", "acme", "--ttl", "soon"], "say 30m, 1h or 7d", id="time"),
        pytest.param(["--tenant", "acme", "--ttl", "500d"], "at most 400d", id="too long"),
        pytest.param(["--tenant", "acme", "--ttl", "0s"], "say 30m", id="nothing"),
        pytest.param([], "needs a tenant", id="no tenant"),
    ],
)
def test_a_token_that_cannot_be_made_says_why(
    run: CommandLine, words: list[str], message: str
) -> None:
    result = run("token", "create", *words)

    assert result.exit_code == 2
    assert message in result.stderr


def test_dev_says_where_everything_is(run: CommandLine) -> None:
    result = run("dev", "--port", "4000")

    assert "http://127.0.0.1:4000" in result.stderr
    assert "http://127.0.0.1:8080" in result.stderr


def test_dev_listens_where_it_is_told(run: CommandLine) -> None:
    default = run("dev")
    chosen = run("dev", "--host", "localhost", "--port", "4000")

    assert (default.exit_code, chosen.exit_code) == (0, 0)
    assert run.orchestrator.dev_addresses == [("127.0.0.1", 3000), ("localhost", 4000)]


def test_dev_hands_the_settings_file_to_the_processes_it_starts(
    run: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SYNC_PIPELINE_CONFIG", "inherited.yaml")

    run("dev", "--config", "other.yaml")

    assert os.environ["SYNC_PIPELINE_CONFIG"] == str(Path("other.yaml").absolute())


def test_what_follows_the_name_of_a_dagster_program_is_its_own(run: CommandLine) -> None:
    words = ["-p", "3000", "--path-prefix", "/dagster", "--json", "--behind-auth-proxy"]

    result = run("dagster", "--behind-auth-proxy", "webserver", *words)
    bare = run("dagster", "daemon")

    assert (result.exit_code, bare.exit_code) == (0, 0)
    assert run.orchestrator.became == [
        (DagsterProgram.WEBSERVER, tuple(words), True),
        (DagsterProgram.DAEMON, (), False),
    ]


def test_a_program_that_dagster_does_not_have_is_named_with_those_it_has(run: CommandLine) -> None:
    result = run("dagster", "scheduler")

    assert result.exit_code == 2
    assert "'scheduler' is not one of" in result.stderr
    assert "'code-server'" in result.stderr


def test_a_dagster_program_finds_the_settings_file(
    run: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SYNC_PIPELINE_CONFIG", "inherited.yaml")

    run("dagster", "--config", "other.yaml", "daemon")

    assert os.environ["SYNC_PIPELINE_CONFIG"] == str(Path("other.yaml").absolute())


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        pytest.param([], (["runs", "steps"], 1), id="both queues by default"),
        pytest.param(["--queue", "steps", "--concurrency", "3"], (["steps"], 3), id="as said"),
    ],
)
def test_a_worker_does_what_it_is_told(
    run: CommandLine, words: list[str], expected: tuple[list[str], int]
) -> None:
    result = run("worker", *words)

    assert result.exit_code == 0
    assert run.orchestrator.worked == [expected]
    assert "stop with Ctrl-C" in result.stderr


def test_a_queue_that_there_is_not_is_refused(run: CommandLine) -> None:
    assert run("worker", "--queue", "others").exit_code == 2
    assert run.orchestrator.worked == []
