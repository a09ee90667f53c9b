"""What an operator may choose about how released weights compute; plain values that every floor may hold.

Checked where they are read; put into effect by ``models.flux.speed``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

Attention: TypeAlias = Literal["auto", "flash", "efficient", "math", "cudnn"]
Precision: TypeAlias = Literal["bf16", "fp8"]
TextDevice: TypeAlias = Literal["same", "cpu"]


class UnusableChoice(ValueError):
    """A choice cannot be put into effect on this device; says which, and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeedOptions:
    """The choices; the defaults are exact and compile nothing."""

    #: What computes attention.
    attention: Attention = "auto"
    #: What the weights of the blocks are kept in; ``fp8`` is lossy.
    precision: Precision = "bf16"
    #: Whether the blocks are compiled, which takes minutes at the first start.
    compiles: bool = False
    #: Where what was compiled is found again; None leaves it to torch.
    compile_cache: Path | None = None
    #: Where T5 lies and computes: on the device of the others, or on the CPU, which takes seconds a prompt.
    text: TextDevice = "same"

    @property
    def fp8(self) -> bool:
        """Whether the weights of the blocks are 8-bit floats."""
        return self.precision == "fp8"
