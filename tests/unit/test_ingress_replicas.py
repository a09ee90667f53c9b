"""What an ingress says of the replicas that draw."""

from __future__ import annotations

import asyncio

import pytest

from deployments.ingress.replicas import Kind, Replicas


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
    running = Kind(status="HEALTHY", replicas={"RUNNING": 2})

    assert await Replicas(lambda: [running, Kind(status=status, replicas=replicas)]).are_up() is is_up


async def test_many_who_ask_at_once_are_one_question() -> None:
    """However many ask, Serve is asked once for all of them."""
    looks: list[int] = []

    def look() -> list[Kind]:
        looks.append(1)
        return []

    replicas = Replicas(look)

    assert all(await asyncio.gather(*(replicas.are_up() for _ in range(50))))
    assert len(looks) == 1
