"""Seals what callers give us and nobody may read in the database: addresses that are permissions by themselves.

The key is derived from the server's secret, so every process can open what any of them has sealed.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode

from cryptography.fernet import Fernet, InvalidToken

from deployments.errors import UploadFailed
from deployments.tenants.webhook_keys import derive

_SEALED = "sealed:"


class Seal:
    """Closes and opens texts."""

    def __init__(self, secret: str) -> None:
        """Take the server's secret, the same in every process."""
        self._fernet = Fernet(urlsafe_b64encode(derive(secret, "upload addresses")))

    def __repr__(self) -> str:
        """Show nothing of the key."""
        return "<Seal>"

    def close(self, text: str) -> str:
        """Return a text that says nothing without the server's secret."""
        return _SEALED + self._fernet.encrypt(text.encode()).decode("ascii")

    def open(self, text: str) -> str:
        """Return what was sealed; a text that never was is returned as it is, for older rows hold such.

        Raises:
            UploadFailed: when it was sealed with another secret.
        """
        if not text.startswith(_SEALED):
            return text
        try:
            return self._fernet.decrypt(text.removeprefix(_SEALED)).decode()
        except InvalidToken as error:
            raise UploadFailed("the upload address can no longer be read; the server's secret has changed") from error
