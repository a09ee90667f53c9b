"""A certificate authority of our own, whom nobody else believes, and the contexts of those who do."""

from __future__ import annotations

import ssl
import tempfile
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from deployments.clock import utc_now

_DAY = timedelta(days=1)


class Authority:
    """Signs certificates for names, and says who to believe."""

    def __init__(self, folder: Path) -> None:
        """Make a key; what OpenSSL reads only from files goes into ``folder``."""
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "loadtest")])
        constraints = x509.BasicConstraints(ca=True, path_length=None)
        builder = self._builder(self._name, self._key.public_key(), days=1)
        self._own = builder.add_extension(constraints, critical=True).sign(self._key, SHA256())

    def trusting(self) -> ssl.SSLContext:
        """Return the context of a client that believes this authority alone."""
        return ssl.create_default_context(cadata=self._own.public_bytes(Encoding.PEM).decode())

    def serving(self, names: Sequence[str], *, days: int = 1) -> ssl.SSLContext:
        """Return the context of a server that can prove some names; with ``days`` below zero, no longer."""
        key = ec.generate_private_key(ec.SECP256R1())
        proof = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
        builder = self._builder(x509.Name([]), key.public_key(), days=days)
        made = builder.add_extension(proof, critical=True).sign(self._key, SHA256())
        path = self._folder / f"{names[0]}.pem"
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        path.write_bytes(private + made.public_bytes(Encoding.PEM))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        return context

    def serving_all(self, name: str) -> ssl.SSLContext:
        """Return the context of a server with a name; asked for others, it shows what must not be believed."""
        context = self.serving([name])
        with tempfile.TemporaryDirectory() as folder:
            others = {
                "expired.test": self.serving(["expired.test"], days=-1),
                "stranger.test": Authority(Path(folder)).serving(["stranger.test"]),
            }

        def choose(asked: ssl.SSLObject | ssl.SSLSocket, shown: str | None, _: ssl.SSLContext) -> None:
            asked.context = others.get(shown or "", context)

        context.sni_callback = choose
        return context

    def _builder(self, name: x509.Name, key: ec.EllipticCurvePublicKey, *, days: int) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder(subject_name=name, issuer_name=self._name, public_key=key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(utc_now() - 10 * _DAY)
            .not_valid_after(utc_now() + days * _DAY)
        )
