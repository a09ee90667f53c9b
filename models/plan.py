"""What released weights take of a GPU's memory, and how long its steps and pictures take; pure arithmetic.

Computed, not measured: bytes follow from the counts of parameters, times from a cost table: the usual one, scaled by
how fast a GPU multiplies matrices of bfloat16, or one that was fitted to such a GPU.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from models.catalog import CATALOG, MAX_IMAGES, MAX_SIDE, MAX_STEPS, ModelSpec
from models.cost import CostTable, cost_table, peak_bytes, rows_of, tokens_of
from models.options import SpeedOptions
from models.request import GenerationRequest, Reference, Role

#: Bytes of a number in bfloat16 and in float32.
BF16, F32 = 2, 4
#: Bytes of an 8-bit float.
FP8 = 1
#: Parameters of each part. Source: shapes of the released files; the tests count them again.
PARAMETERS: Mapping[str, int] = MappingProxyType(
    {
        "transformer": 11_901_408_320,
        "t5": 4_762_310_656,
        "clip": 123_060_480,
        "vae": 83_819_683,
        "siglip": 428_225_600,
        "projector": 10_773_120,
    }
)
#: Parameters of the transformer's matrices that a LoRA touches: 19 blocks with 8 and 38 with 3 and a long one.
TOUCHED = 19 * 8 * 3072**2 + 38 * (3 * 3072**2 + 3072 * 15360)
#: Parameters of the matrices that become 8-bit floats: as many as 12 of a width by a width in a single block, and in
#: each stream of a double one.
MATRICES = (19 * 24 + 38 * 12) * 3072**2
#: Parameters that a second model copies besides, since they are fused with what its LoRA touches: the first layer of
#: the MLP of every single block but the last.
FUSED_WITH = 37 * 4 * 3072**2
#: Parts that stay in float32.
WIDE = frozenset({"vae", "siglip"})
#: Parts that USO has besides.
STYLE_PARTS = frozenset({"siglip", "projector"})
#: Bytes kept free for what is in flight: a step's activations and a decode of 1024x1024 in float32, and the allocator's
#: own waste. An estimate; a decode of 2048x2048 takes about four times what it does at 1024x1024.
WORKING_BYTES = 6_000_000_000
#: Bytes that a process takes of a GPU before it has put anything there: CUDA's context and its libraries. An estimate.
CONTEXT_BYTES = 1_000_000_000


#: What is chosen about speed where nothing is.
USUAL = SpeedOptions()


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """One kind of GPU."""

    #: Its memory, in bytes.
    memory_bytes: int
    #: What it multiplies at most in bfloat16, in TFLOP/s, without sparsity.
    tflops: float


#: By the name that people give them. Source: NVIDIA's data sheets of each, seen 2026-11; SXM where there are several.
GPUS: Mapping[str, Gpu] = MappingProxyType(
    {
        "h200": Gpu(memory_bytes=141_000_000_000, tflops=989),
        "h100": Gpu(memory_bytes=80_000_000_000, tflops=989),
        "a100": Gpu(memory_bytes=80_000_000_000, tflops=312),
        "a100-40": Gpu(memory_bytes=40_000_000_000, tflops=312),
        "l40s": Gpu(memory_bytes=48_000_000_000, tflops=362),
        "a10g": Gpu(memory_bytes=24_000_000_000, tflops=70),
    }
)
#: The GPU that the usual cost table is about.
TABLES_GPU = "h100"
#: Sides of square pictures, and counts of references, that times are told of.
SIDES, REFERENCES = (512, 768, 1024, 1536, 2048), (0, 1, 4)


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """How long one kind of picture takes alone."""

    #: Width and height in pixels.
    side: int
    #: Subjects.
    references: int
    #: One denoising step, in milliseconds.
    step_ms: float
    #: A whole picture of 28 steps, from prompt to pixels, in seconds.
    picture_s: float


def memory(models: frozenset[str], options: SpeedOptions = USUAL) -> dict[str, int]:
    """Return the bytes of each part on the device when these models share it."""
    needed = PARAMETERS.keys() - (frozenset() if "uso" in models else STYLE_PARTS)
    parts = {part: PARAMETERS[part] * (F32 if part in WIDE else BF16) for part in PARAMETERS if part in needed}
    matrix_bytes = FP8 if options.fp8 else BF16
    parts["transformer"] -= MATRICES * (BF16 - matrix_bytes)
    if options.text == "cpu":
        del parts["t5"]
    copies = len(models) - 1
    # 8-bit matrices are made anew for each model, those that no LoRA touches too.
    copied = MATRICES if options.fp8 else TOUCHED + FUSED_WITH
    return parts | ({"second LoRA": copies * copied * matrix_bytes} if copies > 0 else {})


def loading_bytes(models: frozenset[str]) -> int:
    """Return the bytes on the device once all is loaded, before weights become 8-bit floats and T5 leaves."""
    return sum(memory(models).values()) + CONTEXT_BYTES


def working_bytes(models: frozenset[str], options: SpeedOptions = USUAL) -> int:
    """Return the bytes on the device while pictures are drawn, with what is kept free for what is in flight."""
    return sum(memory(models, options).values()) + WORKING_BYTES + CONTEXT_BYTES


def fits(models: frozenset[str], gpu: Gpu, options: SpeedOptions = USUAL) -> bool:
    """Whether these models can be loaded onto a GPU, and their weights then leave it room to work."""
    return max(working_bytes(models, options), loading_bytes(models)) <= gpu.memory_bytes


def request_room(models: frozenset[str], gpu: Gpu, options: SpeedOptions = USUAL) -> int:
    """Return the bytes of a GPU that are left beside the weights for a request; less than 1 where they do not fit."""
    return gpu.memory_bytes - sum(memory(models, options).values()) - CONTEXT_BYTES


def whole_gb(size_bytes: int) -> float:
    """Return bytes in GB, as far as they fill tenths of one: what a setting may promise of them."""
    return size_bytes // 10**8 / 10


def largest_bytes(models: Iterable[str]) -> int:
    """Return the bytes of a device that the largest request takes which any of these models accepts."""
    return max(peak_bytes(largest_request(CATALOG[name])) for name in models)


def largest_request(spec: ModelSpec) -> GenerationRequest:
    """Return the request that takes most of a device, of those that a model accepts."""
    return GenerationRequest(
        model=spec.name,
        prompt="",
        negative_prompt="fog",
        references=tuple(
            Reference(role=role, source="") for role, most in spec.max_references.items() for _ in range(most)
        ),
        width=MAX_SIDE,
        height=MAX_SIDE,
        num_images=MAX_IMAGES,
        num_inference_steps=MAX_STEPS,
        guidance_scale=spec.default_guidance,
        seed=0,
    )


def timings(gpu: Gpu, costs: CostTable | None = None) -> list[Timing]:
    """Return the times of every size and count of references.

    Args:
        gpu: which one.
        costs: a table that was measured on such a GPU; None: the usual one, scaled by how fast this one multiplies.
    """
    slower = GPUS[TABLES_GPU].tflops / gpu.tflops if costs is None else 1.0
    return [_timing(side, count, costs or cost_table(), slower=slower) for side in SIDES for count in REFERENCES]


def _timing(side: int, references: int, costs: CostTable, *, slower: float) -> Timing:
    request = _request(side, references)
    return Timing(
        side=side,
        references=references,
        step_ms=slower * costs.step(tokens_of(request), rows=rows_of(request)),
        picture_s=slower * costs.request(request) / 1e3,
    )


def _request(side: int, references: int) -> GenerationRequest:
    return GenerationRequest(
        model="uno",
        prompt="",
        references=(Reference(role=Role.SUBJECT, source=""),) * references,
        width=side,
        height=side,
        guidance_scale=4.0,
        seed=0,
    )
