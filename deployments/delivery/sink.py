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

    async def put(self, name: str, image: EncodedImage, *, lifetime_s: float | None = None) -> str:
        """Place a picture so that it survives the loss of this process.

        Args:
            name: tells this picture of this attempt of this task apart; letters, digits and ``-`` only.
            image: the bytes to place.
            lifetime_s: seconds for which it can be fetched; None means as long as the server keeps pictures by itself.

        Returns:
            The value to remember, from which ``link`` makes what a caller sees.

        Raises:
            OSError: when the picture could not be placed.
        """
        ...

    async def remove(self, value: str) -> None:
        """Delete a picture, so that its link leads nowhere; one that is gone already is none of its business.

        Args:
            value: what ``put`` returned.

        Raises:
            OSError: when it could not be deleted.
        """
        ...

    def link(self, value: str, *, base_url: str) -> str:
        """Make what a caller is shown for a remembered value: an absolute URL, or the content itself.

        Args:
            value: what ``put`` returned.
            base_url: start of every absolute link of this service, without a trailing slash.
        """
        ...


#: Where each kind of sink lives, as ``module:Class``; its ``open`` takes the settings and touches nothing outside yet.
SINKS: Mapping[str, str] = MappingProxyType(
    {
        "files": "deployments.delivery.files:FilesSink",
        "inline": "deployments.delivery.inline:InlineSink",
    }
)


def open_sinks(settings: Settings) -> dict[str, Sink]:
    """Build every sink, by its kind."""
    return {kind: resolve_name(where).open(settings) for kind, where in SINKS.items()}
