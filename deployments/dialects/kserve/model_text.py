"""What a client is told of the models: their tensors, their configuration and what they have done.

The tensors that are described here are the ones that ``tensors.py`` accepts, so a description cannot be wrong.
Source: KServe Open Inference Protocol v2, REST, and Triton's extensions for model configuration and statistics, seen
2026-11.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from deployments.operations.outcome import ModelStatistics, Statistics
from models.catalog import CATALOG

#: The only version of every model; a model that draws other pictures would be another one.
VERSION = "1"
#: What the server and the models' platform are called.
PLATFORM = "uxo-serve"

_NS_PER_MS = 1_000_000
#: Triton's words for the types of tensors in a model's configuration, where they are not ``TYPE_`` and the same word.
_CONFIG_TYPES: Mapping[str, str] = MappingProxyType({"BYTES": "TYPE_STRING"})


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorText:
    """What is told of one tensor."""

    #: Its name.
    name: str
    #: KServe's word for its elements.
    datatype: str
    #: Its shape; -1 stands for any length.
    shape: tuple[int, ...]
    #: Whether a call may leave it out.
    is_optional: bool = True

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Whether a tensor of this shape is taken; one picture may come without the axis that counts pictures."""
        wanted = self.shape[-3:] if len(self.shape) == 4 and len(shape) == 3 else self.shape
        return len(shape) == len(wanted) and all(
            length > 0 and want in (-1, length) for length, want in zip(shape, wanted, strict=True)
        )


#: What every model takes.
INPUTS: Mapping[str, TensorText] = MappingProxyType(
    {
        text.name: text
        for text in (
            TensorText(name="prompt", datatype="BYTES", shape=(1,), is_optional=False),
            TensorText(name="images", datatype="BYTES", shape=(-1,)),
            TensorText(name="image_pixels", datatype="UINT8", shape=(-1, -1, -1, 3)),
            TensorText(name="negative_prompt", datatype="BYTES", shape=(1,)),
            TensorText(name="seed", datatype="INT64", shape=(1,)),
            TensorText(name="width", datatype="INT32", shape=(1,)),
            TensorText(name="height", datatype="INT32", shape=(1,)),
            TensorText(name="num_images", datatype="INT32", shape=(1,)),
            TensorText(name="num_inference_steps", datatype="INT32", shape=(1,)),
            TensorText(name="guidance_scale", datatype="FP32", shape=(1,)),
            TensorText(name="output_format", datatype="BYTES", shape=(1,)),
        )
    }
)
#: What every model gives; ``pixels`` only to those who ask for it.
OUTPUTS: Mapping[str, TensorText] = MappingProxyType(
    {
        text.name: text
        for text in (
            TensorText(name="images", datatype="BYTES", shape=(-1,)),
            TensorText(name="seed", datatype="INT64", shape=(-1,)),
            TensorText(name="pixels", datatype="UINT8", shape=(-1, -1, -1, 3)),
        )
    }
)


def server_metadata() -> dict[str, Any]:
    """Describe the server."""
    extensions = ["binary_tensor_data", "model_configuration", "statistics"]
    return {"name": PLATFORM, "version": VERSION, "extensions": extensions}


def model_metadata(name: str) -> dict[str, Any]:
    """Describe a model's tensors."""
    return {
        "name": name,
        "versions": [VERSION],
        "platform": PLATFORM,
        "inputs": _tensors(INPUTS.values()),
        "outputs": _tensors(OUTPUTS.values()),
    }


def _tensors(texts: Iterable[TensorText]) -> list[dict[str, Any]]:
    return [{"name": text.name, "datatype": text.datatype, "shape": list(text.shape)} for text in texts]


def model_config(name: str) -> dict[str, Any]:
    """Describe a model as Triton's configuration does; a batch size of 0 means that shapes have no batch axis."""
    return {
        "name": name,
        "platform": PLATFORM,
        "backend": PLATFORM,
        "version_policy": {"latest": {"num_versions": 1}},
        "max_batch_size": 0,
        "input": [_configured(text) | {"optional": text.is_optional} for text in INPUTS.values()],
        "output": [_configured(text) for text in OUTPUTS.values()],
        "model_transaction_policy": {"decoupled": False},
    }


def _configured(text: TensorText) -> dict[str, Any]:
    data_type = _CONFIG_TYPES.get(text.datatype, f"TYPE_{text.datatype}")
    return {"name": text.name, "data_type": data_type, "dims": list(text.shape)}


def repository_index() -> list[dict[str, Any]]:
    """List the models."""
    return [{"name": name, "version": VERSION, "state": "READY", "reason": ""} for name in CATALOG]


def statistics(counted: Statistics, only: str | None) -> dict[str, Any]:
    """Write what the models have done, or one of them."""
    names = CATALOG if only is None else [only]
    return {"model_stats": [_model_statistics(name, counted.models.get(name, _NOTHING_YET)) for name in names]}


_NOTHING_YET = ModelStatistics(
    queued=0, running=0, succeeded=0, failed=0, inference_ms=0, waited_ms=0, last_ended_at=None
)


def _model_statistics(name: str, done: ModelStatistics) -> dict[str, Any]:
    ended_at = done.last_ended_at
    return {
        "name": name,
        "version": VERSION,
        "last_inference": 0 if ended_at is None else round(ended_at.timestamp() * 1000),
        "inference_count": done.succeeded,
        "execution_count": done.succeeded,
        "inference_stats": {
            "success": _duration(done.succeeded, done.waited_ms + done.inference_ms),
            "fail": _duration(done.failed, 0),
            "queue": _duration(done.succeeded, done.waited_ms),
            "compute_input": _duration(done.succeeded, 0),
            "compute_infer": _duration(done.succeeded, done.inference_ms),
            "compute_output": _duration(done.succeeded, 0),
            "cache_hit": _duration(0, 0),
            "cache_miss": _duration(0, 0),
        },
        "batch_stats": [],
    }


def _duration(count: int, total_ms: int) -> dict[str, int]:
    return {"count": count, "ns": total_ms * _NS_PER_MS}
