"""A proxy that ends TLS before the service, as in production, with a certificate from an authority of its own."""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

HOST = "127.0.0.1"
#: When the certificates begin; they last for a hundred years, as the time of a test is nobody's business.
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
#: Bytes that are passed on at once.
CHUNK_BYTES = 65536


@asynccontextmanager
async def fronting(port: int, context: ssl.SSLContext) -> AsyncIterator[int]:
    """Pass on what comes by TLS to a port of this machine; yields the port that it comes to."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            await pass_on(reader, writer, port=port)
        writer.close()

    server = await asyncio.start_server(serve, HOST, 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, port: int) -> None:
    """Pass on one call and its answer; when either side goes, so does the other."""
    head = told_of_tls(await reader.readuntil(b"\r\n\r\n"))
    behind, to_behind = await asyncio.open_connection(HOST, port)
    to_behind.write(head)
    ways = [asyncio.create_task(pump(reader, to_behind)), asyncio.create_task(pump(behind, writer))]
    await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    for way in ways:
        way.cancel()
    await asyncio.gather(*ways, return_exceptions=True)
    to_behind.close()


def told_of_tls(head: bytes) -> bytes:
    """Say in a call's head that it came by TLS, and that it is the only one of its connection."""
    line, *headers = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    kept = [header for header in headers if not header.lower().startswith(b"connection:")]
    return b"\r\n".join([line, *kept, b"Connection: close", b"X-Forwarded-Proto: https", b"", b""])


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Move bytes until there are no more."""
    while chunk := await reader.read(CHUNK_BYTES):
        writer.write(chunk)
        await writer.drain()


def make_authority(folder: Path) -> tuple[Path, ssl.SSLContext]:
    """Make an authority and a certificate of this machine; return the former's file and a server's context."""
    authority_key, key = generate_private_key(SECP256R1()), generate_private_key(SECP256R1())
    authority = certificate("authority of the tests", authority_key, by=authority_key, is_authority=True)
    own = certificate(HOST, key, by=authority_key, is_authority=False)
    authority_file, own_file = folder / "authority.pem", folder / "own.pem"
    authority_file.write_bytes(authority.public_bytes(Encoding.PEM))
    written_key = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    own_file.write_bytes(own.public_bytes(Encoding.PEM) + written_key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(own_file)
    return authority_file, context


def certificate(
    name: str, key: EllipticCurvePrivateKey, *, by: EllipticCurvePrivateKey, is_authority: bool
) -> x509.Certificate:
    """Make a certificate of a key, signed by the authority's."""
    return (
        x509.CertificateBuilder()
        .subject_name(named(name))
        .issuer_name(named("authority of the tests"))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(BEGIN)
        .not_valid_after(BEGIN + timedelta(days=36500))
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(HOST))]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(by.public_key()), critical=False)
        .sign(by, SHA256())
    )


def named(name: str) -> x509.Name:
    """Write a name as certificates do."""
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
