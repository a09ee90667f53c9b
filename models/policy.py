"""Which samples step next: pure, told everything it needs."""

from __future__ import annotations

from collections.abc import Sequence

from models.sample import Sample


def choose_group(resident: Sequence[Sample], *, max_group: int) -> list[Sample]:
    """Choose the samples of the next step.

    The first leads and its likes follow, so no shape can starve another. FLUX fills a GPU with one large picture;
    finishing one early beats advancing all of them evenly.

    Args:
        resident: samples that still have steps to take, in the order in which they should; at least one.
        max_group: how many may share one transformer call.

    Returns:
        At least one sample, all of one shape.
    """
    leader = resident[0]
    alike = [sample for sample in resident if sample.shape == leader.shape]
    return alike[:max_group]
