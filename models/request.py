"""The one language every floor speaks: what a caller wishes for, and the pictures that come of it.

These are plain frozen values. They know nothing of HTTP, of a provider's field names, or of tensors.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image


class Role(StrEnum):
    """What a reference picture is for."""

    #: A subject to show again (UNO).
    SUBJECT = "subject"
    #: The picture whose content or identity is kept (USO).
    CONTENT = "content"
    #: A picture whose style is taken over (USO).
    STYLE = "style"


class ImageFormat(StrEnum):
    """How a result is encoded."""

    JPEG = "jpeg"
    PNG = "png"
    WEBP = "webp"


class Safety(StrEnum):
    """What is done about a picture that should not be shown, where pictures are looked at."""

    #: Nobody looks.
    SKIP = "skip"
    #: The answer says so, beside the picture.
    TELL = "tell"
    #: The answer says so, and the picture is black.
    COVER = "cover"


class InvalidRequest(ValueError):
    """The request asks for something the model cannot do; says which field and why."""


class UnusableReference(ValueError):
    """A reference picture cannot be used.

    Args:
        position: which reference of the request, counted from 1 as people do.
        reason: what is wrong with it, in words its sender understands.
    """

    def __init__(self, position: int, reason: str) -> None:
        super().__init__(f"reference {position} {reason}")
        self.position = position
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """An input picture and its role."""

    #: What the picture is for.
    role: Role
    #: Where it is: an http(s) URL or a data URI, as the caller sent it.
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationRequest:
    """A canonical, complete wish: every default is filled in and the seed is drawn."""

    #: Name of the model in the catalog.
    model: str
    #: What to show; may be empty where the model allows it.
    prompt: str
    #: Input pictures in the caller's order.
    references: tuple[Reference, ...]
    #: Exact width of the result in pixels.
    width: int
    #: Exact height of the result in pixels.
    height: int
    #: How many pictures; picture number i uses ``seed + i``.
    num_images: int = 1
    #: Denoising steps per picture.
    num_inference_steps: int = 28
    #: Distilled guidance, fed to the guidance embedding.
    guidance_scale: float
    #: Seed of the first picture.
    seed: int
    #: Encoding of the results.
    output_format: ImageFormat = ImageFormat.JPEG
    #: Quality of JPEG and WebP, [1, 100].
    output_quality: int = 95
    #: What not to show; empty where nothing is said about it.
    negative_prompt: str = ""
    #: How far the picture is pushed away from the negative prompt, beside ``guidance_scale``: at 1 not at all. Counts
    #: only where there is one. The models' own guidance acts at the same time, hence the small default.
    #: Source: the name and the formula are those of diffusers' FLUX pipelines.
    true_cfg_scale: float = 2.0
    #: Whether the result is as large as the first reference, instead of ``width`` by ``height``.
    keep_size: bool = False
    #: What is done about pictures that should not be shown.
    safety: Safety = Safety.TELL


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratedImage:
    """One finished picture."""

    #: The seed that draws this picture again with ``num_images`` 1.
    seed: int
    #: RGB, exactly as wide and high as asked.
    image: Image.Image
    #: Whether it should not be shown; None where nobody has looked.
    is_unsafe: bool | None = None
