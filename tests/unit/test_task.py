"""The states of a task and the moves between them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import FrozenInstanceError

import pytest

from deployments.tasks.task import ALLOWED_MOVES, Task, TaskState


def test_every_state_says_where_it_leads() -> None:
    """No state is missing from the table of moves."""
    assert set(ALLOWED_MOVES) == set(TaskState)


@pytest.mark.parametrize("state", TaskState)
def test_ends_lead_nowhere(state: TaskState) -> None:
    """Succeeded, failed and cancelled are ends; queued and running are not."""
    assert state.is_terminal == (state in {TaskState.SUCCEEDED, TaskState.FAILED, TaskState.CANCELLED})


@pytest.mark.parametrize("state", [TaskState.SUCCEEDED, TaskState.FAILED])
def test_only_a_running_task_comes_to_something(state: TaskState) -> None:
    """A task cannot succeed or fail without having been claimed."""
    sources = {source for source, targets in ALLOWED_MOVES.items() if state in targets}

    assert sources == {TaskState.RUNNING}


@pytest.mark.parametrize("state", [TaskState.QUEUED, TaskState.RUNNING])
def test_a_task_can_be_cancelled_until_its_end(state: TaskState) -> None:
    """Both states before the end lead to cancelled."""
    assert TaskState.CANCELLED in ALLOWED_MOVES[state]


def test_a_new_task_waits(make_task: Callable[..., Task]) -> None:
    """A task that says nothing else is queued, never tried, and has no times but its accept."""
    task = make_task()

    assert (task.state, task.attempt, task.fence, task.steps_done) == (TaskState.QUEUED, 0, 0, 0)
    assert (task.started_at, task.finished_at, task.outputs, task.fault) == (None, None, (), None)


def test_a_task_is_not_changed_in_place(make_task: Callable[..., Task]) -> None:
    """A task is a value: what changes is a new one."""
    task = make_task()

    with pytest.raises(FrozenInstanceError):
        task.state = TaskState.RUNNING  # type: ignore[misc]  # what the test forbids
