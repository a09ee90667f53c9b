"""Does a crowd of idle and slow WebSockets hold up the others? Real ingress, real sockets, from a process of its own.

    idle        has opened the socket and says nothing           dripping    sends a frame, a byte every few seconds
    half open   sends the head of its request, a byte at a time

Beside them one honest client asks for its balance, and one says ping on a socket of its own. What the crowd did not get
is counted, and no error: the server has bounds.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import psutil
import typer
from rich.console import Console
from websockets.asyncio.client import ClientConnection, connect

from loadtest.closed_loop import closed_loop, connected, wire_call
from loadtest.dialect_cost import KEY, SCENES, serving
from loadtest.figures import percentile
from loadtest.file_limit import raise_file_limit
from loadtest.findings import write_findings
from loadtest.machine import commit, machine

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

#: Bytes with which a WebSocket is asked for; the key is the one of RFC 6455's own example.
HANDSHAKE = (
    b"GET /v1 HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
#: The head of a masked text frame of 120 bytes, and the first of them.
FRAME = b"\x81\xf8\x00\x00\x00\x00" + b"[" * 20
#: Seconds between two bytes of the slow ones.
DRIP_S = 2.0
#: Sockets that are opened at once.
OPEN_AT_ONCE = 100
KINDS = ("idle", "dripping", "half open")

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
console = Console(highlight=False, soft_wrap=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What honest clients met."""

    #: Who stood beside them.
    beside: str
    #: Calls answered.
    calls: int
    #: Median and 99th percentile of a call.
    call_p50_ms: float
    call_p99_ms: float
    #: The same of a ping on a socket.
    ping_p50_ms: float
    ping_p99_ms: float
    #: Memory of the server.
    server_mib: float


@app.command()
def crowd(
    *,
    sockets: Annotated[int, typer.Option(min=3, help="How many stand beside.")] = 10_000,
    seconds: Annotated[float, typer.Option(min=1, help="Load of the honest clients, alone and beside the crowd.")] = 10,
    output: Annotated[Path, typer.Option(help="Where the JSON goes.")] = Path("var/bench/crowd.json"),
    port: Annotated[int, typer.Option(help="Where the server listens.")] = 18700,
) -> None:
    """Measure calls and pings alone, and beside a crowd of sockets."""
    with tempfile.TemporaryDirectory(dir=".") as folder:
        url = f"sqlite:///{Path(folder).resolve() / 'uxo.db'}"
        measured, fates = asyncio.run(run(url, sockets=sockets, seconds=seconds, port=port))
    facts = {"benchmark": "crowd", "commit": commit(), "machine": machine(), "sockets": sockets, "fates": fates}
    write_findings(output, facts | {"measured": [asdict(each) for each in measured]})
    sys.stdout.write(markdown(measured, fates))
    console.print(f"written to {output}")


async def run(url: str, *, sockets: int, seconds: float, port: int) -> tuple[list[Measured], dict[str, int]]:
    """Measure alone, then beside the crowd; also return what became of the crowd, by kind and fate."""
    raise_file_limit()
    async with serving(url, SCENES["accepted"], port=port):
        alone = await measure("nobody", port=port, seconds=seconds)
        context = multiprocessing.get_context("spawn")
        here, there = context.Pipe()
        process = context.Process(target=stand_about, args=(there, port, sockets), daemon=True)
        process.start()
        try:
            opened = await asyncio.to_thread(here.recv)
            console.print(f"  the crowd stands: {opened}")
            beside = await measure(f"{sockets} sockets", port=port, seconds=seconds)
            here.send("enough")
            fates = await asyncio.to_thread(here.recv)
        finally:
            process.kill()
            process.join()
    return [alone, beside], fates


async def measure(beside: str, *, port: int, seconds: float) -> Measured:
    """Ask for the balance over HTTP and ping over a socket, one after the other, beside one another."""
    async with connected(port) as connection, connect(f"ws://127.0.0.1:{port}/v1") as socket:
        await _exchange(socket, {"taskType": "authentication", "apiKey": KEY})

        async def call() -> None:
            await connection.exchange(wire_call("GET", "/api/v3/balance", key=KEY))

        async def ping() -> None:
            await _exchange(socket, {"taskType": "ping", "ping": True})

        calls, pings = await asyncio.gather(closed_loop([call], seconds=seconds), closed_loop([ping], seconds=seconds))
    return Measured(
        beside=beside,
        calls=len(calls.durations_ms),
        call_p50_ms=percentile(calls.durations_ms, 0.5),
        call_p99_ms=percentile(calls.durations_ms, 0.99),
        ping_p50_ms=percentile(pings.durations_ms, 0.5),
        ping_p99_ms=percentile(pings.durations_ms, 0.99),
        server_mib=psutil.Process().memory_info().rss / 1024**2,
    )


async def _exchange(socket: ClientConnection, task: dict[str, object]) -> None:
    await socket.send(json.dumps([task]))
    await socket.recv()


def stand_about(conversation: Connection, port: int, sockets: int) -> None:
    """Be the crowd, in a process of its own: say when it stands, and in the end what became of it."""
    raise_file_limit()
    asyncio.run(_stand_about(conversation, port, sockets))


async def _stand_about(conversation: Connection, port: int, sockets: int) -> None:
    room = asyncio.Semaphore(OPEN_AT_ONCE)
    fates = Counter[str]()
    opening = [_open(KINDS[number % len(KINDS)], port, room) for number in range(sockets)]
    standing = [one for one in await asyncio.gather(*opening) if one is not None]
    began = time.monotonic()
    dripping = [asyncio.create_task(_drip(kind, reader, writer, fates)) for kind, reader, writer in standing]
    conversation.send({"opened": len(standing), "not opened": sockets - len(standing)})
    await asyncio.to_thread(conversation.recv)
    fates.update(f"{kind}: still open" for (kind, *_), task in zip(standing, dripping, strict=True) if not task.done())
    conversation.send(dict(fates) | {"seconds": round(time.monotonic() - began)})


async def _open(
    kind: str, port: int, room: asyncio.Semaphore
) -> tuple[str, asyncio.StreamReader, asyncio.StreamWriter] | None:
    async with room:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(HANDSHAKE[:20] if kind == "half open" else HANDSHAKE)
            if kind != "half open":
                await reader.readuntil(b"\r\n\r\n")
        except (OSError, asyncio.IncompleteReadError):
            return None
    return kind, reader, writer


async def _drip(kind: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, fates: Counter[str]) -> None:
    """Say nothing, or a byte now and then, until the server has had enough."""
    left = {"idle": b"", "dripping": FRAME, "half open": HANDSHAKE[20:]}[kind]
    with suppress(OSError):
        while True:
            if left:
                writer.write(left[:1])
                left = left[1:]
            with suppress(TimeoutError):
                async with asyncio.timeout(DRIP_S):
                    if not await reader.read(4096):
                        break
    fates[f"{kind}: closed by the server"] += 1


def markdown(measured: list[Measured], fates: dict[str, int]) -> str:
    """Write what was measured as a table, and what became of the crowd below it."""
    lines = [
        "| beside | calls | call p50 ms | call p99 ms | ping p50 ms | ping p99 ms | server MiB |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| {one.beside} | {one.calls} | {one.call_p50_ms:.1f} | {one.call_p99_ms:.1f} | {one.ping_p50_ms:.1f} "
        f"| {one.ping_p99_ms:.1f} | {one.server_mib:.0f} |"
        for one in measured
    ]
    return "\n".join([*lines, "", *[f"- {fate}: {number}" for fate, number in sorted(fates.items())]]) + "\n"


if __name__ == "__main__":
    app()
