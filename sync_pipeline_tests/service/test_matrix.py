"""Every route, asked by everybody: who may, and that nobody is shown another tenant's documents."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import pytest
from starlette.routing import Route

from sync_pipeline_tests.service.served import Served

CALLERS: Final[dict[str, tuple[str, str | None] | None]] = {
    "anonymous": None,
    "tenant": ("tenant", "acme"),
    "other tenant": ("tenant", "globex"),
    "worker": ("worker", None),
    "admin": ("admin", None),
}
ANYBODY: Final = frozenset(CALLERS)
CALLER: Final = ANYBODY - {"anonymous"}
OPERATOR: Final = frozenset({"worker", "admin"})
ADMIN: Final = frozenset({"admin"})


@dataclass(frozen=True)
class Asked:
    """A request to a route, and who may make it."""

    allowed: frozenset[str]
    body: dict[str, Any] | None = None
    path: str | None = None
    """With the parts of the path filled in."""
    answers: frozenset[int] = field(default_factory=lambda: frozenset({200}))
    """What whoever may gets."""
    is_page: bool = False
    """Whether it is for people: those who are not known are sent to sign in."""


ACCEPTED: Final = frozenset({202})
ABSENT: Final = frozenset({404})
SEARCH: Final = {"query": "cladding panel plaster"}
SEARCH_BY_TOOL: Final = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "tools/call",
    "params": {"name": "search_catalogue", "arguments": SEARCH},
}
MATRIX: Final[dict[tuple[str, str], Asked]] = {
    ("GET", "/healthz"): Asked(ANYBODY),
    ("GET", "/readyz"): Asked(ANYBODY),
    ("GET", "/metrics"): Asked(OPERATOR),
    ("GET", "/openapi.json"): Asked(ADMIN),
    ("GET", "/"): Asked(CALLER, is_page=True),
    ("GET", "/fragments/overview"): Asked(CALLER, is_page=True),
    ("GET", "/search"): Asked(CALLER, path="/search?q=cladding+panel+plaster", is_page=True),
    ("GET", "/documents/{document_id:path}"): Asked(
        CALLER, path="/documents/global-material-g1", is_page=True
    ),
    ("GET", "/sign-in"): Asked(ANYBODY),
    ("POST", "/sign-in"): Asked(ANYBODY, answers=frozenset({401})),
    ("POST", "/sign-out"): Asked(ANYBODY),
    ("GET", "/static/{name}"): Asked(ANYBODY, path="/static/page.css"),
    ("GET", "/api/sync/status"): Asked(CALLER),
    ("POST", "/api/search"): Asked(CALLER, SEARCH),
    ("GET", "/api/suggest"): Asked(CALLER, path="/api/suggest?q=pl"),
    ("POST", "/mcp"): Asked(CALLER, SEARCH_BY_TOOL),
    ("POST", "/api/search/batch"): Asked(CALLER, {"searches": [SEARCH, SEARCH]}),
    ("GET", "/api/export/{plural}"): Asked(CALLER, path="/api/export/all?scope=all"),
    ("GET", "/api/tenants"): Asked(OPERATOR),
    ("POST", "/api/sync/run"): Asked(OPERATOR, {"scopes": ["all"]}, answers=ACCEPTED),
    ("GET", "/api/sync/requests/{request_id}"): Asked(
        CALLER, path="/api/sync/requests/3e41fde8-bf60-4ca5-aa6d-389f37c38430", answers=ABSENT
    ),
    ("POST", "/api/sync/approve"): Asked(
        ADMIN, {"scope": "acme", "deletions": 1}, answers=frozenset({400})
    ),
    ("POST", "/api/sync/batch"): Asked(CALLER, {"status": "failed"}, answers=ACCEPTED),
    ("GET", "/api/sync/documents"): Asked(CALLER),
    ("GET", "/api/sync/documents/{document_id:path}"): Asked(
        CALLER, path="/api/sync/documents/tenant-material-a1", answers=frozenset({200}) | ABSENT
    ),
    ("POST", "/api/sync/documents/{document_id:path}/retry"): Asked(
        CALLER,
        path="/api/sync/documents/tenant-material-a1/retry",
        answers=frozenset({400}) | ABSENT,
    ),
    # The generation of the settings serves already, and it is the only one.
    ("POST", "/api/index/switch"): Asked(ADMIN, answers=ACCEPTED),
    ("GET", "/api/index/switch"): Asked(ADMIN),
    ("POST", "/api/index/rollback"): Asked(ADMIN, answers=frozenset({400})),
    ("GET", "/api/sync/cost"): Asked(OPERATOR),
    ("GET", "/api/sync/plan"): Asked(OPERATOR, path="/api/sync/plan?scope=acme"),
}
FOREIGN: Final = {
    "tenant": ("globex", "solar", "copper"),
    "other tenant": ("acme", "larch", "facade"),
}
"""Words that only the other tenant's documents have."""


def routes(served: Served) -> set[tuple[str, str]]:
    """Of the application and of the routers that it includes, whose paths are whole."""
    included = [getattr(route, "original_router", None) for route in served.app.routes]
    every = [*served.app.routes, *(it for router in included if router for it in router.routes)]
    return {
        (method, route.path)
        for route in every
        if isinstance(route, Route)
        for method in route.methods or ()
    }


def test_every_route_is_in_the_matrix(served: Served) -> None:
    assert routes(served) == set(MATRIX)


@pytest.mark.parametrize(
    ("method", "path"), [pytest.param(*it, id=f"{it[0]} {it[1]}") for it in MATRIX]
)
@pytest.mark.parametrize("name", CALLERS)
def test_who_may_ask_what(served: Served, method: str, path: str, name: str) -> None:
    asked, who = MATRIX[method, path], CALLERS[name]
    headers = {} if who is None else served.headers(*who)

    answer = served.client.request(method, asked.path or path, json=asked.body, headers=headers)

    if name in asked.allowed:
        assert answer.status_code in asked.answers, answer.text
    elif who is None and asked.is_page:
        assert answer.url.path == "/sign-in"
    else:
        assert answer.status_code == (401 if who is None else 403), answer.text
    for word in FOREIGN.get(name, ()):
        assert word not in answer.text
