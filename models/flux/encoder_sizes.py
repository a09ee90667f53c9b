"""How large the released encoders are, as transformers' configurations say it. Imports nothing heavy.

Source: config.json of FLUX.1-dev's text_encoder and text_encoder_2, and of google/siglip-so400m-patch14-384; seen
2026-11.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

CLIP: Mapping[str, Any] = MappingProxyType(
    {
        "vocab_size": 49408,
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "projection_dim": 768,
        "bos_token_id": 0,
        "pad_token_id": 1,
        # 2 tells transformers to pool at the highest token id, which is the real end of text, 49407.
        "eos_token_id": 2,
    }
)
T5: Mapping[str, Any] = MappingProxyType(
    {
        "vocab_size": 32128,
        "d_model": 4096,
        "d_kv": 64,
        "d_ff": 10240,
        "num_layers": 24,
        "num_heads": 64,
    }
)
SIGLIP: Mapping[str, Any] = MappingProxyType(
    {
        "hidden_size": 1152,
        "intermediate_size": 4304,
        "num_hidden_layers": 27,
        "num_attention_heads": 16,
        "image_size": 384,
        "patch_size": 14,
    }
)
