"""Signs webhooks: a secret per tenant, and one key pair of the whole service. Knows no dialect and sends nothing.

Both are derived from the server's secret, so every process has them without asking, and they survive restarts.
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import urlsafe_b64encode
from collections.abc import Mapping

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

#: How a tenant's secret begins, for people to know what it is.
SECRET_PREFIX = "whsec_"  # noqa: S105 -- the beginning of one, and no secret


class WebhookSigner:
    """What a dialect signs with."""

    def __init__(self, secret: str) -> None:
        """Take the server's secret, the same in every process."""
        self._secret = secret
        self._private = Ed25519PrivateKey.from_private_bytes(derive(secret, "webhooks ed25519"))
        public = self._private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self._public = urlsafe_b64encode(public).rstrip(b"=").decode("ascii")

    def __repr__(self) -> str:
        """Name its key pair."""
        return f"<WebhookSigner [{self.key_id}]>"

    def secret_of(self, tenant_id: str) -> str:
        """Return the secret that a tenant checks its webhooks with; 256 bits, after ``whsec_``."""
        return SECRET_PREFIX + derive(self._secret, f"webhooks of {tenant_id}").hex()

    def hmac_sha256(self, tenant_id: str, message: bytes) -> str:
        """Sign with a tenant's secret, its prefix left out and the rest as text; hex."""
        key = self.secret_of(tenant_id).removeprefix(SECRET_PREFIX).encode("ascii")
        return hmac.new(key, message, hashlib.sha256).hexdigest()

    def ed25519(self, message: bytes) -> str:
        """Sign with the service's private key; hex."""
        return self._private.sign(message).hex()

    @property
    def key_id(self) -> str:
        """Name the service's key pair."""
        return hashlib.sha256(self._public.encode("ascii")).hexdigest()[:16]

    @property
    def public_keys(self) -> Mapping[str, str]:
        """Return the public keys by their ids, base64url without padding."""
        return {self.key_id: self._public}


def derive(secret: str, purpose: str) -> bytes:
    """Return 32 bytes for one purpose; they tell nothing about those for another, nor about the secret."""
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=f"uxo-serve {purpose}".encode()).derive(secret.encode())
