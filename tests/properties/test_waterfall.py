"""Where the time of a task went: whatever was noted and whatever the clocks say, the parts are the whole."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from math import isclose

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deployments.tasks.task import Task, TaskState
from deployments.tasks.waterfall import Part, read_spent, waterfall_of, write_spent

MakeTask = Callable[..., Task]
SECONDS = st.floats(min_value=0, max_value=1e5)
#: The parts that a replica measures.
MEASURED = list(Part)[2:-1]
NOTED = st.dictionaries(st.sampled_from(MEASURED), SECONDS)
#: The fixture only makes values, so that it is the same one for every example changes nothing.
shared_fixture = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@shared_fixture
@given(noted=NOTED, waited_s=SECONDS, ran_s=SECONDS)
def test_the_parts_are_the_whole(
    make_task: MakeTask, noted: Mapping[Part, float], waited_s: float, ran_s: float
) -> None:
    """None is negative, they come in the order in which they happened, and they sum to the time from accept to end."""
    task = make_task(state=TaskState.CANCELLED)
    started_at = task.created_at + timedelta(seconds=waited_s)
    ended = replace(task, started_at=started_at, finished_at=started_at + timedelta(seconds=ran_s))

    parts = waterfall_of(replace(ended, spent=read_spent(write_spent(noted))))

    assert ended.finished_at is not None
    assert isclose(sum(parts.values()), (ended.finished_at - task.created_at).total_seconds(), abs_tol=1e-6)
    assert min(parts.values()) >= 0
    assert list(parts) == sorted(parts, key=list(Part).index)


@shared_fixture
@given(noted=st.fixed_dictionaries(dict.fromkeys(MEASURED, SECONDS)), rest_s=SECONDS)
def test_what_was_noted_is_shown(make_task: MakeTask, noted: Mapping[Part, float], rest_s: float) -> None:
    """While the clocks agree, every part but the last is shown as it was noted, and nothing else hides in the last."""
    task = make_task(state=TaskState.CANCELLED)
    ran_s = sum(noted.values()) + rest_s + 1
    finished_at = task.created_at + timedelta(seconds=ran_s)

    parts = waterfall_of(replace(task, started_at=task.created_at, finished_at=finished_at, spent=noted))

    for part in MEASURED[:-1]:
        assert isclose(parts[part], noted[part], abs_tol=1e-5)
    last_s = parts[Part.DELIVERING] - noted[Part.DELIVERING]
    assert -1e-3 <= last_s <= 0.02 * ran_s + 1e-3
    assert isclose(last_s + parts.get(Part.OTHER, 0.0), rest_s + 1, abs_tol=1e-3)


def test_a_task_that_goes_on_has_no_waterfall(make_task: MakeTask) -> None:
    """Nothing is said of the parts before the end."""
    task = make_task()

    assert waterfall_of(task) == {}


@pytest.mark.parametrize("was_started", [False, True])
def test_what_no_replica_ended_has_two_parts_at_most(make_task: MakeTask, *, was_started: bool) -> None:
    """A cancelled task was queued, and ran if it had been started."""
    task = make_task(state=TaskState.CANCELLED)
    moments = [task.created_at + timedelta(seconds=seconds) for seconds in (2, 5)]

    parts = waterfall_of(replace(task, started_at=moments[0] if was_started else None, finished_at=moments[1]))

    assert parts == ({Part.QUEUED: 2, Part.RUNNING: 3} if was_started else {Part.QUEUED: 5})
