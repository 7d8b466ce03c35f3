"""Takes the pictures of the operations page: ``python docs/photograph_page.py``.

The sample catalogue is synced into a folder that is thrown away, edited and synced a few times
more, so that there are runs to show; one document fails and one deletion is refused. Needs
Debian's chromium.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Final

import sqlalchemy as sa
from playwright.sync_api import Browser, sync_playwright

from sync_pipeline.core.document import document_id
from sync_pipeline.core.hashing import point_id
from sync_pipeline.core.ports import FailedDocument
from sync_pipeline.core.scope import Scope
from sync_pipeline.database.embedded import stop_embedded_database
from sync_pipeline.sample.catalogues import load_builtin
from sync_pipeline.service.app import make_app
from sync_pipeline.settings import ServiceSettings, Settings
from sync_pipeline.wiring import Installation, open_installation
from sync_pipeline_tests.service.browsing import CHROMIUM, Worker, listening

IMAGES: Final = Path(__file__).resolve().parent / "images"
DAGSTER: Final = "http://127.0.0.1:3000"
SEARCH: Final = "/search?q=плитка+для+пола&tenant=acme"
PICTURES: Final = {
    "operations-page.png": ("/", 1280, 900),
    "operations-page-phone.png": ("/", 390, 844),
    "operations-page-search.png": (SEARCH, 1280, 900),
}
"""Path, width and height of each picture."""
EDITS: Final = (("!", 60), ("", 60), ("(new)", 120), ("", 90), ("!", 150))
"""Before each round of syncs: what is put after a name, and in how many rows of each owner. What
was embedded before comes from the cache."""
REFUSED: Final = "globex"


def main() -> None:
    """Fill an installation, serve it, and take every picture."""
    with tempfile.TemporaryDirectory(prefix="sp-") as folder:
        settings = Settings(home=Path(folder), service=ServiceSettings(dagster_url=DAGSTER))
        installation = open_installation(settings)
        try:
            fill(installation)
            with listening(make_app(installation)) as address, sync_playwright() as playwright:
                browser = playwright.chromium.launch(
                    executable_path=str(CHROMIUM), args=["--no-sandbox"]
                )
                for name in PICTURES:
                    take(browser, address, name)
                browser.close()
        finally:
            installation.source_engine.dispose()
            stop_embedded_database(settings.postgres_path)


def fill(installation: Installation) -> None:
    """Sync the sample catalogue, and then what is edited in it, round by round."""
    worker = Worker(installation)
    scopes = list(load_builtin(installation.source_engine).rows)
    for key in scopes:
        worker.sync(key)
    for suffix, count in EDITS:
        edit(installation, suffix, count=count)
        for key in scopes:
            worker.sync(key)
    fail_one(installation, "acme")
    with installation.source_engine.begin() as connection:
        connection.execute(
            sa.text("DELETE FROM materials WHERE tenant_id = :tenant"), {"tenant": REFUSED}
        )
    worker.sync(REFUSED)


def edit(installation: Installation, suffix: str, *, count: int) -> None:
    """Put a suffix, or none, after the names of some rows of every owner."""
    statement = sa.text(
        "UPDATE materials SET updated_at = now(), name ="
        " rtrim(regexp_replace(name, ' (!|\\(new\\))$', '') || ' ' || :suffix) WHERE id IN ("
        "SELECT id FROM (SELECT id, row_number() OVER (PARTITION BY tenant_id ORDER BY id) AS n"
        " FROM materials) AS numbered WHERE n <= :count)"
    )
    with installation.source_engine.begin() as connection:
        connection.execute(statement, {"suffix": suffix, "count": count})


def fail_one(installation: Installation, tenant: str) -> None:
    """Record a document as one that the index refused."""
    sync = installation.sync
    with installation.source_engine.connect() as connection:
        row_id = connection.scalar(
            sa.text("SELECT id::text FROM materials WHERE tenant_id = :tenant ORDER BY id LIMIT 1"),
            {"tenant": tenant},
        )
    name = document_id(scope=Scope(tenant), entity_type="material", row_id=str(row_id))
    sync.state.record_failed(
        scope=Scope(tenant),
        failures=[
            FailedDocument(
                document_id=name,
                point_id=point_id(name),
                entity_type="material",
                db_id=str(row_id),
                error_code="StoreUnavailableError",
                error="the index did not answer within 60 seconds",
            )
        ],
    )


def take(browser: Browser, address: str, name: str) -> None:
    """One picture: of the whole page, or of what fits on the screen."""
    path, width, height = PICTURES[name]
    context = browser.new_context(
        base_url=address, viewport={"width": width, "height": height}, color_scheme="light"
    )
    page = context.new_page()
    page.goto(path)
    page.screenshot(path=IMAGES / name, full_page=name == "operations-page.png")
    context.close()
    print(name, (IMAGES / name).stat().st_size // 1024, "kB")


if __name__ == "__main__":
    main()
