"""Notes what a step of the engine says about itself; the engine knows no metric."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deployments.telemetry.metrics import (
    DECODE_SECONDS,
    ENCODINGS,
    GROUP_SIZE,
    RESIDENT_BYTES,
    RESIDENT_SAMPLES,
    STEP_GAP,
    STEP_SECONDS,
    shape_label,
)
from models.resident import tokens_of

if TYPE_CHECKING:
    from models.report import Content, StepReport, StepTime


def note_step(report: StepReport) -> None:
    """Note how long a step and the decoding after it took, and what the engine held then."""
    note_content(report.content)
    if report.timed is not None:
        _note_time(report.timed)
    if report.decode_s is not None:
        DECODE_SECONDS.observe(report.decode_s)


def _note_time(timed: StepTime) -> None:
    shape = timed.shape
    label = shape_label(tokens_of(shape), rows=shape.rows)
    STEP_SECONDS.observe(timed.seconds, model=shape.model, shape=label)
    GROUP_SIZE.observe(timed.group, model=shape.model)
    if timed.gap_s is not None:
        STEP_GAP.observe(timed.gap_s)


def note_content(content: Content) -> None:
    """Note what the engine holds."""
    RESIDENT_SAMPLES.set(content.samples)
    RESIDENT_BYTES.set(content.size_bytes)


def note_encoding(kind: str, is_hit: bool) -> None:  # noqa: FBT001 -- the fact that is heard
    """Note that something had to be encoded, and whether it was remembered."""
    ENCODINGS.add(kind=kind, outcome="hit" if is_hit else "miss")
