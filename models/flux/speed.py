"""What an operator may choose about how fast released weights compute, and where that is put into effect.

    LoRAs merged ──► layers fused ──► weights quantised ──► blocks compiled          text encoder: device or CPU

Knows the names of the choices, not where they are read. Everything but 8-bit weights is exact up to rounding.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import torch
from diffusers.models.attention_dispatch import dispatch_attention_fn

from models.flux.blocks import double_block, last_block, single_block
from models.flux.fusing import fuse
from models.flux.quantising import quantise_blocks
from models.options import UnusableChoice

if TYPE_CHECKING:
    from models.flux.components import FluxComponents
    from models.flux.transformer import UxoTransformer
    from models.options import Attention, SpeedOptions

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

#: Diffusers' names of the ways to attend that an operator may choose; ``auto`` leaves it to torch.
ATTENTION: Mapping[str, str | None] = MappingProxyType(
    {
        "auto": None,
        "flash": "_native_flash",
        "efficient": "_native_efficient",
        "math": "_native_math",
        "cudnn": "_native_cudnn",
    }
)
#: Tokens that sequences are filled up to where blocks are compiled: few lengths then, for 2 % more work.
#: Source: counted over a mix of reference sizes, 2026: 256 wastes 1.8 %, 128 wastes 1.1 %, with about 16 graphs.
TOKEN_BUCKET = 256
#: Graphs of one kind of block that may come to be; a call that would need another fails, so there is room for every
#: bucket beside every size of group.
GRAPHS = 256


def apply(parts: Iterable[FluxComponents], options: SpeedOptions) -> None:
    """Put the choices into effect for the models of one device, which may share parts."""
    for each in parts:
        check_attention(options.attention, device=each.device, dtype=each.dtype)
        speed_up(each.transformer, options)
        if options.text == "cpu":
            each.text.keep_t5_on_cpu()


def check_attention(choice: Attention, *, device: torch.device, dtype: torch.dtype) -> None:
    """Attend once, to see whether the device can in this way.

    Raises:
        UnusableChoice: when it cannot; auto always can.
    """
    heads = torch.zeros(1, 16, 1, 128, device=device, dtype=dtype)
    try:
        dispatch_attention_fn(heads, heads, heads, backend=ATTENTION[choice])
    except RuntimeError as error:
        others = ", ".join(name for name in ATTENTION if name != choice)
        raise UnusableChoice(
            f"UXO_ATTENTION={choice!r} cannot be used: {device} has no such attention; choose of {others}"
        ) from error


def speed_up(transformer: UxoTransformer, options: SpeedOptions) -> None:
    """Put the choices about a transformer into effect; its LoRA is merged already."""
    fuse(transformer)
    transformer.attention_backend = ATTENTION[options.attention]
    if options.fp8:
        quantise_blocks(transformer)
    if options.compiles:
        compile_blocks(transformer, cache=options.compile_cache)


def compile_blocks(
    transformer: UxoTransformer, *, cache: Path | None = None, backend: str | Callable[..., Any] = "inductor"
) -> None:
    """Compile the arithmetic of the blocks, one graph for all blocks of a kind; lengths become symbols as they vary.

    Args:
        transformer: fused and, if so wished, quantised.
        cache: a folder where what was compiled is found again by the next process; None keeps it where torch likes.
        backend: what makes code of the graphs.
    """
    if cache is not None:
        # Torch's compiler has no other way to be told.
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(cache.resolve())  # noqa: TID251 -- written, not read
    transformer.token_bucket = TOKEN_BUCKET
    transformer.run_double = compiled(double_block, backend=backend)
    transformer.run_single = compiled(single_block, backend=backend)
    transformer.run_last = compiled(last_block, backend=backend)


def compiled(
    function: Callable[Arguments, Result], *, backend: str | Callable[..., Any] = "inductor"
) -> Callable[Arguments, Result]:
    """Compile a function that may come to have ``GRAPHS`` graphs, whichever thread calls it."""
    run: Callable[Arguments, Result] = torch.compile(function, fullgraph=True, backend=backend)

    def call(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        # Torch keeps its settings thread by thread: what is set where weights are loaded holds nowhere else.
        torch._dynamo.config.recompile_limit = GRAPHS  # noqa: SLF001 -- where torch keeps it
        return run(*args, **kwargs)

    return call
