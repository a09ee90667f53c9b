"""Pictures put to addresses that tenants give, on a real server."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import AsyncIterator

import pytest
from receiver import Receiver, receiving, status

from deployments.delivery.presigned_put import PAUSES_S, Receipt, SealedUpload, put_picture
from deployments.errors import UploadFailed
from deployments.outbound.client import GuardedClient
from deployments.outbound.rules import Rules
from deployments.tenants.seal import Seal

PICTURE = b"\x89PNG\r\n\x1a\n\x00\xff" * 50_000
MD5 = hashlib.md5(PICTURE, usedforsecurity=False).digest()


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """Return a running receiver."""
    async with receiving() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def client() -> GuardedClient:
    """Return a client that may reach this machine."""
    return GuardedClient(Rules(allows_private=True))


async def put(client: GuardedClient, url: str) -> Receipt:
    """Put the picture, repeating without a pause."""
    return await put_picture(
        client, url, content=PICTURE, content_type="image/png", tenant_id="alice", pauses_s=(0.0, 0.0)
    )


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


async def test_the_receipt_says_what_was_answered(receiver: Receiver, client: GuardedClient) -> None:
    """Status and ETag are kept, an ETag of any form; without one it is empty."""
    receiver.says("/", status(201, 'ETag: "not-an-md5"'))
    receiver.says("/bare", status(204))

    receipts = [await put(client, receiver.url(target)) for target in ("/", "/bare")]

    assert [(receipt.status, receipt.etag) for receipt in receipts] == [(201, '"not-an-md5"'), (204, "")]


@pytest.mark.parametrize(
    "headers",
    [
        (f'ETag: "{MD5.hex()}"', "x-amz-request-id: 1"),
        (f'ETag: "{MD5.hex().upper()}"', "x-amz-request-id: 1"),
        (f"x-goog-hash: crc32c=AAAAAA==,md5={b64encode(MD5).decode()}", "ETag: other"),
        (f"Content-MD5: {b64encode(MD5).decode()}",),
        (f'ETag: "{"0" * 32}"',),
        (f'ETag: "{"0" * 32}"', "x-amz-request-id: 1", "x-amz-server-side-encryption-aws-kms-key-id: k"),
        (f'ETag: "{"0" * 32}"', "x-amz-request-id: 1", "x-amz-server-side-encryption-customer-algorithm: AES256"),
        ('ETag: "00000000000000000000000000000000-2"', "x-amz-request-id: 1"),
    ],
)
async def test_the_right_digest_or_none_is_believed(
    receiver: Receiver, client: GuardedClient, headers: tuple[str, ...]
) -> None:
    """A store that names the digest of what was sent is believed, and so is one whose ETag is no digest."""
    receiver.says("/", status(200, *headers))

    await put(client, receiver.url())

    assert len(receiver.arrived) == 1


@pytest.mark.parametrize(
    "headers",
    [
        (f'ETag: "{"0" * 32}"', "x-amz-request-id: 1"),
        (f"x-goog-hash: md5={b64encode(bytes(16)).decode()}",),
        (f"Content-MD5: {b64encode(bytes(16)).decode()}",),
    ],
)
async def test_another_digest_is_no_receipt(
    receiver: Receiver, client: GuardedClient, headers: tuple[str, ...]
) -> None:
    """A store that holds other bytes has not taken the picture; it is sent again, and then that is said."""
    receiver.says("/", status(200, *headers))

    message = await refusal(client, receiver.url())

    assert message == "the upload address answered that it holds other bytes than were sent"
    assert len(receiver.arrived) == 3


async def test_azure_is_told_what_kind_of_blob_comes(receiver: Receiver, client: GuardedClient) -> None:
    """Only an address signed the way of Azure gets the header without which Azure takes nothing."""
    for target in ("/?sv=1&sr=b&sig=00", "/?sig=00"):
        await put(client, receiver.url(target))

    assert [call.headers.get("x-ms-blob-type") for call in receiver.arrived] == ["BlockBlob", None]


async def test_a_sealed_address_is_opened_to_send(receiver: Receiver, client: GuardedClient) -> None:
    """What the database holds leads to where the tenant wanted it."""
    seal = Seal("s" * 32)
    upload = SealedUpload(client, seal)

    await upload(seal.close(receiver.url("/a?b")), content=PICTURE, content_type="image/png", tenant_id="alice")

    assert [(call.target, call.body == PICTURE) for call in receiver.arrived] == [("/a?b", True)]


def test_pauses_are_short_and_grow() -> None:
    """Three tries, with pauses that a waiting caller can bear."""
    assert len(PAUSES_S) == 2
    assert 0 < PAUSES_S[0] < PAUSES_S[1] <= 5
