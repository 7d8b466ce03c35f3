"""The operations page as its HTML: what is escaped, who sees what, and who may change anything."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Final
from urllib.parse import quote

import pytest
from starlette.testclient import TestClient

from sync_pipeline.core.ports import SyncRun
from sync_pipeline.core.reports import Counts, StepSeconds
from sync_pipeline.service.authentication import COOKIE
from sync_pipeline.service.guards import CONTENT_SECURITY_POLICY
from sync_pipeline.service.pages import assets, local_path
from sync_pipeline_tests.cli.installed import row
from sync_pipeline_tests.service.served import Served, claims, serving, signed

SCRIPT: Final = "<script>alert(1)</script>"
QUOTED: Final = '"><img src=x onerror=alert(1)>'
PAGES: Final = (
    "/",
    "/?q=glob&problems=true&sort=rows&up=true",
    "/fragments/overview",
    "/search",
    "/search?q=cladding&tenant=acme",
    "/documents/tenant-material-a1",
    "/documents/nothing-of-the-kind",
    "/sign-in",
    "/?offset=-1",
)


class Elements(HTMLParser):
    """Every start tag of a page, with its attributes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def having(self, attribute: str) -> list[str]:
        return [attrs[attribute] or "" for _, attrs in self.tags if attribute in attrs]


def record_run(
    served: Served, scope_key: str, *, deletions: int | None = None, minutes_ago: int = 1
) -> None:
    """A run that succeeded, or one that was refused to delete so many points."""
    at = datetime.now(tz=UTC) - timedelta(minutes=minutes_ago)
    facts: dict[str, str | int | float] = {}
    if deletions is not None:
        facts = {
            "error": "MassDeletionRefusedError",
            "total": deletions,
            "total_indexed": deletions + 2,
        }
    served.run.sync.runs.record(
        SyncRun(
            run_id=f"run-of-{scope_key}",
            scope_key=scope_key,
            mode="full",
            status="success" if deletions is None else "failed",
            started_at=at - timedelta(seconds=3),
            finished_at=at,
            counts=Counts(unchanged=40, new=2, texts=2, cache_hits=1, embedded_texts=1),
            seconds=StepSeconds(export=0.5, embed=1.5),
            facts=facts,
        )
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Acme's document has failed, a deletion of globex waits, and a hostile tenant has rows."""
    folder = tmp_path_factory.mktemp("site")
    with serving(folder, dagster_url="https://dagster.example/ui/") as served:
        materials = served.run.source.tables["materials"]
        materials.append(row("x1", f"tile {SCRIPT}", tenant=SCRIPT))
        materials.append(row(QUOTED, f"tile {QUOTED}", tenant=SCRIPT))
        materials.append(row("x2", None, tenant=QUOTED))
        changed = next(it for it in materials if it["id"] == "a1")
        changed["name"] = "charred larch cladding, brushed"
        served.run.store.refused |= {"tenant-material-a1", f"tenant-material-{QUOTED}"}
        served.run("sync", "all", "--force")
        record_run(served, "acme")
        record_run(served, SCRIPT)
        record_run(served, "globex", deletions=40)
        yield served


def visitor(served: Served, role: str | None = "admin", tenant: str | None = None) -> TestClient:
    """A browser of its own, signed in; with None not signed in."""
    client = TestClient(served.app, raise_server_exceptions=False, follow_redirects=False)
    if role is not None:
        answer = client.post("/sign-in", data={"token": served.token(role, tenant)})
        assert answer.status_code == 303, answer.text
    return client


def get(served: Served, path: str, role: str = "admin", tenant: str | None = None) -> str:
    answer = visitor(served, role, tenant).get(path)
    assert answer.status_code == 200, answer.text
    return answer.text


def csrf_of(html: str) -> str:
    token = re.search(r'name="csrf-token" content="(\w+)"', html)
    assert token is not None
    return token[1]


# --- escaping, and the content security policy ---------------------------------------


@pytest.mark.parametrize("path", PAGES)
def test_no_page_has_a_script_or_a_style_of_its_own(site: Served, path: str) -> None:
    answer = visitor(site).get(path)
    elements = Elements(answer.text)

    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["content-security-policy"] == CONTENT_SECURITY_POLICY
    for tag, attributes in elements.tags:
        assert tag != "style"
        assert tag != "script" or (attributes.get("src") or "").startswith("/static/page.js?")
        assert "style" not in attributes
        assert not [name for name in attributes if name.startswith("on")]
    for address in (*elements.having("src"), *elements.having("action")):
        assert address.startswith("/")


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/?q=%3Cscript%3Ealert(1)%3C/script%3E",
        "/search?q=tile&tenant=%3Cscript%3Ealert(1)%3C%2Fscript%3E",
        "/search?q=%22%3E%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E",
        "/documents/tenant-material-x1",
        "/documents/tenant-material-%22%3E%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E",
        "/documents/%3Cscript%3Ealert(1)%3C%2Fscript%3E",
        "/sign-in?next=%22%3E%3Cscript%3Ealert(1)%3C/script%3E",
    ],
)
def test_texts_and_keys_are_never_markup(site: Served, path: str) -> None:
    html = visitor(site).get(path).text

    assert SCRIPT not in html
    assert "<img" not in html


def test_hostile_keys_are_shown_as_they_are(site: Served) -> None:
    html = get(site, "/")

    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    bodies = [attrs["data-body"] or "" for _, attrs in Elements(html).tags if "data-body" in attrs]
    assert any(SCRIPT in body and body.startswith('{"') for body in bodies)


def test_every_part_that_is_replaced_has_an_id_of_its_own(site: Served) -> None:
    ids = Elements(get(site, "/")).having("id")

    assert len(ids) == len(set(ids))
    assert not [it for it in ids if re.search(r"\s", it)]


def test_what_describes_and_labels_is_on_the_page(site: Served) -> None:
    elements = Elements(get(site, "/"))
    ids = set(elements.having("id"))

    for attribute in ("aria-describedby", "aria-labelledby", "for"):
        assert set(elements.having(attribute)) <= ids


# --- signing in ----------------------------------------------------------------------


def test_whoever_is_not_signed_in_is_sent_to_sign_in_and_back(site: Served) -> None:
    client = visitor(site, None)

    sent = client.get("/search?q=tile")
    token = site.token("admin", None)
    back = client.post("/sign-in", data={"token": token, "next": "/search?q=tile"})

    assert (sent.status_code, sent.headers["location"]) == (
        303,
        "/sign-in?next=%2Fsearch%3Fq%3Dtile",
    )
    assert (back.status_code, back.headers["location"]) == (303, "/search?q=tile")
    assert client.get("/search?q=tile").status_code == 200


@pytest.mark.parametrize(
    ("headers", "is_secure"),
    [
        pytest.param({}, False, id="http"),
        pytest.param({"x-forwarded-proto": "https"}, True, id="https at a proxy"),
    ],
)
def test_the_cookie_is_for_no_script_and_for_no_other_site(
    site: Served, headers: dict[str, str], *, is_secure: bool
) -> None:
    client = visitor(site, None)

    answer = client.post("/sign-in", data={"token": site.token("admin", None)}, headers=headers)

    cookie = answer.headers["set-cookie"].lower()
    assert cookie.startswith(COOKIE)
    assert "; httponly" in cookie
    assert "; samesite=strict" in cookie
    assert ("; secure" in cookie) is is_secure


@pytest.mark.parametrize("token", ["", "nonsense", "é" * 9_000, "a.b.c"])
def test_a_token_that_is_no_good_is_refused_without_a_cookie(site: Served, token: str) -> None:
    answer = visitor(site, None).post("/sign-in", data={"token": token})

    assert answer.status_code == 401
    assert "This token is not valid" in answer.text
    assert "set-cookie" not in answer.headers


def test_a_token_that_no_browser_would_keep_is_told_to_be_too_long(site: Served) -> None:
    token = signed(claims(note="x" * 4_000))

    answer = visitor(site, None).post("/sign-in", data={"token": token})

    assert answer.status_code == 400
    assert "too long to be kept in a cookie" in answer.text


def test_signing_in_from_a_page_of_another_site_is_refused(site: Served) -> None:
    answer = visitor(site, None).post(
        "/sign-in",
        data={"token": site.token("admin", None)},
        headers={"sec-fetch-site": "cross-site"},
    )

    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize(
    "wanted",
    ["https://evil.example", "//evil.example", "/\\evil.example", "/a\r\nb", "evil", "/a\\b"],
)
def test_signing_in_leads_to_pages_of_ours_only(wanted: str) -> None:
    assert local_path(wanted) == "/"


def test_signing_out_needs_the_page_and_forgets_the_token(site: Served) -> None:
    client = visitor(site)
    token = csrf_of(client.get("/").text)

    refused = client.post("/sign-out", data={"csrf_token": "0" * 64})
    still_there = client.get("/").status_code
    done = client.post("/sign-out", data={"csrf_token": token})

    assert (refused.status_code, still_there) == (403, 200)
    assert (done.status_code, done.headers["location"]) == (303, "/sign-in")
    assert client.get("/").status_code == 303


def test_a_form_with_too_many_fields_is_refused(site: Served) -> None:
    answer = visitor(site, None).post("/sign-in", data={f"f{number}": "x" for number in range(99)})

    assert answer.status_code == 400


def test_where_nobody_signs_in_the_page_needs_no_token(tmp_path: Path) -> None:
    served = Served(tmp_path, secret=None)
    client = TestClient(served.app, base_url="http://127.0.0.1", follow_redirects=False)

    page, sign_in = client.get("/"), client.get("/sign-in")

    assert (page.status_code, sign_in.headers["location"]) == (200, "/")
    assert "Sign out" not in page.text
    assert "Run now" in page.text


# --- who sees what -------------------------------------------------------------------


def posts(html: str) -> set[str]:
    """What the buttons and forms of a page send."""
    return set(Elements(html).having("data-post"))


def test_a_tenant_sees_its_own_scope_and_the_global_one(site: Served) -> None:
    html = get(site, "/", "tenant", "acme")

    assert set(re.findall(r'<th scope="row" data-label="Scope">([^<\s]+)', html)) == {
        "acme",
        "global",
    }
    for hidden in ("globex", "alert(1)", "dagster.example"):
        assert hidden not in html


def test_a_tenant_has_buttons_for_its_own_failed_documents_alone(site: Served) -> None:
    own, foreign = get(site, "/", "tenant", "acme"), get(site, "/", "tenant", "globex")

    assert posts(own) == {"/api/sync/batch", "/api/sync/documents/tenant-material-a1/retry"}
    assert posts(foreign) == set()


def test_a_tenant_cannot_try_a_global_document_again(tmp_path: Path) -> None:
    served = Served(tmp_path)
    served.run.store.refused.add("global-material-g1")
    served.run.source.tables["materials"][0]["name"] = "gypsum plaster, fine"
    served.run("sync", "global", "--force")

    html = get(served, "/", "tenant", "acme")

    assert "material g1" in html
    assert posts(html) == set()
    assert posts(get(served, "/documents/global-material-g1", "tenant", "acme")) == set()


def test_a_tenant_that_filters_for_others_gets_none(site: Served) -> None:
    assert "No scope matches" in get(site, "/?q=globex", "tenant", "acme")


def test_an_operator_sees_every_scope_with_its_buttons(site: Served) -> None:
    html = get(site, "/", "worker")

    assert ">globex</a>" in html
    assert posts(html) == {
        "/api/sync/run",
        "/api/sync/batch",
        "/api/sync/documents/tenant-material-a1/retry",
        f"/api/sync/documents/tenant-material-{quote(QUOTED, safe='')}/retry",
    }


def test_a_blocked_deletion_is_approved_by_its_number(site: Served) -> None:
    assert "/api/sync/approve" in posts(get(site, "/", "admin"))
    (form,) = [attrs for tag, attrs in Elements(get(site, "/")).tags if "data-repeat" in attrs]

    assert form["data-repeat"] == "40"
    assert form["data-body"] == '{"scope": "globex", "deletions": 40}'


def test_a_failed_run_is_told_with_what_can_be_done(site: Served) -> None:
    runs = site.run.sync.runs
    at = datetime.now(tz=UTC)
    run = SyncRun(
        run_id="run-that-failed",
        scope_key="acme",
        mode="full",
        status="failed",
        started_at=at,
        finished_at=at,
        error=f"3 of 4 rows cannot {SCRIPT}. `sync-pipeline quarantine list` names the rows.",
        facts={"error": "TooManyQuarantinedError"},
    )
    runs.record(run)
    try:
        seen = {
            who: broken_of(get(site, "/", *who))
            for who in (("admin", None), ("tenant", "acme"), ("tenant", "globex"))
        }
        told = site.client.get("/api/sync/status", headers=site.headers("worker", None)).json()
        kept = site.client.get("/api/sync/status", headers=site.headers("tenant", "acme")).json()
    finally:
        runs.record(replace(run, status="success", error=None, facts={}))

    admin, own, foreign = seen.values()
    assert "<b>TooManyQuarantinedError</b> 3 of 4 rows cannot &lt;script&gt;" in admin
    assert "<code>sync-pipeline quarantine list</code> names the rows." in admin
    assert Elements(admin).having("data-body") == [
        '{"scopes": ["tenant:acme"], "mode": "full", "force": true}'
    ]
    assert "3 of 4 rows" in own
    assert posts(own) == set()
    assert "3 of 4 rows" not in foreign
    assert [it["action"] for it in told["runs"][0]["remedy"]] == ["show", "change_setting", "sync"]
    assert kept["runs"][0]["remedy"] == []
    assert "3 of 4 rows" not in broken_of(get(site, "/"))


def broken_of(html: str) -> str:
    """The part about scopes whose last run failed."""
    return html[html.index('id="broken"') : html.index('id="index"')]


def test_the_last_error_is_told_to_whoever_points_at_or_reaches_a_badge(site: Served) -> None:
    html = get(site, "/?q=acme")
    badge = re.search(r'<button[^>]*class="badge failed"[^>]*aria-describedby="([^"]+)"', html)
    assert badge is not None

    tip = re.search(rf'id="{badge[1]}">(.*?)</span>', html, flags=re.DOTALL)

    assert tip is not None
    assert "Last error: the index refuses document" in tip[1]


def test_links_lead_into_dagster_where_it_is_known(site: Served) -> None:
    addresses = Elements(get(site, "/")).having("href")

    assert "https://dagster.example/ui" in addresses
    assert (
        "https://dagster.example/ui/assets/exported_documents?view=partitions&partition=acme"
        in addresses
    )
    assert "https://dagster.example/ui/runs/run-of-acme" in addresses


def test_the_health_is_a_number_and_words(site: Served) -> None:
    html = get(site, "/", "tenant", "acme")

    assert '<span class="number">75\u202f%</span> in step' in html
    assert "1 document failed in 1 scope" in html


def test_charts_have_their_numbers_as_words(site: Served) -> None:
    html = get(site, "/", "tenant", "acme")

    assert "<title>acme: 2 written, 40 unchanged</title>" in html
    assert "50 % from the cache" in html


@pytest.mark.parametrize(
    "document_id", ["tenant-material-b1", "tenant-material-no-such", "tenant-nothing-b1", "b1"]
)
def test_a_tenant_cannot_tell_a_foreign_document_from_none(site: Served, document_id: str) -> None:
    answer = visitor(site, "tenant", "acme").get(f"/documents/{document_id}")

    assert answer.status_code == 404
    body = re.sub(r"Request \w+", "", answer.text)
    assert "there is no such document" in body
    assert "globex" not in body
    assert "solar" not in body


def test_a_document_page_says_why_and_what_to_do(site: Served) -> None:
    html = get(site, "/documents/tenant-material-a1")

    assert "charred larch cladding, brushed" in html
    assert "It could not be embedded or written, once" in html
    assert "<code>sync-pipeline failed retry material a1 --now</code>" in html
    assert "/api/sync/documents/tenant-material-a1/retry" in html


def test_a_search_shows_both_rankings_beside_what_they_come_to(site: Served) -> None:
    html = get(site, "/search?q=solar+panel&tenant=globex")

    titles = re.findall(r'<h2 id="ranking-\d">(\w[\w ]+?) <small>', html)
    assert titles == ["Together", "By meaning", "By words"]
    assert '<span class="place">words 1</span>' in html
    assert html.count("solar panel</p>") == 3


def test_a_tenant_searches_as_itself_alone(site: Served) -> None:
    client = visitor(site, "tenant", "acme")

    own, foreign = client.get("/search?q=panel"), client.get("/search?q=panel&tenant=globex")

    assert own.status_code == 200
    assert "solar" not in own.text
    assert 'name="tenant"' not in own.text
    assert foreign.status_code == 403
    assert "solar" not in foreign.text


@pytest.mark.parametrize("path", ["/?offset=-1", "/?sort=nonsense", f"/search?q={'x' * 2_001}"])
def test_a_request_of_another_form_is_a_page_too(site: Served, path: str) -> None:
    answer = visitor(site).get(path)

    assert answer.status_code == 422
    assert "<h1>Unprocessable Content</h1>" in answer.text


# --- pages of scopes -----------------------------------------------------------------


def test_ten_thousand_scopes_are_pages_of_25(tmp_path: Path) -> None:
    served = Served(tmp_path)
    template = next(iter(served.run.sync.scopes.list_entities()))
    entities = served.run.sync.scopes.entities  # type: ignore[attr-defined]
    for number in range(10_000):
        key = f"tenant-{number:05}"
        for name in served.run.sync.entity_names:
            entities[_collection(served), key, name] = replace(
                template, scope_key=key, entity_type=name
            )

    html = get(served, "/?q=tenant-&sort=scope&up=true&offset=9975")

    rows = re.findall(r'<th scope="row" data-label="Scope">(tenant-\d+)', html)
    assert (len(rows), rows[0], rows[-1]) == (25, "tenant-09975", "tenant-09999")
    assert "9,976–10,000 of 10,000" in html
    assert 'rel="next"' not in html
    assert 'href="/?q=tenant-&amp;sort=scope&amp;up=true&amp;offset=9950"' in html


def _collection(served: Served) -> str:
    return served.run.sync.spec.collection


# --- changes, and files --------------------------------------------------------------


@pytest.mark.parametrize("token", [None, "", "0" * 64], ids=["none", "empty", "forged"])
def test_a_change_known_by_its_cookie_alone_needs_the_token_of_the_page(
    site: Served, token: str | None
) -> None:
    client = visitor(site)
    headers = {} if token is None else {"x-csrf-token": token}

    answer = client.post("/api/search", json={"query": "tile"}, headers=headers)

    assert answer.status_code == 403
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_change_with_the_token_of_the_page_is_made(site: Served) -> None:
    client = visitor(site)
    headers = {"x-csrf-token": csrf_of(client.get("/").text)}

    answer = client.post("/api/search", json={"query": "tile"}, headers=headers)

    assert answer.status_code == 200


def test_the_token_of_one_signed_in_is_no_good_for_another(site: Served) -> None:
    foreign = csrf_of(visitor(site, "tenant", "globex").get("/").text)

    answer = visitor(site, "tenant", "acme").post(
        "/api/search", json={"query": "tile"}, headers={"x-csrf-token": foreign}
    )

    assert answer.status_code == 403


def test_files_may_be_kept_for_their_address_changes_with_them(site: Served) -> None:
    client = visitor(site, None)

    style = client.get(f"/static/page.css?{assets()['page.css'].version}")
    missing = [client.get(f"/static/{name}") for name in ("..%2Fpages.py", "page.py", "%2e%2e")]

    assert "immutable" in style.headers["cache-control"]
    assert style.headers["content-type"] == "text/css; charset=utf-8"
    assert [it.status_code for it in missing] == [404, 404, 404]


def test_pages_are_kept_by_no_cache(site: Served) -> None:
    assert visitor(site).get("/").headers["cache-control"] == "no-store"
