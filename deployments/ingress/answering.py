"""Answers one call: the main path of the ingress.

    who? ──► receive the body ──► dialect.parse ──► perform ──► wait? ──► dialect.render
                                                       └──► follow? ──► dialect.render_progress, again and again

Whatever goes wrong is answered by the dialect, in its own words.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import cast

import structlog
from fastapi import Request, Response
from fastapi.responses import StreamingResponse
from starlette.datastructures import State

from deployments.bodies import LARGE_BODY_BYTES, MAX_BODY_BYTES, Bodies
from deployments.dialects.dialect import Call, Dialect, Route, Streaming
from deployments.errors import CallRefused, InternalFault, NotFound, Overloaded, Unauthenticated
from deployments.ingress.calls import address_of, counted_once, read_call, respond
from deployments.ingress.held import Held
from deployments.ingress.metered import name_call
from deployments.ingress.parts import Parts
from deployments.ingress.traced import accepting
from deployments.operations.caller import Caller
from deployments.operations.operation import Operation
from deployments.operations.operations import Operations
from deployments.operations.outcome import BatchOutcome, Listing, Outcome, TaskOutcome

log = structlog.get_logger()

Endpoint = Callable[[Request], Awaitable[Response]]

#: Seconds after which a stream that has nothing to tell shows that it is alive.
SIGN_OF_LIFE_S = 10.0
NO_HEADERS: Mapping[str, str] = MappingProxyType({})
#: Keep proxies from collecting what is to be seen at once.
STREAM_HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """A call whose operation has been performed, and whose body has been let go."""

    #: The call, without its body.
    call: Call
    #: Who asks.
    caller: Caller
    #: What came of it so far.
    outcome: Outcome


def endpoint(dialect: Dialect, route: Route) -> Endpoint:
    """Return what answers calls to one route of a dialect."""

    async def answer(request: Request) -> Response:
        parts: Parts = request.app.state.parts
        name_call(request.scope, dialect.name, route.name)
        call = read_call(request.scope, route)
        try:
            call = replace(call, base_url=parts.base_url or address_of(request))
            return await _answer(dialect, route, call, request)
        except CallRefused as refusal:
            return respond(dialect.render_refusal(refusal, call))
        except Exception:
            log.exception("call_failed", dialect=dialect.name, route=route.name)
            return respond(dialect.render_refusal(InternalFault(), call))

    return answer


def refusal_endpoint(dialect: Dialect, refusal: CallRefused, headers: Mapping[str, str] = NO_HEADERS) -> Endpoint:
    """Return what refuses every call in the words of a dialect."""

    async def answer(request: Request) -> Response:
        name_call(request.scope, dialect.name, "none")
        response = respond(dialect.render_refusal(refusal, read_call(request.scope)))
        response.headers.update(headers)
        return response

    return answer


async def _answer(dialect: Dialect, route: Route, call: Call, request: Request) -> Response:
    parts: Parts = request.app.state.parts
    begun = await _begin(dialect, route, call, request)
    if isinstance(begun.outcome, TaskOutcome) and begun.outcome.is_followed:
        streaming = cast("Streaming", dialect)
        headers = {**STREAM_HEADERS, **streaming.stream_headers(begun.outcome, begun.call)}
        events = _events(streaming, begun, request.app.state)
        return StreamingResponse(events, media_type="text/event-stream", headers=headers)
    outcome = begun.outcome
    if isinstance(outcome, TaskOutcome | BatchOutcome) and outcome.is_awaited:
        outcome = await _held(begun, parts.operations, request)
    if is_heavy(outcome):
        return respond(await asyncio.to_thread(dialect.render, outcome, begun.call))
    return respond(dialect.render(outcome, begun.call))


def is_heavy(outcome: Outcome | CallRefused) -> bool:
    """Whether an answer holds so much that writing it would hold up other callers."""
    shown = [outcome] if isinstance(outcome, TaskOutcome) else []
    if isinstance(outcome, Listing):
        shown = list(outcome.tasks)
    if isinstance(outcome, BatchOutcome):
        shown = [part.outcome for part in outcome.parts if isinstance(part.outcome, TaskOutcome)]
    return sum(len(picture) for each in shown for picture in each.pictures) > LARGE_BODY_BYTES


async def _begin(dialect: Dialect, route: Route, call: Call, request: Request) -> Begun:
    """Perform what a call asks for; strangers are turned away before their body is read, if the dialect can tell."""
    parts: Parts = request.app.state.parts
    key = None if route.is_public else dialect.api_key(call)
    tenant_id = "" if key is None else await _tenant_with(key, route, parts)
    bodies: Bodies = request.app.state.strangers if key is None else request.app.state.bodies
    announced = request.headers.get("content-length", "")
    async with bodies.receive(request.stream(), announced=announced) as body:
        whole = replace(call, body=body)
        # What is compressed may be much more than it seems.
        size_bytes = len(body) if "content-encoding" not in call.headers else MAX_BODY_BYTES
        if key is None and not route.is_public:
            shown = await bodies.read(lambda: dialect.api_key(whole), size_bytes=size_bytes)
            tenant_id = await _tenant_in_body(shown, parts)
        operation = await bodies.read(lambda: counted_once(dialect.parse(route, whole), whole), size_bytes=size_bytes)
        caller = Caller(tenant_id=tenant_id, dialect=dialect.name, base_url=call.base_url)
        with accepting(operation, caller, call) as traced:
            outcome = await _perform(operation, traced, parts.operations)
    return Begun(call=call, caller=caller, outcome=outcome)


async def _perform(operation: Operation, caller: Caller, operations: Operations) -> Outcome:
    """Perform an operation; when its caller hangs up meanwhile, a task that was to end with them is cancelled."""
    performing = asyncio.ensure_future(operations.perform(operation, caller))
    try:
        return await asyncio.shield(performing)
    except asyncio.CancelledError:
        # What is being written is written to its end, and nobody would know of the task that comes of it.
        await asyncio.shield(_abandon(performing, operations))
        raise


async def _abandon(performing: Awaitable[Outcome], operations: Operations) -> None:
    with suppress(CallRefused):
        await operations.abandon(await performing)


async def _tenant_with(key: str, route: Route, parts: Parts) -> str:
    if route.takes_upload_token:
        with suppress(Unauthenticated):
            return parts.kept.tenant_of(key)
    return await parts.keys.tenant_of(key)


async def _tenant_in_body(key: str | None, parts: Parts) -> str:
    if key is None:
        raise Unauthenticated
    return await parts.keys.tenant_of(key)


async def _held(begun: Begun, operations: Operations, request: Request) -> Outcome:
    """Wait while the tenant may hold one more call; a task whose caller is sent away is not drawn for nobody."""
    held: Held = request.app.state.held
    try:
        with held.one_of(begun.caller.tenant_id):
            return await _wait(begun, operations, request)
    except Overloaded:
        await operations.abandon(begun.outcome)
        raise


async def _wait(begun: Begun, operations: Operations, request: Request) -> Outcome:
    """Wait for the ends that a caller wants; a task that is to end with its caller is cancelled when they hang up."""
    waiting = asyncio.ensure_future(operations.settle(begun.outcome, begun.caller))
    hanging_up = asyncio.ensure_future(_hung_up(request))
    try:
        await asyncio.wait({waiting, hanging_up}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        is_over = waiting.done()
        waiting.cancel()
        hanging_up.cancel()
        if not is_over:
            await asyncio.shield(operations.abandon(begun.outcome))
    if not is_over:
        raise NotFound("the caller has hung up")  # nobody reads this
    return waiting.result()


async def _hung_up(request: Request) -> None:
    """Return once the caller has closed the connection; the body has been read, so nothing else can come."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _events(dialect: Streaming, begun: Begun, state: State) -> AsyncIterator[str]:
    """Write a followed task's changes, while the tenant may hold one more call."""
    held: Held = state.held
    try:
        with held.one_of(begun.caller.tenant_id):
            async for event in _changes(dialect, begun, state.parts.operations):
                yield event
    except CallRefused as refusal:  # the answer has begun, so this is all that can be said
        yield f": {refusal.message}\n\n"


async def _changes(dialect: Streaming, begun: Begun, operations: Operations) -> AsyncIterator[str]:
    """Write a followed task's changes, and a comment whenever there was nothing to write for a while."""
    changes = operations.watch(cast("TaskOutcome", begun.outcome), begun.caller)
    following = asyncio.ensure_future(anext(changes))
    try:
        while True:
            done, _ = await asyncio.wait({following}, timeout=SIGN_OF_LIFE_S)
            if not done:
                yield ": waiting\n\n"
                continue
            with suppress(StopAsyncIteration, CallRefused):
                yield dialect.render_progress(following.result(), begun.call)
                following = asyncio.ensure_future(anext(changes))
                continue
            return
    finally:
        following.cancel()
