"""Documents over HTTP: one's own and the shared ones, in pages and as a stream."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from sync_pipeline.core.errors import SourceUnavailableError
from sync_pipeline.service.routes import export
from sync_pipeline_tests.service.served import Served, serving

ACME = ("tenant", "acme")
GLOBEX = ("tenant", "globex")
WORKER = ("worker", None)
Who = tuple[str, str | None]


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Served]:
    """A service that a test may change."""
    with serving(tmp_path) as service:
        yield service


def ask(served: Served, path: str, who: Who = ACME, **headers: str) -> Any:
    return served.client.get(path, headers={**served.headers(*who), **headers})


def page(served: Served, path: str, who: Who = ACME) -> Any:
    answer = ask(served, f"/api/export/{path}", who)
    assert answer.status_code == 200, answer.text
    return answer.json()


def ids(answer: Any) -> list[str]:
    return [document["id"] for document in answer["documents"]]


def stream(served: Served, path: str, who: Who = ACME) -> list[Any]:
    answer = ask(served, f"/api/export/{path}", who, accept="application/x-ndjson")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("application/x-ndjson")
    return [json.loads(line) for line in answer.text.splitlines()]


def five_lines() -> Generator[dict[str, object]]:
    for number in range(5):
        yield {"document_id": str(number), "text": "", "payload": {}}


def test_a_tenant_gets_its_own_documents_by_default(served: Served) -> None:
    assert page(served, "materials") == {
        "success": True,
        "scope": "tenant",
        "tenantId": "acme",
        "count": 1,
        "limit": 500,
        "offset": 0,
        "nextCursor": None,
        "documents": [
            {
                "id": "tenant-material-a1",
                "text": "charred larch cladding",
                "metadata": {
                    "tenantId": "acme",
                    "type": "material",
                    "dbId": "a1",
                    "categoryId": None,
                    "supplierId": None,
                    "unit": "m2",
                    "isGlobal": False,
                    "scope": "tenant",
                    "scope_key": "acme",
                    "code": 1,
                },
            }
        ],
    }


def test_of_all_entities_each_is_counted(served: Served) -> None:
    answer = page(served, "all?scope=all")

    assert ids(answer) == [
        "global-material-g1",
        "global-work-g2",
        "tenant-material-a1",
        "tenant-work-a2",
    ]
    assert (answer["total"], answer["materialsCount"], answer["worksCount"]) == (4, 2, 2)
    assert (answer["count"], answer["scope"], answer["tenantId"]) == (4, "all", "acme")


@pytest.mark.parametrize(
    ("path", "who", "expected"),
    [
        pytest.param("works", ACME, ["tenant-work-a2"], id="own"),
        pytest.param("work", ACME, ["tenant-work-a2"], id="by the entity's name"),
        pytest.param("works?tenantId=acme", ACME, ["tenant-work-a2"], id="named"),
        pytest.param("materials?scope=global", ACME, ["global-material-g1"], id="global"),
        pytest.param(
            "materials?scope=all", GLOBEX,
            ["global-material-g1", "tenant-material-b1", "tenant-material-b2"], id="both",
        ),
        pytest.param(
            "materials?tenantId=globex", WORKER,
            ["tenant-material-b1", "tenant-material-b2"], id="as an operator",
        ),
        pytest.param(
            "materials", WORKER,
            ["tenant-material-a1", "tenant-material-b1", "tenant-material-b2"], id="every tenant",
        ),
        pytest.param("materials?scope=global", WORKER, ["global-material-g1"], id="global ones"),
    ],
)  # fmt: skip
def test_whose_documents_come(served: Served, path: str, who: Who, expected: list[str]) -> None:
    assert ids(page(served, path, who)) == expected
    assert [it["id"] for it in stream(served, path, who)] == expected


@pytest.mark.parametrize(
    ("path", "who", "status"),
    [
        pytest.param("materials?tenantId=globex", ACME, 403, id="another tenant's"),
        pytest.param("materials?tenantId=nobody", ACME, 403, id="nobody's"),
        pytest.param("materials?tenantId=globex&scope=global", ACME, 403, id="global as another"),
        pytest.param("materials?tenantId=nobody", WORKER, 404, id="an unknown tenant's"),
        pytest.param("materials?tenantId=acme&scope=global", WORKER, 400, id="global and a tenant"),
        pytest.param("tools", ACME, 404, id="no entity"),
        pytest.param("materials?scope=mine", ACME, 422, id="no scope"),
        pytest.param("materials?limit=0", ACME, 422, id="limit 0"),
        pytest.param("materials?limit=5001", ACME, 422, id="limit 5001"),
        pytest.param("materials?offset=-1", ACME, 422, id="offset -1"),
        pytest.param("materials?batchSize=0", ACME, 422, id="batchSize 0"),
        pytest.param("materials?cursor=nonsense", ACME, 400, id="no cursor"),
        pytest.param("a%00b", ACME, 404, id="a zero byte"),
        pytest.param("materials?tenantId=a%00b", WORKER, 404, id="a zero byte as a tenant"),
    ],
)
def test_what_cannot_be_exported_is_refused(
    served: Served, path: str, who: Who, status: int
) -> None:
    for accept in ("*/*", "application/x-ndjson"):
        answer = ask(served, f"/api/export/{path}", who, accept=accept)

        assert answer.status_code == status, answer.text
        assert answer.headers["content-type"] == "application/problem+json"


def test_pages_fit_together_by_cursor_and_by_offset(served: Served) -> None:
    whole = ids(page(served, "all?scope=all", WORKER))

    by_cursor: list[str] = []
    cursor = ""
    while True:
        answer = page(served, f"all?scope=all&limit=2{cursor}", WORKER)
        by_cursor += ids(answer)
        if answer["nextCursor"] is None:
            break
        cursor = f"&cursor={answer['nextCursor']}"
    by_offset = [
        name
        for offset in range(0, len(whole), 2)
        for name in ids(page(served, f"all?scope=all&limit=2&offset={offset}", WORKER))
    ]

    assert whole == by_cursor == by_offset
    assert len(whole) == 6


def test_a_cursor_of_an_operator_shows_a_tenant_nothing_of_another(served: Served) -> None:
    cursor = page(served, "materials?tenantId=globex&limit=1", WORKER)["nextCursor"]

    answer = ask(served, f"/api/export/materials?cursor={cursor}", ACME)

    assert (answer.status_code, "globex" in answer.text) == (400, False)


def test_a_stream_can_be_a_page_too(served: Served) -> None:
    assert [it["id"] for it in stream(served, "all?scope=all&limit=2", ACME)] == [
        "global-material-g1",
        "global-work-g2",
    ]


def test_a_stream_comes_in_pieces_of_a_batch(served: Served) -> None:
    pieces = list(export._iter_pieces(five_lines(), 2))

    assert [piece.count("\n") for piece in pieces] == [2, 2, 1]


def test_an_error_in_the_middle_ends_a_stream_with_a_line_that_says_so(
    own: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_off(*_: object, **__: object) -> Iterator[Any]:
        yield {"document_id": "tenant-material-a1", "text": "larch", "payload": {}}
        raise SourceUnavailableError("PostgreSQL at db.example is gone")

    monkeypatch.setattr(export, "iter_lines", break_off)

    first, last = stream(own, "materials")

    assert first["id"] == "tenant-material-a1"
    assert last == {
        "error": {
            "title": "the export is incomplete",
            "detail": "the source could not be read to the end: ask again",
        }
    }


def test_an_export_that_takes_too_long_ends_and_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(export, "STREAM_SECONDS", -1.0)
    pieces = list(export._iter_pieces(five_lines(), 2))

    assert [piece.count("\n") for piece in pieces] == [2, 1]
    assert "it took too long" in pieces[-1]


def test_every_stream_gives_back_its_place_and_its_snapshot(
    own: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[bool] = []

    def lines(*_: object, **__: object) -> Iterator[Any]:
        try:
            yield {"document_id": "tenant-material-a1", "text": "larch", "payload": {}}
            raise RuntimeError("not foreseen")
        finally:
            closed.append(True)

    monkeypatch.setattr(export, "iter_lines", lines)

    for _ in range(export.MAX_STREAMS + 1):
        assert "error" in stream(own, "materials")[-1]
    assert len(closed) == export.MAX_STREAMS + 1


def test_only_so_many_streams_are_open_at_once(
    own: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = [export._streams.acquire(blocking=False) for _ in range(export.MAX_STREAMS)]
    try:
        answer = ask(own, "/api/export/materials", accept="application/x-ndjson")
    finally:
        for _ in taken:
            export._streams.release()

    assert all(taken)
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "10"
    assert page(own, "materials")["count"] == 1


def test_operators_get_the_names_of_the_tenants(served: Served) -> None:
    assert ask(served, "/api/tenants", WORKER).json() == {
        "success": True,
        "count": 2,
        "tenantIds": ["acme", "globex"],
    }
    assert ask(served, "/api/tenants", ACME).status_code == 403


@pytest.mark.parametrize("spec_version", ["2.3", "2.4"])
def test_a_reader_that_does_not_read_loses_its_stream_and_holds_nothing(
    monkeypatch: pytest.MonkeyPatch, spec_version: str
) -> None:
    monkeypatch.setattr(export, "SEND_SECONDS", 0.05)
    closed: list[bool] = []

    def lines() -> Generator[Any]:
        try:
            for number in range(5):
                yield {"document_id": str(number), "text": "", "payload": {}}
        finally:
            closed.append(True)

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body":
            await asyncio.sleep(60)

    async def receive() -> Any:
        await asyncio.sleep(60)

    scope = {"type": "http", "asgi": {"spec_version": spec_version}}
    answer = export._stream(lines(), 1)

    asyncio.run(answer(scope, receive, send))

    assert closed == [True]
    taken = [export._streams.acquire(blocking=False) for _ in range(export.MAX_STREAMS)]
    for _ in taken:
        export._streams.release()
    assert all(taken)
