"""How old what landed is, over HTTP: the status, the page, metrics and searches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest

from sync_pipeline.core.landing.passes import PassState
from sync_pipeline.core.ports import LandingRecord
from sync_pipeline_tests.cli.installed import CommandLine
from sync_pipeline_tests.fakes.landing_records import FakeLandingRecords
from sync_pipeline_tests.landing.site import PRODUCTS
from sync_pipeline_tests.service.served import Served, serving
from sync_pipeline_tests.service.test_metrics import scrape
from sync_pipeline_tests.service.test_page import get

LANDED_AT: Final = datetime(2025, 12, 1, tzinfo=UTC)
MATERIALS: Final = replace(PRODUCTS, name="materials", table="materials")
TOOLS: Final = replace(PRODUCTS, name="tools", table="tools", fresh_seconds=3e9)


def land(run: CommandLine) -> None:
    """Materials are old and fail; tools are fresh, and land again."""
    open_pass = PassState(
        pass_id="1",
        landing="tools",
        mode="full",
        mapping_digest="",
        started_at=LANDED_AT,
        pages=7,
        records=1_400,
        last_total=109_000,
    )
    records = FakeLandingRecords(
        {
            "materials": LandingRecord(
                landing="materials",
                rows=5,
                complete_at=LANDED_AT,
                failed_at=LANDED_AT + timedelta(days=1),
                error="<script>alert(1)</script> run `sync-pipeline doctor`",
                not_before=LANDED_AT + timedelta(days=2),
                needs_full_pass="the collection was dropped",
                rejected=3,
            ),
            "tools": LandingRecord(
                landing="tools", rows=16_500, complete_at=LANDED_AT, open_pass=open_pass
            ),
        }
    )
    run.use(records.known_to(run.sync, MATERIALS, TOOLS))


@pytest.fixture(scope="module")
def landed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A service whose materials land; tests that share it change nothing."""
    with serving(tmp_path_factory.mktemp("landed"), prepare=land) as service:
        yield service


def status(served: Served, role: str = "admin", tenant: str | None = None) -> Any:
    answer = served.client.get("/api/sync/status", headers=served.headers(role, tenant))
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_the_status_names_landings_and_bounds_scopes(landed: Served) -> None:
    answer = status(landed)

    materials, tools = answer["landings"]
    assert (materials["name"], materials["rows"], materials["is_fresh"]) == ("materials", 5, False)
    assert materials["complete_at"] == "2025-12-01T00:00:00Z"
    assert materials["age_seconds"] > 0
    assert materials["open_pass"] is None
    assert tools["is_fresh"]
    assert (tools["open_pass"]["records"], tools["open_pass"]["total"]) == (1_400, 109_000)
    (problem,) = [it for it in answer["problems"] if "landing" in it]
    assert problem.startswith("landing materials was last complete ")
    assert problem.endswith(" days ago and failed when it last ran")
    moments = {it["scope_key"]: it["in_sync_to"] for it in answer["scopes"]}
    assert moments["global"] == "2025-12-01T00:00:00Z"
    assert moments["acme"] > moments["global"]


def test_a_tenant_sees_how_far_it_is_and_no_landing(landed: Served) -> None:
    answer = status(landed, "tenant", "acme")

    assert (answer["landings"], answer["problems"]) == ([], [])
    moments = {it["scope_key"]: it["in_sync_to"] for it in answer["scopes"]}
    assert moments["global"] == "2025-12-01T00:00:00Z"


def test_where_nothing_lands_the_status_has_none(served: Served) -> None:
    assert status(served)["landings"] == []


def test_a_search_is_in_sync_to_what_landed(landed: Served) -> None:
    answer = landed.search("plaster")

    assert answer["in_sync_to"]["global"] == "2025-12-01T00:00:00Z"
    assert answer["in_sync_to"]["acme"] > "2025-12-01T00:00:00Z"


def test_the_page_shows_landings_to_operators(landed: Served) -> None:
    page = get(landed, "/", "worker")

    section = page[page.index('<section id="landings"') :]
    section = section[: section.index("</section>")]
    assert "hidden" not in section.partition(">")[0]
    assert '<span class="note warn">old</span>' in section
    assert '<span class="note">fresh</span>' in section
    assert "1,400 of 109,000 records" in section
    assert "2025-12-03 00:00:00 UTC" in section
    assert "It needs a full pass: the collection was dropped." in section
    assert "&lt;script&gt;alert(1)&lt;/script&gt; run <code>sync-pipeline doctor</code>" in section


@pytest.mark.parametrize(
    ("role", "tenant"),
    [
        pytest.param("tenant", "acme", id="a tenant"),
        pytest.param("admin", None, id="nothing lands"),
    ],
)
def test_who_has_no_landings_sees_no_section(
    landed: Served, served: Served, role: str, tenant: str | None
) -> None:
    page = get(landed if tenant else served, "/", role, tenant)

    assert '<section id="landings" aria-labelledby="landings-title" hidden>' in page
    assert '<td data-label="Last complete"' not in page


def test_the_page_of_a_document_says_where_it_comes_from(tmp_path: Any) -> None:
    def with_keys(run: CommandLine) -> None:
        for row in run.source.tables["materials"]:
            row["source_key"] = f"erp-{row['id']}"
        land(run)

    with serving(tmp_path, prepare=with_keys) as served:
        page = get(served, "/documents/global-material-g1")

    assert "It comes from landing <b>materials</b>, where it is called <b>erp-g1</b>." in page
    assert "Last complete: 2025-12-01 00:00:00 UTC, which is old." in page


def test_metrics_say_how_old_each_landing_is(landed: Served) -> None:
    metrics = scrape(landed)

    old, fresh = {"landing": "materials"}, {"landing": "tools"}
    name = "sync_pipeline_landing"
    assert metrics(f"{name}_complete_timestamp_seconds", **old) == LANDED_AT.timestamp()
    assert (metrics(f"{name}_fresh", **old), metrics(f"{name}_fresh", **fresh)) == (0, 1)
    assert (metrics(f"{name}_rows", **old), metrics(f"{name}_rows", **fresh)) == (5, 16_500)
    assert (metrics(f"{name}_failed", **old), metrics(f"{name}_failed", **fresh)) == (1, 0)
    assert metrics(f"{name}_rejected", **old) == 3
    in_sync_to = metrics("sync_pipeline_scope_in_sync_to_timestamp_seconds", scope="global")
    assert in_sync_to == LANDED_AT.timestamp()


def test_a_landing_that_was_never_complete_has_no_time(tmp_path: Any) -> None:
    def never(run: CommandLine) -> None:
        run.use(FakeLandingRecords().known_to(run.sync, MATERIALS))

    with serving(tmp_path, prepare=never) as served:
        metrics = scrape(served)

    assert metrics("sync_pipeline_landing_fresh", landing="materials") == 0
    assert metrics("sync_pipeline_landing_complete_timestamp_seconds", landing="materials") is None
    assert metrics("sync_pipeline_scopes_never_synced") == 0
