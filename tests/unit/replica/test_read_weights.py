"""What a replica says of the weights that it has read."""

from __future__ import annotations

from pathlib import Path

from structlog.testing import capture_logs

from deployments.replica.read_weights import ReadWeights
from models.loading import TINY, record


def test_what_nobody_recorded_is_named_once(tmp_path: Path) -> None:
    """Of the files that were read those are named that no record has; the tiny weights are made, and need none."""
    record(tmp_path, {tmp_path / "uno" / "dit_lora.safetensors": "a" * 64})
    read = ReadWeights()

    with capture_logs() as events:
        for file in ("uno/dit_lora.safetensors", "ae.safetensors", "tokenizer/vocab.json"):
            read.note(file, "a" * 64)
        read.warn(str(tmp_path))
        read.warn(TINY)

    assert [event["event"] for event in events] == ["weights_file_read"] * 3 + ["weights_unrecorded"]
    assert events[-1]["files"] == ["ae.safetensors", "tokenizer/vocab.json"]
    assert events[-1]["log_level"] == "warning"


def test_nothing_is_said_where_all_is_recorded(tmp_path: Path) -> None:
    """A record that names every file that was read is enough."""
    record(tmp_path, {tmp_path / "ae.safetensors": "a" * 64})
    read = ReadWeights()
    read.note("ae.safetensors", "a" * 64)

    with capture_logs() as events:
        read.warn(str(tmp_path))

    assert events == []
