"""From Black Forest Labs' key layout to diffusers' transformer; knows names and rows, no widths.

Widths come from the transformer that is to be filled, so the converter serves tiny models and full-size ones alike.
Source: key names and shapes of ``flux1-dev.safetensors``, seen 2026-11; checked by tests/golden/base_bfl.safetensors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from models.flux.weights import check_exactly, load_exactly

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from torch import Tensor

    from models.flux.transformer import UxoTransformer

#: One BFL tensor name and the diffusers names that its rows are cut over, in this order.
Cut = tuple[str, tuple[str, ...]]

#: BFL's final modulation holds shift then scale, diffusers' holds scale then shift.
SWAPPED = "final_layer.adaLN_modulation.1"

_EMBEDDERS = {
    "img_in": "x_embedder",
    "txt_in": "context_embedder",
    "time_in.in_layer": "time_text_embed.timestep_embedder.linear_1",
    "time_in.out_layer": "time_text_embed.timestep_embedder.linear_2",
    "vector_in.in_layer": "time_text_embed.text_embedder.linear_1",
    "vector_in.out_layer": "time_text_embed.text_embedder.linear_2",
    SWAPPED: "norm_out.linear",
    "final_layer.linear": "proj_out",
}

_GUIDANCE_EMBEDDERS = {
    "guidance_in.in_layer": "time_text_embed.guidance_embedder.linear_1",
    "guidance_in.out_layer": "time_text_embed.guidance_embedder.linear_2",
}

_DOUBLE_LINEARS = {
    "img_mod.lin": ("norm1.linear",),
    "txt_mod.lin": ("norm1_context.linear",),
    "img_attn.qkv": ("attn.to_q", "attn.to_k", "attn.to_v"),
    "txt_attn.qkv": ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"),
    "img_attn.proj": ("attn.to_out.0",),
    "txt_attn.proj": ("attn.to_add_out",),
    "img_mlp.0": ("ff.net.0.proj",),
    "img_mlp.2": ("ff.net.2",),
    "txt_mlp.0": ("ff_context.net.0.proj",),
    "txt_mlp.2": ("ff_context.net.2",),
}

_DOUBLE_SCALES = {
    "img_attn.norm.query_norm": "attn.norm_q",
    "img_attn.norm.key_norm": "attn.norm_k",
    "txt_attn.norm.query_norm": "attn.norm_added_q",
    "txt_attn.norm.key_norm": "attn.norm_added_k",
}

_SINGLE_LINEARS = {
    "modulation.lin": ("norm.linear",),
    "linear1": ("attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp"),
    "linear2": ("proj_out",),
}

_SINGLE_SCALES = {"norm.query_norm": "attn.norm_q", "norm.key_norm": "attn.norm_k"}


def load_bfl(transformer: UxoTransformer, tensors: Mapping[str, Tensor]) -> None:
    """Fill a transformer from a checkpoint in BFL's layout.

    Raises:
        WeightsError: when a tensor is unknown, missing or of the wrong shape; the transformer is then unchanged.
    """
    check_exactly(tensors, bfl_shapes(transformer))
    targets: dict[str, Tensor] = transformer.state_dict()
    state: dict[str, Tensor] = {}
    for source, names in cuts(transformer.config):
        state |= cut_rows(source, tensors[source], {name: targets[name].shape[0] for name in names})
    load_exactly(transformer, state)


def bfl_shapes(transformer: UxoTransformer) -> dict[str, tuple[int, ...]]:
    """List what a checkpoint for this transformer holds in BFL's layout."""
    targets: dict[str, Tensor] = transformer.state_dict()
    return {source: _joined_shape(targets, names) for source, names in cuts(transformer.config)}


def cuts(config: Any) -> Iterator[Cut]:
    """Yield every tensor of a checkpoint for this configuration, with the diffusers names its rows go to."""
    embedders = _EMBEDDERS | (_GUIDANCE_EMBEDDERS if config.guidance_embeds else {})
    for source, target in embedders.items():
        yield from _linear(source, (target,))
    for index in range(config.num_layers):
        names = (f"double_blocks.{index}.", f"transformer_blocks.{index}.")
        yield from _block(*names, linears=_DOUBLE_LINEARS, scales=_DOUBLE_SCALES)
    for index in range(config.num_single_layers):
        names = (f"single_blocks.{index}.", f"single_transformer_blocks.{index}.")
        yield from _block(*names, linears=_SINGLE_LINEARS, scales=_SINGLE_SCALES)


def _block(
    source: str, target: str, *, linears: Mapping[str, tuple[str, ...]], scales: Mapping[str, str]
) -> Iterator[Cut]:
    for name, parts in linears.items():
        yield from _linear(source + name, tuple(target + part for part in parts))
    for name, part in scales.items():
        yield f"{source}{name}.scale", (f"{target}{part}.weight",)


def _linear(source: str, targets: tuple[str, ...]) -> Iterator[Cut]:
    for kind in ("weight", "bias"):
        yield f"{source}.{kind}", tuple(f"{target}.{kind}" for target in targets)


def _joined_shape(targets: Mapping[str, Tensor], names: tuple[str, ...]) -> tuple[int, ...]:
    rows = sum(targets[name].shape[0] for name in names)
    return rows, *targets[names[0]].shape[1:]


def cut_rows(source: str, tensor: Tensor, rows: Mapping[str, int]) -> dict[str, Tensor]:
    """Cut a tensor's rows over diffusers' names, as many for each as ``rows`` says."""
    if source.startswith(SWAPPED):
        tensor = torch.cat(tuple(reversed(tensor.chunk(2))))
    return dict(zip(rows, torch.split(tensor, list(rows.values())), strict=True))
