"""What each model offers: limits, defaults, size presets and where its pipeline lives.

Imports no torch: the HTTP tier reads this file too. A new model is one file and one line in ``CATALOG``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeAlias

from models.request import GenerationRequest, InvalidRequest, Role

#: Pixels a side that the engine accepts.
MIN_SIDE, MAX_SIDE = 128, 2048
#: Denoising steps that the engine accepts.
MIN_STEPS, MAX_STEPS = 1, 50
#: Guidance that the engine accepts.
MIN_GUIDANCE, MAX_GUIDANCE = 1.0, 20.0
#: Pictures of one request.
MAX_IMAGES = 20

#: Pixels that are billed as one megapixel: a picture of 1024x1024 costs exactly the price of one.
PIXELS_PER_MEGAPIXEL = 1024 * 1024

#: Named sizes as (width, height), the same in every dialect that has names for them.
#: Source: fal's public toolkit, image size presets, seen 2026-11.
SIZE_PRESETS: Mapping[str, tuple[int, int]] = MappingProxyType(
    {
        "square_hd": (1024, 1024),
        "square": (512, 512),
        "portrait_4_3": (768, 1024),
        "portrait_16_9": (576, 1024),
        "landscape_4_3": (1024, 768),
        "landscape_16_9": (1024, 576),
    }
)


#: Width and height in pixels.
Size: TypeAlias = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """A model's limits and defaults."""

    #: Name by which requests, tasks and replicas speak of it.
    name: str
    #: ``module:Class`` of its pipeline; resolved only inside a replica.
    pipeline: str
    #: How many references of each role it takes; a role that is absent is refused.
    max_references: Mapping[Role, int]
    #: Steps when the caller says nothing.
    default_steps: int
    #: Guidance when the caller says nothing.
    default_guidance: float
    #: What a megapixel of result costs a tenant, in millionths of a dollar.
    price_per_megapixel: int

    def price(self, request: GenerationRequest) -> int:
        """Return what a request costs its tenant, in millionths of a dollar, rounded up."""
        pixels = request.num_images * request.width * request.height
        return -(-pixels * self.price_per_megapixel // PIXELS_PER_MEGAPIXEL)

    def check(self, request: GenerationRequest) -> None:
        """Refuse what the engine cannot do.

        Raises:
            InvalidRequest: with the field's name, at the first field out of range.
        """
        _check_range("width", request.width, MIN_SIDE, MAX_SIDE)
        _check_range("height", request.height, MIN_SIDE, MAX_SIDE)
        _check_range("num_images", request.num_images, 1, MAX_IMAGES)
        _check_range("num_inference_steps", request.num_inference_steps, MIN_STEPS, MAX_STEPS)
        _check_range("guidance_scale", request.guidance_scale, MIN_GUIDANCE, MAX_GUIDANCE)
        _check_range("true_cfg_scale", request.true_cfg_scale, MIN_GUIDANCE, MAX_GUIDANCE)
        for role in Role:
            asked = sum(reference.role is role for reference in request.references)
            _check_range(f"{role} references", asked, 0, self.max_references.get(role, 0))


def _check_range(field: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise InvalidRequest(f"{field} must be between {low:g} and {high:g}")


UNO = ModelSpec(
    name="uno",
    pipeline="models.uno:UnoPipeline",
    max_references=MappingProxyType({Role.SUBJECT: 4}),
    default_steps=28,
    default_guidance=3.5,
    price_per_megapixel=50_000,
)

USO = ModelSpec(
    name="uso",
    pipeline="models.uso:UsoPipeline",
    max_references=MappingProxyType({Role.CONTENT: 1, Role.STYLE: 4}),
    default_steps=28,
    default_guidance=4.0,
    price_per_megapixel=60_000,
)

#: Every model, by name; a new one is one file and one line here.
CATALOG: Mapping[str, ModelSpec] = MappingProxyType({spec.name: spec for spec in (UNO, USO)})
