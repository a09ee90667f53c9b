"""What a request tells the transformer, encoded once and shared by all its pictures.

    prompt, styles ──► tokens of the text stream             positions of all of it ──► rotary table
    references ──► clean tokens in the image stream          sigmas, guidance, prompt ──► modulations of every step

All of it is as wide as the transformer already. Knows no noise; which pictures are references and how large they
become is the model's rule.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from models.flux.blocks import RotaryTable
from models.flux.encodings import Encoded, digest_of_picture, digest_of_text
from models.flux.latents import PATCH, pack, reference_ids, target_ids, text_ids
from models.flux.references import EmptyReference, preprocess
from models.flux.transformer import rotary_table
from models.request import GenerationRequest, InvalidRequest, Role, UnusableReference

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from PIL import Image

    from models.flux.components import FluxComponents
    from models.flux.references import Size
    from models.flux.style import StyleEncoder


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceRule:
    """How a model takes the pictures that join its image stream."""

    #: Their role; pictures of another role are refused, but for styles where there is a style encoder.
    role: Role
    #: Longer side in pixels for so many of them.
    long_side: Callable[[int], int]
    #: How many it takes.
    most: int
    #: A size that is taken as it comes.
    spared: Size | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditioning:
    """What stays the same over all steps and pictures of a request; each tensor has a batch axis of 1."""

    #: (1, style and text tokens, hidden width) in the transformer's dtype.
    text: Tensor
    #: (1, tokens of all styles, hidden width), as ``text`` begins; None without styles.
    styles: Tensor | None
    #: (1, tokens of all references, hidden width) in the transformer's dtype; None without references.
    references: Tensor | None
    #: (steps, width of all modulations) in the transformer's dtype.
    modulations: Tensor
    #: Positions of style, text, target and reference tokens; float32.
    rotary: RotaryTable


def encode_request(
    request: GenerationRequest,
    images: Sequence[Image.Image],
    *,
    parts: FluxComponents,
    rule: ReferenceRule,
    grid: tuple[int, int],
    noise_levels: Sequence[float],
) -> Conditioning:
    """Encode a prompt and its pictures.

    Args:
        request: the wish.
        images: the decoded references, in the order of ``request.references``.
        parts: what encodes them.
        rule: how references are taken.
        grid: (rows, columns) of the picture to be made, in tokens.
        noise_levels: before each step, and 0 after the last.

    Raises:
        UnusableReference: when a picture has a role the model does not take, or scaling leaves nothing of it.
        InvalidRequest: for more references than the model takes.
    """
    _check_roles(request, rule, takes_styles=parts.style is not None)
    latents = [_encode_reference(image, parts) for image in _fit_references(request, images, rule)]
    styles = _encode_styles(request, images, parts)
    text, modulations = _tell(request.prompt, request, parts, styles=styles, noise_levels=noise_levels)
    ids = _joint_ids(text.shape[1], grid, latents)
    cos, sin = rotary_table(ids, parts.transformer.config.axes_dims_rope)
    references = _joined([pack(each) for each in latents], parts)
    return Conditioning(
        text=text,
        styles=styles,
        references=None if references is None else parts.transformer.embed_references(references),
        modulations=modulations,
        rotary=(cos[None].to(parts.device), sin[None].to(parts.device)),
    )


def encode_negative(
    request: GenerationRequest, told: Conditioning, *, parts: FluxComponents, noise_levels: Sequence[float]
) -> Conditioning | None:
    """Encode what not to show, beside the same references, styles and positions; None where nothing is said of it."""
    if not request.negative_prompt:
        return None
    styles = told.styles
    text, modulations = _tell(request.negative_prompt, request, parts, styles=styles, noise_levels=noise_levels)
    return replace(told, text=text, modulations=modulations)


def _tell(
    prompt: str,
    request: GenerationRequest,
    parts: FluxComponents,
    *,
    styles: Tensor | None,
    noise_levels: Sequence[float],
) -> tuple[Tensor, Tensor]:
    """Return what hangs on a prompt: the tokens of the text stream, and the modulations of every step."""
    text, pooled = _encode_text(prompt, parts)
    sigma = torch.tensor(noise_levels[:-1], device=parts.device)
    guidance = torch.full_like(sigma, request.guidance_scale)
    modulations = parts.transformer.modulations(sigma, guidance, pooled.expand(len(sigma), -1))
    return parts.transformer.embed_text(text, styles), modulations


def _encode_text(prompt: str, parts: FluxComponents) -> Encoded:
    def encode() -> Encoded:
        text = parts.text.encode([prompt])
        return text.features.to(parts.device, parts.dtype), text.pooled.to(parts.device, parts.dtype)

    return parts.encodings.get("text", digest_of_text(prompt), encode)


def _encode_reference(image: Image.Image, parts: FluxComponents) -> Tensor:
    """Encode a picture that was cut to size, so that its digest says all that matters."""
    [latents] = parts.encodings.get("reference", digest_of_picture(image), lambda: (parts.autoencoder.encode([image]),))
    return latents


def _check_roles(request: GenerationRequest, rule: ReferenceRule, *, takes_styles: bool) -> None:
    """Refuse pictures that would otherwise be ignored in silence."""
    taken = {rule.role, Role.STYLE} if takes_styles else {rule.role}
    for position, reference in enumerate(request.references, start=1):
        if reference.role not in taken:
            raise UnusableReference(
                position, f"is a {reference.role} picture, which {request.model} does not take here"
            )
    count = sum(reference.role is rule.role for reference in request.references)
    if count > rule.most:
        raise InvalidRequest(f"{request.model} takes {rule.most} {rule.role} references, not {count}")


def _fit_references(
    request: GenerationRequest, images: Sequence[Image.Image], rule: ReferenceRule
) -> list[Image.Image]:
    positions = _positions(request, rule.role)
    long_side = rule.long_side(len(positions))
    return [_fit(images[position - 1], long_side, rule=rule, position=position) for position in positions]


def _fit(image: Image.Image, long_side: int, *, rule: ReferenceRule, position: int) -> Image.Image:
    try:
        return preprocess(image, long_side, spared=rule.spared)
    except EmptyReference as error:
        raise UnusableReference(position, str(error)) from error


def _encode_styles(request: GenerationRequest, images: Sequence[Image.Image], parts: FluxComponents) -> Tensor | None:
    style = parts.style
    if style is None:
        return None
    pictures = [images[position - 1] for position in _positions(request, Role.STYLE)]
    return _joined([_encode_style(picture, style, parts) for picture in pictures], parts)


def _encode_style(image: Image.Image, style: StyleEncoder, parts: FluxComponents) -> Tensor:
    [tokens] = parts.encodings.get("style", digest_of_picture(image), lambda: (style.encode(image),))
    return tokens


def _positions(request: GenerationRequest, role: Role) -> list[int]:
    """Find the pictures of one role, counted from 1 over all references of the request."""
    references = enumerate(request.references, start=1)
    return [position for position, reference in references if reference.role is role]


def _joint_ids(text_tokens: int, grid: tuple[int, int], references: Sequence[Tensor]) -> Tensor:
    sizes = [(latents.shape[2] // PATCH, latents.shape[3] // PATCH) for latents in references]
    return torch.cat([text_ids(text_tokens), target_ids(*grid), *reference_ids(grid, sizes)])


def _joined(tokens: Sequence[Tensor], parts: FluxComponents) -> Tensor | None:
    return torch.cat(list(tokens), dim=1).to(parts.device, parts.dtype) if tokens else None
