"""Begins the trace of what is accepted, or goes on with the one that its caller has begun."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from opentelemetry.trace import SpanKind

from deployments.dialects.dialect import Call
from deployments.errors import CallRefused
from deployments.operations.caller import Caller
from deployments.operations.operation import Batch, Operation, Submit
from deployments.telemetry.tracing import TRACEPARENT, span


@contextmanager
def accepting(operation: Operation | CallRefused, caller: Caller, call: Call) -> Iterator[Caller]:
    """Trace a block that accepts tasks; one that does anything else is not traced.

    Yields:
        The caller, with the trace that the tasks belong to.
    """
    parts = [part.operation for part in operation.parts] if isinstance(operation, Batch) else [operation]
    if not any(isinstance(part, Submit) for part in parts):
        yield caller
        return
    parent = call.headers.get(TRACEPARENT)
    with span("accept", parent, kind=SpanKind.SERVER, uxo__dialect=caller.dialect) as traceparent:
        yield replace(caller, traceparent=traceparent)
