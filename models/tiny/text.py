"""Small text encoders whose weights are strong enough that every byte of a prompt matters.

The networks are the real ones. Knows nothing of what is done with the features.
"""

from __future__ import annotations

import torch
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, T5Config, T5EncoderModel

from models.flux.text import TextEncoder, TextTower
from models.tiny.seeded import build, fill
from models.tiny.tokenizer import END, PAD, VOCABULARY, ByteTokenizer

#: Width of the features that T5 and CLIP hand over.
WIDTH = 32
T5_LAYERS = 5
#: Root mean square that each matrix gives its outputs; beyond 1, small differences between prompts grow by the layer.
T5_GAINS = {
    "*embed_tokens*": 5.6,
    "*relative_attention_bias*": 4.0,
    "*.q.weight": 0.6,
    "*.k.weight": 0.6,
    "*.o.weight": 2.0,
    # Each layer drowns the ones before, so their differences are amplified one after another.
    **{f"*block.{layer}.*.wo.weight": 4.0 * 3**layer for layer in range(T5_LAYERS)},
}
CLIP_GAINS = {
    "*embedding.weight": 5.6,
    "*out_proj.weight": 2.0,
    "*fc2.weight": 3.0,
}


def text_encoder(*, device: str) -> TextEncoder:
    """Build both text towers; each takes a byte as a token."""
    t5 = T5Config(
        vocab_size=VOCABULARY,
        d_model=WIDTH,
        d_kv=8,
        d_ff=64,
        num_layers=T5_LAYERS,
        num_heads=4,
        feed_forward_proj="gated-gelu",
        pad_token_id=PAD,
        eos_token_id=END,
    )
    clip = CLIPTextConfig(
        vocab_size=VOCABULARY,
        hidden_size=WIDTH,
        intermediate_size=64,
        num_hidden_layers=3,
        num_attention_heads=4,
        pad_token_id=PAD,
        bos_token_id=PAD,
        eos_token_id=END,
    )
    t5_network, clip_network = build(lambda: T5EncoderModel(t5)), build(lambda: CLIPTextModel(clip))
    with torch.no_grad():
        fill(t5_network, name="t5", gains=T5_GAINS)
        # Padding that says nothing itself carries what it hears of the prompt, from the first byte to the last.
        t5_network.shared.weight[PAD] = 0
        fill(clip_network, name="clip", gains=CLIP_GAINS)
    nn.ModuleList([t5_network, clip_network]).to(device)
    tokenizer = ByteTokenizer()
    return TextEncoder(
        t5=TextTower(tokenizer=tokenizer, network=t5_network, tokens=512),
        clip=TextTower(tokenizer=tokenizer, network=clip_network, tokens=77),
    )
