"""Adds up what each model has done. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from deployments.operations.outcome import ModelStatistics, Statistics
from deployments.tasks.task import TaskState
from models.catalog import CATALOG

if TYPE_CHECKING:
    from deployments.tasks.views import StateCount


def statistics_of(counts: Mapping[tuple[str, TaskState], StateCount]) -> Statistics:
    """Write counts by model and state as what each model of the catalog has done."""
    return Statistics(models={model: _of(model, counts) for model in CATALOG})


def _of(model: str, counts: Mapping[tuple[str, TaskState], StateCount]) -> ModelStatistics:
    number = {state: counts[model, state].tasks if (model, state) in counts else 0 for state in TaskState}
    good = counts.get((model, TaskState.SUCCEEDED))
    ends = [each.finished_at for (name, _), each in counts.items() if name == model and each.finished_at]
    return ModelStatistics(
        queued=number[TaskState.QUEUED],
        running=number[TaskState.RUNNING],
        succeeded=number[TaskState.SUCCEEDED],
        failed=number[TaskState.FAILED],
        inference_ms=good.inference_ms if good else 0,
        waited_ms=good.waited_ms if good else 0,
        last_ended_at=max(ends, default=None),
    )
