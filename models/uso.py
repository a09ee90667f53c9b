"""USO: pictures with the content of one reference and the style of others.

The content joins the image stream as a subject of UNO does; styles go through SigLIP into the text stream.
Source: USO (arXiv 2508.18966) and its published inference code, 2025.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from models.catalog import USO
from models.flux.conditioning import ReferenceRule
from models.flux.pipeline import FluxPipeline
from models.flux.references import LONG_SIDE_ALONE, USO_SPARED
from models.request import Role

if TYPE_CHECKING:
    from models.flux.components import FluxComponents


def _long_side(_count: int) -> int:
    return LONG_SIDE_ALONE


RULE = ReferenceRule(role=Role.CONTENT, long_side=_long_side, most=USO.max_references[Role.CONTENT], spared=USO_SPARED)


class UsoPipeline(FluxPipeline):
    """FLUX with a content picture and style pictures, either, both or neither."""

    def __init__(self, components: FluxComponents) -> None:
        super().__init__(components, rule=RULE)
