"""The Sink protocol: the only door through which finished pictures leave. A new sink is one file and one line here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pkgutil import resolve_name
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from deployments.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedImage:
    """A picture as the bytes of a file."""

    #: The file's bytes; the same picture always gives the same bytes.
    content: bytes
    #: Media type, e.g. ``image/jpeg``.
    content_type: str
    #: File name extension without the dot, e.g. ``jpg``.
    extension: str


class Sink(Protocol):
    """A kind of place for finished pictures."""

    async def put(self, name: str, image: EncodedImage, *, tenant_id: str = "", lifetime_s: float | None = None) -> str:
        """Place a picture so that it survives the loss of this process.

        Args:
            name: tells this picture of this attempt of this task apart; letters, digits and ``-`` only.
            image: the bytes to place.
            tenant_id: whose it is; a sink that all tenants share may keep them apart by it.
            lifetime_s: seconds for which it can be fetched; None means as long as the server keeps pictures by itself.

        Returns:
            The value to remember, from which ``link`` makes what a caller sees.

        Raises:
            OSError: when the picture could not be placed, and another replica may fare better.
            NotStored: when it could not be placed for so long that drawing it anew would not help.
        """
        ...

    def link(self, value: str, *, base_url: str) -> str:
        """Make what a caller is shown for a remembered value: an absolute URL, or the content itself.

        Args:
            value: what ``put`` returned.
            base_url: start of every absolute link of this service, without a trailing slash.
        """
        ...

    def value_of(self, link: str, *, base_url: str, tenant_id: str) -> str | None:
        """Return the remembered value behind a link of this sink that a tenant may read; None for any other text."""
        ...

    async def read(self, value: str) -> bytes:
        """Return the bytes of a picture.

        Raises:
            LinkUnknown: when it is not there, or its time is over.
            OSError: when the place cannot be reached.
        """
        ...

    async def remove(self, value: str) -> None:
        """Delete a picture; that it is gone already is no error.

        Raises:
            OutOfReach: when it lies where this sink no longer looks.
            OSError: when the place cannot be reached.
        """
        ...


#: Where each kind of sink lives, as ``module:Class``; its ``open`` takes the settings and touches nothing outside yet.
SINKS: Mapping[str, str] = MappingProxyType(
    {
        "bucket": "deployments.delivery.bucket:BucketSink",
        "files": "deployments.delivery.files:FilesSink",
        "inline": "deployments.delivery.inline:InlineSink",
    }
)


#: The sink that takes the place of another wherever it is set up.
INSTEAD: Mapping[str, str] = MappingProxyType({"files": "bucket"})
#: Kinds of sinks whose links are signed, which takes the processor long enough to be felt by others.
SIGNING = frozenset({"bucket"})


class OutOfReach(OSError):
    """The picture lies where this sink no longer looks."""


def open_sinks(settings: Settings) -> dict[str, Sink]:
    """Build every sink that is set up, by its kind.

    Raises:
        SettingsInvalid: when one is set up by half.
    """
    kinds = [kind for kind in SINKS if kind != "bucket" or settings.bucket]
    return {kind: resolve_name(SINKS[kind]).open(settings) for kind in kinds}


def placed_in(kind: str, sinks: Mapping[str, Sink]) -> str:
    """Return which sink takes the pictures that were to go to one of a kind."""
    instead = INSTEAD.get(kind, kind)
    return instead if instead in sinks else kind
