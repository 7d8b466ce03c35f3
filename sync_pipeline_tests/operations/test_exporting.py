"""Pages of documents as the source has them: each once, in order, whatever else is in the table."""

from __future__ import annotations

from typing import Any

import pytest

from sync_pipeline.core.entity import Entity
from sync_pipeline.core.errors import ConfigurationError
from sync_pipeline.core.scope import GLOBAL, Scope
from sync_pipeline.operations import exporting
from sync_pipeline.operations.exporting import Page, Place, read_page
from sync_pipeline_tests.engine.world import MATERIAL, WORK, World

ACME, GLOBEX = Scope("acme"), Scope("globex")


@pytest.fixture
def world() -> World:
    """Global rows, and those of two tenants, one of which has no text."""
    world = World()
    world.put_many("g2", "g1", tenant_id=None, is_global=True)
    world.put_many("10", "9", "a", "Z", tenant_id="acme", is_global=False)
    world.put_many("b1", tenant_id="globex", is_global=False)
    world.put("b0", name=None, unit=None, tenant_id="globex", is_global=False)
    return world


def read(world: World, *scopes: Scope, **more: Any) -> Page:
    wanted: dict[str, Any] = {"entities": (MATERIAL, WORK), "limit": 100, **more}
    return read_page(world.sync, scopes=scopes or (GLOBAL, ACME, GLOBEX), **wanted)


def ids(page: Page) -> list[str]:
    return [str(line["document_id"]).rpartition("-")[2] for line in page.lines]


IN_ORDER = ["g1", "g2", "10", "9", "Z", "a", "b1"]


def test_documents_come_by_scope_and_by_id_byte_by_byte(world: World) -> None:
    page = read(world)

    assert (ids(page), page.end) == (IN_ORDER, None)


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 8])
@pytest.mark.parametrize("batch_size", [1, 2, 500])
def test_pages_after_a_cursor_fit_together(world: World, limit: int, batch_size: int) -> None:
    every: list[str] = []
    after: Place | None = None
    while True:
        page = read(world, limit=limit, after=after, batch_size=batch_size)
        every += ids(page)
        if page.end is None:
            break
        assert len(page.lines) == limit
        after = Place.from_text(page.end.as_text())

    assert every == IN_ORDER


def test_pages_by_offset_fit_together(world: World) -> None:
    assert [ids(read(world, limit=3, offset=offset)) for offset in (0, 3, 6, 9)] == [
        IN_ORDER[:3],
        IN_ORDER[3:6],
        IN_ORDER[6:],
        [],
    ]


def test_more_ids_than_are_kept_at_once_are_all_read(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporting, "MAX_IDS", 2)

    assert ids(read(world)) == IN_ORDER


def test_a_page_after_a_cursor_reads_no_row_before_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows: list[object] = []
    build = exporting.line_of

    def counting(document: Any, *, entity: Entity) -> Any:
        rows.append(document.db_id)
        return build(document, entity=entity)

    monkeypatch.setattr(exporting, "line_of", counting)

    read(world, limit=1, after=Place("acme", "material", "9"), batch_size=1)

    assert rows == ["Z", "a"]


def test_a_row_that_is_new_or_gone_moves_no_other_to_another_page(world: World) -> None:
    first = read(world, ACME, limit=2)
    world.source.tables["materials"] = [
        row for row in world.source.tables["materials"] if row["id"] != "9"
    ]
    world.put("0", name="new", tenant_id="acme", is_global=False)

    assert ids(read(world, ACME, after=first.end)) == ["Z", "a"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nonsense",
        "é",
        "W10",
        "W251bGwsbnVsbF0",
        Place("acme", "tool", "1").as_text(),
        Place("nobody", "material", "1").as_text(),
        Place("acme", "material", "a\0b").as_text(),
        Place("acme", "material", "a\ud800").as_text(),
    ],
)
def test_a_cursor_of_something_else_is_refused(world: World, text: str) -> None:
    with pytest.raises(ConfigurationError, match="cursor"):
        read(world, after=Place.from_text(text))
