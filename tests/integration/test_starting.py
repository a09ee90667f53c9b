"""What a replica finds out about its device before it claims anything, and says in its log and metrics."""

from __future__ import annotations

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from deployments.replica.starting import load_engine
from deployments.settings import Settings
from deployments.telemetry.instruments import value_of
from deployments.telemetry.metrics import SHARED_DIFFERENCE
from models.cost import cost_table
from models.sharing import Mode


@pytest.mark.parametrize(("mode", "part"), [(Mode.THROUGHPUT, 1.0), (Mode.EXACT, 0.0)])
def test_what_was_rehearsed_is_said(tmp_path: Path, mode: Mode, part: float) -> None:
    """Latents that shared a call may differ by what was seen at the start, in exact mode not at all; all is warmed."""
    settings = Settings(folder=tmp_path, engine_mode=mode, max_group=2, warm_sizes="128x192")

    with capture_logs() as events:
        engine = load_engine(["uno"], settings)

    [ready] = [event for event in events if event["event"] == "engine_ready"]
    assert engine.models == {"uno"}
    assert ["target_tokens=6" in shape for shape in ready["warmed"]] == [True, True]
    assert value_of(SHARED_DIFFERENCE) == part * ready["largest_difference"]
    assert ready["costs"] == cost_table().device
