"""Encodings that were made before, kept by what they were made of: the same prompt or picture is encoded once.

Bounded by the bytes of the tensors it holds; what was not asked for the longest goes first, and nothing is found again
ten minutes after it was made: what was encoded for a tenant does not stay for long. Driven by one thread.
"""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, TypeAlias

from cachetools import TTLCache
from torch import Tensor

if TYPE_CHECKING:
    from PIL import Image

#: What one thing was encoded to.
Encoded: TypeAlias = tuple[Tensor, ...]

#: Bytes that are kept: some 60 prompts of 4 MiB each.
USUAL_BYTES = 256 * 1024**2
#: Seconds for which one is found again.
KEPT_S = 600.0


class Encodings:
    """Remembers encodings by kind and content."""

    def __init__(self, max_bytes: int = USUAL_BYTES, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._kept: TTLCache[tuple[str, str], Encoded] = TTLCache(max_bytes, KEPT_S, timer=clock, getsizeof=_size_of)
        #: Is told the kind of everything that is asked for, and whether it was found.
        self.hear: Callable[[str, bool], None] = lambda _kind, _is_hit: None
        #: How often each kind was found, and how often it had to be made.
        self.hits: Counter[str] = Counter()
        self.misses: Counter[str] = Counter()

    @property
    def size_bytes(self) -> int:
        """Return the bytes of all that is kept."""
        return int(self._kept.currsize)

    def get(self, kind: str, content: str, make: Callable[[], Encoded]) -> Encoded:
        """Return what was made of this content before, or make it; nobody may write into it.

        Args:
            kind: of encoding; one content may be encoded in several ways.
            content: its digest; see ``digest_of_text`` and ``digest_of_picture``.
            make: encodes it.
        """
        key = kind, content
        with suppress(KeyError):  # asked once: between two questions its time may be over
            kept = self._kept[key]
            self.hits[kind] += 1
            self.hear(kind, True)  # noqa: FBT003 -- the fact to tell
            return kept
        self.misses[kind] += 1
        self.hear(kind, False)  # noqa: FBT003 -- the same
        made = make()
        if _size_of(made) <= self._kept.maxsize:
            self._kept[key] = made
        return made

    def clear(self) -> None:
        """Forget all of them, e.g. because their memory is needed."""
        self._kept.clear()


def digest_of_text(text: str) -> str:
    """Name a text by what it says; half a surrogate pair is a text too."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def digest_of_picture(image: Image.Image) -> str:
    """Name a picture by its mode, size and pixels."""
    digest = hashlib.sha256(f"{image.mode} {image.width} {image.height} ".encode())
    digest.update(image.tobytes())
    return digest.hexdigest()


def _size_of(encoded: Encoded) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in encoded)
