"""The guarded client on real servers, where fetching references does not show it: TLS, methods, broken answers."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from receiver import Receiver, receiving, status
from structlog.testing import capture_logs

from deployments.errors import AddressRefused, NotReached, Unavailable
from deployments.outbound.client import Answer, GuardedClient
from deployments.outbound.rules import Rules
from deployments.tenants.openings import Opening, read_opening

NAME = "receiver.example"


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """Return a running receiver."""
    async with receiving() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def client() -> GuardedClient:
    """Return a client that may reach this machine."""
    return GuardedClient(Rules(allows_private=True))


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file with a key and a certificate for one name."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    made = (
        x509.CertificateBuilder(subject_name=name, issuer_name=name, public_key=key.public_key())
        .serial_number(1)
        .not_valid_before(datetime.now(UTC) - timedelta(days=1))  # noqa: TID251 -- certificates are judged by the clock
        .not_valid_after(datetime.now(UTC) + timedelta(days=1))  # noqa: TID251 -- as above
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "certificate.pem"
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(private + made.public_bytes(Encoding.PEM))
    return path


async def resolve_here(_host: str, _port: int) -> Sequence[str]:
    """Find every name on this machine."""
    return ["127.0.0.1"]


async def post(client: GuardedClient, url: str, **more: Any) -> Answer:
    """Send what a webhook sends."""
    plain: dict[str, Any] = {"headers": {}, "body": b"{}", "max_redirects": 0, "max_answer_bytes": 100}
    return await client.send("POST", url, **(plain | more))


async def test_what_is_sent(receiver: Receiver, client: GuardedClient) -> None:
    """Method, target, headers and body arrive as they were given, and next to nothing besides."""
    target = "/a%2Fb//c?X-Amz-Credential=k%2F1%2faws4&sig=a/b+c==&n='x'"

    await post(client, receiver.url(target), headers={"Content-Type": "x/y"}, body=b"\x00\xff")

    [call] = receiver.arrived
    assert (call.line, call.body) == (f"POST {target} HTTP/1.1", b"\x00\xff")
    assert call.headers == {
        "host": f"127.0.0.1:{receiver.port}",
        "user-agent": "uxo-serve",
        "accept-encoding": "identity",
        "connection": "close",
        "content-type": "x/y",
        "content-length": "2",
    }


async def test_a_redirect_is_an_answer(receiver: Receiver, client: GuardedClient) -> None:
    """Where none may be followed, a redirect comes back as what it is."""
    receiver.says("/", status(307, "Location: /elsewhere"))

    answer = await post(client, receiver.url())

    assert (answer.status, answer.is_good, answer.headers["location"]) == (307, False, "/elsewhere")
    assert len(receiver.arrived) == 1


@pytest.mark.parametrize(
    ("body", "kept", "is_whole"), [(b"x" * 100, b"x" * 100, True), (b"x" * 101, b"", False)], ids=["all", "too long"]
)
async def test_an_announced_answer_is_read_if_it_is_short(
    receiver: Receiver, client: GuardedClient, body: bytes, kept: bytes, *, is_whole: bool
) -> None:
    """A good answer's body is kept up to the limit, and not read at all if it says that it is longer."""
    receiver.says("/", status(200, body=body))

    answer = await post(client, receiver.url())

    assert (answer.content, answer.is_whole) == (kept, is_whole)


async def test_a_long_answer_is_cut(receiver: Receiver, client: GuardedClient) -> None:
    """A body without a length is kept up to the limit."""
    receiver.says("/", b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 1000)

    answer = await post(client, receiver.url())

    assert (answer.content, answer.is_whole) == (b"x" * 100, False)


async def test_a_status_survives_a_broken_body(receiver: Receiver) -> None:
    """When only the rest of an answer is missing, its status is told."""
    receiver.drips("/", first=status(201).replace(b"Length: 0", b"Length: 50"))
    client = GuardedClient(Rules(allows_private=True), total_s=0.3)

    with pytest.raises(NotReached) as failure:
        await post(client, receiver.url())

    assert failure.value.status == 201


async def test_silence_has_no_status(receiver: Receiver) -> None:
    """A call that is never answered ends at the time-out, with nothing to tell."""
    receiver.hangs("/")
    client = GuardedClient(Rules(allows_private=True), total_s=0.2)

    with pytest.raises(NotReached) as failure:
        await post(client, receiver.url())

    assert (failure.value.status, failure.value.message) == (None, "could not be reached")


async def test_a_private_address_is_refused(receiver: Receiver) -> None:
    """Whatever is sent, nobody at a private address is dialled."""
    client = GuardedClient(Rules())

    with pytest.raises(AddressRefused, match="is not at a public address"):
        await post(client, receiver.url())

    assert receiver.arrived == []


async def test_what_is_open_to_one_tenant_is_not_to_another(receiver: Receiver) -> None:
    """What an operator opened is looked up for whoever asks, and each call through it is written down."""

    async def openings_of(tenant_id: str) -> Sequence[Opening]:
        return [read_opening("127.0.0.0/8")] if tenant_id == "alice" else []

    client = GuardedClient(Rules(), openings_of=openings_of)

    with capture_logs() as events:
        answer = await post(client.of("alice"), receiver.url())
        for stranger in (client.of("bob"), client):
            with pytest.raises(AddressRefused, match="is not at a public address"):
                await post(stranger, receiver.url())

    assert (answer.status, len(receiver.arrived)) == (200, 1)
    assert [(one["event"], one["tenant_id"], one["opening"]) for one in events] == [
        ("address_opened", "alice", "127.0.0.0/8")
    ]


async def test_without_the_database_nothing_is_opened(receiver: Receiver) -> None:
    """While nobody can say what was opened for a tenant, a call that needs it is not made; the trouble is ours."""

    async def openings_of(_tenant_id: str) -> Sequence[Opening]:
        raise Unavailable

    client = GuardedClient(Rules(), openings_of=openings_of).of("alice")

    with pytest.raises(Unavailable):
        await post(client, receiver.url())

    assert receiver.arrived == []


async def test_what_is_opened_for_all_is_written_down(receiver: Receiver, client: GuardedClient) -> None:
    """Every call to a private address says by what it was let through."""
    with capture_logs() as events:
        await post(client.of("alice"), receiver.url())

    assert [one["opening"] for one in events] == ["UXO_ALLOW_PRIVATE_NETWORKS"]


async def test_another_port_is_not_dialled(receiver: Receiver) -> None:
    """A port that is not on the list is refused, also at a public address."""
    client = GuardedClient(Rules(judge=lambda _: True))

    with pytest.raises(AddressRefused, match="is at a port that is not open"):
        await post(client, receiver.url())

    assert receiver.arrived == []


async def test_a_compressed_answer_is_not_read(receiver: Receiver, client: GuardedClient) -> None:
    """Its status counts, its body does not."""
    receiver.says("/", status(200, "Content-Encoding: gzip", body=b"x" * 50))

    answer = await post(client, receiver.url())

    assert (answer.status, answer.content, answer.is_whole) == (200, b"", False)


async def test_tls_is_spoken_with_the_name(certificate: Path) -> None:
    """The address is dialled, and yet the server is asked for its name and has to prove it."""
    asked: list[str | None] = []
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate)
    server.sni_callback = lambda _socket, name, _context: asked.append(name)
    trusting = ssl.create_default_context(cafile=str(certificate))
    client = GuardedClient(Rules(allows_private=True), resolve=resolve_here, tls=trusting)

    async with receiving(tls=server) as receiver:
        answer = await post(client, receiver.url(host=NAME, scheme="https"))
        with pytest.raises(NotReached):
            await post(client, receiver.url(host="other.example", scheme="https"))

        assert answer.status == 200
        assert asked == [NAME, "other.example"]
        assert [call.headers["host"] for call in receiver.arrived] == [f"{NAME}:{receiver.port}"]


async def test_a_strangers_certificate_is_not_believed(certificate: Path) -> None:
    """By itself the client believes those whom the public believes."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate)
    client = GuardedClient(Rules(allows_private=True), resolve=resolve_here)

    async with receiving(tls=server) as receiver:
        with pytest.raises(NotReached):
            await post(client, receiver.url(host=NAME, scheme="https"))

        assert receiver.arrived == []
