"""The steps that every FLUX pipeline takes: encode and draw, denoise, decode; which model it is, it is told.

prepare: prompt, pictures, seed ──► samples at noise       step: a group ──► the same, one sigma further
decode: samples at sigma 0 ──► pictures, cut to the size that was asked for
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from PIL import Image

from models.cost import rows_of
from models.flux.conditioning import encode_negative, encode_request
from models.flux.faults import check_finite, device_faults
from models.flux.group import FluxSample, advance, against, collate, steer
from models.flux.latents import PATCH, draw_noise, pack, unpack
from models.flux.preview import Preview
from models.flux.sigmas import sigmas
from models.flux.vae import to_uint8
from models.request import GeneratedImage, GenerationRequest, Role
from models.sample import Sample, ShapeKey

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor

    from models.flux.components import FluxComponents
    from models.flux.conditioning import Conditioning, ReferenceRule


class FluxPipeline:
    """A ``models.pipeline.ComparingPipeline`` out of FLUX components and a rule for references."""

    def __init__(self, components: FluxComponents, *, rule: ReferenceRule) -> None:
        self._parts = components
        self._rule = rule
        self._preview = Preview(components.autoencoder)
        #: Pixels a side of one token; pictures are made in multiples of it and cut to size.
        self._token_side = PATCH * components.autoencoder.scale

    def prepare(self, request_id: str, request: GenerationRequest, images: Sequence[Image.Image]) -> list[Sample]:
        """Encode prompt and references once and draw the noise of each picture.

        Raises:
            UnusableReference: when a picture has a role the model does not take, or scaling leaves nothing of it.
            InvalidRequest: for more references than the model takes.
        """
        with self._on_device():
            grid = self._tokens_along(request.height), self._tokens_along(request.width)
            levels = self._noise_levels(request)
            told = encode_request(request, images, parts=self._parts, rule=self._rule, grid=grid, noise_levels=levels)
            negative = encode_negative(request, told, parts=self._parts, noise_levels=levels)
            samples = [self._sample(request_id, request, told, index=index) for index in range(request.num_images)]
            return [replace(sample, negative=negative) for sample in samples]

    def step(self, group: Sequence[Sample]) -> list[Sample]:
        """Advance a group by one step; the given samples stay as they are.

        Raises:
            NotFinite: when a sample of the group has become infinite or no number.
            OutOfMemory: when there is no memory for so large a group.
            DeviceBroken: when the device is lost.
        """
        samples = [_flux(sample) for sample in group]
        with self._on_device():
            velocities = self._predict(samples)
            stepped = [advance(sample, velocity) for sample, velocity in zip(samples, velocities, strict=True)]
            check_finite([sample.tokens for sample in stepped])
            return [*stepped]

    def decode(self, samples: Sequence[Sample]) -> list[GeneratedImage]:
        """Decode pictures one by one, so that neither memory nor rounding hangs on how many there are."""
        with self._on_device():
            return [GeneratedImage(seed=sample.seed, image=self._decode(_flux(sample))) for sample in samples]

    @contextmanager
    def _on_device(self) -> Iterator[None]:
        with device_faults(self._parts.encodings.clear), torch.inference_mode():
            yield

    def _predict(self, samples: Sequence[FluxSample]) -> list[Tensor]:
        """Predict each sample's velocity, away from its negative prompt where it has one.

        The two rows of a sample go in two calls, so that the first is what it is without a negative prompt.
        """
        velocities = self._call(samples)
        steered = [place for place, sample in enumerate(samples) if sample.negative is not None]
        if steered:
            negatives = self._call([against(samples[place]) for place in steered])
            for place, negative in zip(steered, negatives, strict=True):
                velocities[place] = steer(samples[place], velocities[place], negative)
        return velocities

    def _call(self, samples: Sequence[FluxSample]) -> list[Tensor]:
        return list(self._parts.transformer(collate(samples, dtype=self._parts.dtype)).split(1))

    def preview(self, sample: Sample) -> Image.Image | None:
        """Show the picture that the last step was heading for, a pixel for every latent pixel."""
        flux = _flux(sample)
        if flux.estimate is None:
            return None
        with self._on_device():
            return self._preview.show(self._unpack(flux, flux.estimate))

    def difference(self, one: Sample, other: Sample) -> float:
        """Return by how much the latents of two samples of one shape differ at most; not 0 where one has no number."""
        with self._on_device():
            return float((_flux(one).tokens - _flux(other).tokens).abs().max())

    def _sample(
        self, request_id: str, request: GenerationRequest, conditioning: Conditioning, *, index: int
    ) -> FluxSample:
        height, width = self._whole_tokens(request.height), self._whole_tokens(request.width)
        seed = request.seed + index
        noise = draw_noise(seed, height=height, width=width, scale=self._parts.autoencoder.scale)
        tokens = pack(noise).to(self._parts.device)
        return FluxSample(
            request_id=request_id,
            index=index,
            seed=seed,
            shape=_shape(request, conditioning, target_tokens=tokens.shape[1]),
            num_inference_steps=request.num_inference_steps,
            tokens=tokens,
            sigmas=self._noise_levels(request),
            true_cfg_scale=request.true_cfg_scale,
            conditioning=conditioning,
            width=request.width,
            height=request.height,
        )

    def _noise_levels(self, request: GenerationRequest) -> tuple[float, ...]:
        height, width = self._whole_tokens(request.height), self._whole_tokens(request.width)
        return sigmas(width=width, height=height, steps=request.num_inference_steps)

    def _decode(self, sample: FluxSample) -> Image.Image:
        height, width = self._whole_tokens(sample.height), self._whole_tokens(sample.width)
        [pixels] = to_uint8(self._parts.autoencoder.decode(self._unpack(sample, sample.tokens)))
        left, top = (width - sample.width) // 2, (height - sample.height) // 2
        return Image.fromarray(pixels.numpy()).crop((left, top, left + sample.width, top + sample.height))

    def _unpack(self, sample: FluxSample, tokens: Tensor) -> Tensor:
        scale = self._parts.autoencoder.scale
        height, width = self._whole_tokens(sample.height), self._whole_tokens(sample.width)
        return unpack(tokens, height=height // scale, width=width // scale)

    def _whole_tokens(self, pixels: int) -> int:
        """Round a side up to what whole tokens cover."""
        return self._tokens_along(pixels) * self._token_side

    def _tokens_along(self, pixels: int) -> int:
        return -(-pixels // self._token_side)


def _shape(request: GenerationRequest, conditioning: Conditioning, *, target_tokens: int) -> ShapeKey:
    references = conditioning.references
    return ShapeKey(
        model=request.model,
        target_tokens=target_tokens,
        reference_tokens=0 if references is None else references.shape[1],
        styles=sum(reference.role is Role.STYLE for reference in request.references),
        rows=rows_of(request),
    )


def _flux(sample: Sample) -> FluxSample:
    assert isinstance(sample, FluxSample), "a pipeline steps the samples that it prepared"  # noqa: S101 -- ours
    return sample
