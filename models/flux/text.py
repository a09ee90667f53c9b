"""Prompts turned into what FLUX listens to: T5 features of every token and one pooled CLIP vector.

Knows two encoders and two tokenizers that were built elsewhere; fetches nothing by itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from torch import Tensor

if TYPE_CHECKING:
    from transformers import CLIPTextModel, T5EncoderModel


class Tokenizer(Protocol):
    """What is used of a transformers tokenizer."""

    def __call__(
        self, text: list[str], *, padding: str, truncation: bool, max_length: int, return_tensors: str
    ) -> Mapping[str, Tensor]:
        """Return ``input_ids`` of shape (batch, max_length)."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TextFeatures:
    """What the transformer is told of a batch of prompts."""

    #: (batch, tokens, width) of T5's last hidden state, in T5's dtype.
    features: Tensor
    #: (batch, width) of CLIP's pooled output, in CLIP's dtype.
    pooled: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class TextTower:
    """One text encoder, the tokenizer it was trained with, and how many tokens it is always given."""

    #: Turns text into token ids.
    tokenizer: Tokenizer
    #: Turns token ids into features.
    network: CLIPTextModel | T5EncoderModel
    #: Every prompt is padded or cut to this many tokens.
    tokens: int

    def tokenize(self, prompts: Sequence[str]) -> Tensor:
        """Return (batch, tokens) token ids on the encoder's device."""
        encoded = self.tokenizer(
            list(prompts), padding="max_length", truncation=True, max_length=self.tokens, return_tensors="pt"
        )
        return encoded["input_ids"].to(self.network.device)


class TextEncoder:
    """Encode prompts with T5 and CLIP.

    Padding is not masked, in neither encoder: the weights were trained to see it, and every prompt is then equally
    long, so prompts never keep samples from stepping together.

    Source: FLUX.1, UNO and USO, published inference code, 2024 and 2025: 512 and 77 tokens.
    """

    def __init__(self, *, t5: TextTower, clip: TextTower) -> None:
        self._t5 = t5
        self._clip = clip

    def keep_t5_on_cpu(self) -> None:
        """Move T5, by far the larger of the two, off the device; it computes where it lies."""
        self._t5.network.cpu()

    def encode(self, prompts: Sequence[str]) -> TextFeatures:
        """Encode a batch of prompts; an empty prompt is an ordinary text of padding."""
        features = self._t5.network(input_ids=self._t5.tokenize(prompts)).last_hidden_state
        pooled = self._clip.network(input_ids=self._clip.tokenize(prompts)).pooler_output
        return TextFeatures(features=features, pooled=pooled)
