"""A tracer whose spans stay in this process, for tests to look at."""

from __future__ import annotations

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanContext

from sync_pipeline.tracing.otlp import OtlpTracer


class Spans:
    """What was measured."""

    def __init__(self, *, sample_ratio: float | None = 1.0) -> None:
        self._exporter = InMemorySpanExporter()
        self.tracer = OtlpTracer(
            SimpleSpanProcessor(self._exporter), service_name="tests", sample_ratio=sample_ratio
        )

    @property
    def finished(self) -> list[ReadableSpan]:
        """In the order in which they ended."""
        return list(self._exporter.get_finished_spans())

    def named(self, name: str) -> list[ReadableSpan]:
        """Those with this name."""
        return [span for span in self.finished if span.name == name]

    def one(self, name: str) -> ReadableSpan:
        """The only one with this name."""
        (span,) = self.named(name)
        return span

    @property
    def text(self) -> str:
        """All that they say."""
        return "\n".join(span.to_json() for span in self.finished)


def trace_of(span: ReadableSpan) -> int:
    """To which trace it belongs."""
    return _context(span).trace_id


def is_inside(span: ReadableSpan, outer: ReadableSpan) -> bool:
    """Whether one is directly inside another."""
    return span.parent is not None and span.parent.span_id == _context(outer).span_id


def _context(span: ReadableSpan) -> SpanContext:
    context = span.get_span_context()
    assert context is not None
    return context
