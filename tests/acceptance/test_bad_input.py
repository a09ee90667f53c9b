"""A caller's mistakes get the contract's answer from the running service, and the next call works."""

from __future__ import annotations

import base64
import io
import json
import struct
import time
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from PIL import Image
from running_service import BOB, CALL_S, Service

UNO = "/api/v3/wavespeed-ai/uno"


@pytest.fixture
def client(service: Service) -> Iterator[httpx.Client]:
    """Return Alice's client."""
    with service.client() as client:
        yield client


@pytest.fixture(autouse=True)
def next_call_works(client: httpx.Client, references: list[str]) -> Iterator[None]:
    """After whatever a test has done, a good call is accepted and finished."""
    yield
    wish = {
        "images": references[:1],
        "prompt": "a cup",
        "num_inference_steps": 1,
        "image_size": "square",
        "enable_sync_mode": True,
    }
    assert client.post(UNO, json=wish).json()["data"]["status"] == "completed"


def ended(client: httpx.Client, reply: httpx.Response) -> dict[str, Any]:
    """Return an accepted task once it has ended."""
    assert reply.status_code == 200, reply.text
    data: dict[str, Any] = reply.json()["data"]
    deadline = time.monotonic() + 60
    while data["status"] in {"created", "processing"}:
        assert time.monotonic() < deadline
        data = client.get(data["urls"]["get"]).json()["data"]
    return data


def png_claiming(width: int, height: int) -> bytes:
    """Return a PNG whose header claims a size and whose rows are missing."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 100)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        for name, content in chunks
    )


def png_of(width: int, height: int) -> bytes:
    """Return a real picture."""
    file = io.BytesIO()
    Image.new("RGB", (width, height), (90, 120, 150)).save(file, "PNG")
    return file.getvalue()


BAD_BODIES = {
    "no JSON": b"{nope",
    "nothing": b"",
    "not an object": b"[1, 2]",
    "sixty levels deep": b'{"prompt": ' + b"[" * 60 + b"]" * 60 + b"}",
    "a hundred thousand levels deep": b"[" * 100_000,
    "NaN": b'{"prompt": "a", "images": ["http://a/b"], "guidance_scale": NaN}',
    "a number as text": b'{"prompt": "a", "images": ["http://a/b"], "num_images": "2"}',
    "a boolean as number": b'{"prompt": "a", "images": ["http://a/b"], "num_images": true}',
    "no text": b"\xff\xfe\x00",
    "no prompt": b'{"images": ["http://a/b"]}',
    "no images": b'{"prompt": "a"}',
    "too few images": b'{"prompt": "a", "images": []}',
    "too many images": json.dumps({"prompt": "a", "images": ["http://a/b"] * 5}).encode(),
    "out of range": b'{"prompt": "a", "images": ["http://a/b"], "num_inference_steps": 51}',
    "bad enum": b'{"prompt": "a", "images": ["http://a/b"], "image_size": "huge"}',
    "a file address": b'{"prompt": "a", "images": ["file:///etc/passwd"]}',
}


@pytest.mark.parametrize("body", BAD_BODIES.values(), ids=BAD_BODIES.keys())
def test_a_malformed_body_is_a_400(client: httpx.Client, body: bytes) -> None:
    """A body that cannot be understood is refused at once, with a message and without data."""
    reply = client.post(UNO, content=body)

    assert reply.status_code == 400
    assert reply.json()["code"] == 400
    assert reply.json()["message"]
    assert "data" not in reply.json()


def test_a_hundred_megabytes_are_a_413(client: httpx.Client) -> None:
    """A body over the limit is refused as soon as its length is known."""
    reply = client.post(UNO, content=b'{"prompt": "' + b"a" * 100_000_000 + b'"}')

    assert reply.status_code == 413
    assert reply.json()["code"] == 413


def test_a_hundred_megabytes_of_unknown_length_are_a_413(client: httpx.Client) -> None:
    """The same without a length."""

    def endless() -> Iterator[bytes]:
        yield from (b"a" * 1_000_000 for _ in range(100))

    try:
        status = client.post(UNO, content=endless()).status_code
    except httpx.TransportError:  # the server closed while we were still writing
        return
    assert status == 413


BAD_PICTURES: dict[str, bytes] = {
    "text": b"this is no picture",
    "truncated": png_of(200, 200)[:60],
    "30,000 px wide": png_claiming(30_000, 30_000),
    "a strip that scaling empties": png_of(1600, 50)[:],
    "a strip of one pixel": png_of(2000, 1),
}


@pytest.mark.parametrize("by", ["url", "data URI"])
@pytest.mark.parametrize("content", BAD_PICTURES.values(), ids=BAD_PICTURES.keys())
def test_a_bad_reference_fails_its_task_with_1402(
    client: httpx.Client, gallery: Callable[[bytes], str], references: list[str], content: bytes, by: str
) -> None:
    """An unusable reference fails the task, says which one it was, and is no server's mistake."""
    source = gallery(content) if by == "url" else "data:image/png;base64," + base64.b64encode(content).decode()

    task = ended(client, client.post(UNO, json={"images": [references[0], source], "prompt": "a cup"}))

    assert (task["status"], task["code"]) == ("failed", 1402)
    assert task["error"].startswith("reference 2 ")
    assert task["outputs"] == []


@pytest.mark.parametrize(
    "path", ["/api/v3/wavespeed-ai/unknown", "/api/v3/nothing", "/api/v3/predictions/a%2Fb/result"]
)
def test_unknown_paths_are_404(client: httpx.Client, path: str) -> None:
    """What is not there is a 404 in the dialect's shape."""
    reply = client.post(path, json={}) if "predictions" not in path else client.get(path)

    assert reply.status_code == 404
    assert reply.json()["code"] == 404


@pytest.mark.parametrize("text", ["0" * 32, "x", "%00", "%F0%9F%90%88", "a" * 4000, "..", "%2e%2e"])
def test_an_unknown_id_is_404(client: httpx.Client, text: str) -> None:
    """Any text may stand where an id is."""
    reply = client.get(f"/api/v3/predictions/{text}/result")

    assert reply.status_code == 404


@pytest.mark.parametrize(
    "headers",
    [{}, {"Authorization": "Bearer wrong-key-0123456789"}, {"Authorization": "Key key-of-alice-0123456789"}],
    ids=["none", "wrong", "other scheme"],
)
def test_strangers_get_401(service: Service, headers: dict[str, str]) -> None:
    """No key, a wrong key and another scheme are refused alike, whatever the body."""
    reply = httpx.post(service.base_url + UNO, headers=headers, content=b"{nope", timeout=CALL_S, trust_env=False)

    assert reply.status_code == 401
    assert reply.json()["code"] == 401


def test_another_tenants_task_is_404(service: Service, client: httpx.Client, references: list[str]) -> None:
    """Bob cannot tell Alice's task from none."""
    task = ended(client, client.post(UNO, json={"images": references[:1], "prompt": "a", "num_inference_steps": 1}))

    with service.client(BOB) as bob:
        foreign = bob.get(f"/api/v3/predictions/{task['id']}/result")
        unknown = bob.get(f"/api/v3/predictions/{'0' * 32}/result")

    assert foreign.status_code == unknown.status_code == 404
    assert foreign.content == unknown.content


def test_a_wrong_method_is_405(client: httpx.Client) -> None:
    """A method that an address does not answer gets a refusal in the dialect's shape."""
    reply = client.put(UNO, json={})

    assert reply.status_code == 405
    assert reply.json()["code"] == 405


def test_fifty_megabytes_of_data_uris_are_served(client: httpx.Client) -> None:
    """Four large pictures as data URIs in one body give a picture."""
    noise = Image.effect_noise((3200, 3000), 90)
    file = io.BytesIO()
    noise.save(file, "PNG", compress_level=0)
    source = "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
    body = {"images": [source] * 4, "prompt": "a cup", "num_inference_steps": 1, "image_size": "square"}
    assert 50e6 < len(json.dumps(body)) < 64e6

    task = ended(client, client.post(UNO, json=body))

    assert task["status"] == "completed"
