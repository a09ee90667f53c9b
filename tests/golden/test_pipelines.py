"""What UNO and USO make of a request: sizes, seeds, references and refusals."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from models.flux.group import FluxSample
from models.flux.pipeline import FluxPipeline
from models.request import GenerationRequest, InvalidRequest, Reference, Role, UnusableReference
from models.sample import Sample
from models.uno import UnoPipeline
from models.uso import UsoPipeline

if TYPE_CHECKING:
    from models.flux.components import FluxComponents


def _wish(*roles: Role, **changes: object) -> GenerationRequest:
    wish = GenerationRequest(
        model="uno",
        prompt="a wish",
        references=tuple(Reference(role=role, source="painted") for role in roles),
        width=96,
        height=64,
        num_inference_steps=2,
        guidance_scale=4.0,
        seed=7,
    )
    return replace(wish, **changes)  # type: ignore[arg-type]  # the caller names fields of the wish


def _strip(*, width: int = 40, height: int = 3) -> Image.Image:
    """Paint a long thin picture: at a long side of 512 it is 32 x 2 tokens."""
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


def _flux(sample: Sample) -> FluxSample:
    assert isinstance(sample, FluxSample)
    return sample


def _tokens(pipeline: FluxPipeline, request: GenerationRequest, *images: Image.Image) -> Tensor:
    """Take the first step alone."""
    [sample] = pipeline.step(pipeline.prepare("r", request, images)[:1])
    return _flux(sample).tokens


@pytest.mark.parametrize(("width", "height"), [(96, 64), (130, 50), (17, 16), (1, 33)])
def test_pictures_have_the_size_asked_for(uno: UnoPipeline, width: int, height: int) -> None:
    """A picture is exactly as large as asked, also where no whole token ends there."""
    samples = uno.prepare("r", _wish(width=width, height=height), [])

    [generated] = uno.decode(samples)

    assert generated.image.size == (width, height)
    assert generated.image.mode == "RGB"


def test_odd_sizes_are_cut_from_the_middle(uno: UnoPipeline) -> None:
    """A picture of 90x60 is the middle of the 96x64 picture of the same noise."""
    [whole] = uno.decode(uno.prepare("r", _wish(), []))

    [cut] = uno.decode(uno.prepare("r", _wish(width=90, height=60), []))

    assert cut.image.tobytes() == whole.image.crop((3, 2, 93, 62)).tobytes()


def test_pictures_of_one_request_count_seeds_up(uno: UnoPipeline) -> None:
    """Picture i starts from seed + i and shares every encoding with its siblings."""
    first, second = (_flux(sample) for sample in uno.prepare("r", _wish(num_images=2), []))

    assert (first.index, first.seed, second.index, second.seed) == (0, 7, 1, 8)
    assert second.conditioning is first.conditioning
    [again] = uno.prepare("s", _wish(seed=8), [])
    assert second.tokens.equal(_flux(again).tokens)


def test_decoding_names_the_seed(uno: UnoPipeline) -> None:
    """Every picture says the seed that draws it again."""
    pictures = uno.decode(uno.prepare("r", _wish(num_images=2), []))

    assert [picture.seed for picture in pictures] == [7, 8]


def test_shape_counts_tokens(uso: UsoPipeline) -> None:
    """A shape has the target's tokens, the references' tokens and the number of style pictures."""
    wish = _wish(Role.STYLE, Role.CONTENT, Role.STYLE, model="uso")

    [sample] = uso.prepare("r", wish, [_strip(), _strip(), _strip()])

    assert (sample.shape.target_tokens, sample.shape.reference_tokens, sample.shape.styles) == (24, 64, 2)


@pytest.mark.parametrize(("count", "tokens"), [(1, 32 * 2), (2, 2 * 20 * 1), (4, 4 * 20 * 1)])
def test_several_subjects_are_smaller(uno: UnoPipeline, count: int, tokens: int) -> None:
    """One subject has a long side of 512, each of several one of 320."""
    [sample] = uno.prepare("r", _wish(*[Role.SUBJECT] * count), [_strip()] * count)

    assert sample.shape.reference_tokens == tokens


def test_vanishing_subject_is_refused(uno: UnoPipeline) -> None:
    """A picture of which scaling leaves nothing is refused by its place among all references."""
    wish = _wish(Role.SUBJECT, Role.SUBJECT)

    with pytest.raises(UnusableReference, match=r"reference 2 is too long and thin \(1600x20\)") as refusal:
        uno.prepare("r", wish, [_strip(), _strip(width=1600, height=20)])

    assert refusal.value.position == 2


def test_vanishing_content_is_counted_over_all_references(uso: UsoPipeline) -> None:
    """The place counts style pictures too."""
    with pytest.raises(UnusableReference) as refusal:
        uso.prepare("r", _wish(Role.STYLE, Role.CONTENT, model="uso"), [_strip(), _strip(width=1600, height=20)])

    assert refusal.value.position == 2


@pytest.mark.parametrize("role", [Role.STYLE, Role.CONTENT])
def test_uno_refuses_other_roles(uno: UnoPipeline, role: Role) -> None:
    """UNO has no style encoder and no content; such pictures are refused, not ignored."""
    with pytest.raises(UnusableReference, match=f"reference 2 is a {role} picture, which uno does not take here"):
        uno.prepare("r", _wish(Role.SUBJECT, role), [_strip(), _strip()])


def test_style_without_encoder_is_refused(parts: FluxComponents) -> None:
    """USO without a style encoder refuses style pictures instead of leaving them out in silence."""
    with pytest.raises(UnusableReference, match="reference 1 is a style picture"):
        UsoPipeline(parts).prepare("r", _wish(Role.STYLE, model="uso"), [_strip()])


def test_two_contents_are_refused(uso: UsoPipeline) -> None:
    """USO takes one content picture."""
    with pytest.raises(InvalidRequest, match="uso takes 1 content references, not 2"):
        uso.prepare("r", _wish(Role.CONTENT, Role.CONTENT, model="uso"), [_strip(), _strip()])


def test_style_pictures_matter(uso: UsoPipeline) -> None:
    """Neither, either and both kinds of USO reference give four different steps."""
    strip = _strip()
    kinds: list[list[Role]] = [[], [Role.CONTENT], [Role.STYLE], [Role.CONTENT, Role.STYLE]]

    steps = [_tokens(uso, _wish(*roles, model="uso"), *[strip] * len(roles)) for roles in kinds]

    assert len({step.numpy().tobytes() for step in steps}) == len(kinds)


def test_order_of_subjects_matters(uno: UnoPipeline) -> None:
    """Two subjects stand in the order in which they were sent."""
    first, second = _strip(), _strip(height=4)
    wish = _wish(Role.SUBJECT, Role.SUBJECT)

    steps = [_tokens(uno, wish, *images) for images in ([first, second], [second, first])]

    assert not steps[0].equal(steps[1])


def test_bfloat16_keeps_latents_in_float32(parts: FluxComponents) -> None:
    """A transformer in bfloat16 is fed bfloat16, while latents and positions stay float32."""
    parts.transformer.to(torch.bfloat16)
    pipeline = UnoPipeline(replace(parts, dtype=torch.bfloat16))

    [sample] = pipeline.step(pipeline.prepare("r", _wish(Role.SUBJECT), [_strip()]))

    told = _flux(sample).conditioning
    assert told.references is not None
    assert (told.text.dtype, told.references.dtype) == (torch.bfloat16, torch.bfloat16)
    assert (_flux(sample).tokens.dtype, told.rotary[0].dtype) == (torch.float32, torch.float32)
