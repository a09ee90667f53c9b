"""A small transformer whose random weights make pictures worth looking at, and a LoRA for each model.

Purely random weights give grey mud. These stay random wherever variety is wanted; three paths are laid through them:

    double block   blurs what stands around a token into its *scene*, a number per latent channel; colours stay its own
    single block   looks up, by content, another token's scene: a reference's, a style's, a byte's of the prompt
    output         points from the token to the scene it found, so noise flows towards that colour

What a token looks for is the blurred noise of the layout channels, which the flow never touches: hence soft patches
whose shape is a matter of the seed, bent by prompt, guidance, step and model. Nothing but what was found tints a
colour: where there are references, the palette is theirs. The network is the real one. Knows neither pictures nor text.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from models.flux.latents import CHANNELS, PATCH
from models.flux.lora import merge_lora, read_lora
from models.flux.transformer import UxoTransformer
from models.tiny.seeded import build, fill, normal

#: Dimensions of a head: the first part never turns with the position; then rows, then columns.
AXES = (8, 12, 12)
HEAD, HEADS = sum(AXES), 3
HIDDEN = HEAD * HEADS

#: The residual stream: the token itself, a constant that keeps the norms from hiding how strong the rest is, the
#: scene, and room for random features.
TOKEN = slice(0, CHANNELS * PATCH**2)
ANCHOR = TOKEN.stop
SCENE = slice(ANCHOR + 1, ANCHOR + 1 + CHANNELS)
FREE = slice(SCENE.stop, HIDDEN)

#: Of the token: red, green and blue of its patch.
TOKEN_COLOURS = slice(0, 3 * PATCH**2)
#: Of the scene: colours, layout, and the mark that clean pictures carry in their last latent channel.
COLOURS = slice(SCENE.start, SCENE.start + 3)
LAYOUT = slice(SCENE.stop - 4, SCENE.stop - 1)
MARK = SCENE.stop - 1
#: How much more a token is looked up for its mark, and how much less for having none: text and noise have none, so
#: that references set the palette where there are any.
MARK_GAIN, UNMARKED_LOSS = 2.0, 2.5

#: Of a head: the dimensions that turn by 0.215 a row and a column, which see some two tokens far.
BLUR = [10, 22]
#: Of a head: the one that compares marks, and those that turn noticeably over a picture.
MARKED, TURNING = 0, [*range(8, 14), *range(20, 26)]

#: How the token's own colours enter the scene: what is found has the colours of the reference then, and hardly clips.
COLOUR_GAIN = 1.0
#: By latent channel: how the blurred token enters the scene. Blurring weakens noise, so the layout needs the most.
SCENE_GAINS = torch.tensor([*[0.0] * 3, *[1.5] * 9, *[12.0] * 3, 1.5])
#: By latent channel: how fast it flows to what was found; the layout and the mark stay noise.
FLOW_GAINS = torch.tensor([*[4.0] * 3, *[3.0] * 9, *[0.0] * 4])
#: How much of what was found a token flows to.
FOUND = 0.8

#: Root mean square that each matrix gives its outputs, or the level of a norm's scale; the first that fits counts.
GAINS = {
    "*timestep_embedder.linear_2.weight": 2.5,
    "*guidance_embedder.linear_2.weight": 2.0,
    "*text_embedder.linear_2.weight": 2.0,
    "norm_out.linear.weight": 0.1,
    "*norm*.linear.weight": 0.15,
    "single*norm_q.weight": 2.6,
    "single*norm_k.weight": 2.6,
    "*norm_q.weight": 1.4,
    "*norm_k.weight": 1.4,
    "*norm_added_*.weight": 1.7,
    "*.ff.net.2.weight": 0.7,
    "*.proj_out.weight": 0.3,
}


def transformer(*, text_width: int, pooled_width: int) -> UxoTransformer:
    """Build the transformer without a LoRA."""
    network: UxoTransformer = build(
        lambda: UxoTransformer(
            in_channels=TOKEN.stop,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=HEAD,
            num_attention_heads=HEADS,
            joint_attention_dim=text_width,
            pooled_projection_dim=pooled_width,
            guidance_embeds=True,
            axes_dims_rope=AXES,
        )
    )
    with torch.no_grad():
        fill(network, name="denoiser", gains=GAINS)
        _embed(network)
        _blur(network.transformer_blocks[0])
        _look_up(network.single_transformer_blocks[0])
        _flow(network)
    return network


def _embed(network: Any) -> None:
    image, text = network.x_embedder, network.context_embedder
    image.weight.zero_()
    image.weight[TOKEN] = torch.eye(TOKEN.stop)
    image.weight[COLOURS, TOKEN] = COLOUR_GAIN * _patch_means()[:3]
    text.weight[COLOURS] *= 1.3
    text.weight[MARK] = 0
    image.bias[ANCHOR] = text.bias[ANCHOR] = 2.0


def _blur(block: Any) -> None:
    """Let the last head see its surroundings alone, and write their means into the scene."""
    _open_gates(block.norm1.linear, gates=(2, 5))
    _open_gates(block.norm1_context.linear, gates=(2, 5))
    attention, last = block.attn, (HEADS - 1) * HEAD
    for linear in (attention.to_q, attention.to_k, attention.to_v):
        linear.weight[last:] = 0
    for linear in (attention.to_q, attention.to_k):
        linear.bias[last:][BLUR] = 1
    attention.to_v.weight[last : last + CHANNELS, TOKEN] = _patch_means()
    for linear, share in ((attention.to_out[0], 0), (attention.to_add_out, 0.2), (block.ff_context.net[2], 0.2)):
        linear.weight[SCENE] *= share
    attention.to_out[0].weight[SCENE, last : last + CHANNELS] = torch.diag(SCENE_GAINS)
    block.ff.net[2].weight[SCENE] *= 0.2
    for linear in (attention.to_out[0], block.ff.net[2]):
        linear.weight[TOKEN] = 0
    block.ff.net[2].weight[LAYOUT] = 0
    for linear in (attention.to_add_out, block.ff.net[2], block.ff_context.net[2]):
        linear.weight[COLOURS] = 0


def _look_up(block: Any) -> None:
    """Let every head ask by layout, answer by the rest of the scene, and hand over the scene."""
    _open_gates(block.norm.linear, gates=(2,))
    block.norm.linear.weight.view(3, HIDDEN, HIDDEN)[:2, COLOURS] = 0
    query, key, value = (_by_head(linear.weight) for linear in (block.attn.to_q, block.attn.to_k, block.attn.to_v))
    for weight in (query, key):
        weight.mul_(3)[..., : SCENE.start] = 0
        weight[..., MARK] = 0
        weight[:, TURNING] *= 0.2
        weight[:, MARKED] = 0
    query[..., COLOURS.stop : LAYOUT.start] *= 0.2
    query[..., COLOURS] = 0
    query[..., FREE] = 0
    key[..., LAYOUT] = 0
    key[..., FREE] *= 0.3
    key[:, MARKED, MARK] = MARK_GAIN
    block.attn.to_k.bias.view(HEADS, HEAD)[:, MARKED] = -UNMARKED_LOSS
    block.attn.to_q.bias.view(HEADS, HEAD)[:, MARKED] = 3
    value[:, :CHANNELS] = 0
    value[:, :CHANNELS, SCENE] = torch.eye(CHANNELS)
    found = block.proj_out.weight
    found[SCENE] *= 0.3
    found[LAYOUT] = 0
    found[TOKEN] = 0
    found[TOKEN, :CHANNELS] = -FOUND * PATCH**2 * _patch_means().T


def _flow(network: Any) -> None:
    # A shift or scale that differed inside a patch would show as a grid over the picture.
    for half in network.norm_out.linear.weight.view(2, HIDDEN, HIDDEN):
        half[TOKEN] = half[TOKEN][:: PATCH**2].repeat_interleave(PATCH**2, dim=0)
        half[TOKEN_COLOURS] = 0
    network.proj_out.weight.zero_()
    network.proj_out.weight[:, TOKEN] = torch.diag(FLOW_GAINS.repeat_interleave(PATCH**2))


def _patch_means() -> Tensor:
    """Return (channels, token): the mean of each channel over a token's patch."""
    return torch.eye(CHANNELS).repeat_interleave(PATCH**2, dim=1) / PATCH**2


def _by_head(weight: Tensor) -> Tensor:
    return weight.view(HEADS, HEAD, HIDDEN)


def _open_gates(modulation: Any, *, gates: tuple[int, ...]) -> None:
    for gate in gates:
        modulation.bias.view(-1, HIDDEN)[gate] = 1


#: Rank of each model's LoRA.
RANKS = {"uno": 8, "uso": 4}
#: The site that bends what a token looks up.
LOOK_UP = "single_blocks.0.processor.qkv_lora"


def add_lora(network: UxoTransformer, model: str) -> None:
    """Draw the LoRA of a model and merge it in, by the path that a released file takes."""
    rank = RANKS[model]
    tensors: dict[str, Tensor] = {}
    for site, inputs, outputs, gain in _lora_sites():
        down = normal(f"{model}.{site}.down", rank, inputs) / inputs**0.5
        down[:, TOKEN] = 0  # a token's raw noise would break up the patches
        up = gain * normal(f"{model}.{site}.up", outputs, rank) / rank**0.5
        if site == LOOK_UP:
            up.view(3, HIDDEN, rank)[2, :3] = 0  # of the values, the colours that are handed over
        tensors[f"{site}.down.weight"] = down
        tensors[f"{site}.up.weight"] = up
    merge_lora(network, read_lora(network, tensors))


def _lora_sites() -> Iterator[tuple[str, int, int, float]]:
    """Name each site with its inputs, its outputs and the root mean square that it adds."""
    for stream in (1, 2):
        yield f"double_blocks.0.processor.qkv_lora{stream}", HIDDEN, 3 * HIDDEN, 0.05
        yield f"double_blocks.0.processor.proj_lora{stream}", HIDDEN, HIDDEN, 0.05
    yield LOOK_UP, HIDDEN, 3 * HIDDEN, 0.5
    yield "single_blocks.0.processor.proj_lora", 5 * HIDDEN, HIDDEN, 0.05
