"""What people are told when a run fails, and what they are not told."""

from __future__ import annotations

import json
import socketserver
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import dagster as dg
import pytest

from sync_pipeline.core.spending import Amount, Budget, BudgetKind, BudgetState, Limit
from sync_pipeline.definitions import build_definitions
from sync_pipeline.defs.alert_channels import Channel, open_channels, send
from sync_pipeline.defs.alerts import (
    Alert,
    Throttle,
    build_alert_sensors,
    build_budget_sensors,
    tell,
    tell_of_budgets,
)
from sync_pipeline.settings import AlertSettings, Settings, load_settings
from sync_pipeline.settings.urls import SmtpUrl, WebhookUrl
from sync_pipeline_tests.defs.conftest import run_job, set_rows
from sync_pipeline_tests.engine.world import World

FACTS = {"scope_key": "acme", "message": "Ошибка"}


class Hook:
    """A web server that keeps what is posted to it."""

    def __init__(self) -> None:
        self.posted: list[tuple[str, dict[str, object]]] = []
        self.status = 200
        self.headers: dict[str, str] = {}
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                hook.posted.append((self.path, json.loads(body)))
                self.send_response(hook.status)
                for name, value in hook.headers.items():
                    self.send_header(name, value)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook/secret-path"


class MailServer:
    """Enough of SMTP to take a mail."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        lines = self.lines

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                self.wfile.write(b"220 ready\r\n")
                in_data = False
                while line := self.rfile.readline():
                    text = line.decode().rstrip("\r\n")
                    lines.append(text)
                    word = text.split(" ")[0].upper()
                    if in_data:
                        in_data = text != "."
                        if not in_data:
                            self.wfile.write(b"250 taken\r\n")
                    elif word == "DATA":
                        in_data = True
                        self.wfile.write(b"354 go on\r\n")
                    elif word == "QUIT":
                        self.wfile.write(b"221 bye\r\n")
                        return
                    elif word == "EHLO":
                        self.wfile.write(b"250-here\r\n250 AUTH PLAIN\r\n")
                    else:
                        self.wfile.write(b"235 fine\r\n" if word == "AUTH" else b"250 fine\r\n")

        self.server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"smtp://me:p%40ss@127.0.0.1:{self.server.server_address[1]}"


@pytest.fixture
def hook() -> Iterator[Hook]:
    hook = Hook()
    with _serving(hook.server):
        yield hook


@pytest.fixture
def mail_server() -> Iterator[MailServer]:
    server = MailServer()
    with _serving(server.server):
        yield server


class _serving:  # noqa: N801 - read as a verb
    def __init__(self, server: socketserver.BaseServer) -> None:
        self._server = server
        self._thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def posting_to(hook: Hook) -> list[Channel]:
    return open_channels(AlertSettings(webhook_url=WebhookUrl(hook.url)))


def alert(**changes: str | None) -> Alert:
    values: dict[str, str | None] = {
        "job": "sync_scope_job",
        "run_id": "r-1",
        "scope_key": "acme",
        "step": "stale_cleanup",
        "error": "MassDeletionRefusedError",
        "message": "refused",
        **changes,
    }
    return Alert(**values)  # type: ignore[arg-type]  # job, run_id and error are texts


def test_an_alert_names_the_environment_where_there_is_one() -> None:
    prod = alert(environment="prod")

    assert prod.headline(more=0).startswith("sync-pipeline [prod]: scope 'acme' failed")
    assert prod.facts()["environment"] == "prod"
    assert "environment" not in alert().facts()


# --- channels ---------------------------------------------------------------------------


def test_a_webhook_gets_one_json_object_with_text_and_facts(hook: Hook) -> None:
    sent = send(posting_to(hook), headline="acme failed", facts=FACTS)

    assert sent
    assert hook.posted == [("/hook/secret-path", {"text": "acme failed", **FACTS})]


def test_a_redirect_is_not_followed(hook: Hook, caplog: pytest.LogCaptureFixture) -> None:
    hook.status, hook.headers = 302, {"Location": hook.url.replace("/hook/", "/elsewhere/")}

    sent = send(posting_to(hook), headline="acme failed", facts={})

    assert not sent
    assert [path for path, _ in hook.posted] == ["/hook/secret-path"]
    assert "alert_not_sent: HTTPError 302" in caplog.text


@pytest.mark.parametrize("status", [404, 429, 500])
def test_a_webhook_that_refuses_is_logged_without_its_address(
    hook: Hook, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    hook.status = status

    sent = send(posting_to(hook), headline="acme failed", facts={})

    assert not sent
    assert f"HTTPError {status}" in caplog.text
    assert "secret-path" not in caplog.text


def test_a_webhook_that_is_down_does_not_keep_the_mail_from_being_sent(
    mail_server: MailServer, caplog: pytest.LogCaptureFixture
) -> None:
    settings = AlertSettings(
        webhook_url=WebhookUrl("http://127.0.0.1:1/hook"),
        smtp_url=SmtpUrl(mail_server.url),
        email_to=("ops@example.org",),
    )

    sent = send(open_channels(settings), headline="acme failed", facts=FACTS)

    assert sent
    assert "URLError" in caplog.text
    assert "To: ops@example.org" in mail_server.lines


def test_a_mail_has_the_headline_as_subject_and_the_facts_below(mail_server: MailServer) -> None:
    settings = AlertSettings(
        smtp_url=SmtpUrl(mail_server.url), email_to=("ops@example.org", "two@example.org")
    )

    sent = send(open_channels(settings), headline="acme\nfailed", facts={"step": "upsert"})

    assert sent
    assert "Subject: acme failed" in mail_server.lines
    assert "From: ops@example.org" in mail_server.lines
    assert "To: ops@example.org, two@example.org" in mail_server.lines
    assert "step: upsert" in mail_server.lines
    assert any(line.startswith("AUTH PLAIN") for line in mail_server.lines)


def test_nobody_is_told_unless_somebody_is_named() -> None:
    assert build_alert_sensors(AlertSettings()) == []


def test_the_sensor_is_there_once_a_channel_is_named(world: World) -> None:
    settings = Settings(alerts=AlertSettings(webhook_url=WebhookUrl("https://example.org/hook")))
    repository = build_definitions(settings=settings, sync=world.sync).get_repository_def()

    sensor = repository.get_sensor_def("run_failure_alert_sensor")

    assert sensor.default_status is dg.DefaultSensorStatus.RUNNING


# --- what is told -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "headline"),
    [
        pytest.param(
            {}, "sync-pipeline: scope 'acme' failed in stale_cleanup: refused", id="one of ours"
        ),
        pytest.param(
            {"message": None, "error": "KeyError"},
            "sync-pipeline: scope 'acme' failed in stale_cleanup: KeyError",
            id="a defect, by its class alone",
        ),
        pytest.param(
            {"scope_key": None, "step": None, "job": "maintenance_job"},
            "sync-pipeline: maintenance_job failed: refused",
            id="a job without a scope",
        ),
    ],
)
def test_the_headline_says_where_and_why(changes: dict[str, str | None], headline: str) -> None:
    assert alert(**changes).headline(more=0) == headline


def test_the_command_to_run_again_is_told() -> None:
    assert alert().rerun == "sync-pipeline sync tenant acme"
    assert alert(scope_key="global").rerun == "sync-pipeline sync global"
    assert "maintenance_job" in alert(scope_key=None, job="maintenance_job").rerun
    assert alert(scope_key=None, job="land_tools_job").rerun == "sync-pipeline land tools"


def test_the_same_failure_is_told_once_per_interval_with_the_number_held_back() -> None:
    clock = [0.0]
    throttle = Throttle(900, now=lambda: clock[0])

    first = throttle.admit(alert())
    held = [throttle.admit(alert(run_id=f"r-{number}")) for number in range(3)]
    other = [throttle.admit(alert(scope_key="globex")), throttle.admit(alert(error="Other"))]
    clock[0] = 900.0
    later = throttle.admit(alert())

    assert (first, held, other, later) == (0, [None] * 3, [0, 0], 3)
    assert "(3 more like it since the last alert)" in alert().headline(more=3)


# --- from a run -------------------------------------------------------------------------


def evaluate(
    instance: dg.DagsterInstance, result: dg.ExecuteInProcessResult, channels: list[Channel]
) -> dg.SkipReason | None:
    (event,) = [event for event in result.all_events if event.is_job_failure]
    run = instance.get_run_by_id(result.run_id)
    assert run is not None
    with dg.build_run_status_sensor_context(
        sensor_name="alerts", dagster_event=event, dagster_instance=instance, dagster_run=run
    ) as context:
        return tell(context.for_run_failure(), channels=channels, throttle=Throttle(900))


@pytest.mark.dagster
def test_a_refused_cleanup_is_told_with_its_numbers_and_what_to_run(
    world: World, instance: dg.DagsterInstance, hook: Hook
) -> None:
    set_rows(world, acme=[f"a{number}" for number in range(30)])
    run_job(instance, world.sync, scope_key="acme")
    set_rows(world, acme=["new"])
    failed = run_job(instance, world.sync, scope_key="acme")

    evaluate(instance, failed, posting_to(hook))

    ((_, told),) = hook.posted
    assert (told["scope_key"], told["step"]) == ("acme", "stale_cleanup")
    assert (told["error"], told["run_id"]) == ("MassDeletionRefusedError", failed.run_id)
    assert "refused to delete 30 of 31 points" in str(told["text"])
    assert told["rerun"] == "sync-pipeline sync tenant acme"


@pytest.mark.dagster
def test_a_defect_is_told_by_its_class_and_never_quotes_a_text(
    world: World, instance: dg.DagsterInstance, hook: Hook
) -> None:
    world.embedder.failures = {1: KeyError("cement a1 kg")}
    failed = run_job(instance, world.sync, scope_key="acme")

    evaluate(instance, failed, posting_to(hook))

    ((_, told),) = hook.posted
    assert told["error"] == "KeyError"
    assert "cement" not in json.dumps(told)


@pytest.mark.dagster
def test_a_channel_that_fails_fails_nothing_else(
    world: World, instance: dg.DagsterInstance
) -> None:
    world.embedder.failures = {1: KeyError("x")}
    failed = run_job(instance, world.sync, scope_key="acme")
    dead = open_channels(AlertSettings(webhook_url=WebhookUrl("http://127.0.0.1:1/hook")))

    assert evaluate(instance, failed, dead) is None


@pytest.mark.dagster
def test_a_run_that_is_tried_again_by_itself_is_not_told(
    world: World, instance: dg.DagsterInstance, hook: Hook
) -> None:
    world.embedder.failures = {1: KeyError("x")}
    failed = run_job(instance, world.sync, scope_key="acme")
    instance.add_run_tags(failed.run_id, {"dagster/will_retry": "true"})

    skipped = evaluate(instance, failed, posting_to(hook))

    assert isinstance(skipped, dg.SkipReason)
    assert hook.posted == []


# --- budgets ----------------------------------------------------------------------------


def state_of(tokens: int, *, key: str = "2026-11") -> BudgetState:
    budget = Budget(kind=BudgetKind.MONTH, key=key, limit=Limit(tokens=100))
    return BudgetState(budget=budget, spent=Amount(tokens=tokens), alert_fraction=0.8)


def test_a_budget_is_told_once_when_it_nears_its_end_and_once_when_it_is_spent() -> None:
    sent: list[str] = []

    def note(headline: str, facts: Mapping[str, object]) -> None:
        sent.append(headline)
        assert facts["budget_key"] == "2026-11"

    cursor: str | None = None
    for tokens in (10, 80, 90, 100, 100):
        cursor = tell_of_budgets(cursor, states=[state_of(tokens)], channels=[note]).cursor

    assert sent == [
        "sync-pipeline: 80% of the budget of 2026-11 is spent: 80 tokens, 0.00 of 100 tokens",
        "sync-pipeline: 100% of the budget of 2026-11 is spent: 100 tokens, 0.00 of 100 tokens",
    ]


def test_a_budget_that_no_channel_took_is_told_again() -> None:
    sent: list[str] = []

    def fail(headline: str, facts: Mapping[str, object]) -> None:
        del facts
        sent.append(headline)
        raise OSError("no network")

    first = tell_of_budgets(None, states=[state_of(80)], channels=[fail])
    tell_of_budgets(first.cursor, states=[state_of(80)], channels=[fail])

    assert len(sent) == 2


def test_the_sensor_is_there_where_there_are_budgets_and_somebody_to_tell() -> None:
    env = {"SYNC_PIPELINE__ALERTS__WEBHOOK_URL": "http://127.0.0.1:9/hook"}
    budget = {"SYNC_PIPELINE__BUDGET__COST_PER_MONTH": "5"}

    def names(env: dict[str, str]) -> list[str]:
        return [sensor.name for sensor in build_budget_sensors(load_settings(env=env))]

    assert names(env) == names(budget) == []
    assert names({**env, **budget}) == ["budget_alert_sensor"]
