"""What a load sees in answers, held against what the service itself answers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from dialect_golden import BASE_URL, MakeTask, made_call, made_outcome

from deployments.dialects import DIALECTS
from deployments.dialects.dialect import Event
from deployments.operations.outcome import BatchOutcome, PartOutcome, TaskOutcome
from loadtest.openloop.speech import SPEECHES, Ask, State, speech_of

TASK_UUID = "a770f077-f413-47de-9dac-be0b26a35da6"
LINKS = tuple(f"https://pictures.test/{number}.jpg" for number in range(4))


def answered(dialect: str, ask: Ask, outcome: TaskOutcome) -> tuple[int, Mapping[str, Any]]:
    """Return status and body of the service's answer to a call about a task."""
    body = {"json": json.loads(ask.body)} if ask.body else {}
    written = {"method": ask.method, "path": ask.path, "headers": {"authorization": "Bearer KEY"}, **body}
    route, call = made_call(DIALECTS[dialect], written)
    operation = DIALECTS[dialect].parse(route, call)
    parts = [PartOutcome(notes=part.notes, outcome=outcome) for part in getattr(operation, "parts", ())]
    reply = DIALECTS[dialect].render(BatchOutcome(parts=tuple(parts)) if parts else outcome, call)
    return reply.status, json.loads(reply.body)


def success(links: tuple[str, ...], make_task: MakeTask) -> TaskOutcome:
    """Make the outcome of a task that was asked for two pictures and has these."""
    task = {"state": "succeeded", "outputs": [{}] * len(links), "notes": {"numberResults": "2", "taskUUID": TASK_UUID}}
    outcome = made_outcome({"task": task, "pictures": links}, make_task)
    assert isinstance(outcome, TaskOutcome)
    return outcome


@pytest.mark.parametrize("dialect", SPEECHES)
@pytest.mark.parametrize(
    ("links", "pictures"),
    [((), 0), (LINKS[:1], 1), (LINKS, 4), ((LINKS[0], LINKS[0]), 1), (("", "none"), 0)],
    ids=["none", "one", "all", "the same twice", "no links"],
)
def test_the_pictures_of_a_success_are_counted(
    dialect: str, links: tuple[str, ...], pictures: int, make_task: MakeTask
) -> None:
    """What a dialect says of a success has so many pictures as there are different links in it."""
    speech, outcome = speech_of(dialect), success(links, make_task)

    seen = speech.seen(*answered(dialect, speech.reading(TASK_UUID), outcome))
    showing = speech.showing(TASK_UUID)

    assert seen is not None
    assert seen.state is State.SUCCEEDED
    assert (speech.shown(answered(dialect, showing, outcome)[1]) if showing else seen.pictures) == pictures


@pytest.mark.parametrize("dialect", SPEECHES)
def test_why_a_task_failed_is_told(dialect: str, make_task: MakeTask) -> None:
    """The service's own words for a failure are those of the report."""
    fault = {"kind": "engine_failed", "message": "the device is on fire"}
    outcome = made_outcome({"task": {"state": "failed", "fault": fault}}, make_task)
    assert isinstance(outcome, TaskOutcome)

    seen = speech_of(dialect).seen(*answered(dialect, speech_of(dialect).reading(TASK_UUID), outcome))

    assert seen is not None
    assert seen.state is State.FAILED
    assert "the device is on fire" in seen.message


@pytest.mark.parametrize("dialect", ["wavespeed", "fal"])
def test_the_pictures_of_a_webhook_are_counted(dialect: str, make_task: MakeTask) -> None:
    """A webhook that tells of a success shows its pictures; Runware's tell of one each and are not counted."""
    event = Event(id="e1", outcome=success(LINKS[:2], make_task), base_url=BASE_URL)

    told = speech_of(dialect).told(json.loads(DIALECTS[dialect].write_event(event)))  # type: ignore[attr-defined] # both tell of ends

    assert told is not None
    assert (told[1].state, told[1].pictures) == (State.SUCCEEDED, 2)
