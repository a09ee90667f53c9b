"""Whole pictures against the authors': their loops from recorded tokens, and from pictures to picture."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from models.flux.conditioning import Conditioning
from models.flux.group import FluxSample, advance, collate
from models.flux.latents import draw_noise, pack, unpack
from models.flux.lora import Lora, attach_lora, merge_lora, read_lora
from models.flux.pipeline import FluxPipeline
from models.flux.sigmas import sigmas
from models.flux.style import StyleEncoder, read_levels
from models.flux.transformer import UxoTransformer, rotary_table
from models.flux.vae import Autoencoder, to_uint8
from models.request import GenerationRequest, Reference, Role
from models.sample import ShapeKey
from models.uno import UnoPipeline
from models.uso import UsoPipeline

if TYPE_CHECKING:
    from golden.conftest import Differences, Golden

#: A float32 port agrees to 1.4e-6; the smallest real mistake, another schedule, moves a loop by 0.15.
LOOP_LIMIT = 1e-4

WIDTH, HEIGHT = 96, 64


def _series(case: dict[str, Tensor], name: str) -> list[Tensor]:
    return [case[key] for key in sorted(case) if key.startswith(f"{name}.")]


@torch.inference_mode()
def _loop_sample(transformer: UxoTransformer, case: dict[str, Tensor], styles: Tensor | None = None) -> FluxSample:
    """Stand at the first step of a recorded loop, with recorded tokens and positions."""
    text_tokens = case["txt"].shape[1] + (0 if styles is None else styles.shape[1])
    ids = torch.cat([torch.zeros(1, text_tokens, 3), case["img_ids"], *_series(case, "ref_img_ids")], dim=1)
    noise = draw_noise(int(case["seed"]), height=HEIGHT, width=WIDTH)
    levels = sigmas(width=WIDTH, height=HEIGHT, steps=4)
    return FluxSample(
        request_id="loop",
        index=0,
        seed=int(case["seed"]),
        shape=ShapeKey(model="uno", target_tokens=24, reference_tokens=0, styles=0),
        num_inference_steps=4,
        tokens=pack(noise),
        sigmas=levels,
        conditioning=Conditioning(
            text=transformer.embed_text(case["txt"], styles),
            styles=styles,
            references=transformer.embed_references(torch.cat(_series(case, "ref_img"), dim=1)),
            modulations=transformer.modulations(
                torch.tensor(levels[:-1]), case["guidance"].float().expand(4), case["vec"].expand(4, -1)
            ),
            rotary=rotary_table(ids, (8, 10, 14)),
        ),
        width=WIDTH,
        height=HEIGHT,
    )


@torch.inference_mode()
def _play(transformer: UxoTransformer, sample: FluxSample) -> tuple[Tensor, Tensor]:
    """Take every step; return all predictions and all states, the first one included."""
    predictions, states = [], [sample.tokens]
    while not sample.is_denoised:
        predictions.append(transformer(collate([sample], dtype=torch.float32)))
        sample = advance(sample, predictions[-1])
        states.append(sample.tokens)
    return torch.stack(predictions), torch.stack(states)


@pytest.fixture(params=[merge_lora, attach_lora], ids=["merged", "apart"])
def put_lora(request: pytest.FixtureRequest) -> Callable[[UxoTransformer, Lora], None]:
    """Either way to give a transformer its LoRA."""
    way: Callable[[UxoTransformer, Lora], None] = request.param
    return way


def test_uno_loop(
    transformer: UxoTransformer,
    golden: Golden,
    difference: Differences,
    put_lora: Callable[[UxoTransformer, Lora], None],
) -> None:
    """UNO passes through the recorded states, from the same noise over the same sigmas."""
    case = golden("uno_denoise_4step")
    put_lora(transformer, read_lora(transformer, golden("uno_lora")))
    sample = _loop_sample(transformer, case)

    predictions, states = _play(transformer, sample)

    difference("loop, sigmas", torch.tensor(sample.sigmas, dtype=torch.float64), case["schedule"])
    difference("loop, noise", states[0], case["trajectory"][0])
    difference(f"loop, UNO predictions, {put_lora.__name__}", predictions, case["predictions"], limit=LOOP_LIMIT)
    difference(f"loop, UNO states, {put_lora.__name__}", states, case["trajectory"], limit=LOOP_LIMIT)


def test_uso_loop(
    transformer: UxoTransformer,
    style_encoder: StyleEncoder,
    golden: Golden,
    difference: Differences,
    put_lora: Callable[[UxoTransformer, Lora], None],
) -> None:
    """USO does too, with style tokens that are computed once instead of at every step."""
    case = golden("uso_denoise_4step")
    put_lora(transformer, read_lora(transformer, golden("uso_lora")))
    with torch.inference_mode():
        styles = style_encoder._projector(*read_levels(style_encoder._siglip, case["style_pixel_values.0"]))
    sample = _loop_sample(transformer, case, styles)

    predictions, states = _play(transformer, sample)

    difference("loop, sigmas", torch.tensor(sample.sigmas, dtype=torch.float64), case["schedule"])
    difference("loop, noise", states[0], case["trajectory"][0])
    difference(f"loop, USO predictions, {put_lora.__name__}", predictions, case["predictions"], limit=LOOP_LIMIT)
    difference(f"loop, USO states, {put_lora.__name__}", states, case["trajectory"], limit=LOOP_LIMIT)


@pytest.mark.parametrize("name", ["uno_denoise_4step", "uso_denoise_4step"])
def test_last_state_decodes(autoencoder: Autoencoder, golden: Golden, difference: Differences, name: str) -> None:
    """The recorded last state unpacks and decodes to the recorded picture."""
    case = golden(name)

    latents = unpack(case["final_tokens"], height=HEIGHT // 8, width=WIDTH // 8)
    with torch.inference_mode():
        decoded = autoencoder.decode(latents)

    difference("last state, latents", latents, case["final_latents"])
    # The record holds what the decoder gave, before the clamp that belongs to the rounding.
    difference("last state, decoded", decoded, case["decoded"].clamp(-1, 1), limit=LOOP_LIMIT)
    picture = to_uint8(decoded)[0]
    difference.picture("last state, grey levels", picture, case["image_uint8"], decoded=case["decoded"][0])


@pytest.mark.parametrize("name", ["uno_end_to_end_1ref", "uno_end_to_end_2refs"])
def test_uno_from_pictures_to_picture(uno: UnoPipeline, golden: Golden, difference: Differences, name: str) -> None:
    """UNO makes the recorded picture of its recorded subjects, scaled by how many there are."""
    case = golden(name)
    request = _request(name, case, roles=[Role.SUBJECT] * len(_series(case, "ref_image_uint8")))

    latents, picture = _generate(uno, request, [_picture(each) for each in _series(case, "ref_image_uint8")])

    difference("pictures to latents", latents, case["final_latents"], limit=LOOP_LIMIT)
    difference.picture("pictures to picture, grey levels", picture, case["image_uint8"], decoded=case["decoded"][0])


def test_uso_from_pictures_to_picture(uso: UsoPipeline, golden: Golden, difference: Differences) -> None:
    """USO makes the recorded picture of its recorded content and style, whichever is sent first."""
    case = golden("uso_end_to_end")
    request = _request("uso_end_to_end", case, roles=[Role.STYLE, Role.CONTENT])
    images = [_picture(case["style_image_uint8.0"]), _picture(case["ref_image_uint8.0"])]

    latents, picture = _generate(uso, request, images)

    difference("pictures to latents", latents, case["final_latents"], limit=LOOP_LIMIT)
    difference.picture("pictures to picture, grey levels", picture, case["image_uint8"], decoded=case["decoded"][0])


def _request(name: str, case: dict[str, Tensor], *, roles: list[Role]) -> GenerationRequest:
    return GenerationRequest(
        model=name.partition("_")[0],
        prompt=name,
        references=tuple(Reference(role=role, source="recorded") for role in roles),
        width=WIDTH,
        height=HEIGHT,
        num_inference_steps=len(case["schedule"]) - 1,
        guidance_scale=float(case["guidance"]),
        seed=int(case["seed"]),
    )


def _picture(pixels: Tensor) -> Image.Image:
    return Image.fromarray(pixels.numpy())


def _generate(pipeline: FluxPipeline, request: GenerationRequest, images: list[Image.Image]) -> tuple[Tensor, Tensor]:
    """Run one request alone; return its last latents and its grey levels."""
    [sample] = pipeline.prepare("recorded", request, images)
    while not sample.is_denoised:
        [sample] = pipeline.step([sample])
    [generated] = pipeline.decode([sample])
    assert isinstance(sample, FluxSample)
    latents = unpack(sample.tokens, height=HEIGHT // 8, width=WIDTH // 8)
    return latents, torch.from_numpy(np.array(generated.image))
