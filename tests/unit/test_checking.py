"""Pictures before they leave: looked at on a thread of its own, told of, and covered where that is wanted."""

from __future__ import annotations

import asyncio
import threading

import pytest
from PIL import Image

from deployments.checking import Checker, Policy
from models.request import GeneratedImage, Safety

BLACK, RED = (0, 0, 0), (255, 0, 0)
DRAWN = GeneratedImage(seed=7, image=Image.new("RGB", (40, 24), RED))


def finds(*, is_unsafe: bool) -> Checker:
    """Return a checker that finds the same in every picture."""
    return Checker(lambda _image: is_unsafe, Policy())


def breaks(image: Image.Image) -> bool:
    """Break, as a classifier may."""
    raise RuntimeError(f"cannot look at {image.size}")


@pytest.mark.parametrize(
    ("is_unsafe", "safety", "colour", "told"),
    [
        (True, Safety.TELL, RED, True),
        (True, Safety.COVER, BLACK, True),
        (True, Safety.SKIP, RED, None),
        (False, Safety.TELL, RED, False),
        (False, Safety.COVER, RED, False),
        (False, Safety.SKIP, RED, None),
    ],
)
async def test_a_task_says_what_becomes_of_its_pictures(
    safety: Safety, colour: tuple[int, int, int], *, is_unsafe: bool, told: bool | None
) -> None:
    """A flagged picture is told or covered as its task wants it, size and seed as they were; an unseen one is not."""
    checked = await finds(is_unsafe=is_unsafe)(DRAWN, safety)

    assert (checked.is_unsafe, checked.image.getpixel((5, 5))) == (told, colour)
    assert (checked.seed, checked.image.size) == (7, (40, 24))


@pytest.mark.parametrize("safety", Safety)
async def test_an_operator_may_have_the_last_word(safety: Safety) -> None:
    """Where every picture is looked at, a flagged one is black whatever its task says."""
    checked = await Checker(lambda _image: True, Policy(is_always=True))(DRAWN, safety)

    assert (checked.is_unsafe, checked.image.getpixel((5, 5))) == (True, BLACK)


@pytest.mark.parametrize("safety", [Safety.TELL, Safety.COVER])
@pytest.mark.parametrize(("fails_open", "told", "colour"), [(False, True, BLACK), (True, None, RED)])
async def test_a_picture_that_cannot_be_looked_at(
    safety: Safety, colour: tuple[int, int, int], *, told: bool | None, fails_open: bool
) -> None:
    """It is covered and told of as flagged, or leaves as it is and not checked where the operator would rather that."""
    checked = await Checker(breaks, Policy(fails_open=fails_open))(DRAWN, safety)

    assert (checked.is_unsafe, checked.image.getpixel((5, 5))) == (told, colour)


async def test_a_checker_that_hangs_is_one_that_fails() -> None:
    """A look that does not end is given up; its picture is covered, and the thread is left to itself."""
    ends = threading.Event()
    checker = Checker(lambda _image: ends.wait(20), Policy(), patience_s=0.05)

    checked = await checker(DRAWN, Safety.TELL)

    ends.set()
    assert (checked.is_unsafe, checked.image.getpixel((5, 5))) == (True, BLACK)


async def test_the_loop_goes_on_while_a_picture_is_looked_at() -> None:
    """A look neither holds up the event loop nor shares its thread, and looks come one after another."""
    threads: list[int] = []
    may_end = threading.Event()

    def look(_image: Image.Image) -> bool:
        threads.append(threading.get_ident())
        return not may_end.wait(20)

    checker = Checker(look, Policy())
    looking = [asyncio.create_task(checker(DRAWN, Safety.TELL)) for _ in range(2)]
    await asyncio.to_thread(may_end.set)  # reached only because the loop is free

    assert [(await each).is_unsafe for each in looking] == [False, False]
    assert len(set(threads)) == 1
    assert threads[0] != threading.get_ident()
