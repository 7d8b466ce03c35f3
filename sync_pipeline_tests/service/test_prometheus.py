"""A real Prometheus scrapes the service as docs/monitoring.md says, and draws the dashboard."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from sync_pipeline_tests.conftest import REPOSITORY
from sync_pipeline_tests.ports import free_port
from sync_pipeline_tests.service.browsing import open_to_browsers
from sync_pipeline_tests.service.served import Served
from sync_pipeline_tests.service.test_metrics import DASHBOARD, RULES

PROMETHEUS = shutil.which("prometheus")
SCRAPES = 4
VARIABLES = {"$instance": ".*", "$__rate_interval": "30s"}
"""What Grafana puts in their place."""

NOTHING_TO_SHOW = {
    "Landings: age of the last complete pass",
    "Landings: rows",
    "Mean seconds of a run by step",
    "Runs an hour",
    "Views with failures",
}
"""Panels of what has not happened here: no landing, no run of Dagster, no failure."""

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(
        PROMETHEUS is None, reason="prometheus is missing: apt-get install prometheus"
    ),
]


@dataclass(frozen=True)
class Prometheus:
    """A server that has scraped the service a few times."""

    address: str

    def ask(self, path: str, **parameters: str) -> Any:
        answer = httpx.get(f"{self.address}/api/v1/{path}", params=parameters).json()
        assert answer["status"] == "success", answer
        return answer["data"]

    def values(self, expression: str) -> list[float]:
        """Of every series that an expression gives."""
        result = self.ask("query", query=expression)["result"]
        return [float(series["value"][1]) for series in result]


def chosen(expression: str) -> str:
    """An expression of the dashboard, as Grafana asks it."""
    for name, value in VARIABLES.items():
        expression = expression.replace(name, value)
    return expression


def documented() -> dict[str, Any]:
    """The configuration that the page tells to write."""
    page = (REPOSITORY / "docs/monitoring.md").read_text(encoding="utf-8")
    [block] = re.findall(r"```yaml\n(rule_files.*?)```", page, flags=re.DOTALL)
    configuration: dict[str, Any] = yaml.safe_load(block)
    return configuration


@contextmanager
def scraping(folder: Path, served: Served, address: str) -> Iterator[Prometheus]:
    """Prometheus over the service, for the length of the ``with``."""
    configuration = documented()
    [job] = configuration["scrape_configs"]
    (folder / "token").write_text(served.token("worker", None))
    job["authorization"]["credentials_file"] = str(folder / "token")
    job["static_configs"] = [{"targets": [address.removeprefix("http://")]}]
    job["scrape_interval"] = "1s"
    configuration["global"] = {"evaluation_interval": "1s"}
    shutil.copy(RULES, folder)
    (folder / "prometheus.yml").write_text(yaml.safe_dump(configuration))
    port = free_port()
    words = [
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([str(PROMETHEUS), *words], stderr=log)
        try:
            yield Prometheus(f"http://127.0.0.1:{port}")
        finally:
            process.terminate()
            process.wait(20)


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    folder = tmp_path_factory.mktemp("prometheus")
    with (
        open_to_browsers(folder / "service") as (served, address),
        scraping(folder, served, address) as prometheus,
    ):
        until = time.monotonic() + 60
        seen = 0.0
        while seen < SCRAPES:
            assert time.monotonic() < until, (folder / "log").read_text()
            answer = httpx.post(
                f"{address}/api/search", json={"query": "brick"}, headers=served.headers()
            )
            assert answer.status_code in (200, 503), answer.text
            time.sleep(0.5)
            try:
                [seen] = prometheus.values('count_over_time(up{job="sync-pipeline"}[1m])') or [0.0]
            except httpx.TransportError:
                continue
        yield prometheus


def test_it_scrapes_the_service_as_documented(prometheus: Prometheus) -> None:
    [target] = prometheus.ask("targets")["activeTargets"]

    assert (target["health"], target["lastError"]) == ("up", "")
    assert prometheus.values("sync_pipeline_ready") == [1]


def test_it_evaluates_every_alert(prometheus: Prometheus) -> None:
    [group] = prometheus.ask("rules")["groups"]
    written = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"][0]["rules"]

    assert {rule["name"]: rule["health"] for rule in group["rules"]} == {
        rule["alert"]: "ok" for rule in written
    }
    assert [rule["name"] for rule in group["rules"] if rule["state"] == "firing"] == []


def test_it_draws_every_panel_of_the_dashboard(prometheus: Prometheus) -> None:
    panels = json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]

    drawn = {
        panel["title"]: [
            value
            for target in panel["targets"]
            for value in prometheus.values(chosen(target["expr"]))
        ]
        for panel in panels
    }

    assert {title for title, values in drawn.items() if not values} == NOTHING_TO_SHOW
    assert drawn["Ready"] == [1]
