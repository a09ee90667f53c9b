"""Every tensor of a weight file finds its place, or loading fails and names it."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import SiglipVisionConfig, SiglipVisionModel

from models.flux.bfl import bfl_shapes, load_bfl
from models.flux.lora import LoraPair, attach_lora, lora_shapes, merge_lora, read_lora
from models.flux.siglip import load_siglip
from models.flux.transformer import UxoTransformer
from models.flux.weights import WeightsError, check_exactly, load_exactly, read, without_prefix

if TYPE_CHECKING:
    from golden.conftest import Golden

Tensors = dict[str, Tensor]


def _with(tensors: Tensors, key: str, tensor: Tensor) -> Tensors:
    return tensors | {key: tensor}


def _without(tensors: Tensors, key: str) -> Tensors:
    return {name: tensor for name, tensor in tensors.items() if name != key}


def test_base_fills_every_tensor(blank_transformer: UxoTransformer, golden: Golden) -> None:
    """After loading, no tensor of the transformer holds what it held before."""
    for tensor in blank_transformer.state_dict().values():
        tensor.fill_(torch.nan)

    load_bfl(blank_transformer, golden("base_bfl"))

    assert not any(tensor.isnan().any() for tensor in blank_transformer.state_dict().values())


def test_base_moves_every_value(blank_transformer: UxoTransformer, golden: Golden) -> None:
    """Loading only rearranges: both sides hold the same values, each as often."""
    base = golden("base_bfl")

    load_bfl(blank_transformer, base)

    loaded = torch.cat([tensor.flatten() for tensor in blank_transformer.state_dict().values()])
    assert loaded.sort().values.equal(torch.cat([tensor.flatten() for tensor in base.values()]).sort().values)


def test_full_size_base_is_flux_dev() -> None:
    """At full size the expected file is the published one: 780 tensors, 11.90 billion parameters."""
    with torch.device("meta"):
        transformer = UxoTransformer(guidance_embeds=True)

    shapes = bfl_shapes(transformer)

    assert len(shapes) == 780
    assert sum(math.prod(shape) for shape in shapes.values()) == 11_901_408_320
    assert shapes["single_blocks.37.linear1.weight"] == (21504, 3072)
    assert shapes["single_blocks.37.linear2.weight"] == (3072, 15360)


def test_full_size_lora_is_the_published_one() -> None:
    """At full size and UNO's rank 512 the expected file is the published one: 304 tensors, 956,301,312 parameters."""
    with torch.device("meta"):
        transformer = UxoTransformer(guidance_embeds=True)

    shapes = lora_shapes(transformer, defaultdict(lambda: 512))

    assert len(shapes) == 304
    assert sum(math.prod(shape) for shape in shapes.values()) == 956_301_312
    assert shapes["double_blocks.18.processor.qkv_lora2.up.weight"] == (9216, 512)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda base: _with(base, "img_in.scale", torch.ones(1)), r"unknown tensors: img_in\.scale$"),
        (
            lambda base: _without(base, "double_blocks.1.txt_mlp.2.bias"),
            r"missing .*double_blocks\.1\.txt_mlp\.2\.bias",
        ),
        (lambda base: _with(base, "txt_in.weight", torch.ones(64, 31)), r"txt_in\.weight is \(64, 31\), .*\(64, 32\)"),
        (
            lambda base: _with(base, "single_blocks.2.norm.key_norm.scale", torch.ones(32)),
            r"unknown .*single_blocks\.2",
        ),
    ],
    ids=["unknown", "missing", "misshapen", "one block too many"],
)
def test_base_that_does_not_fit(
    blank_transformer: UxoTransformer, golden: Golden, change: Callable[[Tensors], Tensors], complaint: str
) -> None:
    """A base checkpoint that does not fit is refused by key, and the transformer stays as it was."""
    before = {key: tensor.clone() for key, tensor in blank_transformer.state_dict().items()}

    with pytest.raises(WeightsError, match=complaint):
        load_bfl(blank_transformer, change(golden("base_bfl")))

    assert all(tensor.equal(before[key]) for key, tensor in blank_transformer.state_dict().items())


@pytest.mark.parametrize(("name", "rank"), [("uno_lora", 6), ("uso_lora", 4)])
def test_lora_reaches_every_projection(transformer: UxoTransformer, golden: Golden, name: str, rank: int) -> None:
    """Each double block gets eight pairs and each single block four, with the file's rank."""
    lora = read_lora(transformer, golden(name))

    assert len(lora) == 2 * 8 + 2 * 4
    assert {pair.down.shape[0] for pair in lora.values()} == {rank}


QKV = "double_blocks.0.processor.qkv_lora2"


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda lora: _with(lora, f"{QKV}.alpha", torch.ones(())), rf"unknown tensors: {QKV}\.alpha$"),
        (
            lambda lora: _with(lora, "feature_embedder.high_projection.bias", torch.ones(1)),
            "unknown .*feature_embedder",
        ),
        (lambda lora: _without(lora, f"{QKV}.down.weight"), rf"missing tensors: {QKV}\.down\.weight$"),
        (lambda lora: _without(lora, f"{QKV}.up.weight"), rf"missing tensors: {QKV}\.up\.weight$"),
        (lambda lora: _with(lora, f"{QKV}.up.weight", torch.ones(192, 5)), rf"{QKV}\.up\.weight is \(192, 5\)"),
        (lambda lora: _with(lora, f"{QKV}.down.weight", torch.ones(6, 63)), rf"{QKV}\.down\.weight is \(6, 63\)"),
    ],
    ids=["alpha", "projector", "no down", "no up", "ranks differ", "too narrow"],
)
def test_lora_that_does_not_fit(
    transformer: UxoTransformer, golden: Golden, change: Callable[[Tensors], Tensors], complaint: str
) -> None:
    """A LoRA file that does not fit is refused by key."""
    with pytest.raises(WeightsError, match=complaint):
        read_lora(transformer, change(golden("uno_lora")))


def test_merge_adds_in_float32(transformer: UxoTransformer, golden: Golden) -> None:
    """Merging into bfloat16 weights rounds once, at the end."""
    transformer.to(torch.bfloat16)
    pair = read_lora(transformer, golden("uno_lora"))["transformer_blocks.0.attn.to_k"]
    before = transformer.transformer_blocks[0].attn.to_k.weight.clone()

    merge_lora(transformer, {"transformer_blocks.0.attn.to_k": pair})

    expected = (before.float() + pair.up @ pair.down).to(torch.bfloat16)
    assert transformer.transformer_blocks[0].attn.to_k.weight.equal(expected)


def test_merge_cuts_fused_rows_in_order(transformer: UxoTransformer, golden: Golden) -> None:
    """The first third of a fused up factor goes to q, the second to k, the last to v; all share one down."""
    tensors = golden("uno_lora")

    lora = read_lora(transformer, tensors)

    pairs = [lora[f"single_transformer_blocks.1.attn.to_{part}"] for part in "qkv"]
    fused = "single_blocks.1.processor.qkv_lora"
    assert torch.cat([pair.up for pair in pairs]).equal(tensors[f"{fused}.up.weight"])
    assert all(pair.down.equal(tensors[f"{fused}.down.weight"]) for pair in pairs)


def test_attached_twice_is_refused(transformer: UxoTransformer, golden: Golden) -> None:
    """A layer that carries a LoRA takes no second one."""
    lora: dict[str, LoraPair] = read_lora(transformer, golden("uno_lora"))
    attach_lora(transformer, lora)

    with pytest.raises(WeightsError, match=r"attn\.to_q carries a LoRA already"):
        attach_lora(transformer, lora)


def test_attached_leaves_the_weights(transformer: UxoTransformer, golden: Golden) -> None:
    """A LoRA kept apart changes no weight of the base."""
    before = transformer.transformer_blocks[1].attn.to_out[0].weight.clone()

    attach_lora(transformer, read_lora(transformer, golden("uno_lora")))

    assert transformer.transformer_blocks[1].attn.to_out[0].linear.weight.equal(before)


@pytest.fixture
def tower(golden_json: Callable[[str], Any]) -> SiglipVisionModel:
    """Build the recorded SigLIP configuration with weights nobody chose."""
    return SiglipVisionModel(SiglipVisionConfig(**golden_json("config")["siglip"]))


@pytest.mark.parametrize("prefix", ["", "vision_model."])
def test_siglip_keys_with_and_without_prefix(tower: SiglipVisionModel, golden: Golden, prefix: str) -> None:
    """A vision tower is filled from either naming, and a text side in the file is left out."""
    vision = golden("siglip_vision")
    text_side = {"text_model.head.bias": torch.ones(1), "logit_scale": torch.ones(1), "logit_bias": torch.ones(1)}

    load_siglip(tower, {prefix + key: tensor for key, tensor in vision.items()} | text_side)

    assert all(tensor.equal(vision[key]) for key, tensor in tower.state_dict().items())


def test_siglip_stranger_is_refused(tower: SiglipVisionModel, golden: Golden) -> None:
    """A tensor that neither side of SigLIP has is refused."""
    with pytest.raises(WeightsError, match=r"unknown tensors: vision_model2\.x$"):
        load_siglip(tower, golden("siglip_vision") | {"vision_model2.x": torch.ones(1)})


def test_doubled_key_is_refused(golden: Golden) -> None:
    """A tensor under both spellings of its key is a contradiction."""
    tower = golden("siglip_vision")
    key = "post_layernorm.weight"

    with pytest.raises(WeightsError, match=r"doubled tensors: post_layernorm\.weight"):
        without_prefix(tower | {f"vision_model.{key}": tower[key]}, "vision_model.")


def test_shards_make_one_checkpoint(tmp_path: Path) -> None:
    """A checkpoint cut into files is read as one."""
    save_file({"a": torch.ones(1)}, tmp_path / "1.safetensors")
    save_file({"b": torch.ones(2)}, tmp_path / "2.safetensors")

    tensors = read(tmp_path / "1.safetensors", tmp_path / "2.safetensors")

    assert sorted(tensors) == ["a", "b"]


def test_shards_that_overlap_are_refused(tmp_path: Path) -> None:
    """A key in two files of one checkpoint is refused, since one would silently win."""
    for name in ("1", "2"):
        save_file({"a": torch.ones(1)}, tmp_path / f"{name}.safetensors")

    with pytest.raises(WeightsError, match=r"2\.safetensors repeats a"):
        read(tmp_path / "1.safetensors", tmp_path / "2.safetensors")


def test_other_formats_are_refused(tmp_path: Path) -> None:
    """A pickle is not read, whatever its name says."""
    torch.save({"a": torch.ones(1)}, tmp_path / "lora.safetensors")

    with pytest.raises(WeightsError, match=r"lora\.safetensors is not a readable safetensors file"):
        read(tmp_path / "lora.safetensors")


def test_long_complaints_are_cut() -> None:
    """A file of another model is refused with a handful of its keys, not with all."""
    strangers = {f"layer.{index}": torch.ones(1) for index in range(9)}

    with pytest.raises(WeightsError, match=r"layer\.3 and 5 more$"):
        check_exactly(strangers, {})


def test_load_exactly_casts() -> None:
    """Values are cast to the dtype the module was made in."""
    module = torch.nn.Linear(2, 1, bias=False, dtype=torch.bfloat16)

    load_exactly(module, {"weight": torch.tensor([[1.0, 2.0]])})

    assert module.weight.equal(torch.tensor([[1.0, 2.0]], dtype=torch.bfloat16))
