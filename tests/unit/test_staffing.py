"""How many replicas are wanted, by model."""

from __future__ import annotations

from collections.abc import Mapping

from deployments.staffing import Staffing
from deployments.telemetry.instruments import value_of
from deployments.telemetry.metrics import REPLICAS_WANTED


async def targets() -> Mapping[str, int]:
    """Return what Serve would say of an application, its other deployments too."""
    return {"ingress": 2, "housekeeper": 1, "uno": 3, "both": 2}


async def test_every_model_is_wanted_by_all_that_hold_it() -> None:
    """A model's replicas are those of each deployment that holds it; one that Serve does not know of has none."""
    staffing = Staffing({"uno": ["uno"], "both": ["uno", "uso"], "new": ["uso"]}, targets=targets)

    wanted = await staffing.look_once()

    assert wanted == {"uno": 5, "uso": 2}
    assert value_of(REPLICAS_WANTED, model="uno") == 5
