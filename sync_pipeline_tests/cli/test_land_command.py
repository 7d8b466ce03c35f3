"""``land``: records of other systems, by name; a real database and origins in memory."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from sync_pipeline.core.environment import NamedEnvironment
from sync_pipeline.core.errors import OriginUnavailableError, RateLimitedError
from sync_pipeline.core.landing.report import LandingReport
from sync_pipeline_tests.cli.installed import CommandLine
from sync_pipeline_tests.fakes.origin import FakeOrigin
from sync_pipeline_tests.landing.site import PRODUCTS, LandingSite, products

pytestmark = pytest.mark.process

WORKS = replace(PRODUCTS, name="works", table="landing.works")


@pytest.fixture
def site(engine: Engine) -> LandingSite:
    return LandingSite(engine, FakeOrigin.of(*products(25)))


@pytest.fixture
def works(engine: Engine) -> LandingSite:
    return LandingSite(engine, FakeOrigin.of(*products(3)), WORKS)


@pytest.fixture(autouse=True)
def installed(run: CommandLine, site: LandingSite, works: LandingSite) -> None:
    run.land_from(site, works)


def landed(run: CommandLine, *words: str) -> dict[str, Any]:
    result = run("land", *words, "--json")
    answer: dict[str, Any] = json.loads(result.stdout)
    assert answer["ok"] is (result.exit_code == 0)
    return answer


def refuse(site: LandingSite, error: Exception, *, page: int = 1) -> None:
    """Let a page fail."""

    def fail(number: int) -> None:
        if number == page:
            raise error

    site.origin.before_page = fail


def test_a_landing_is_brought_into_its_table(run: CommandLine, site: LandingSite) -> None:
    answer = landed(run, "products")

    (report,) = answer["landings"]
    assert site.ids() == sorted(site.origin.records)
    assert (report["name"], report["mode"], report["status"]) == ("products", "full", "success")
    assert (report["fetched"], report["new"], report["rows"]) == (25, 25, 25)
    assert (report["run_id"], report["error"]) == ("run-0", None)


def test_the_answer_has_the_fields_that_programs_rely_on(run: CommandLine) -> None:
    answer = landed(run, "all")

    named = {field.name for field in fields(LandingReport)}
    assert set(answer) == {"ok", "landings", "duration_seconds"}
    for report in answer["landings"]:
        assert set(report) == named | {"records_per_second"}
        assert list(report)[:3] == ["name", "mode", "status"]
        assert list(report)[-1] == "error"


@pytest.mark.parametrize(
    ("words", "names"),
    [
        pytest.param(["all"], ["products", "works"], id="all, as in the settings"),
        pytest.param(["works", "products"], ["works", "products"], id="two, as named"),
        pytest.param(["works", "works"], ["works"], id="each once"),
        pytest.param(["run", "works"], ["works"], id="the command by its name"),
        pytest.param(["--mode", "full", "works"], ["works"], id="options first"),
    ],
)
def test_names_stand_in_the_place_of_a_command(
    run: CommandLine, words: list[str], names: list[str]
) -> None:
    answer = landed(run, *words)

    assert [report["name"] for report in answer["landings"]] == names


def test_people_see_a_row_per_landing_and_what_could_not_be_used(
    run: CommandLine, site: LandingSite
) -> None:
    site.origin.records["bad"] = {"id": None, "name": "no id"}

    result = run("land", "products")

    assert result.exit_code == 0
    (row,) = [line.split() for line in result.stdout.splitlines() if line.startswith(" products")]
    assert row[:5] == ["products", "full", "success", "26", "25"]
    assert "26 records in" in result.stdout
    assert "products: what could not be used: no_id 1" in result.stdout
    assert "`sync-pipeline land rejected products` names it" in result.stdout


def test_an_incremental_run_lands_what_changed(run: CommandLine, site: LandingSite) -> None:
    site.origin.traits = replace(site.origin.traits, tells_changes=True)
    landed(run, "products")
    site.origin.records["p00003"]["name"] = "another"
    site.origin.records["p00003"]["changed"] = "2026-02-01T00:00:00Z"

    (report,) = landed(run, "products", "--mode", "incremental")["landings"]

    assert (report["mode"], report["changed"], report["new"]) == ("incremental", 1, 0)


def test_a_landing_that_fails_keeps_no_other_from_being_tried(
    run: CommandLine, site: LandingSite, works: LandingSite
) -> None:
    refuse(site, OriginUnavailableError("503", landing="products"), page=2)

    result = run("land", "all")

    assert result.exit_code == 1
    assert "products: landing 'products': 503" in result.stdout
    assert len(works.ids()) == 3


def test_an_origin_that_asks_to_wait_defers_the_landing(
    run: CommandLine, site: LandingSite
) -> None:
    refuse(site, RateLimitedError("asked to wait", retry_after_seconds=3600), page=2)

    (report,) = landed(run, "products")["landings"]
    status = json.loads(run("land", "status", "--json").stdout)["landings"][0]

    assert (report["status"], report["error"]) == ("deferred", "asked to wait")
    assert status["not_before"] is not None
    assert status["open_pass"]["records"] == 10


def test_refused_deletes_name_the_command_that_approves_them(
    run: CommandLine, site: LandingSite
) -> None:
    site.origin.put(*products(40))
    landed(run, "products")
    site.origin.records = {str(row["id"]): row for row in products(10)}

    refused = run("land", "products")
    command = refused.stdout[refused.stdout.index("`sync-pipeline land") + 1 :].split("`")[0]
    approved = run(*command.split()[1:])

    assert (refused.exit_code, approved.exit_code) == (1, 0)
    assert command == "sync-pipeline land products --approve-deletions 30"
    assert len(site.ids()) == 10


def test_an_approval_is_about_one_landing(run: CommandLine) -> None:
    result = run("land", "all", "--approve-deletions", "3")

    assert result.exit_code == 2
    assert "--approve-deletions is about one landing, not 2" in result.stderr


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(["--approve-deletions", "3"], id="an approval"),
        pytest.param(["--max-deleted-fraction", "1"], id="a higher limit"),
    ],
)
def test_deleting_more_in_a_protected_environment_takes_its_name(
    run: CommandLine, site: LandingSite, words: list[str]
) -> None:
    run.settings = run.settings.located(NamedEnvironment(name="prod", is_protected=True))

    refused = run("land", "products", *words)
    said = run("land", "products", *words, "--confirm-env", "prod")
    usual = run("land", "products")

    assert (refused.exit_code, said.exit_code, usual.exit_code) == (2, 0, 0)
    assert f"sync-pipeline --env prod land run products {' '.join(words)}" in refused.stderr


def test_a_name_that_the_settings_lack_is_refused_with_those_that_there_are(
    run: CommandLine,
) -> None:
    result = run("land", "prodcuts")

    assert result.exit_code == 2
    assert "no landing 'prodcuts'; there are: products, works" in result.stderr


def test_without_landings_it_says_where_they_are_described(run: CommandLine) -> None:
    run.use(replace(run.sync, landings=None))

    results = [run("land", *words) for words in (["all"], ["status"], ["rejected", "products"])]

    assert {result.exit_code for result in results} == {2}
    assert all("nothing lands here" in result.stderr for result in results)
    assert all("docs/landing.md" in result.stderr for result in results)


def test_a_signal_ends_it_after_the_page_in_flight(run: CommandLine, site: LandingSite) -> None:
    def interrupt(page: int) -> None:
        if page == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    site.origin.before_page = interrupt

    result = run("land", "all", "--json")
    stopped, skipped = json.loads(result.stdout)["landings"]
    site.origin.before_page = lambda _: None
    (finished,) = landed(run, "products")["landings"]

    assert result.exit_code == 1
    assert "stopping after the page in flight" in result.stderr
    assert (stopped["status"], skipped["status"]) == ("stopped", "stopped")
    assert "the next run goes on there" in stopped["error"]
    assert (finished["resumed"], finished["fetched"]) == (True, 25)


def test_the_answer_is_left_in_a_file_too(run: CommandLine, tmp_path: Path) -> None:
    file = tmp_path / "landing.json"

    run("land", "works", "--metrics-file", str(file))

    (report,) = json.loads(file.read_text(encoding="utf-8"))["landings"]
    assert (report["name"], report["fetched"]) == ("works", 3)


def test_status_says_how_old_every_landing_is(run: CommandLine, site: LandingSite) -> None:
    landed(run, "products")

    shown = run("land", "status")
    first, second = json.loads(run("land", "status", "--json").stdout)["landings"]

    assert list(first)[:3] == ["name", "kind", "table"]
    assert (first["name"], first["kind"], first["table"]) == (
        "products",
        "table",
        "landing.products",
    )
    assert (first["rows"], first["is_fresh"], first["error"]) == (25, True, None)
    assert first["age_seconds"] < 60
    assert (second["rows"], second["is_fresh"], second["complete_at"]) == (0, False, None)
    assert "0 min ago" in shown.stdout
    assert "OLD" in shown.stdout
    assert shown.exit_code == 0


def test_rejected_prints_a_line_per_mistake(run: CommandLine, site: LandingSite) -> None:
    site.origin.records["bad"] = {"id": None, "name": "no id"}
    site.origin.records["p00004"]["price"] = "twelve"
    landed(run, "products")

    lines = [json.loads(line) for line in run("land", "rejected", "products").stdout.splitlines()]
    one = run("land", "rejected", "products", "--limit", "1").stdout.splitlines()
    none = run("land", "rejected", "works")

    reasons = {line["reason"]: line["source_key"] for line in lines}
    assert reasons == {"no_id": None, "wrong_type": "p00004"}
    assert {line["landing"] for line in lines} == {"products"}
    assert [json.loads(line) for line in one] == lines[:1]
    assert (none.stdout, none.exit_code) == ("", 0)
