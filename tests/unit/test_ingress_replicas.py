"""What an ingress says of the replicas that draw."""

from __future__ import annotations

import asyncio

import pytest

from deployments.ingress.replicas import Kind, Replicas

#: A kind that does well.
RUNNING = Kind(status="HEALTHY", replicas={"RUNNING": 2})


@pytest.mark.parametrize(
    ("status", "replicas", "is_up"),
    [
        ("HEALTHY", {"RUNNING": 1}, True),
        ("HEALTHY", {}, True),
        ("UPDATING", {"RUNNING": 1, "STARTING": 1}, True),
        ("UPDATING", {"STARTING": 1}, False),
        ("UPSCALING", {"STARTING": 1}, False),
        ("UNHEALTHY", {}, False),
        ("DEPLOY_FAILED", {}, False),
        ("DEPLOY_FAILED", {"RUNNING": 0, "STOPPING": 1}, False),
    ],
)
async def test_replicas_are_up_while_one_runs_or_none_is_wanted(
    status: str, replicas: dict[str, int], *, is_up: bool
) -> None:
    """What starts, or cannot, is not up; an update that leaves one running is no break, nothing wanted no fault."""
    assert await Replicas(lambda: [RUNNING, Kind(status=status, replicas=replicas)]).are_up() is is_up


async def test_many_who_ask_at_once_are_one_question() -> None:
    """However many ask, Serve is asked once for all of them."""
    looks: list[int] = []

    def look() -> list[Kind]:
        looks.append(1)
        return [RUNNING]

    replicas = Replicas(look)

    assert all(await asyncio.gather(*(replicas.are_up() for _ in range(50))))
    assert len(looks) == 1


async def test_nothing_is_up_in_an_application_that_ends() -> None:
    """Serve tells of an application that it takes down, or has forgotten, without its deployments."""
    assert not await Replicas(list).are_up()


async def test_while_nobody_answers_what_was_up_is() -> None:
    """What Serve said last stands while its controller is away; before it ever said anything, nothing is up."""
    answers = iter([None, [RUNNING], None, [], None])
    replicas = Replicas(lambda: next(answers), good_for_s=0)

    assert [await replicas.are_up() for _ in range(5)] == [False, True, True, False, False]
