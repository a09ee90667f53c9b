"""WaveSpeedAI's words for our models, states and faults; one table each, read in both directions."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from deployments.errors import FaultKind
from deployments.tasks.task import TaskState
from models.catalog import UNO, USO

#: The dialect's name, stored with its tasks.
NAME = "wavespeed"

#: The vendor's name of each model, by its catalog name.
VENDOR_NAMES: Mapping[str, str] = MappingProxyType({UNO.name: "wavespeed-ai/uno", USO.name: "bytedance/uso"})
#: The same the other way round.
CATALOG_NAMES: Mapping[str, str] = MappingProxyType({vendor: name for name, vendor in VENDOR_NAMES.items()})

#: The clients keep polling on any word they do not know, so there must be no others.
STATUS: Mapping[TaskState, str] = MappingProxyType(
    {
        TaskState.QUEUED: "created",
        TaskState.RUNNING: "processing",
        TaskState.SUCCEEDED: "completed",
        TaskState.FAILED: "failed",
        TaskState.CANCELLED: "cancelled",
    }
)
#: The same the other way round.
STATES: Mapping[str, TaskState] = MappingProxyType({status: state for state, status in STATUS.items()})

#: The ``code`` of a task that was not done in time, and of one that goes on while its caller no longer waits.
TIMED_OUT = 5004
#: Why a task failed, as its ``code`` says it. A refusal has no such code: its ``code`` is its HTTP status.
FAULT_CODES: Mapping[FaultKind, int] = MappingProxyType(
    {
        FaultKind.REFUSED: 1401,
        FaultKind.REFERENCE_UNREACHABLE: 1402,
        FaultKind.REFERENCE_UNUSABLE: 1402,
        FaultKind.UPLOAD_FAILED: 1403,
        FaultKind.QUARANTINED: 1403,
        FaultKind.ENGINE_FAILED: 5000,
        FaultKind.TOO_LATE: TIMED_OUT,
    }
)
