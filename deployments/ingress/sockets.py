"""Answers a dialect's WebSocket: each frame is a call, its parts are carried out beside one another.

    first frame: who? ──► every frame: parse ──► each part: perform ──► wait? ──► render_part ──► a frame of its own

A frame that cannot be understood is answered and forgotten; the connection goes on. What one connection may cost is
bounded: the size of a frame, the parts under way, and the silence.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace

import structlog
from fastapi import WebSocket
from starlette.websockets import WebSocketDisconnect, WebSocketState

from deployments.bodies import Bodies
from deployments.dialects.dialect import Call, Conversing, Dialect, Reply
from deployments.errors import CallRefused, InternalFault, Overloaded, Unauthenticated
from deployments.ingress.calls import address_of, read_call
from deployments.ingress.parts import Parts
from deployments.operations.operation import Batch, Part
from deployments.operations.operations import Caller

log = structlog.get_logger()

#: Connections that one process holds.
MAX_SOCKETS = 4096
#: Seconds in which a connection has to say whose it is.
LOGIN_S = 30.0
#: Seconds of silence after which a connection is closed.
IDLE_S = 120.0
#: Parts of one connection that may be under way.
MAX_PARTS = 256
#: Seconds in which a frame has to be taken off our hands.
SEND_S = 30.0
#: Close codes. Source: RFC 6455, section 7.4.1, and the IANA registry of close codes, seen 2026-11.
GOING_AWAY, POLICY_VIOLATION, TRY_AGAIN_LATER = 1001, 1008, 1013


class Sockets:
    """The WebSockets of one process and one dialect."""

    def __init__(self, dialect: Dialect) -> None:
        """Take the dialect, which is also ``Conversing``."""
        self._dialect = dialect
        self._open = 0

    def __repr__(self) -> str:
        """Say how many are open."""
        return f"<Sockets of {self._dialect.name} [{self._open} open]>"

    async def answer(self, websocket: WebSocket) -> None:
        """Hold one conversation until either side ends it."""
        if self._open >= MAX_SOCKETS:
            await websocket.close(TRY_AGAIN_LATER)
            return
        await websocket.accept()
        self._open += 1
        try:
            await Conversation(self._dialect, websocket).hold()
        finally:
            self._open -= 1


class Conversation:
    """One open WebSocket."""

    def __init__(self, dialect: Dialect, websocket: WebSocket) -> None:
        """Take the dialect and the accepted connection."""
        if not isinstance(dialect, Conversing):
            raise TypeError(f"{dialect.name} is not spoken over WebSockets")
        self._dialect = dialect
        self._conversing: Conversing = dialect
        self._websocket = websocket
        self._parts: Parts = websocket.app.state.parts
        self._bodies: Bodies = websocket.app.state.bodies
        self._base_url = self._parts.base_url or ""
        self._tenant_id = ""
        self._refused: Unauthenticated | None = None
        self._sending = asyncio.Lock()
        self._errands: set[asyncio.Task[None]] = set()

    async def hold(self) -> None:
        """Answer frames until the caller goes, or says nothing for too long."""
        try:
            self._base_url = self._base_url or address_of(self._websocket)
            while True:
                patience_s = IDLE_S if self._tenant_id else LOGIN_S
                async with asyncio.timeout(patience_s):
                    frame = await self._receive()
                await self._hear(frame)
        except (WebSocketDisconnect, TimeoutError, CallRefused, OSError):
            pass
        finally:
            for errand in self._errands:
                errand.cancel()
            if self._websocket.client_state is WebSocketState.CONNECTED:
                with suppress(RuntimeError, OSError, WebSocketDisconnect):
                    await self._websocket.close(GOING_AWAY)

    async def _receive(self) -> bytes:
        message = await self._websocket.receive()
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", GOING_AWAY))
        text = message.get("text")
        return message.get("bytes") or b"" if text is None else text.encode("utf-8", "surrogatepass")

    async def _hear(self, frame: bytes) -> None:
        """Answer what one frame asks; whatever is wrong with it touches no other."""
        call = replace(read_call(self._websocket.scope, self._conversing.socket, body=frame), base_url=self._base_url)
        try:
            async with self._bodies.receive(_whole(frame), announced=str(len(frame))) as body:
                await self._act(call, len(body))
        except CallRefused as refusal:
            await self._send(self._dialect.render_refusal(refusal, call))
        except (WebSocketDisconnect, TimeoutError):
            raise
        except Exception:
            log.exception("frame_failed", dialect=self._dialect.name)
            await self._send(self._dialect.render_refusal(InternalFault(), call))

    async def _act(self, call: Call, size_bytes: int) -> None:
        if not self._tenant_id:
            self._tenant_id = await self._login(call)
        elif len(self._errands) >= MAX_PARTS:
            raise Overloaded("too many tasks of this connection are under way")
        if (greeting := self._conversing.greet(call)) is not None:
            await self._send(greeting)
            return
        operation = await self._bodies.read(
            lambda: self._dialect.parse(self._conversing.socket, call), size_bytes=size_bytes
        )
        if isinstance(operation, Batch):
            for part in operation.parts:
                self._run(part, replace(call, body=b""))

    async def _login(self, call: Call) -> str:
        key = self._shown_key(call)
        try:
            return await self._parts.keys.tenant_of(key)
        except Unauthenticated as refusal:
            self._refused = refusal
            raise

    def _shown_key(self, call: Call) -> str:
        try:
            key = self._dialect.api_key(call)
        except Unauthenticated as refusal:
            # Runware's own package goes on after a wrong key, and shows its user what was said last.
            raise (self._refused or refusal) from None
        if key is None:
            raise Unauthenticated
        return key

    def _run(self, part: Part, call: Call) -> None:
        running = asyncio.create_task(self._answer_part(part, call))
        self._errands.add(running)
        running.add_done_callback(self._errands.discard)

    async def _answer_part(self, part: Part, call: Call) -> None:
        caller = Caller(tenant_id=self._tenant_id, dialect=self._dialect.name, base_url=self._base_url)
        try:
            done = await self._parts.operations.perform_part(part, caller)
            done = await self._parts.operations.settle_part(done, caller)
            reply = self._conversing.render_part(done.outcome, done.notes, call)
        except Exception:
            log.exception("frame_failed", dialect=self._dialect.name)
            reply = self._conversing.render_part(InternalFault(), part.notes, call)
        if reply is not None:
            with suppress(WebSocketDisconnect, RuntimeError, TimeoutError, OSError):  # the caller has gone
                await self._send(reply)

    async def _send(self, reply: Reply) -> None:
        async with asyncio.timeout(SEND_S), self._sending:
            await self._websocket.send_text(reply.body.decode("utf-8"))


async def _whole(frame: bytes) -> AsyncIterator[bytes]:
    yield frame
