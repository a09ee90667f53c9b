"""One trace for a task, across the processes that work on it.

    accept ─┬─ queue ─ fetch ─ decode_references ─ prepare ─ denoise ─ decode ─ encode ─ deliver
            └─ webhook

A trace that a caller has begun goes on here. What holds it together is the W3C's ``traceparent``, kept with the task.
Spans go to where ``OTEL_EXPORTER_OTLP_ENDPOINT`` says, in batches and by a thread of their own; where nothing is said,
none is made. They hold names, times, models and ids: no prompt, no key, no address, and of an error only that it was.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

#: The name of the header, and of the field that the library reads.
TRACEPARENT = "traceparent"
#: Seconds that a process which ends waits for the last spans to be taken.
FLUSH_S = 3.0

_propagator = TraceContextTextMapPropagator()


class _Tracing:
    """Where the spans of this process go."""

    provider: TracerProvider | None = None
    tracer: trace.Tracer = trace.NoOpTracer()


def open_tracing(*, service: str = "uxo-serve") -> None:
    """Send the spans of this process to where the environment's ``OTEL_*`` variables say, from now on."""
    if _Tracing.provider is not None:
        return
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 -- a second
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 -- loads slowly
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415 -- the same
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415 -- the same

    # Whoever ends has flushed; at its exit the library would wait for half a minute more.
    provider = TracerProvider(resource=Resource.create({"service.name": service}), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    _Tracing.provider, _Tracing.tracer = provider, provider.get_tracer("uxo-serve")


def flush_spans() -> None:
    """Send what has not been sent, and wait a moment for it; not for an event loop.

    A collector that takes calls and does not answer them is left behind with its thread, which ends with the process:
    the library's own time limit bounds one batch and not the whole, and it ignores the one that it can be given here.
    """
    if _Tracing.provider is not None:
        sending = threading.Thread(target=_Tracing.provider.force_flush, name="last spans", daemon=True)
        sending.start()
        sending.join(FLUSH_S)


def close_tracing() -> None:
    """Send what has not been sent, and make no spans any more."""
    provider, _Tracing.provider, _Tracing.tracer = _Tracing.provider, None, trace.NoOpTracer()
    if provider is not None:
        provider.shutdown()


@contextmanager
def span(name: str, parent: str | None, *, kind: SpanKind, **attributes: str) -> Iterator[str | None]:
    """Trace a block.

    Args:
        name: of what is done.
        parent: the ``traceparent`` that it belongs to, as whoever sent it wrote it.
        kind: which side of a call it is.
        attributes: what else is said of it; ``__`` stands for a dot.

    Yields:
        The ``traceparent`` for all that belongs to it. Where no spans are made that is the parent's own.
    """
    made = _Tracing.tracer.start_span(name, _context_of(parent), kind=kind, attributes=_dotted(attributes))
    try:
        yield _traceparent_of(made)
    except Exception:
        made.set_status(StatusCode.ERROR)  # and no word of it, which might be a caller's
        raise
    finally:
        made.end()


def note_span(name: str, parent: str, *, began_s: float, ended_s: float, **attributes: str) -> None:
    """Trace what is over; moments are in seconds since 1970."""
    made = _Tracing.tracer.start_span(
        name, _context_of(parent), attributes=_dotted(attributes), start_time=round(began_s * 1e9)
    )
    made.end(round(ended_s * 1e9))


def _context_of(parent: str | None) -> Context:
    return _propagator.extract({TRACEPARENT: parent} if parent else {}, Context())


def _traceparent_of(made: trace.Span) -> str | None:
    carrier: dict[str, str] = {}
    _propagator.inject(carrier, trace.set_span_in_context(made, Context()))
    return carrier.get(TRACEPARENT)


def _dotted(attributes: dict[str, str]) -> dict[str, str]:
    return {name.replace("__", "."): value for name, value in attributes.items()}
