"""From a catalog entry to a pipeline that is ready to step.

Imports nothing heavy by itself: torch arrives with the first ``load_pipeline``, inside a replica.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import resolve_name
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from models.catalog import ModelSpec
    from models.pipeline import Pipeline

#: The value of ``UXO_WEIGHTS`` that stands for small random weights made on the spot.
TINY = "tiny"


def load_pipeline(spec: ModelSpec, *, weights: str, device: str) -> Pipeline:
    """Build a model's pipeline.

    Args:
        spec: which model.
        weights: ``tiny``, or a folder that holds the checkpoint.
        device: a torch device name.

    Raises:
        ValueError: for weights that this version cannot load.
    """
    if weights != TINY:
        raise ValueError(f"UXO_WEIGHTS={weights!r} cannot be loaded yet; use UXO_WEIGHTS={TINY}")
    components = import_module("models.tiny").components(spec.name, device=device)
    pipeline: Pipeline = resolve_name(spec.pipeline)(components)
    return pipeline
