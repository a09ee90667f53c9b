"""Answers a dialect's WebSocket: each frame is a call, its parts are carried out beside one another.

    first frame: who? ──► every frame: parse ──► each part: perform ──► wait? ──► render_part ──► a frame of its own

A frame that cannot be understood is answered and forgotten; the connection goes on. What one connection may cost is
bounded: the size of a frame, the parts under way, and the silence.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import replace

import structlog
from fastapi import WebSocket
from starlette.websockets import WebSocketDisconnect, WebSocketState

from deployments.bodies import Bodies
from deployments.dialects.dialect import Call, Conversing, Dialect, Reply
from deployments.errors import CallRefused, InternalFault, Overloaded, Unauthenticated
from deployments.ingress.answering import is_heavy
from deployments.ingress.calls import address_of, read_call
from deployments.ingress.metered import count, name_call
from deployments.ingress.parts import Parts
from deployments.ingress.traced import accepting
from deployments.operations.caller import Caller
from deployments.operations.operation import Batch, Part, Tell
from deployments.operations.outcome import PartOutcome

log = structlog.get_logger()

#: Connections that one process holds, those of them that have not shown a good key, and those of one tenant. In all
#: they are fewer than the calls that an ingress replica takes at once, so that sockets leave room for calls.
MAX_SOCKETS, MAX_STRANGERS, MAX_OF_TENANT = 4096, 512, 1024
#: Seconds in which a connection has to show a good key.
LOGIN_S = 30.0
#: Most bytes of a frame from somebody who has not.
MAX_STRANGER_BYTES = 64 * 1024
#: Seconds of silence after which a connection is closed.
IDLE_S = 120.0
#: Parts of one connection that may be under way.
MAX_PARTS = 256
#: Seconds in which a frame has to be taken off our hands.
SEND_S = 30.0
#: Stands in every frame that shows a key, and seldom in another.
LOGIN_WORD = b"authentication"
#: Close codes. Source: RFC 6455, section 7.4.1, and the IANA registry of close codes, seen 2026-11.
GOING_AWAY, POLICY_VIOLATION, TRY_AGAIN_LATER = 1001, 1008, 1013


class Sockets:
    """The WebSockets of one process and one dialect."""

    def __init__(self, dialect: Dialect) -> None:
        """Take the dialect, which is also ``Conversing``."""
        self._dialect = dialect
        #: In the order in which they began.
        self._conversations: dict[Conversation, None] = {}

    def __repr__(self) -> str:
        """Say how many are open."""
        return f"<Sockets of {self._dialect.name} [{len(self._conversations)} open]>"

    async def answer(self, websocket: WebSocket) -> None:
        """Hold one conversation until either side ends it."""
        name_call(websocket.scope, self._dialect.name, "socket")
        if not self._make_room():
            await websocket.close(TRY_AGAIN_LATER)
            return
        await websocket.accept()
        conversation = Conversation(self._dialect, websocket, self._check_room)
        self._conversations[conversation] = None
        try:
            await conversation.hold()
        finally:
            self._conversations.pop(conversation, None)

    def _make_room(self) -> bool:
        """Return whether there is room for one more; a crowd that shows no key makes way, the oldest first.

        An honest caller shows its key at once, so it is the newest of them that deserves the room.
        """
        strangers = [one for one in self._conversations if not one.tenant_id]
        is_full = len(self._conversations) >= MAX_SOCKETS
        if strangers and (is_full or len(strangers) >= MAX_STRANGERS):
            del self._conversations[strangers[0]]
            strangers[0].end()
            return True
        return not is_full

    def _check_room(self, tenant_id: str) -> None:
        if sum(one.tenant_id == tenant_id for one in self._conversations) >= MAX_OF_TENANT:
            raise Overloaded("you have as many connections open as you may")


class Conversation:
    """One open WebSocket."""

    def __init__(self, dialect: Dialect, websocket: WebSocket, check_room: Callable[[str], None]) -> None:
        """Take the dialect, the accepted connection, and what refuses a tenant that has too many."""
        if not isinstance(dialect, Conversing):
            raise TypeError(f"{dialect.name} is not spoken over WebSockets")
        self._dialect = dialect
        self._conversing: Conversing = dialect
        self._websocket = websocket
        self._check_room = check_room
        self._parts: Parts = websocket.app.state.parts
        self._bodies: Bodies = websocket.app.state.bodies
        self._base_url = self._parts.base_url or ""
        self._key = self._owner = ""
        #: Whose connection it is; empty before a good key was shown.
        self.tenant_id = ""
        self._refused: Unauthenticated | None = None
        self._sending = asyncio.Lock()
        self._errands: set[asyncio.Task[None]] = set()
        self._is_deaf = asyncio.Event()

    async def hold(self) -> None:
        """Answer frames until the caller goes, or says nothing for too long, or takes nothing off our hands."""
        listening = asyncio.ensure_future(self._listen())
        deaf = asyncio.ensure_future(self._is_deaf.wait())
        try:
            await asyncio.wait({listening, deaf}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in (listening, deaf, *self._errands):
                each.cancel()
            await asyncio.gather(listening, deaf, return_exceptions=True)
            if self._websocket.client_state is WebSocketState.CONNECTED:
                with suppress(RuntimeError, OSError, WebSocketDisconnect, TimeoutError):
                    async with asyncio.timeout(SEND_S):
                        await self._websocket.close(GOING_AWAY)

    def end(self) -> None:
        """Let the conversation end as soon as it can."""
        self._is_deaf.set()

    async def _listen(self) -> None:
        with suppress(WebSocketDisconnect, TimeoutError, CallRefused, OSError):
            self._base_url = self._base_url or address_of(self._websocket)
            # One deadline for the login as a whole: bad frames do not buy a stranger time.
            async with asyncio.timeout(LOGIN_S):
                while not self.tenant_id:
                    await self._hear(await self._receive())
            while True:
                async with asyncio.timeout(IDLE_S):
                    frame = await self._receive()
                await self._hear(frame)

    async def _receive(self) -> bytes:
        message = await self._websocket.receive()
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", GOING_AWAY))
        text = message.get("text")
        return message.get("bytes") or b"" if text is None else text.encode("utf-8", "surrogatepass")

    async def _hear(self, frame: bytes) -> None:
        """Answer what one frame asks; whatever is wrong with it touches no other."""
        started_s = time.monotonic()
        call = replace(read_call(self._websocket.scope, self._conversing.socket, body=frame), base_url=self._base_url)
        limit = None if self.tenant_id else MAX_STRANGER_BYTES
        try:
            async with self._bodies.receive(_whole(frame), announced=str(len(frame)), max_bytes=limit) as body:
                await self._act(call, len(body), since_s=started_s)
        except CallRefused as refusal:
            self._count(refusal.http_status, since_s=started_s)
            await self._send(self._dialect.render_refusal(refusal, call))
        except (WebSocketDisconnect, TimeoutError):
            raise
        except Exception:
            log.exception("frame_failed", dialect=self._dialect.name)
            self._count(InternalFault.http_status, since_s=started_s)
            await self._send(self._dialect.render_refusal(InternalFault(), call))

    async def _act(self, call: Call, size_bytes: int, *, since_s: float) -> None:
        await self._identify(call, size_bytes)
        greeting = await self._bodies.read(lambda: self._conversing.greet(call), size_bytes=size_bytes)
        if greeting is not None:
            self._count(200, since_s=since_s)
            await self._send(greeting)
            return
        operation = await self._bodies.read(
            lambda: self._dialect.parse(self._conversing.socket, call), size_bytes=size_bytes
        )
        if isinstance(operation, Batch):
            for part in operation.parts:
                self._run(part, replace(call, body=b""))

    async def _identify(self, call: Call, size_bytes: int) -> None:
        """See whose frame it is: a key that is shown counts, later ones too, and one that was revoked no longer does.

        Raises:
            Unauthenticated: when there is no good key, or it is another tenant's than before.
        """
        if not self.tenant_id or LOGIN_WORD in call.body:
            key = await self._bodies.read(lambda: self._shown_key(call), size_bytes=size_bytes)
        else:
            key = self._key
        try:
            tenant_id = await self._parts.keys.tenant_of(key)
        except Unauthenticated as refusal:
            self._refused, self.tenant_id = refusal, ""
            raise
        if self._owner not in ("", tenant_id):  # what is under way here is answered to its owner
            raise Unauthenticated("this connection is another tenant's; open one of your own")
        if not self.tenant_id:
            self._check_room(tenant_id)
        self._key, self.tenant_id, self._owner = key, tenant_id, tenant_id

    def _shown_key(self, call: Call) -> str:
        try:
            key = self._dialect.api_key(call)
        except Unauthenticated as refusal:
            if self.tenant_id:  # the word stands somewhere in a task, which is no login
                return self._key
            # Runware's own package goes on after a wrong key, and shows its user what was said last.
            raise (self._refused or refusal) from None
        if key is None:
            raise Unauthenticated
        return key

    def _run(self, part: Part, call: Call) -> None:
        is_more = len(self._errands) >= MAX_PARTS and not isinstance(part.operation, Tell)
        too_much = Overloaded("too many tasks of this connection are under way")
        running = asyncio.create_task(self._answer_part(replace(part, operation=too_much) if is_more else part, call))
        self._errands.add(running)
        running.add_done_callback(self._errands.discard)

    async def _answer_part(self, part: Part, call: Call) -> None:
        caller = Caller(tenant_id=self.tenant_id, dialect=self._dialect.name, base_url=self._base_url)
        notes, started_s, status = part.notes, time.monotonic(), 200
        try:
            with accepting(part.operation, caller, call) as traced:
                done = await self._parts.operations.perform_part(part, traced)
            del part  # it may hold pictures, and is not needed while the task is waited for
            done = await self._parts.operations.settle_part(done, caller)
            reply = await self._rendered(done, call)
            status = done.outcome.http_status if isinstance(done.outcome, CallRefused) else status
        except Exception:
            log.exception("frame_failed", dialect=self._dialect.name)
            reply, status = self._conversing.render_part(InternalFault(), notes, call), InternalFault.http_status
        self._count(status, since_s=started_s)
        if reply is not None:
            with suppress(WebSocketDisconnect, RuntimeError, TimeoutError, OSError):  # the caller has gone
                await self._send(reply)

    def _count(self, status: int, *, since_s: float) -> None:
        count(self._dialect.name, self._conversing.socket.name, status=status, since_s=since_s)

    async def _rendered(self, done: PartOutcome, call: Call) -> Reply | None:
        if is_heavy(done.outcome):
            return await asyncio.to_thread(self._conversing.render_part, done.outcome, done.notes, call)
        return self._conversing.render_part(done.outcome, done.notes, call)

    async def _send(self, reply: Reply) -> None:
        try:
            async with asyncio.timeout(SEND_S), self._sending:
                await self._websocket.send_text(reply.body.decode("utf-8"))
        except TimeoutError:
            self._is_deaf.set()
            raise


async def _whole(frame: bytes) -> AsyncIterator[bytes]:
    yield frame
