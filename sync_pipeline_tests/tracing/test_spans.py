"""Which spans a sync and a search leave, and what they never say."""

from __future__ import annotations

from dataclasses import replace

import pytest
from opentelemetry.trace import SpanKind, StatusCode

from sync_pipeline.core.errors import StoreUnavailableError
from sync_pipeline.core.scope import Scope
from sync_pipeline.engine.group import sync_group
from sync_pipeline.engine.questions.search import SearchRequest, search
from sync_pipeline_tests.engine.world import World
from sync_pipeline_tests.tracing.spans import Spans, is_inside, trace_of

ACME = Scope("acme")
CANARY = "hunter2canary"
STEPS = ["export", "compare", "embed", "seal", "upsert", "cleanup"]


def test_each_step_of_a_scope_is_a_span_with_what_it_did() -> None:
    world, spans = World(), Spans()
    world.put_many("1", "2")

    world.run(sync=replace(world.sync, tracer=spans.tracer), run_id="run-7")

    assert [span.name for span in spans.finished] == STEPS
    upsert = spans.one("upsert")
    assert dict(upsert.attributes or {}) == {
        "sync_pipeline.run_id": "run-7",
        "sync_pipeline.scope": "acme",
        "sync_pipeline.points_written": 2,
    }


def test_scopes_of_a_group_lie_inside_its_run_and_steps_inside_their_scope() -> None:
    world, spans = World(), Spans()
    world.put("1")
    world.put("2", tenant_id="globex")
    sync = replace(world.sync, tracer=spans.tracer)

    with spans.tracer.run("run-7"), spans.tracer.within("run-7"):
        list(sync_group(sync, scopes=[ACME, Scope("globex")], run_id="run-7"))

    run, scopes = spans.one("run"), spans.named("scope")
    assert len(scopes) == 2
    assert all(is_inside(scope, run) for scope in scopes)
    assert [is_inside(span, scope) for scope in scopes for span in spans.named("export")] == [
        True, False, False, True,
    ]  # fmt: skip
    assert len({trace_of(span) for span in spans.finished}) == 1


def test_a_step_in_another_process_finds_the_span_of_its_run() -> None:
    here, there = Spans(), Spans()

    with here.tracer.run("run-7"):
        with there.tracer.within("run-7"), there.tracer.span("embed"):
            pass
        with there.tracer.within("run-8"), there.tracer.span("seal"):
            pass

    assert is_inside(there.one("embed"), here.one("run"))
    assert trace_of(there.one("seal")) != trace_of(here.one("run"))


def test_a_share_of_the_runs_is_kept_whole() -> None:
    spans = Spans(sample_ratio=0.5)

    for number in range(200):
        run_id = f"run-{number}"
        with spans.tracer.run(run_id), spans.tracer.within(run_id), spans.tracer.span("step"):
            pass

    kept = {trace_of(span) for span in spans.named("run")}
    assert 60 < len(kept) < 140
    assert {trace_of(span) for span in spans.named("step")} == kept


def test_a_span_that_fails_names_the_error_and_not_what_it_says() -> None:
    world, spans = World(), Spans()
    world.put("1", name=f"{CANARY} cement")
    world.store.fail_next("upsert", RuntimeError(f"row {CANARY}"))

    with pytest.raises(RuntimeError):
        world.run(sync=replace(world.sync, tracer=spans.tracer))

    upsert = spans.one("upsert")
    assert upsert.status.status_code is StatusCode.ERROR
    assert (upsert.attributes or {})["error.type"] == "RuntimeError"
    assert upsert.events == ()
    assert CANARY not in spans.text


def test_a_search_is_a_span_with_its_parts_and_without_its_words() -> None:
    world, spans = World(), Spans()
    world.put("1", name=f"{CANARY} cement")
    world.run()
    sync = replace(world.sync, tracer=spans.tracer)

    search(sync, scope=ACME, request=SearchRequest(text=CANARY))

    whole = spans.one("search")
    assert is_inside(spans.one("encode"), whole)
    assert is_inside(spans.one("index"), whole)
    assert dict(whole.attributes or {}) == {
        "sync_pipeline.scope": "acme",
        "sync_pipeline.searches": 1,
        "sync_pipeline.hits": 1,
    }
    assert CANARY not in spans.text


def test_a_request_goes_on_with_the_trace_of_who_asks() -> None:
    spans = Spans()

    with spans.tracer.request("GET", traceparent=f"00-{'a' * 32}-{'b' * 16}-01"):
        pass

    span = spans.one("GET")
    assert trace_of(span) == int("a" * 32, 16)
    assert span.parent is not None
    assert (span.parent.span_id, span.kind) == (int("b" * 16, 16), SpanKind.SERVER)


def test_a_scope_that_fails_in_a_group_is_marked() -> None:
    world, spans = World(), Spans()
    world.put("1")
    world.store.fail_next("upsert", StoreUnavailableError("down"))
    sync = replace(world.sync, tracer=spans.tracer)

    list(sync_group(sync, scopes=[ACME], run_id="run-7"))

    scope = spans.one("scope")
    assert scope.status.status_code is StatusCode.ERROR
    assert (scope.attributes or {})["sync_pipeline.status"] == "failed"
