"""Log events as one JSON line each, on standard error."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import structlog

from deployments.telemetry import configure_logging

log = structlog.get_logger()


@pytest.fixture(autouse=True)
def plain_logs_afterwards() -> Iterator[None]:
    """Undo what a test configures, for logging is one for the whole process."""
    yield
    structlog.reset_defaults()


def divide(prompt: str) -> None:
    """Fail and log it, as a caller of ours would."""
    try:
        divmod(len(prompt), 0)
    except ZeroDivisionError:
        log.exception("call_failed")


def events(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """Return what was logged so far; nothing of it may be on standard output."""
    written = capsys.readouterr()
    assert written.out == ""
    return [json.loads(line) for line in written.err.splitlines()]


def test_an_event_is_one_line_with_its_fields(capsys: pytest.CaptureFixture[str]) -> None:
    """An event carries its name, its level and its fields, whatever text they hold."""
    configure_logging()

    log.info("task_claimed", task_id="1", note="two\nlines “ü”", waited_s=0.5)

    [event] = events(capsys)
    assert event.pop("timestamp")
    assert event == {
        "event": "task_claimed",
        "level": "info",
        "task_id": "1",
        "note": "two\nlines “ü”",
        "waited_s": 0.5,
    }


def test_an_event_says_when_in_utc(capsys: pytest.CaptureFixture[str]) -> None:
    """The time of an event is aware and in UTC, so that events of all machines sort."""
    configure_logging()

    log.warning("task_lost")

    assert datetime.fromisoformat(events(capsys)[0]["timestamp"]).tzinfo == UTC


def test_a_failure_brings_its_traceback_without_its_variables(capsys: pytest.CaptureFixture[str]) -> None:
    """The stack of calls is in the event, and none of the values that were in them, which may be a prompt."""
    configure_logging()

    divide("a secret " + "mug")

    [event] = events(capsys)
    assert "ZeroDivisionError" in event["exception"]
    assert "in divide" in event["exception"]
    assert "a secret mug" not in json.dumps(event)


def test_what_is_below_the_level_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    """Debug events are dropped unless they are asked for."""
    configure_logging()
    log.debug("first")

    configure_logging(level=logging.DEBUG)
    log.debug("second")

    assert [event["event"] for event in events(capsys)] == ["second"]


def test_what_is_bound_to_the_context_is_in_every_event(capsys: pytest.CaptureFixture[str]) -> None:
    """Fields that were bound for a while are in each event of that while."""
    configure_logging()

    with structlog.contextvars.bound_contextvars(replica="r1"):
        log.info("one")
    log.info("two")

    assert [event.get("replica") for event in events(capsys)] == ["r1", None]
