"""Traces to OpenTelemetry: requests, tasks and calls of WeCom and the BI, each with its time and its outcome."""

from __future__ import annotations

import time
from collections.abc import Sequence

from django.conf import settings
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.celery import CeleryInstrumentor
from opentelemetry.instrumentation.django import DjangoInstrumentor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import SpanKind, Status

from integrations.core import observers

# Of a request, a task, a call. None of them holds an address, a header, a body or a name of somebody.
_KEPT = frozenset(
    {
        *("http.method", "http.request.method", "http.status_code", "http.response.status_code", "http.route"),
        *("celery.action", "celery.state", "celery.task_name", "messaging.destination", "messaging.destination.name"),
        *("guanwecom.operation", "guanwecom.outcome"),
    }
)


class AllowedOnly(SpanExporter):
    """Hands spans on without events and texts of errors, and with the attributes of _KEPT alone."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return self._exporter.export([_allowed(span) for span in spans])

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        return self._exporter.force_flush(timeout_millis)


def _allowed(span: ReadableSpan) -> ReadableSpan:
    return ReadableSpan(
        name=span.name,
        context=span.context,
        parent=span.parent,
        resource=span.resource,
        attributes={name: value for name, value in (span.attributes or {}).items() if name in _KEPT},
        kind=span.kind,
        instrumentation_scope=span.instrumentation_scope,
        status=Status(span.status.status_code),
        start_time=span.start_time,
        end_time=span.end_time,
    )


def set_up() -> None:
    """Send spans to settings.OTEL_EXPORTER_OTLP_ENDPOINT."""
    provider = TracerProvider(resource=Resource({"service.name": settings.OTEL_SERVICE_NAME}))
    endpoint = f"{settings.OTEL_EXPORTER_OTLP_ENDPOINT.rstrip('/')}/v1/traces"
    exporter = OTLPSpanExporter(endpoint=endpoint, headers=dict(settings.OTEL_EXPORTER_OTLP_HEADERS))
    provider.add_span_processor(BatchSpanProcessor(AllowedOnly(exporter)))
    trace.set_tracer_provider(provider)
    DjangoInstrumentor().instrument()
    CeleryInstrumentor().instrument()  # type: ignore[no-untyped-call]  # has no types
    observers.calls_observed.register(call_observed)


def call_observed(system: str, operation: str, outcome: str, seconds: float) -> None:
    """A span for a call that has just ended. Registered with integrations.core.observers."""
    end = time.time_ns()
    attributes = {"guanwecom.operation": operation, "guanwecom.outcome": outcome}
    tracer = trace.get_tracer("guanwecom")
    start = end - round(seconds * 1_000_000_000)
    span = tracer.start_span(f"{system} {operation}", kind=SpanKind.CLIENT, attributes=attributes, start_time=start)
    span.end(end)
