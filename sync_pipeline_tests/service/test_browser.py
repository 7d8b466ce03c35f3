"""The operations page in a real browser: seen, heard, clicked, and driven by keyboard alone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect, sync_playwright

from sync_pipeline.core.environment import NamedEnvironment
from sync_pipeline_tests.cli.installed import CommandLine, row, use_dimension
from sync_pipeline_tests.service.browsing import (
    CHROMIUM,
    INSTALL,
    Worker,
    open_to_browsers,
    working,
)
from sync_pipeline_tests.service.served import Served

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"no {CHROMIUM}: {INSTALL}"),
]

REFRESH_MS: Final = 4_000
PATIENCE_MS: Final = 20_000
SERIOUS: Final = ("serious", "critical")
ROWS_OF_INITECH: Final = 40
Scheme = Literal["light", "dark"]


@dataclass
class Site:
    """A service with somebody who runs syncs, and a browser that can visit it."""

    served: Served
    address: str
    worker: Worker
    browser: Browser

    def visit(self, path: str = "/", *, as_: str | None = "admin", **options: Any) -> Page:
        """Open a page as somebody, in a browser of its own; None: not signed in."""
        context = self.browser.new_context(base_url=self.address, **options)
        context.set_default_timeout(PATIENCE_MS)
        page = context.new_page()
        if as_ is not None:
            role, _, tenant = as_.partition(" ")
            page.goto("/sign-in")
            page.get_by_label("Token").fill(self.served.token(role, tenant or None))
            page.get_by_role("button", name="Sign in").click()
        page.goto(path)
        return page

    def rename(self, row_id: str, name: str) -> None:
        """Change the text of a material."""
        for material in self.served.run.source.tables["materials"]:
            if material["id"] == row_id:
                material["name"] = name

    def fail(self, row_id: str) -> None:
        """Have a document of acme fail."""
        self.served.run.store.refused.add(f"tenant-material-{row_id}")
        self.rename(row_id, f"charred larch cladding of {row_id}")
        self.worker.sync("acme")

    def mend(self) -> None:
        """Let the index take every document again."""
        self.served.run.store.refused.clear()

    def empty(self, tenant: str) -> None:
        """Take most rows of a tenant away, so that a sync refuses to delete their documents."""
        tables = self.served.run.source.tables
        tables["materials"] = [
            material
            for material in tables["materials"]
            if material["tenant_id"] != tenant or material["id"] == "i0"
        ]
        self.worker.sync(tenant)

    def documents(self) -> set[str]:
        """Ids of the documents in the index."""
        return self.served.run.documents()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(
            executable_path=str(CHROMIUM), args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        yield launched
        launched.close()


@pytest.fixture
def site(browser: Browser, tmp_path: Path) -> Iterator[Site]:
    """Three tenants, all synced; syncs that are asked for are run."""
    with (
        open_to_browsers(tmp_path) as (served, address),
        working(served.run) as worker,
    ):
        served.run.source.tables["materials"] += [
            row(f"i{number}", f"hex bolt M{number}", tenant="initech")
            for number in range(ROWS_OF_INITECH)
        ]
        for key in ("global", "acme", "globex", "initech"):
            worker.sync(key)
        yield Site(served, address, worker, browser)
        for context in list(browser.contexts):
            context.close()


def tab_to(page: Page, element_id: str) -> None:
    """Press the tab key until an element has the focus, as somebody without a mouse does."""
    for _ in range(80):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == element_id:
            return
    raise AssertionError(f"the tab key never reaches {element_id}")


def id_of(page: Page, selector: str) -> str:
    found = page.locator(selector).get_attribute("id")
    assert found is not None
    return found


# --- what operators do ------------------------------------------------------------------------


def test_the_health_is_seen_at_a_glance(site: Site) -> None:
    page = site.visit()

    expect(page.locator("#health")).to_contain_text("100\u202f% in step")
    expect(page.locator("#scopes tbody tr")).to_have_count(4)
    expect(page.locator("#failed")).to_be_hidden()
    expect(page.locator("#blocked")).to_be_hidden()
    expect(
        page.get_by_role("img", name=re.compile("^Documents of the last 4 runs"))
    ).to_be_visible()


def test_a_failed_document_is_synced_from_the_page(site: Site) -> None:
    site.fail("a1")
    page = site.visit()
    expect(page.locator("#health")).to_contain_text("1 document failed in 1 scope")
    expect(page.locator("#failed")).to_contain_text("RejectedPointError")
    site.mend()

    page.get_by_role("button", name="Sync now material a1").click()

    expect(page.get_by_role("status")).to_contain_text("Sync of material a1 asked for: done.")
    expect(page.locator("#failed")).to_be_hidden()
    expect(page.locator("#health")).to_contain_text("100\u202f% in step")
    assert "tenant-material-a1" in site.documents()


def test_all_failed_documents_are_synced_at_once(site: Site) -> None:
    site.fail("a1")
    page = site.visit()
    site.mend()

    page.get_by_role("button", name="Sync all failed").click()

    expect(page.locator("#failed")).to_be_hidden()


def test_every_scope_that_needs_it_is_synced_at_once(site: Site) -> None:
    materials = site.served.run.source.tables["materials"]
    materials.append(row("a9", "oak flooring", tenant="acme"))
    materials.append(row("b9", "steel door", tenant="globex"))
    page = site.visit()

    page.get_by_role("button", name="Sync all pending").click()

    expect(page.get_by_role("status")).to_contain_text("needs one asked for: done.")
    assert {"tenant-material-a9", "tenant-material-b9"} <= site.documents()


def test_a_scope_is_synced_from_its_row(site: Site) -> None:
    site.served.run.source.tables["materials"].append(row("a9", "oak flooring", tenant="acme"))
    page = site.visit()

    page.get_by_role("button", name="Run now acme").click()

    expect(page.get_by_role("status")).to_contain_text("Sync of acme asked for: done.")
    assert "tenant-material-a9" in site.documents()


def test_a_sync_that_fails_is_told(site: Site) -> None:
    site.empty("initech")
    page = site.visit()

    page.get_by_role("button", name="Run now initech").click()

    expect(page.get_by_role("status")).to_contain_text("but it failed: refused to delete 39 of 40")


def test_a_blocked_deletion_is_approved_by_typing_its_number(site: Site) -> None:
    site.empty("initech")
    page = site.visit()
    expect(page.locator("#blocked")).to_contain_text("39 of 40 documents would be deleted")
    field = page.get_by_label("Type 39 to approve")

    field.fill("40")
    page.get_by_role("button", name="Approve").click()
    expect(page.locator("#blocked .wrong")).to_contain_text("Nothing was approved")
    assert len([it for it in site.documents() if it.startswith("tenant-material-i")]) == 40
    field.fill("39")
    page.get_by_role("button", name="Approve").click()

    expect(page.locator("#blocked")).to_be_hidden()
    assert [it for it in site.documents() if it.startswith("tenant-material-i")] == [
        "tenant-material-i0"
    ]


def test_in_a_protected_environment_its_name_is_typed_too(browser: Browser, tmp_path: Path) -> None:
    prod = NamedEnvironment(name="prod", is_protected=True)
    with (
        open_to_browsers(tmp_path, environment=prod) as (served, address),
        working(served.run) as worker,
    ):
        site = Site(served, address, worker, browser)
        served.run.source.tables["materials"] += [
            row(f"i{number}", f"hex bolt M{number}", tenant="initech")
            for number in range(ROWS_OF_INITECH)
        ]
        worker.sync("initech")
        site.empty("initech")
        page = site.visit()
        expect(page).to_have_title(re.compile(r"^prod · "))
        expect(page.locator(".environment.protected")).to_contain_text("prod")

        page.get_by_label("Type 39 to approve").fill("39")
        page.get_by_label("and the name of this environment").fill("dev")
        page.get_by_role("button", name="Approve").click()
        expect(page.locator("#messages")).to_contain_text("nothing was changed")
        assert len([it for it in site.documents() if it.startswith("tenant-material-i")]) == 40
        page.get_by_label("Type 39 to approve").fill("39")
        page.get_by_label("and the name of this environment").fill("prod")
        page.get_by_role("button", name="Approve").click()

        expect(page.locator("#blocked")).to_be_hidden()
        assert len([it for it in site.documents() if it.startswith("tenant-material-i")]) == 1
        assert not [it for it in Axe().run(page).response["violations"] if it["impact"] in SERIOUS]


def test_a_scope_whose_run_failed_is_mended_and_synced_from_its_error(site: Site) -> None:
    sync = site.served.run.sync
    site.served.run.use(replace(sync, options=replace(sync.options, max_quarantined_fraction=0.5)))
    materials = site.served.run.source.tables["materials"]
    for material in materials:
        if material["tenant_id"] == "initech":
            material["name"] = None
    site.worker.sync("initech")
    page = site.visit()
    broken = page.locator("#broken")
    expect(broken).to_contain_text("TooManyQuarantinedError 40 of 40 rows of scope 'initech'")
    expect(broken.locator("td code").last).to_have_text("sync-pipeline quarantine list")
    for material in materials:
        material["name"] = material["name"] or "hex bolt"

    broken.get_by_role("button", name="Sync now initech").click()

    expect(page.get_by_role("status")).to_contain_text("Sync of initech asked for: done.")
    expect(broken).to_be_hidden()


def test_the_index_goes_back_and_forth(browser: Browser, tmp_path: Path) -> None:
    def change_model(run: CommandLine) -> None:
        use_dimension(run, 32)
        assert run("sync", "all").exit_code == 0

    with (
        open_to_browsers(tmp_path, prepare=change_model) as (served, address),
        working(served.run) as worker,
    ):
        page = Site(served, address, worker, browser).visit()
        others = page.locator("#index")
        wanted = served.run.sync.spec.collection

        others.get_by_role("button", name="Go back to it").click()
        expect(page.get_by_role("status")).to_contain_text("The index before serves again.")
        expect(others.get_by_role("heading", name=wanted)).to_be_visible()
        before = served.run.sync.store
        with before() as store:
            gone_back = store.alias_target(served.run.sync.alias)
        others.get_by_role("button", name="Let it serve").click()
        expect(page.get_by_role("status")).to_contain_text("of the settings asked for: done.")
        expect(others.get_by_role("button", name="Go back to it")).to_be_visible()

        with before() as store:
            assert store.alias_target(served.run.sync.alias) == wanted != gone_back
        page.context.close()


def test_two_tenants_are_searched_side_by_side(site: Site) -> None:
    page = site.visit("/search")

    page.get_by_label("Search text").fill("solar panel")
    page.get_by_label("As tenant").fill("globex")
    page.get_by_role("button", name="Search").click()
    expect(page.get_by_role("heading", name=re.compile("^By words"))).to_be_visible()
    expect(page.locator(".ranking")).to_have_count(3)
    expect(page.locator(".ranking.first li").first).to_contain_text("solar panel")
    page.get_by_label("As tenant").fill("acme")
    page.get_by_role("button", name="Search").click()

    expect(page.locator("#seen-by")).to_contain_text("As acme")
    expect(page.locator(".rankings")).not_to_contain_text("solar panel")


def test_a_document_says_why_it_failed_and_is_tried_again(site: Site) -> None:
    site.fail("a1")
    page = site.visit()
    page.get_by_role("link", name="material a1").click()
    expect(page.locator("#reason")).to_contain_text("could not be embedded or written")
    site.mend()

    page.get_by_role("button", name="Sync now").click()

    expect(page.locator("#reason")).to_contain_text("Only acme finds it")


# --- by keyboard alone ------------------------------------------------------------------------


def test_everything_is_done_by_keyboard_alone(site: Site) -> None:
    site.fail("a1")
    site.empty("initech")
    page = site.visit("/", as_=None)
    expect(page.locator("#token")).to_be_focused()
    page.keyboard.type(site.served.token("admin", None))
    page.keyboard.press("Enter")
    expect(page.locator("#health")).to_be_visible()
    site.mend()

    tab_to(page, id_of(page, "#blocked input"))
    page.keyboard.type("39")
    page.keyboard.press("Enter")
    expect(page.locator("#blocked")).to_be_hidden()
    tab_to(page, id_of(page, "#failed tbody button"))
    page.keyboard.press("Enter")
    expect(page.locator("#failed")).to_be_hidden()
    tab_to(page, "filter")
    page.keyboard.type("glob")
    page.keyboard.press("Enter")
    expect(page.locator("#scopes tbody tr")).to_have_count(2)

    assert "tenant-material-i1" not in site.documents()


def test_the_first_stop_of_the_tab_key_skips_to_the_content(site: Site) -> None:
    page = site.visit()

    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")

    expect(page.locator("main")).to_be_focused()


def test_the_last_error_is_told_on_focus_on_hover_and_hidden_by_escape(site: Site) -> None:
    site.fail("a1")
    page = site.visit()
    badge = page.locator(".badge.failed")
    tip = page.locator(".badge.failed + .tip")
    expect(tip).to_be_hidden()

    badge.focus()
    expect(tip).to_contain_text("Last error: the index refuses document")
    expect(tip).to_be_visible()
    page.keyboard.press("Escape")
    expect(tip).to_be_hidden()
    badge.hover()

    expect(tip).to_be_visible()


# --- it refreshes by itself --------------------------------------------------------------------


def test_a_change_shows_by_itself_without_losing_the_focus_or_what_was_typed(site: Site) -> None:
    page = site.visit()
    page.clock.install()
    page.reload()
    button = page.get_by_role("button", name="Run now acme")
    page.locator("#filter").fill("ac")
    button.focus()

    site.fail("a1")
    page.clock.run_for(REFRESH_MS + 100)

    expect(page.locator("#health")).to_contain_text("1 document failed in 1 scope")
    expect(button).to_be_focused()
    expect(page.locator("#filter")).to_have_value("ac")


def test_a_page_that_nobody_sees_asks_nothing(site: Site) -> None:
    page = site.visit()
    page.clock.install()
    page.reload()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    is_refresh = "/fragments/overview"

    page.evaluate(
        "Object.defineProperty(document, 'hidden', {value: true, configurable: true});"
        "document.dispatchEvent(new Event('visibilitychange'))"
    )
    page.clock.run_for(REFRESH_MS * 5)
    while_hidden = [url for url in asked if is_refresh in url]
    with page.expect_response("**/fragments/overview?*"):
        page.evaluate(
            "Object.defineProperty(document, 'hidden', {value: false, configurable: true});"
            "document.dispatchEvent(new Event('visibilitychange'))"
        )

    assert while_hidden == []


def test_whoever_is_signed_out_elsewhere_is_asked_to_sign_in(site: Site) -> None:
    page = site.visit()
    page.context.clear_cookies()

    page.wait_for_url("**/sign-in")


# --- everybody can use it -----------------------------------------------------------------------


def test_tenants_see_their_own_scope_and_no_other(site: Site) -> None:
    page = site.visit("/", as_="tenant acme")

    expect(page.locator("#scopes tbody tr")).to_have_count(2)
    expect(page.get_by_role("button", name=re.compile("Run now"))).to_have_count(0)
    expect(page.locator("body")).not_to_contain_text("globex")


def test_without_scripts_everything_shows_and_nothing_pretends_to_work(site: Site) -> None:
    site.fail("a1")
    page = site.visit(java_script_enabled=False)

    expect(page.locator("#failed")).to_contain_text("RejectedPointError")
    expect(page.get_by_role("button", name=re.compile("Run now"))).to_have_count(0)
    page.get_by_label("Scope contains").fill("globex")
    page.get_by_role("button", name="Show").click()
    expect(page.locator("#scopes tbody tr")).to_have_count(1)


@pytest.mark.parametrize("width", [320, 390, 768, 1024])
def test_no_page_scrolls_sideways(site: Site, width: int) -> None:
    site.fail("a1")
    site.empty("initech")
    page = site.visit(viewport={"width": width, "height": 800})

    for path in ("/", "/search?q=panel&tenant=globex", "/documents/tenant-material-a1"):
        page.goto(path)
        assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_stands_in_anybodys_way(site: Site, scheme: Scheme, width: int) -> None:
    site.fail("a1")
    site.empty("initech")
    page = site.visit(color_scheme=scheme, viewport={"width": width, "height": 900})
    violations: list[str] = []

    for path in (
        "/",
        "/search?q=panel&tenant=globex",
        "/documents/tenant-material-a1",
        "/documents/none",
        "/sign-in",
    ):
        page.goto(path)
        for details in page.locator("details").all():
            details.evaluate("it => { it.open = true; }")
        found = Axe().run(page).response["violations"]
        violations += [
            f"{path}: {it['id']}: {it['nodes'][0]['html']}"
            for it in found
            if it["impact"] in SERIOUS
        ]

    assert violations == []


def test_no_page_breaks_its_own_policy(site: Site) -> None:
    site.fail("a1")
    page = site.visit()
    told: list[str] = []
    page.on("console", lambda message: told.append(message.text))
    page.on("pageerror", lambda error: told.append(str(error)))

    for path in ("/", "/search?q=panel&tenant=globex", "/documents/tenant-material-a1"):
        page.goto(path)
        page.wait_for_load_state("networkidle")

    assert told == []
