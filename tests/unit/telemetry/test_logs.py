"""Log events as one JSON line each, on standard error."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import Any

import pytest
import structlog

from deployments.telemetry.logs import configure_logging

log = structlog.get_logger()


def divide(prompt: str) -> None:
    """Fail and log it, as a caller of ours would."""
    try:
        divmod(len(prompt), 0)
    except ZeroDivisionError:
        log.exception("call_failed")


def fail(words: str) -> None:
    """Fail in some words."""
    raise ValueError(words)


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


def test_no_event_holds_a_secret(capsys: pytest.CaptureFixture[str]) -> None:
    """Known secrets, named ones and those in a traceback are hidden; the rest of the event is as it was."""
    configure_logging(secrets=["correct-horse-battery"])

    log.info("key_shown", headers={"Authorization": "Bearer abcdefgh1234"}, prompt="a mug", task_id="7")
    try:
        fail("correct-horse-battery at https://b.example/k?X-Amz-Signature=0badc0de")
    except ValueError:
        log.exception("call_failed")

    first, second = events(capsys)
    assert (first["headers"], first["prompt"], first["task_id"]) == ({"Authorization": "[hidden]"}, "[hidden]", "7")
    assert "ValueError: [hidden] at https://b.example/k?[hidden]" in second["exception"]


def test_no_record_of_a_library_holds_a_secret(caplog: pytest.LogCaptureFixture) -> None:
    """Whether it lies in the message, in its arguments, in both together, or in a traceback."""
    configure_logging()
    library = logging.getLogger("library")

    library.warning("https://b.example/k?X-Amz-Signature=0badc0de")
    library.warning("Authorization: %s", "0badc0de")
    library.warning('"%s %s" %d', "GET", "/x?token=0badc0de", 200)
    try:
        fail("password=0badc0de")
    except ValueError:
        library.exception("failed")

    assert caplog.text.count("[hidden]") == 5
    assert "0badc0de" not in caplog.text


def test_what_a_formatter_looks_for_is_still_there(caplog: pytest.LogCaptureFixture) -> None:
    """A web server's log of calls keeps the parts of its message, redacted one by one."""
    configure_logging()

    logging.getLogger("library").warning('%s - "%s %s" %d', "10.0.0.1", "GET", "/x?token=0badc0de", 200)

    assert caplog.records[-1].args == ("10.0.0.1", "GET", "/x?[hidden]", 200)
