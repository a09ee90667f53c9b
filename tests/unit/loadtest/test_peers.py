"""The comparison of model servers: what is asked, how answers are read and counted, and how its page is written."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from running_service import free_port

from loadtest.openloop.speech import Ask, wire
from loadtest.openloop.wire import Answer, connected
from loadtest.peers.environment import REQUIREMENTS, CannotInstall, environment_of, last_line, pinned
from loadtest.peers.finding import Cost, Finding, found
from loadtest.peers.offering import Told, offer
from loadtest.peers.page import BEGIN, END, NoMarks, with_figures
from loadtest.peers.peer import PEERS, USUAL, OnRay, OwnEnvironment, Peer
from loadtest.peers.servers.fake_model import LOG_VARIABLE, MAX_GROUP, Poisoned, run_mixed
from loadtest.peers.starting import ROOT, ServerEnded, Site, command_of, started
from loadtest.peers.wish import CAPACITY_PER_S, SHAPES, Wish, draw_wishes

WISH = Wish(number=0, at_s=0.0, shape="square", is_poisoned=False)
NO_COST = Cost(cpu_s=0.0, idle_cores=0.0, groups=(), load_average=0.25)


def told(*, latency_s: float = 0.1, status: int | None = 200, is_poisoned: bool = False) -> Told:
    """Make what became of a wish."""
    wish = replace(WISH, is_poisoned=is_poisoned)
    return Told(wish=wish, late_s=0.0, latency_s=latency_s, status=status, is_good=status == 200)


def counted(*every: Told) -> Finding:
    """Count them, with half a second as the bound."""
    return found(every, NO_COST, peer="mosec", load=0.5, slo_s=0.5, seconds=2.0)


def test_every_server_is_asked_the_same() -> None:
    """The wishes of a rate are the same at every draw, of all shapes, and one in a hundred is poisoned."""
    wishes = draw_wishes(rate=100, seconds=100, seed=7)

    assert wishes == draw_wishes(rate=100, seconds=100, seed=7)
    assert {wish.shape for wish in wishes} == set(SHAPES)
    assert 0.005 < sum(wish.is_poisoned for wish in wishes) / len(wishes) < 0.015
    assert [wish.number for wish in wishes] == list(range(len(wishes)))


def test_capacity_is_that_of_full_groups() -> None:
    """Eight items in 20 ms and 5 ms each are 133 a second."""
    assert pytest.approx(8 / 0.060) == CAPACITY_PER_S


def test_the_model_runs_each_shape_apart(tmp_path: Path) -> None:
    """A batch of two shapes is two calls, and its answers keep the order of the batch."""
    script = (
        "from loadtest.peers.servers.fake_model import run_mixed\n"
        "items = [dict(number=n, shape=shape, is_poisoned=False) for n, shape in enumerate('aba')]\n"
        "print([answer['number'] for answer in run_mixed(items)])\n"
    )
    environment = {LOG_VARIABLE: str(tmp_path / "calls"), "PYTHONPATH": str(ROOT)}

    said = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)

    assert said.stdout.strip() == "[0, 1, 2]"
    assert (tmp_path / "calls").read_text(encoding="ascii").split() == ["2", "1"]


def test_poison_fails_the_call() -> None:
    """The neighbours of a poisoned item get no answer from the model."""
    with pytest.raises(Poisoned):
        run_mixed([{"number": 0, "shape": "a", "is_poisoned": False}, {"number": 1, "shape": "a", "is_poisoned": True}])


def test_only_innocent_wishes_count_as_failed() -> None:
    """A poisoned wish fails rightly; an innocent one with an error is a neighbour; one turned away is not."""
    finding = counted(told(), told(status=500), told(status=500, is_poisoned=True), told(status=409), told(status=None))

    assert (finding.failed_neighbours, finding.turned_away, finding.unanswered) == (1, 1, 1)
    assert (finding.wishes, finding.poisoned, finding.poisoned_and_good) == (5, 1, 0)


def test_goodput_counts_what_came_in_time() -> None:
    """A good answer after the bound is none; latency is that of all good answers."""
    finding = counted(told(latency_s=0.1), told(latency_s=0.6))

    assert (finding.goodput_per_s, finding.goodput, finding.p50_ms, finding.p99_ms) == (0.5, 0.5, 100.0, 600.0)


def test_a_server_that_answers_nothing_well_has_no_latency() -> None:
    """There is nothing to divide by, and the row says so."""
    finding = counted(told(status=500))

    assert (finding.p50_ms, finding.cpu_ms, finding.group) == (None, None, None)


@pytest.mark.parametrize("name", [peer.name for peer in PEERS.values()])
def test_a_server_error_is_no_good_answer(name: str) -> None:
    """Whoever answers 500 has not done what was wished for, in any server's words."""
    peer = PEERS[name]

    assert peer.ask(WISH).method == "POST"
    assert not peer.is_good(Answer(status=500, body={}, beginning=b""))


def test_cog_tells_of_failure_with_200() -> None:
    """A failed prediction is answered with 200, so its body counts."""
    assert PEERS["cog"].is_good(Answer(status=200, body={"status": "succeeded"}, beginning=b""))
    assert not PEERS["cog"].is_good(Answer(status=200, body={"status": "failed"}, beginning=b""))


def test_ours_has_to_show_a_picture() -> None:
    """An answer of ours without the address of a picture is no good one."""
    assert PEERS["uxo"].is_good(Answer(status=200, body={"data": [{"imageURL": "http://x/y"}]}, beginning=b""))
    assert not PEERS["uxo"].is_good(Answer(status=200, body={"data": []}, beginning=b""))


@pytest.mark.parametrize("start", [each.start for each in PEERS.values() if isinstance(each.start, OwnEnvironment)])
def test_pins_name_the_package(start: OwnEnvironment) -> None:
    """Every environment is made from exact versions, that of the server among them."""
    lines = (REQUIREMENTS / f"{start.pins}.txt").read_text(encoding="utf-8").splitlines()

    assert pinned(start.pins, start.package)
    assert all("==" in line for line in lines if not line.startswith("#"))


def test_an_environment_that_is_there_is_kept(tmp_path: Path) -> None:
    """One made from the same pins is not made again."""
    (tmp_path / "cog").mkdir()
    (tmp_path / "cog" / "pins.txt").write_bytes((REQUIREMENTS / "cog.txt").read_bytes())

    assert environment_of("cog", tmp_path) == tmp_path / "cog"


def test_what_cannot_be_installed_says_why(tmp_path: Path) -> None:
    """The reason is one line."""
    (tmp_path / "file").touch()

    with pytest.raises(CannotInstall) as caught:
        environment_of("cog", tmp_path / "file")

    assert "\n" not in str(caught.value)


def test_the_last_line_is_what_says_something() -> None:
    """Empty lines at the end of a log are no reason."""
    assert last_line("first\nsecond\n\n") == "second"


def site_in(folder: Path, port: int = 0) -> Site:
    """Return a site below a folder."""
    return Site(port=port, folder=folder / "site", sockets=folder, environments=folder)


def python_peer(*arguments: str) -> OwnEnvironment:
    """Return a server that is this test's own Python."""
    return OwnEnvironment(pins="cog", package="cog", command=("python", *arguments))


def test_a_server_that_ends_says_its_last_word(tmp_path: Path) -> None:
    """What it wrote last is the reason that is told."""
    programs = tmp_path / "cog" / "bin"
    programs.mkdir(parents=True)
    (programs.parent / "pins.txt").write_bytes((REQUIREMENTS / "cog.txt").read_bytes())
    (programs / "python").write_text("#!/bin/sh\necho no such port; exit 3\n", encoding="ascii")
    (programs / "python").chmod(0o755)

    with started(replace(PEERS["cog"], start=python_peer()), site_in(tmp_path)) as running:
        running.process.wait(timeout=10)

        with pytest.raises(ServerEnded, match="it ended with 3: no such port"):
            running.check()


def test_an_application_on_ray_is_told_where_it_is(tmp_path: Path) -> None:
    """The Serve config names the application and nothing that carries out tasks beside it."""
    site = site_in(tmp_path, port=1)
    site.folder.mkdir()

    _, environment = command_of(OnRay(import_path="a:build", has_haproxy=False), site)

    [application] = json.loads((site.folder / "serve.json").read_text(encoding="utf-8"))["applications"]
    assert application["import_path"] == "a:build"
    assert environment["UXO_METRICS_PORT"] == "0"


@asynccontextmanager
async def small_server(port: int) -> AsyncIterator[None]:
    """Serve a peer that batches nothing and fails what is poisoned."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        is_poisoned = json.loads(await reader.readexactly(length))["is_poisoned"]
        status = b"500 No" if is_poisoned else b"200 OK"
        writer.write(b"HTTP/1.1 " + status + b"\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", port):
        yield


async def test_wishes_are_offered_and_told() -> None:
    """Of an open load every wish has an end, in its order, and the poisoned ones alone have failed."""
    port = free_port()
    peer = replace(
        PEERS["ray"], ask=lambda wish: Ask(method="POST", path="/", body=wire({"is_poisoned": wish.is_poisoned}))
    )
    wishes = draw_wishes(rate=400, seconds=0.1, seed=1, poisoned=0.2)

    async with small_server(port), connected(f"http://127.0.0.1:{port}") as way:
        ends = await offer(wishes, peer, way)

    assert [each.wish for each in ends] == wishes
    assert [each.has_failed for each in ends] == [wish.is_poisoned for wish in wishes]
    assert counted(*ends).failed_neighbours == 0


def report() -> dict[str, Any]:
    """Make a report of one finding and one server that could not be run."""
    finding = replace(counted(told()), load=0.5).to_json()
    machine = {"cores": 2, "cpu": "a CPU", "memory_gib": 1, "python": "3", "load_average_at_start": 0.1}
    return {
        "machine": machine,
        "measured_at": "2026-11-21T20:00:00",
        "commit": "abc",
        "command": "python -m loadtest.peers",
        "seconds": 30.0,
        "slo_s": 0.5,
        "versions": {"mosec": "mosec 1"},
        "findings": [finding],
        "not_run": {"cog": "it ended with 1"},
    }


def test_figures_stand_between_the_marks() -> None:
    """What stood there before is gone, and what stands around it stays."""
    page = with_figures(f"before\n{BEGIN}\nfrom last year\n{END}\nafter\n", report())

    assert page.startswith(f"before\n{BEGIN}\n")
    assert page.endswith(f"{END}\nafter\n")
    assert "last year" not in page
    assert "- **cog** could not be measured to the end: it ended with 1" in page
    assert "| mosec | 0.5 | 100.0% | 100 | 100 | 100 | 0.0 | - | 0 | 0 | 0 | 0.2 |" in page


def test_an_older_report_lacks_a_figure() -> None:
    """The tables of a report from before a figure was measured are written without it."""
    older = report()
    older["findings"] = [replace(counted(told()), load=0.5).to_json()]
    del older["findings"][0]["load_average"]

    page = with_figures(f"{BEGIN}\n{END}\n", older)

    assert "| 0.0 | - | 0 | 0 | 0 | - |" in page


def test_a_page_without_marks_is_refused() -> None:
    """Nothing is written into a page that has no place for it."""
    with pytest.raises(NoMarks):
        with_figures("a page", report())


def test_groups_are_no_larger_than_the_model_takes() -> None:
    """All servers are set up for the same largest group."""
    assert all(str(MAX_GROUP) in peer.setting or not peer.setting for peer in PEERS.values() if peer.name != "cog")


def test_each_server_is_usually_measured_once() -> None:
    """HAProxy stands before none of those that are measured unless others are named."""
    assert USUAL == ("mosec", "litserve", "bentoml", "cog", "ray", "uxo")


def test_every_peer_is_a_peer() -> None:
    """Names are those under which the command line knows them."""
    assert all(isinstance(peer, Peer) and peer.name == name for name, peer in PEERS.items())
