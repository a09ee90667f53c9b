"""The pictures that are measured, their tokens and their floating point operations; pure arithmetic."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from loadtest.flux_pair import TOKEN_SIDE

#: Sides of a square reference, in tokens, that is alone and that is one of several; see ``models.flux.references``.
LONE, ONE_OF_MANY = 512 // TOKEN_SIDE, 320 // TOKEN_SIDE

#: FLUX.1-dev. Source: config.json of its transformer, seen 2026-11.
FULL: Mapping[str, Any] = MappingProxyType({"guidance_embeds": True})
#: As deep as it has to be to have every kind of block; for a CPU.
SMALL: Mapping[str, Any] = MappingProxyType(
    {
        "num_layers": 1,
        "num_single_layers": 2,
        "attention_head_dim": 16,
        "num_attention_heads": 2,
        "joint_attention_dim": 24,
        "pooled_projection_dim": 20,
        "guidance_embeds": True,
        "axes_dims_rope": (4, 6, 6),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A square picture and its references."""

    #: Of the picture, in pixels.
    side: int
    #: How many references.
    references: int
    #: Of each reference, in tokens; 0 means as UNO takes them.
    reference_side: int = 0

    @property
    def name(self) -> str:
        """Write it as people do."""
        return f"{self.side}x{self.side}, {self.references} references"

    @property
    def grid(self) -> tuple[int, int]:
        """Return the picture's rows and columns of tokens."""
        return self.side // TOKEN_SIDE, self.side // TOKEN_SIDE

    @property
    def reference_grids(self) -> tuple[tuple[int, int], ...]:
        """Return every reference's rows and columns of tokens."""
        side = self.reference_side or (LONE if self.references == 1 else ONE_OF_MANY)
        return ((side, side),) * self.references


#: Dearest to know first, since a deadline drops the last.
SHAPES = tuple(Shape(side=side, references=count) for side, count in ((1024, 0), (1024, 1), (512, 1), (512, 0)))
SHAPES += tuple(Shape(side=side, references=4) for side in (1024, 512))
SMALL_SHAPES = tuple(Shape(side=32, references=count, reference_side=1) for count in (0, 4))
#: Pictures that step together, and how many: what a table needs to tell a row from a call.
GROUPS = tuple((Shape(side=side, references=0), count) for side in (512, 1024) for count in (2, 4))
SMALL_GROUPS = ((SMALL_SHAPES[0], 2),)


def flops(config: Any, tokens: int) -> float:
    """Count the floating point operations of one step, as they are usually told: with every row of the last block.

    Args:
        config: the transformer's configuration.
        tokens: of the whole sequence.

    Source: per token and block, 12 products of a width by a width; attention, 2 of tokens by tokens by a width.
    """
    width = config.num_attention_heads * config.attention_head_dim
    blocks = config.num_layers + config.num_single_layers
    return float(2 * 12 * width**2 * blocks * tokens + 4 * width * blocks * tokens**2)
