"""Spans on their way to a collector: one that takes them, one that is down, one that hangs."""

from __future__ import annotations

import http.server
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from sync_pipeline_tests.ports import free_port

pytestmark = pytest.mark.process


class Collector(http.server.ThreadingHTTPServer):
    """Takes spans over OTLP, as a collector does.

    Attributes:
        paths: Where they were posted to.
        services: Under which names.
        spans: All of them.
    """

    daemon_threads = True

    def __init__(self, *, wait_seconds: float = 0.0) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.wait_seconds = wait_seconds
        self.paths: list[str] = []
        self.services: list[str] = []
        self.spans: list[Span] = []

    @property
    def address(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        time.sleep(self.server.wait_seconds)
        self.server.paths.append(self.path)
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            named = {it.key: it.value.string_value for it in resource.resource.attributes}
            self.server.services.append(named["service.name"])
            for scope in resource.scope_spans:
                self.server.spans.extend(scope.spans)
        self.send_response(200)
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


@contextmanager
def collecting(*, wait_seconds: float = 0.0) -> Iterator[Collector]:
    with Collector(wait_seconds=wait_seconds) as collector:
        threading.Thread(target=collector.serve_forever, daemon=True).start()
        yield collector
        collector.shutdown()


TRACED = """
import logging, sys, time
from sync_pipeline.tracing.otlp import open_tracer

logging.basicConfig(format="%(message)s")
tracer = open_tracer(endpoint=sys.argv[1], service_name="tests")
began = time.perf_counter()
with tracer.run("run-7"), tracer.within("run-7"), tracer.span("step", {"sync_pipeline.rows": 3}):
    pass
print(f"{time.perf_counter() - began:.3f}")
"""


def run(program: str, *words: str) -> tuple[subprocess.CompletedProcess[str], float]:
    began = time.monotonic()
    command = [sys.executable, "-c", program, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done, time.monotonic() - began


def test_a_collector_has_the_spans_of_a_process_that_has_ended() -> None:
    with collecting() as collector:
        done, _ = run(TRACED, collector.address)

    assert done.stderr == ""
    assert set(collector.paths) == {"/v1/traces"}
    assert set(collector.services) == {"tests"}
    spans = {span.name: span for span in collector.spans}
    assert spans.keys() == {"run", "step"}
    assert spans["step"].parent_span_id == spans["run"].span_id
    (rows,) = spans["step"].attributes
    assert (rows.key, rows.value.int_value) == ("sync_pipeline.rows", 3)


def test_the_spans_of_a_child_of_multiprocessing_arrive_too() -> None:
    program = """
import multiprocessing, sys
from sync_pipeline.tracing.otlp import open_tracer

def work(address):
    with open_tracer(endpoint=address, service_name="tests").span("in the child"):
        pass

if __name__ == "__main__":
    child = multiprocessing.get_context("fork").Process(target=work, args=(sys.argv[1],))
    child.start()
    child.join()
"""
    with collecting() as collector:
        run(program, collector.address)

    assert [span.name for span in collector.spans] == ["in the child"]


def test_a_collector_that_is_down_costs_the_work_nothing_and_is_told_once() -> None:
    port = free_port()

    done, seconds = run(TRACED, f"http://127.0.0.1:{port}")

    assert float(done.stdout) < 0.5
    assert done.stderr in ("", f"traces are lost, for http://127.0.0.1:{port} does not take them\n")
    assert seconds < 10


@pytest.mark.slow
def test_a_collector_that_never_answers_delays_the_end_by_a_few_seconds() -> None:
    with collecting(wait_seconds=30) as collector:
        done, seconds = run(TRACED, collector.address)

    assert float(done.stdout) < 0.5
    assert 3 <= seconds < 10
