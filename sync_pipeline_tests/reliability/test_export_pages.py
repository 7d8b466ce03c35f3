"""Pages of an export from a real table."""

from __future__ import annotations

import pytest

from sync_pipeline.core.scope import Scope
from sync_pipeline.operations.exporting import Place, read_page
from sync_pipeline_tests.reliability.site import MATERIAL, Site


@pytest.mark.parametrize("limit", [50, 120])
def test_pages_after_a_cursor_hold_every_row_of_a_tenant_once(site: Site, limit: int) -> None:
    site.fill(120)
    site.fill(30, tenant="globex", prefix="b")
    site.sql("INSERT INTO materials (id, tenant_id, name) VALUES ('Größe', 'acme', 'steel')")
    names: list[str] = []
    after: Place | None = None
    while True:
        page = read_page(
            site.sync, entities=(MATERIAL,), scopes=(Scope("acme"),), limit=limit, after=after
        )
        names += [str(line["document_id"]) for line in page.lines]
        if page.end is None:
            break
        after = Place.from_text(page.end.as_text())

    numbered = [f"tenant-material-m{number:04}" for number in range(1, 121)]
    assert names == ["tenant-material-Größe", *numbered]
