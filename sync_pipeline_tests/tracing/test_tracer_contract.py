"""What ``Tracer`` promises, asked of every implementation."""

from __future__ import annotations

import pytest

from sync_pipeline.core.ports import NoTracer, Tracer
from sync_pipeline_tests.tracing.spans import Spans


@pytest.fixture(params=["none", "otlp"])
def tracer(request: pytest.FixtureRequest) -> Tracer:
    return NoTracer() if request.param == "none" else Spans().tracer


def test_an_error_goes_through(tracer: Tracer) -> None:
    with pytest.raises(ValueError, match="mine"), tracer.span("outer"), tracer.within("run-1"):
        raise ValueError("mine")


def test_a_span_takes_what_is_said_about_it(tracer: Tracer) -> None:
    with tracer.span("outer", {"a": 1}) as span, tracer.span("inner") as inner:
        span.note({"b": "x", "c": 2.5, "d": True})
        span.rename("other")
        inner.fail("ValueError")


def test_a_span_that_has_ended_may_still_be_used(tracer: Tracer) -> None:
    with tracer.span("outer") as span:
        pass

    span.note({"a": 1})
    span.rename("late")
    span.fail("late")


@pytest.mark.parametrize(
    "traceparent",
    [
        pytest.param(None, id="none"),
        pytest.param("", id="empty"),
        pytest.param("garbage", id="garbage"),
        pytest.param(f"00-{'0' * 32}-{'0' * 16}-01", id="zeros"),
        pytest.param(f"00-{'a' * 32}-{'b' * 16}-01", id="a good one"),
        pytest.param(f"ff-{'a' * 32}-{'b' * 16}-01", id="an unknown version"),
        pytest.param("0" * 10_000, id="long"),
    ],
)
def test_a_request_may_name_any_trace(tracer: Tracer, traceparent: str | None) -> None:
    with tracer.request("GET", traceparent=traceparent) as span:
        span.note({"a": 1})


def test_a_run_may_have_any_id(tracer: Tracer) -> None:
    with tracer.run("not a UUID \udc80", {"a": 1}) as span, tracer.within("not a UUID \udc80"):
        span.fail("StepFailed")
