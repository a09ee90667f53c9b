"""A process that has traced something, sends it, and ends."""

from __future__ import annotations

from opentelemetry.trace import SpanKind

from deployments.telemetry.tracing import flush_spans, open_tracing, span


def main() -> None:
    """Trace something, and end as a replica does."""
    open_tracing()
    with span("denoise", None, kind=SpanKind.INTERNAL):
        pass
    flush_spans()


if __name__ == "__main__":
    main()
