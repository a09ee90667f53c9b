"""The closed loop: how many calls are under way at once, what is counted, and what is no answer."""

from __future__ import annotations

import asyncio

import pytest

from loadtest.closed_loop import BadAnswer, body_length, closed_loop, http_clients, wire_call


async def test_each_client_has_one_call_under_way() -> None:
    """Three clients never have more than three calls open, and every call is counted."""
    under_way, most, calls = 0, 0, 0

    async def client() -> None:
        nonlocal under_way, most, calls
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0)
        under_way -= 1
        calls += 1

    load = await closed_loop([client] * 3, seconds=0.01)

    assert most == 3
    assert len(load.durations_ms) == calls


async def test_calls_under_way_at_the_end_are_counted() -> None:
    """When the time is up at once, each client's first call is answered and counted, and no second one is made."""

    async def client() -> None:
        await asyncio.sleep(0)

    load = await closed_loop([client] * 2, seconds=0.0)

    assert len(load.durations_ms) == 2


@pytest.mark.parametrize("status", ["404 Not Found", "500 Internal Server Error", "302 Found"])
async def test_anything_but_200_ends_the_load(status: str) -> None:
    """A server that refuses quickly must not look like a fast one."""
    async with await answering(f"HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\nno".encode()) as server:
        port = server.sockets[0].getsockname()[1]
        async with http_clients(wire_call("GET", "/", key="k"), port=port, count=1) as clients:
            with pytest.raises(BadAnswer, match=status):
                await clients[0]()


async def test_one_connection_carries_many_calls() -> None:
    """Answers are told apart by their length, whatever the case of the header that says it."""
    async with await answering(b"HTTP/1.1 200 OK\r\ncontent-LENGTH: 3\r\n\r\nyes") as server:
        port = server.sockets[0].getsockname()[1]
        async with http_clients(wire_call("POST", "/", key="k", body=b"{}"), port=port, count=1) as clients:
            answers = [await clients[0]() for _ in range(3)]

    assert answers == [b"yes"] * 3


def test_an_answer_of_unknown_length_is_refused() -> None:
    """A chunked answer would otherwise leave the connection out of step."""
    with pytest.raises(BadAnswer):
        body_length(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")


def test_wire_call_announces_its_body() -> None:
    """The body stands behind an empty line and its length before it."""
    call = wire_call("POST", "/api", key="secret", body=b"{}")

    head, _, body = call.partition(b"\r\n\r\n")
    assert head.startswith(b"POST /api HTTP/1.1\r\n")
    assert b"Content-Length: 2" in head
    assert b"Authorization: Bearer secret" in head
    assert body == b"{}"


async def answering(answer: bytes) -> asyncio.Server:
    """Start a server that answers each call with the same bytes; calls are at most one read long."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(65536):
            writer.write(answer)
        writer.close()

    return await asyncio.start_server(serve, "127.0.0.1", 0)
