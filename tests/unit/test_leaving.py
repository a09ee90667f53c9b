"""When a node counts as one that goes, and who waits for whom."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from deployments.cli import app
from deployments.leaving import LOOK_S, Node


@pytest.fixture
def node(tmp_path: Path) -> Node:
    """Return a node whose folder is not there yet."""
    return Node(folder=tmp_path / "node")


async def test_a_node_stays_until_it_is_marked(node: Node) -> None:
    """Work goes on until the mark is there, and ends then."""
    async with node.staying(asyncio.Event(), since_s=0.0) as ending:
        stays = not ending.is_set()
        node.leave()
        await asyncio.wait_for(ending.wait(), 20)

    assert stays


async def test_a_process_that_is_told_to_stop_ends_as_well(node: Node) -> None:
    """Without a mark, what Serve says counts."""
    stopping = asyncio.Event()

    async with node.staying(stopping, since_s=0.0) as ending:
        stopping.set()
        await asyncio.wait_for(ending.wait(), 20)

    assert not node.is_leaving(since_s=0.0)


def test_a_mark_from_before_ray_was_started_is_old(node: Node) -> None:
    """A container that is started anew in the same pod works again."""
    node.leave()
    os.utime(node.folder / "mark", (1000.0, 1000.0))

    assert [node.is_leaving(since_s=since_s) for since_s in (999.0, 1001.0)] == [True, False]


async def test_whoever_takes_it_away_waits_for_every_replica(node: Node) -> None:
    """The last replica that lets go ends the wait, however often whoever waits looked before."""
    stopping = asyncio.Event()
    async with node.staying(stopping, since_s=0.0):
        async with node.staying(stopping, since_s=0.0):
            pass
        leaving = asyncio.create_task(node.until_left())
        done, _ = await asyncio.wait({leaving}, timeout=3 * LOOK_S)

    await asyncio.wait_for(leaving, 20)
    assert not done


async def test_a_folder_that_cannot_be_used_stops_no_work(tmp_path: Path) -> None:
    """A node that cannot be left in order works all the same."""
    (tmp_path / "file").touch()

    async with Node(folder=tmp_path / "file" / "node").staying(asyncio.Event(), since_s=0.0) as ending:
        assert not ending.is_set()


async def test_a_node_is_known_by_its_first_replica(node: Node) -> None:
    """A mark alone makes no node known; a replica that stayed does, also when it is gone."""
    node.leave()
    before = node.is_known

    async with node.staying(asyncio.Event(), since_s=0.0):
        pass

    assert (before, node.is_known) == (False, True)


async def test_the_command_says_when_nothing_is_held(tmp_path: Path) -> None:
    """``uxo drain`` where a replica was is done once it is gone, names the folder, and its mark is there."""
    node = Node.of(tmp_path)
    async with node.staying(asyncio.Event(), since_s=0.0):
        pass

    answer = await asyncio.to_thread(CliRunner().invoke, app, ["drain"], env={"UXO_FOLDER": str(tmp_path)})

    said = f"no replica of this machine with UXO_FOLDER={tmp_path} holds a task any more\n"
    assert (answer.exit_code, answer.output) == (0, said)
    assert node.is_leaving(since_s=0.0)


def test_the_command_refuses_a_folder_that_no_replica_knows(tmp_path: Path) -> None:
    """Run elsewhere than replicas are, ``uxo drain`` says which folder it looked for, and claims no success."""
    answer = CliRunner().invoke(app, ["drain"], env={"UXO_FOLDER": str(tmp_path)})

    assert answer.exit_code == 1
    assert f"no replica has worked on this machine with UXO_FOLDER={tmp_path}, as this user" in answer.output
    assert not Node.of(tmp_path).is_known


def test_a_replica_that_is_still_loading_is_told_as_well(tmp_path: Path) -> None:
    """A pod may go before its replica has come up, which then claims nothing."""
    CliRunner().invoke(app, ["drain"], env={"UXO_FOLDER": str(tmp_path)})

    assert Node.of(tmp_path).is_leaving(since_s=0.0)
