"""UNO: pictures of given subjects, each of them a reference in the image stream.

Source: UNO (arXiv 2504.02160) and its published inference code, 2025.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from models.catalog import UNO
from models.flux.conditioning import ReferenceRule
from models.flux.pipeline import FluxPipeline
from models.flux.references import long_side
from models.request import Role

if TYPE_CHECKING:
    from models.flux.components import FluxComponents

#: One subject is seen larger than several are.
RULE = ReferenceRule(role=Role.SUBJECT, long_side=long_side, most=UNO.max_references[Role.SUBJECT])


class UnoPipeline(FluxPipeline):
    """FLUX with subjects; none at all is plain generation."""

    def __init__(self, components: FluxComponents) -> None:
        super().__init__(components, rule=RULE)
