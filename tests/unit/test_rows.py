"""Delivered pictures as JSON in their task's row."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest

from deployments.tasks.rows import write_outputs
from deployments.tasks.task import Output

PLAIN = Output(sink="files", value="a.jpg", content_type="image/jpeg", size_bytes=9, sha256="00", seed=7)


def test_what_was_not_said_is_not_written() -> None:
    """A picture that was sent nowhere and checked by nobody is written as servers of before wrote it."""
    [members] = json.loads(write_outputs((PLAIN,)))

    assert set(asdict(PLAIN)) - set(members) == {"sent_status", "sent_etag", "sent_at_s", "is_unsafe"}
    assert Output(**members) == PLAIN


@pytest.mark.parametrize("is_unsafe", [True, False])
def test_a_verdict_is_read_back(*, is_unsafe: bool) -> None:
    """Flagged and harmless pictures are told apart from those that nobody has looked at."""
    judged = Output(**(asdict(PLAIN) | {"is_unsafe": is_unsafe}))

    [members] = json.loads(write_outputs((judged,)))

    assert Output(**members) == judged
