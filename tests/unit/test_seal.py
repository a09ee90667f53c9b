"""Addresses that are permissions, closed before they are written down."""

from __future__ import annotations

import pytest

from deployments.errors import UploadFailed
from deployments.tenants.seal import Seal

URL = "https://pictures.example/a.jpg?X-Amz-Signature=permission"


def test_what_is_sealed_can_be_opened_by_every_process_of_the_server() -> None:
    """The same secret opens it; nothing of the address is left to be read, and no two look alike."""
    sealed = [Seal("s" * 32).close(URL) for _ in range(2)]

    assert [Seal("s" * 32).open(each) for each in sealed] == [URL, URL]
    assert len(set(sealed)) == 2
    assert not any("pictures" in each or "permission" in each for each in sealed)


def test_another_secret_opens_nothing() -> None:
    """A changed secret is a failed upload, told without the address."""
    sealed = Seal("s" * 32).close(URL)

    with pytest.raises(UploadFailed, match="the server's secret has changed"):
        Seal("t" * 32).open(sealed)


def test_what_never_was_sealed_is_left_alone() -> None:
    """Tasks that were accepted before addresses were sealed are delivered too."""
    assert Seal("s" * 32).open(URL) == URL
