"""What does not change from step to step is computed once a request, and what nobody reads is not computed at all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from models.request import GenerationRequest, Reference, Role
from models.sample import Sample
from models.uso import UsoPipeline

STEPS = 3
#: Of the picture, the prompt, the content reference, and the style.
TARGET, TEXT, STYLE = 24, 16, 12


def _wish(**changes: Any) -> GenerationRequest:
    roles = (Role.CONTENT, Role.STYLE)
    usual: dict[str, Any] = {
        "model": "uso",
        "prompt": "a cat",
        "references": tuple(Reference(role=role, source="painted") for role in roles),
        "width": 96,
        "height": 64,
        "num_inference_steps": STEPS,
        "guidance_scale": 4.0,
        "seed": 7,
    }
    return GenerationRequest(**usual | changes)


def _draw(uso: UsoPipeline, wish: GenerationRequest) -> list[Sample]:
    pictures = [Image.new("RGB", (40, 4), "red"), Image.new("RGB", (9, 9), "blue")]
    samples = uso.prepare("r", wish, pictures)
    for _ in range(wish.num_inference_steps):
        samples = [stepped for sample in samples for stepped in uso.step([sample])]
    return samples


@pytest.fixture
def calls(uso: UsoPipeline) -> Counter[str]:
    """Count the calls of the layers that a request needs once, from now on."""
    parts, counted = uso._parts, Counter[str]()
    transformer: Any = parts.transformer
    style: Any = parts.style
    watched: dict[str, nn.Module] = {
        "siglip": style._siglip.embeddings,
        "projector": style._projector,
        "text": transformer.context_embedder,
        "time": transformer.time_text_embed,
        "modulation of a double block": transformer.transformer_blocks[0].norm1.linear,
        "modulation of a single block": transformer.single_transformer_blocks[0].norm.linear,
        "modulation of the output": transformer.norm_out.linear,
        "pictures": transformer.x_embedder,
    }
    for name, layer in watched.items():
        layer.register_forward_hook(partial(_count, counted, name))
    return counted


def _count(counted: Counter[str], name: str, *_: object) -> None:
    counted[name] += 1


def test_once_a_request(uso: UsoPipeline, calls: Counter[str]) -> None:
    """Two pictures of three steps ask each encoder, embedder and modulation once; references too are embedded once."""
    _draw(uso, _wish(num_images=2))

    assert calls == {name: 1 + 2 * STEPS if name == "pictures" else 1 for name in calls}
    assert len(calls) == 8


class Activations(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch leaves it untyped
    """Counts how often anything is activated."""

    count = 0

    def __torch_dispatch__(self, function: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Count, and go on."""
        self.count += function.overloadpacket in {torch.ops.aten.gelu, torch.ops.aten.gelu_}
        return function(*args, **(kwargs or {}))


def test_activated_once_a_step(uso: UsoPipeline) -> None:
    """A step activates the one stream of a single block once, and each of the two of a double block."""
    [sample] = uso.prepare("r", _wish(references=()), [])
    transformer: Any = uso._parts.transformer

    with Activations() as activations:  # type: ignore[no-untyped-call]  # as above
        uso.step([sample])

    assert activations.count == len(transformer.single_transformer_blocks) + 2 * len(transformer.transformer_blocks)


def test_a_negative_prompt_asks_for_its_own_share(uso: UsoPipeline, calls: Counter[str]) -> None:
    """What hangs on the prompt is asked for twice, what hangs on pictures once."""
    _draw(uso, _wish(negative_prompt="fog", true_cfg_scale=2.0))

    assert (calls["text"], calls["time"], calls["siglip"], calls["pictures"]) == (2, 2, 1, 1 + 2 * STEPS)


def test_the_last_block_makes_no_row_that_nobody_reads(uso: UsoPipeline) -> None:
    """Of text, styles and references the last block computes what is attended to, and nothing else."""
    last: Any = uso._parts.transformer.single_transformer_blocks[-1]
    rows: dict[str, set[int]] = {}
    for name in ("attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp", "proj_out"):
        last.get_submodule(name).register_forward_hook(_rows_into(rows.setdefault(name, set())))

    [sample] = _draw(uso, _wish())

    every = {sample.shape.target_tokens + sample.shape.reference_tokens + TEXT + STYLE}
    assert rows["attn.to_q"] == rows["proj_mlp"] == rows["proj_out"] == {TARGET}
    assert rows["attn.to_k"] == rows["attn.to_v"] == every


def _rows_into(seen: set[int]) -> Callable[..., None]:
    def note(_layer: nn.Module, _given: object, output: Tensor) -> None:
        seen.add(output.shape[1])

    return note
