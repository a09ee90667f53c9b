"""One forward of the transformer against the authors', and what batching may not change."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import Tensor

from models.flux.blocks import RotaryTable, rotate
from models.flux.lora import attach_lora, merge_lora, read_lora
from models.flux.transformer import TransformerInputs, UxoTransformer, rotary_table

if TYPE_CHECKING:
    from golden.conftest import Differences, Golden

Tensors = dict[str, Tensor]
PutLora = Callable[[UxoTransformer, Any], None]

#: A float32 port on other kernels agrees to 2e-6; the smallest real mistake moves a forward by 0.2.
FORWARD_LIMIT = 2e-5

UNO_CASES = ["uno_forward_1ref", "uno_forward_2refs", "uno_forward_batch3"]
USO_CASES = ["content_1style", "content_2styles", "content_only", "style_only"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a transformer is told, as the authors hand it over: nothing of it is embedded."""

    target: Tensor
    references: Tensor | None
    text: Tensor
    styles: Tensor | None
    pooled: Tensor
    sigma: Tensor
    guidance: Tensor
    rotary: RotaryTable
    key_mask: Tensor | None = None


def _series(case: Tensors, name: str) -> list[Tensor]:
    return [case[key] for key in sorted(case) if key.startswith(f"{name}.")]


def _inputs(case: Tensors, *, references: bool = True, styles: bool = True) -> Told:
    """Read a recorded case: positions come from the record, so only the transformer is under test."""
    tokens = _series(case, "ref_img") if references else []
    ids = _series(case, "ref_img_ids") if references else []
    style = _series(case, "style_tokens") if styles else []
    style_ids = [torch.zeros(*each.shape[:2], 3) for each in style]
    return Told(
        target=case["img"],
        references=torch.cat(tokens, dim=1) if tokens else None,
        text=case["txt"],
        styles=torch.cat(style, dim=1) if style else None,
        pooled=case["vec"],
        sigma=case["timesteps"],
        guidance=case["guidance"],
        rotary=rotary_table(torch.cat([*style_ids, case["txt_ids"], case["img_ids"], *ids], dim=1), (8, 10, 14)),
    )


def _forward(transformer: UxoTransformer, inputs: Told) -> Tensor:
    references = inputs.references
    with torch.inference_mode():
        embedded = TransformerInputs(
            target=inputs.target,
            references=None if references is None else transformer.embed_references(references),
            text=transformer.embed_text(inputs.text, inputs.styles),
            modulation=transformer.modulations(inputs.sigma, inputs.guidance, inputs.pooled),
            rotary=inputs.rotary,
            key_mask=inputs.key_mask,
        )
        output: Tensor = transformer(embedded)
    return output


@pytest.fixture(params=[merge_lora, attach_lora], ids=["merged", "apart"])
def put_lora(request: pytest.FixtureRequest) -> PutLora:
    """Either way to give a transformer its LoRA."""
    way: PutLora = request.param
    return way


@pytest.fixture
def uno(transformer: UxoTransformer, golden: Golden) -> UxoTransformer:
    """The transformer with UNO's LoRA merged."""
    merge_lora(transformer, read_lora(transformer, golden("uno_lora")))
    return transformer


@pytest.mark.parametrize("name", UNO_CASES)
def test_base_forward(transformer: UxoTransformer, golden: Golden, difference: Differences, name: str) -> None:
    """Without a LoRA the transformer is FLUX.1 with references."""
    case = golden(name)

    output = _forward(transformer, _inputs(case))

    difference("forward, no LoRA", output, case["out_without_lora"], limit=FORWARD_LIMIT)


@pytest.mark.parametrize("name", UNO_CASES)
def test_uno_forward(
    transformer: UxoTransformer, golden: Golden, difference: Differences, name: str, put_lora: PutLora
) -> None:
    """UNO's LoRA gives UNO's prediction, merged or apart, with references and without."""
    case = golden(name)
    put_lora(transformer, read_lora(transformer, golden("uno_lora")))

    output = _forward(transformer, _inputs(case))
    plain = _forward(transformer, _inputs(case, references=False))

    way = put_lora.__name__
    difference(f"forward, UNO, {way}", output, case["out"], limit=FORWARD_LIMIT)
    difference(f"forward, UNO without references, {way}", plain, case["out_without_refs"], limit=FORWARD_LIMIT)


@pytest.mark.parametrize("name", USO_CASES)
def test_uso_forward(
    transformer: UxoTransformer, golden: Golden, difference: Differences, name: str, put_lora: PutLora
) -> None:
    """USO's LoRA and style tokens give USO's prediction, merged or apart, with styles and without."""
    case = golden(f"uso_forward_{name}")
    put_lora(transformer, read_lora(transformer, golden("uso_lora")))

    output = _forward(transformer, _inputs(case))
    plain = _forward(transformer, _inputs(case, styles=False))

    way = put_lora.__name__
    difference(f"forward, USO, {way}", output, case["out"], limit=FORWARD_LIMIT)
    difference(f"forward, USO without styles, {way}", plain, case["out_without_style"], limit=FORWARD_LIMIT)


def test_rows_may_differ_in_everything(uno: UxoTransformer, golden: Golden, difference: Differences) -> None:
    """A batch whose rows have their own sigma, guidance, prompt, references and positions equals its rows alone."""
    first, other = _inputs(golden("uno_forward_1ref")), _inputs(golden("uno_forward_batch3"))
    second = _row(other, 2)
    turned = replace(second, rotary=(second.rotary[0].flip(1), second.rotary[1].flip(1)))

    together = _forward(uno, _stack(first, turned))

    alone = torch.cat([_forward(uno, first), _forward(uno, turned)])
    difference("rows together and alone", together, alone, limit=FORWARD_LIMIT)


def test_padded_references(uno: UxoTransformer, golden: Golden, difference: Differences) -> None:
    """Rows with fewer reference tokens share a call when their padding is masked, whatever the padding holds."""
    longer, shorter = _inputs(golden("uno_forward_2refs")), _inputs(golden("uno_forward_1ref"))
    padded = _pad(shorter, tokens=25 - 15)
    every_key = torch.ones(1, 16 + 24 + 25, dtype=torch.bool)
    real_keys = every_key & (torch.arange(16 + 24 + 25) < 16 + 24 + 15)

    inputs = replace(_stack(longer, padded), key_mask=torch.cat([every_key, real_keys]))
    together = _forward(uno, inputs)

    alone = torch.cat([_forward(uno, longer), _forward(uno, shorter)])
    difference("padded and masked", together, alone, limit=FORWARD_LIMIT)


def test_sigma_and_guidance_embedding(transformer: UxoTransformer, golden: Golden, difference: Differences) -> None:
    """Sigma and guidance are embedded as cosines and sines of a thousand times their value."""
    case = golden("embeddings")
    embed = transformer.time_text_embed.time_proj

    for name in ("t", "guidance"):
        difference("sigma and guidance embedding", embed(case[name] * 1000), case[f"{name}_embedding"])
        rounded = embed(case[name].to(torch.bfloat16) * 1000).to(torch.bfloat16)
        difference("sigma and guidance embedding", rounded, case[f"{name}_bf16_embedding"])


def test_rotary_table(golden: Golden, difference: Differences) -> None:
    """The rotary table has one cosine and one sine per pair of head dimensions."""
    case = golden("embeddings")

    cos, sin = rotary_table(case["rope_ids"], (8, 10, 14))

    difference("rotary table", cos[0], case["rope_cos"])
    difference("rotary table", sin[0], case["rope_sin"])


def test_rotation_turns_neighbours() -> None:
    """Dimensions 0 and 1 turn together, by a quarter: (1, 0) becomes (0, 1); position 0 turns nothing."""
    tokens = torch.tensor([1.0, 0.0, 3.0, 4.0]).view(1, 1, 1, 4)
    table = torch.tensor([[[0.0, 1.0]]]), torch.tensor([[[1.0, 0.0]]])

    turned = rotate(tokens, table)

    assert turned.flatten().tolist() == [0.0, 1.0, 3.0, 4.0]


def test_guidance_is_ignored_without_its_embedding() -> None:
    """A transformer without guidance embedding, such as schnell, predicts the same for any guidance."""
    torch.manual_seed(0)
    schnell = UxoTransformer(
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=8,
        num_attention_heads=1,
        joint_attention_dim=4,
        pooled_projection_dim=4,
        axes_dims_rope=(2, 2, 4),
    )
    inputs = Told(
        target=torch.randn(1, 4, 64),
        references=None,
        text=torch.randn(1, 3, 4),
        styles=None,
        pooled=torch.randn(1, 4),
        sigma=torch.tensor([0.5]),
        guidance=torch.tensor([1.0]),
        rotary=rotary_table(torch.zeros(1, 7, 3), (2, 2, 4)),
    )

    outputs = [_forward(schnell, replace(inputs, guidance=torch.tensor([each]))) for each in (1.0, 9.0)]

    assert outputs[0].equal(outputs[1])


def test_bfloat16_stays_close(uno: UxoTransformer, golden: Golden) -> None:
    """In bfloat16 the prediction stays within a tenth of its size, nearly all of it from the rounded sigma."""
    case = golden("uno_forward_1ref")
    inputs = _inputs(case)
    assert inputs.references is not None
    narrow = {name: getattr(inputs, name).to(torch.bfloat16) for name in ("target", "references", "text", "pooled")}

    output = _forward(uno.to(torch.bfloat16), replace(inputs, **narrow))

    off = (output.float() - case["out"]).square().mean().sqrt()
    assert output.dtype == torch.bfloat16
    assert off < 0.15 * case["out"].square().mean().sqrt()


def test_attention_backend_can_be_chosen(uno: UxoTransformer, golden: Golden, difference: Differences) -> None:
    """The choice reaches every attention: flash takes no mask, math does."""
    case = golden("uno_forward_1ref")
    inputs = replace(_inputs(case), key_mask=torch.ones(1, 16 + 24 + 15, dtype=torch.bool))

    uno.attention_backend = "_native_flash"
    with pytest.raises(ValueError, match="attn_mask"):
        _forward(uno, inputs)
    uno.attention_backend = "_native_math"
    output = _forward(uno, inputs)

    difference("forward, other attention backend", output, case["out"], limit=FORWARD_LIMIT)


@pytest.mark.parametrize("bucket", [16, 64])
def test_buckets_change_nothing(uno: UxoTransformer, golden: Golden, difference: Differences, bucket: int) -> None:
    """What fills a sequence up to a bucket is not attended to."""
    case = golden("uno_forward_2refs")
    uno.token_bucket = bucket

    output = _forward(uno, _inputs(case))

    difference("forward, in buckets", output, case["out"], limit=FORWARD_LIMIT)


def test_saves_and_loads(blank_transformer: UxoTransformer, golden: Golden, tmp_path: Path) -> None:
    """A saved transformer comes back with its configuration, its weights and our attention."""
    inputs = _inputs(golden("uno_forward_1ref"))
    blank_transformer.save_pretrained(tmp_path)

    loaded = UxoTransformer.from_pretrained(tmp_path)

    assert loaded.config.guidance_embeds
    assert _forward(loaded, inputs).equal(_forward(blank_transformer, inputs))


FIELDS = ("target", "references", "text", "pooled", "sigma", "guidance")


def _row(inputs: Told, index: int) -> Told:
    tensors = {name: getattr(inputs, name)[index : index + 1] for name in FIELDS}
    rotary = (inputs.rotary[0][index : index + 1], inputs.rotary[1][index : index + 1])
    return replace(inputs, rotary=rotary, **tensors)


def _stack(*rows: Told) -> Told:
    tensors = {name: torch.cat([getattr(row, name) for row in rows]) for name in FIELDS}
    rotary = (torch.cat([row.rotary[0] for row in rows]), torch.cat([row.rotary[1] for row in rows]))
    return replace(rows[0], rotary=rotary, **tensors)


def _pad(inputs: Told, *, tokens: int) -> Told:
    """Append reference tokens of another size than real ones, so that a missing mask shows."""
    assert inputs.references is not None
    cos, sin = (torch.nn.functional.pad(half, (0, 0, 0, tokens), value=1.0) for half in inputs.rotary)
    padding = torch.full((1, tokens, inputs.references.shape[2]), 7.0)
    return replace(inputs, references=torch.cat([inputs.references, padding], dim=1), rotary=(cos, sin))
