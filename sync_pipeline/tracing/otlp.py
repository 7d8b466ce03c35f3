"""Spans to a collector over OTLP, by OpenTelemetry's SDK, which is an extra.

The SDK collects spans in a thread of its own and forgets them where nobody takes them, so no work
waits for a collector; only the end of a process does, and no longer than ``FLUSH_SECONDS``.
"""

from __future__ import annotations

import hashlib
import logging
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from multiprocessing.util import Finalize
from typing import TYPE_CHECKING, Final, Self

from opentelemetry import context, trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import Decision, ParentBased, TraceIdRatioBased
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from sync_pipeline import __version__
from sync_pipeline.core.ports.surroundings import NO_ATTRIBUTES

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor

    from sync_pipeline.core.ports import Attributes, Span

FLUSH_SECONDS: Final = 3.0
"""How long the end of a process waits for spans to be taken."""
TRACES_PATH: Final = "/v1/traces"
"""Where a collector takes spans, below its address."""
RUN: Final = "run"
"""Name of the span of a run."""

_log: Final = logging.getLogger(__name__)


class OtlpTracer:
    """``Tracer`` over OpenTelemetry.

    Trace and span of a run follow from its id, so processes that execute its steps find them
    without being told.

    Args:
        processor: Takes finished spans.
        service_name: Under which name they are shown.
        sample_ratio: Share of the traces that begin here; None leaves it to the SDK's variables.
    """

    def __init__(
        self, processor: SpanProcessor, *, service_name: str, sample_ratio: float | None = None
    ) -> None:
        ratio = None if sample_ratio is None else ParentBased(TraceIdRatioBased(sample_ratio))
        self._provider = TracerProvider(
            sampler=ratio,
            resource=Resource.create(
                {"service.name": service_name, "service.version": __version__}
            ),
            shutdown_on_exit=False,
            id_generator=_Ids(),
        )
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("sync_pipeline", __version__)

    @contextmanager
    def span(self, name: str, attributes: Attributes = NO_ATTRIBUTES) -> Iterator[Span]:
        """Measure the ``with``, inside the span of this context or in a trace of its own."""
        with (
            self._tracer.start_as_current_span(
                name, attributes=attributes, record_exception=False, set_status_on_exception=False
            ) as span,
            _failing(_Span(span)) as ours,
        ):
            yield ours

    @contextmanager
    def request(self, name: str, *, traceparent: str | None) -> Iterator[Span]:
        """The same of a request, inside the trace of who asks."""
        carrier = {} if traceparent is None else {"traceparent": traceparent}
        with (
            self._tracer.start_as_current_span(
                name,
                context=TraceContextTextMapPropagator().extract(carrier),
                kind=trace.SpanKind.SERVER,
                record_exception=False,
                set_status_on_exception=False,
            ) as span,
            _failing(_Span(span)) as ours,
        ):
            yield ours

    @contextmanager
    def run(self, run_id: str, attributes: Attributes = NO_ATTRIBUTES) -> Iterator[Span]:
        """Measure a run, whoever executes its steps."""
        with _Ids.of(run_id):
            span = self._tracer.start_span(RUN, context=context.Context(), attributes=attributes)
        try:
            with _failing(_Span(span)) as ours:
                yield ours
        finally:
            span.end()

    @contextmanager
    def within(self, run_id: str) -> Iterator[None]:
        """Have spans inside the ``with`` belong to that of a run."""
        trace_id, span_id = _ids_of(run_id)
        decision = self._provider.sampler.should_sample(None, trace_id, RUN).decision
        flags = trace.TraceFlags(decision is Decision.RECORD_AND_SAMPLE)
        above = trace.SpanContext(trace_id, span_id, is_remote=True, trace_flags=flags)
        token = context.attach(trace.set_span_in_context(trace.NonRecordingSpan(above)))
        try:
            yield
        finally:
            context.detach(token)

    def close(self) -> None:
        """Send what is left; for good."""
        self._provider.shutdown()


def open_tracer(
    *, endpoint: str, service_name: str, sample_ratio: float | None = None
) -> OtlpTracer:
    """Send spans to a collector from now on, and what is left when this process ends.

    Headers, certificates, compression and attributes of the resource are those of the variables
    that OpenTelemetry specifies, which its SDK reads.

    Args:
        endpoint: Address of the collector.
        service_name: See ``OtlpTracer``.
        sample_ratio: See ``OtlpTracer``.
    """
    # It tells of every batch that is lost; once is enough, see `_Telling`.
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
    exporter = _Telling(OTLPSpanExporter(f"{endpoint.rstrip('/')}{TRACES_PATH}"), endpoint=endpoint)
    tracer = OtlpTracer(
        BatchSpanProcessor(exporter), service_name=service_name, sample_ratio=sample_ratio
    )
    _Closing(tracer)
    return tracer


class _Closing:
    """Closes a tracer when the process ends, and does not wait long.

    In a thread that is there before, for Python 3.12 starts none at the end of a process. Not by
    ``atexit``, for processes of ``multiprocessing`` end without it.
    """

    def __init__(self, tracer: OtlpTracer) -> None:
        self._tracer = tracer
        self._is_over, self._is_done = threading.Event(), threading.Event()
        self._process = os.getpid()
        threading.Thread(target=self._wait, name="sync-pipeline-traces", daemon=True).start()
        Finalize(None, self._end, exitpriority=1)

    def _wait(self) -> None:
        self._is_over.wait()
        self._tracer.close()
        self._is_done.set()

    def _end(self) -> None:
        # A process that was forked has no thread to wait for, and a tracer of its own.
        if self._process == os.getpid():
            self._is_over.set()
            self._is_done.wait(FLUSH_SECONDS)


class _Telling(SpanExporter):
    """An exporter that says once that nobody takes its spans."""

    def __init__(self, inner: SpanExporter, *, endpoint: str) -> None:
        self._inner = inner
        self._endpoint = endpoint
        self._has_told = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send spans."""
        result = self._inner.export(spans)
        if result is SpanExportResult.FAILURE and not self._has_told:
            self._has_told = True
            _log.warning("traces are lost, for %s does not take them", self._endpoint)
        return result

    def shutdown(self) -> None:
        """Send nothing any more."""
        self._inner.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Nothing is kept here."""
        return self._inner.force_flush(timeout_millis)


class _Span:
    """``Span`` over OpenTelemetry's."""

    def __init__(self, span: trace.Span) -> None:
        self._span = span

    def note(self, attributes: Attributes) -> None:
        """Say more about it."""
        self._span.set_attributes(attributes)

    def rename(self, name: str) -> None:
        """Call it something else."""
        self._span.update_name(name)

    def fail(self, code: str) -> None:
        """Mark it as failed."""
        self._span.set_attribute("error.type", code)
        self._span.set_status(trace.StatusCode.ERROR, code)


@contextmanager
def _failing(span: _Span) -> Iterator[_Span]:
    """Have a span fail with the error that ends the ``with``; its message may quote data."""
    try:
        yield span
    except BaseException as error:
        span.fail(type(error).__name__)
        raise


class _Ids(RandomIdGenerator):
    """Random ids, but for spans whose ids are known beforehand."""

    _known: ContextVar[tuple[int, int] | None] = ContextVar("sync_pipeline_span", default=None)

    @classmethod
    @contextmanager
    def of(cls, run_id: str) -> Iterator[type[Self]]:
        """Give the span that is started inside the ``with`` the ids of a run's."""
        token = cls._known.set(_ids_of(run_id))
        try:
            yield cls
        finally:
            cls._known.reset(token)

    def generate_trace_id(self) -> int:
        """Of the trace that begins."""
        known = self._known.get()
        return super().generate_trace_id() if known is None else known[0]

    def generate_span_id(self) -> int:
        """Of the span that begins."""
        known = self._known.get()
        return super().generate_span_id() if known is None else known[1]


def _ids_of(run_id: str) -> tuple[int, int]:
    """Trace and span of a run. Not its UUID: samplers take ids for evenly spread."""
    digest = hashlib.blake2b(run_id.encode(errors="surrogatepass"), digest_size=24).digest()
    return int.from_bytes(digest[:16]), int.from_bytes(digest[16:])
