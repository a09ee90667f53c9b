"""Pictures put to addresses that tenants give, on a real server."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from receiver import Receiver, receiving, status

from deployments.delivery.presigned_put import PAUSES_S, put_picture
from deployments.errors import UploadFailed
from deployments.outbound.client import GuardedClient
from deployments.outbound.rules import Rules

PICTURE = b"\x89PNG\r\n\x1a\n\x00\xff" * 50_000


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """Return a running receiver."""
    async with receiving() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def client() -> GuardedClient:
    """Return a client that may reach this machine."""
    return GuardedClient(Rules(allows_private=True))


async def put(client: GuardedClient, url: str) -> None:
    """Put the picture, repeating without a pause."""
    await put_picture(client, url, content=PICTURE, content_type="image/png", tenant_id="alice", pauses_s=(0.0, 0.0))


async def refusal(client: GuardedClient, url: str) -> str:
    """Return why the picture could not be put."""
    with pytest.raises(UploadFailed) as failure:
        await put(client, url)
    return failure.value.message


async def test_bytes_arrive_as_they_are(receiver: Receiver, client: GuardedClient) -> None:
    """The raw file is put under the very address, with its type and length and no credentials of ours."""
    target = "/bucket/a%20b%2Fc.png?X-Amz-Credential=AK%2F20261121%2fs3&X-Amz-Signature=a+b/c==&empty&x=%7E~'"

    await put(client, receiver.url(target))

    [call] = receiver.arrived
    assert call.line == f"PUT {target} HTTP/1.1"
    assert call.body == PICTURE
    assert call.headers["content-type"] == "image/png"
    assert call.headers["content-length"] == str(len(PICTURE))
    assert not {"authorization", "cookie", "transfer-encoding", "expect"} & set(call.headers)


@pytest.mark.parametrize("trouble", [status(500), status(503), status(429), status(408), b"", b"nonsense"])
async def test_what_may_pass_is_tried_again(receiver: Receiver, client: GuardedClient, trouble: bytes) -> None:
    """Two tries may fail in a way that can pass; the third succeeds with all the bytes."""
    receiver.says("/", trouble, trouble, status(201))

    await put(client, receiver.url())

    assert [call.body == PICTURE for call in receiver.arrived] == [True, True, True]


async def test_three_tries_and_no_more(receiver: Receiver, client: GuardedClient) -> None:
    """The third failure is the last and is told without the address."""
    receiver.says("/?secret", status(503))

    message = await refusal(client, receiver.url("/?secret"))

    assert message == "the upload address answered 503"
    assert len(receiver.arrived) == 3


@pytest.mark.parametrize("number", [301, 302, 307, 308, 400, 403, 404, 411])
async def test_what_will_not_pass_is_tried_once(receiver: Receiver, client: GuardedClient, number: int) -> None:
    """A refusal or a redirect is final; nothing is followed."""
    receiver.says("/", status(number, "Location: /elsewhere"))

    message = await refusal(client, receiver.url())

    assert message == f"the upload address answered {number}"
    assert [call.target for call in receiver.arrived] == ["/"]


async def test_nobody_there(client: GuardedClient) -> None:
    """A closed port and a missing name sound alike."""
    messages = {await refusal(client, url) for url in ("http://127.0.0.2:9/?secret", "http://no-such-name.invalid/")}

    assert messages == {"the upload address could not be reached"}


async def test_a_private_address_is_refused(receiver: Receiver) -> None:
    """Unless it is allowed, nobody at a private address is dialled, and not three times either."""
    message = await refusal(GuardedClient(Rules()), receiver.url())

    assert message == "the upload address is not at a public address"
    assert receiver.arrived == []


async def test_a_receipt_that_breaks_off_is_one(receiver: Receiver) -> None:
    """A status of 2xx is enough, though the rest of the answer never comes."""
    receiver.drips("/", first=status(200).replace(b"Length: 0", b"Length: 50"))

    await put(GuardedClient(Rules(allows_private=True), total_s=0.5), receiver.url())

    assert len(receiver.arrived) == 1


def test_pauses_are_short_and_grow() -> None:
    """Three tries, with pauses that a waiting caller can bear."""
    assert len(PAUSES_S) == 2
    assert 0 < PAUSES_S[0] < PAUSES_S[1] <= 5
