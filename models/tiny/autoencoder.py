"""A small autoencoder that sees colours: 32 pixels a latent pixel, so that a big picture is few tokens.

The first three latent channels carry the picture's red, green and blue, much reduced, so that what is generated takes
its palette from its references; the others carry random features of it, which come back as texture, and the last one
marks what was encoded. The network is the real one. Knows no tokens and no prompts.
"""

from __future__ import annotations

from typing import Any

import torch

from models.flux import vae
from models.flux.latents import CHANNELS
from models.tiny.seeded import build, fill

SIZES = vae.AutoencoderSizes(channels=(5, 5, 8, 8, 16, 16), blocks=1, groups=1)

#: Red, green and blue keep their place in every layer.
COLOURS = 3
#: The two channels after them are constant, one positive, one negative: beside them, colours survive the norms, which
#: see the whole picture as one group.
ANCHORS, ANCHOR_LEVEL = slice(3, 5), 4.0
#: Added in the last norm of each half: SiLU leaves values this far above zero nearly as they are.
LIFT = 6.0
#: Latents of a pure colour, and the last channel's of any picture, after shift and factor.
COLOUR_LATENT, MARK_LATENT = 1.2, 1.5
#: Latent channels from here on reach the decoder weakly: the denoiser leaves noise in them.
NOISY = 12
#: Blurs doubled pixels until their steps are gone.
SOFT = torch.tensor([[1.0, 2.0, 1.0], [2.0, 4.0, 2.0], [1.0, 2.0, 1.0]]) / 16

#: Root mean square that each matrix gives its outputs.
GAINS = {
    "*.conv1.weight": 2.0,
    "encoder.conv_in.weight": 0.3,
    "encoder.*.conv2.weight": 0.3,
    "encoder.*.conv_shortcut.weight": 0.5,
    "encoder.conv_out.weight": 0.6,
    "decoder.conv_in.weight": 1.0,
    "decoder.*.conv2.weight": 0.5,
    "*attentions*to_out*": 0.0,
}
#: How strongly features colour the picture on the way up, from the coarsest level; the finest ones only smooth.
TEXTURE = (0.3, 0.3, 0.3, 0.15, 0.0, 0.0)


def autoencoder(*, device: str) -> vae.Autoencoder:
    """Build the autoencoder."""
    network: Any = build(lambda: vae.build(SIZES))
    with torch.no_grad():
        fill(network, name="vae", gains=GAINS)
        _see_colours(network.encoder)
        _paint_colours(network.decoder)
        _extend_edges(network.decoder)
        _centre(network)
    # With so few channels this layout is three times as fast on a CPU.
    return vae.Autoencoder(network.to(device, memory_format=torch.channels_last))


def _see_colours(encoder: Any) -> None:
    encoder.conv_in.weight[: ANCHORS.stop] = 0
    for channel in range(COLOURS):
        encoder.conv_in.weight[channel, channel, 1, 1] = 1
    encoder.conv_in.bias[ANCHORS] = torch.tensor([ANCHOR_LEVEL, -ANCHOR_LEVEL])
    for block in encoder.down_blocks:
        for resnet in block.resnets:
            _keep_colours(resnet, texture=0.0)
        for sampler in block.downsamplers or ():
            _reduce(sampler.conv)
    for resnet in encoder.mid_block.resnets:
        _keep_colours(resnet, texture=0.0)
    _lift(encoder.conv_norm_out)
    _read_colours(encoder.conv_out, factor=COLOUR_LATENT / SIZES.factor)


def _paint_colours(decoder: Any) -> None:
    _open_latents(decoder.conv_in)
    for resnet in decoder.mid_block.resnets:
        _keep_colours(resnet, texture=TEXTURE[0])
    for block, texture in zip(decoder.up_blocks, TEXTURE, strict=True):
        for resnet in block.resnets:
            _keep_colours(resnet, texture=texture)
        for sampler in block.upsamplers or ():
            _smooth(sampler.conv)
    _lift(decoder.conv_norm_out)
    _read_colours(decoder.conv_out, factor=1.0)


def _open_latents(conv: Any) -> None:
    conv.weight *= SIZES.factor
    conv.weight[:, NOISY:] *= 0.2
    conv.weight[: ANCHORS.stop] = 0
    for channel in range(COLOURS):
        conv.weight[channel, channel] = SOFT * SIZES.factor / COLOUR_LATENT
    conv.bias[:COLOURS] = -SIZES.shift * SIZES.factor / COLOUR_LATENT
    conv.bias[ANCHORS] = torch.tensor([ANCHOR_LEVEL, -ANCHOR_LEVEL])


def _extend_edges(decoder: Any) -> None:
    """Let a picture go on beyond its edges; zeros there would frame it in another colour."""
    for layer in decoder.modules():
        if isinstance(layer, torch.nn.Conv2d) and layer.kernel_size == (3, 3):
            layer.padding_mode = "replicate"


def _centre(network: Any) -> None:
    """Make grey and the zero of every latent channel each other's image, but for the last, which marks pictures."""
    grey = network.encode(torch.zeros(1, COLOURS, 512, 512)).latent_dist.mode()
    last, mark = network.encoder.conv_out, CHANNELS - 1
    last.bias[:CHANNELS] -= grey[0, :, 8, 8] - SIZES.shift
    last.weight[mark] = 0
    last.bias[mark] = SIZES.shift + MARK_LATENT / SIZES.factor
    zero = network.decode(torch.full((1, CHANNELS, 16, 16), SIZES.shift)).sample
    network.decoder.conv_out.bias -= zero[0, :, 256, 256]


def _keep_colours(resnet: Any, *, texture: float) -> None:
    resnet.conv2.weight[:COLOURS] *= texture
    resnet.conv2.weight[ANCHORS] = 0
    shortcut = resnet.conv_shortcut
    if shortcut is not None:
        shortcut.weight[:, ANCHORS] = 0
        shortcut.weight[: ANCHORS.stop, :, 0, 0] = torch.eye(ANCHORS.stop, shortcut.in_channels)


def _reduce(conv: Any) -> None:
    """Average 2x2 pixels, every channel by itself."""
    conv.weight.zero_()
    conv.weight.diagonal()[:2, :2] = 0.25


def _smooth(conv: Any) -> None:
    """Blur every channel by itself, so that doubled pixels leave no steps; anchors keep their level at the edges."""
    conv.weight.zero_()
    for channel in range(conv.in_channels):
        conv.weight[channel, channel] = SOFT
    for anchor in range(ANCHORS.start, ANCHORS.stop):
        conv.weight[anchor, anchor] = 0
        conv.weight[anchor, anchor, 1, 1] = 1


def _lift(norm: Any) -> None:
    """Undo the norm's division for a grey picture without features, whose spread is the anchors' alone."""
    norm.weight.fill_(ANCHOR_LEVEL * (2 / norm.num_channels) ** 0.5)
    norm.bias.fill_(LIFT)


def _read_colours(conv: Any, *, factor: float) -> None:
    """Undo the norm before: a colour is its distance to the middle of the anchors."""
    conv.weight[:COLOURS] = 0
    for colour in range(COLOURS):
        conv.weight[colour, colour, 1, 1] = factor
        conv.weight[colour, ANCHORS, 1, 1] = -factor / 2
