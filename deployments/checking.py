"""Looks at finished pictures before they leave, on a thread of its own: never on the event loop, never on the device's.

What should not be shown is said with the picture, and made black where its task or the operator wants that. A picture
that could not be looked at is made black as well, unless the operator would rather let it through unseen.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

import structlog
from PIL import Image

from models.loading import load_checker
from models.request import GeneratedImage, Safety

if TYPE_CHECKING:
    from deployments.settings import Settings

log = structlog.get_logger()

#: Seconds that one picture may take, those before it included; beyond it counts as not looked at.
PATIENCE_S = 120.0

#: Says whether a picture should not be shown; runs on one thread, a picture at a time.
IsUnsafe = Callable[[Image.Image], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What the operator decides about pictures that should not be shown."""

    #: Whether every picture is looked at and covered, whatever its task says.
    is_always: bool = False
    #: Whether a picture that could not be looked at leaves as it is.
    fails_open: bool = False


class Checker:
    """Looks at pictures one after another."""

    def __init__(self, is_unsafe: IsUnsafe, policy: Policy, *, patience_s: float = PATIENCE_S) -> None:
        """Take what says whether a picture should not be shown, and what follows from it."""
        self._is_unsafe = is_unsafe
        self._policy = policy
        self._patience_s = patience_s
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checking")

    @classmethod
    def open(cls, settings: Settings, *, read: Callable[[str, str], None]) -> Self:
        """Load the classifier of the settings; ``read`` hears the path and the SHA-256 of every file of weights.

        Raises:
            UnusableSafetyModel: when it cannot be used.
        """
        labels, threshold = settings.unsafe_labels, settings.safety_threshold
        classifier = load_checker(settings.safety_model, labels=labels, threshold=threshold, read=read)
        policy = Policy(is_always=settings.safety_rule == "always", fails_open=settings.safety_failure == "open")
        return cls(classifier.is_unsafe, policy)

    async def __call__(self, image: GeneratedImage, safety: Safety) -> GeneratedImage:
        """Return the picture with the verdict, and black where it has to be."""
        wanted = Safety.COVER if self._policy.is_always else safety
        if wanted is Safety.SKIP:
            return image
        try:
            is_unsafe = await self._look(image.image)
        except Exception:  # whatever a classifier raises is about this picture alone
            log.exception("picture_not_checked", is_shown=self._policy.fails_open)
            return image if self._policy.fails_open else covered(image)
        return covered(image) if is_unsafe and wanted is Safety.COVER else replace(image, is_unsafe=is_unsafe)

    async def _look(self, image: Image.Image) -> bool:
        async with asyncio.timeout(self._patience_s):
            return await asyncio.wrap_future(self._thread.submit(self._is_unsafe, image))


def covered(image: GeneratedImage) -> GeneratedImage:
    """Return a black picture of the same size in the place of one that should not be shown."""
    return replace(image, image=Image.new("RGB", image.image.size), is_unsafe=True)
