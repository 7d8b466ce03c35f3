"""Requests that nobody thought of: no server error, no broken promise, no foreign document."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import checks
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from sync_pipeline_tests.service.served import Served, serving
from sync_pipeline_tests.service.test_matrix import FOREIGN, MATRIX

pytestmark = pytest.mark.slow

PROMISES = [
    checks.not_a_server_error,
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
]
CALLERS = [("admin", None), ("worker", None), ("tenant", "acme")]
DESCRIBED = ("/api/", "/healthz", "/readyz")
"""How paths begin that the description is about; pages are for people, and drawn otherwise."""


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A service that counts nobody's requests."""
    with serving(tmp_path_factory.mktemp("fuzzed"), requests_per_minute=1_000_000) as served:
        yield served


@pytest.fixture(scope="module")
def described(fuzzed: Served) -> Any:
    """Its own description, read as a stranger reads it."""
    headers = fuzzed.headers("admin", None)
    return schemathesis.openapi.from_asgi("/openapi.json", fuzzed.app, headers=headers)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        pytest.param(*route, id=" ".join(route))
        for route in MATRIX
        if route[1].startswith(DESCRIBED)
    ],
)
def test_every_answer_is_one_that_the_description_promises(
    fuzzed: Served, described: Any, method: str, path: str
) -> None:
    operation = described[path.replace(":path}", "}")][method]

    @settings(
        max_examples=60,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    )
    @given(case=operation.as_strategy(), who=st.sampled_from(CALLERS))
    def ask(case: Any, who: tuple[str, str | None]) -> None:
        response = case.call(headers=fuzzed.headers(*who))

        case.validate_response(response, checks=PROMISES)
        if who[0] == "tenant":
            # "globex" itself may stand in the request, and a refusal may repeat it.
            for word in FOREIGN["tenant"][1:]:
                assert word not in response.text

    ask()
