"""A coroutine on a thread of its own: it starts, it is watched, and it tidies up when it is told to stop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any

import pytest
from structlog.testing import capture_logs

from deployments.background import Background, BackgroundEnded

#: Far longer than anything here takes.
PATIENCE_S = 20.0


class Work:
    """Work that says where it is; it goes on until it is told to end."""

    def __init__(self) -> None:
        self.started = threading.Event()
        self.tidied = threading.Event()
        self.thread = ""

    async def go_on(self, stopping: asyncio.Event) -> None:
        """Run until told to stop, then tidy up, which takes a turn of the loop."""
        self.thread = threading.current_thread().name
        self.started.set()
        await stopping.wait()
        await asyncio.to_thread(str)
        self.tidied.set()

    async def end(self, _stopping: asyncio.Event) -> None:
        """End by itself."""
        self.started.set()

    async def break_down(self, _stopping: asyncio.Event) -> None:
        """Fail."""
        self.started.set()
        raise RuntimeError("the work broke")


@pytest.fixture
def work() -> Work:
    """Return work to do in the background."""
    return Work()


def thread_of(background: Background) -> threading.Thread:
    """Return the thread behind it, to wait for its end."""
    return background._thread


def test_work_runs_on_a_thread_of_its_own_name(work: Work) -> None:
    """The work starts by itself, beside its maker, and passes its check while it goes on."""
    background = Background("housekeeper", work.go_on)

    assert work.started.wait(PATIENCE_S)
    background.check()
    assert work.thread == "housekeeper"
    background.close(timeout_s=PATIENCE_S)


def test_closing_lets_the_work_tidy_up(work: Work) -> None:
    """When close returns, the work was told to stop, has tidied up and its thread is gone."""
    background = Background("w", work.go_on)
    assert work.started.wait(PATIENCE_S)

    background.close(timeout_s=PATIENCE_S)

    assert work.tidied.is_set()
    assert not thread_of(background).is_alive()


def test_closing_twice_is_closing_once(work: Work) -> None:
    """What is closed may be closed again."""
    background = Background("w", work.go_on)
    assert work.started.wait(PATIENCE_S)
    background.close(timeout_s=PATIENCE_S)

    background.close(timeout_s=PATIENCE_S)

    assert not thread_of(background).is_alive()


def test_closing_before_the_work_began_ends_it(work: Work) -> None:
    """Work that is told to stop while it is only being made is stopped all the same."""
    may_begin = threading.Event()

    def begin(stopping: asyncio.Event) -> Coroutine[Any, Any, None]:
        assert may_begin.wait(PATIENCE_S)
        return work.go_on(stopping)

    background = Background("w", begin)
    closing = threading.Thread(target=background.close, kwargs={"timeout_s": 2})
    closing.start()
    closing.join(0.05)

    may_begin.set()
    closing.join(PATIENCE_S)

    assert not thread_of(background).is_alive()


def test_closing_waits_no_longer_than_it_is_given() -> None:
    """Work that will not end holds nobody up beyond the time that was given."""
    started, may_end = threading.Event(), threading.Event()

    async def stubborn(_stopping: asyncio.Event) -> None:
        started.set()
        may_end.wait(PATIENCE_S)

    background = Background("w", stubborn)
    assert started.wait(PATIENCE_S)

    background.close(timeout_s=0.02)

    assert thread_of(background).is_alive()
    may_end.set()
    thread_of(background).join(PATIENCE_S)


def test_work_that_ended_by_itself_fails_its_check(work: Work) -> None:
    """Work that should go on for ever and has ended is a reason to replace the process."""
    background = Background("w", work.end)
    thread_of(background).join(PATIENCE_S)

    with pytest.raises(BackgroundEnded, match="the process should be replaced"):
        background.check()


def test_work_that_broke_fails_its_check_and_says_why(work: Work) -> None:
    """Work that raised is a reason to replace the process, and what it raised is in the log."""
    with capture_logs() as logs:
        background = Background("w", work.break_down)
        thread_of(background).join(PATIENCE_S)

    with pytest.raises(BackgroundEnded):
        background.check()
    assert [(event["event"], event["thread"]) for event in logs] == [("background_broke", "w")]
