"""The open loop against the real ingress, store and replicas with a paced model; and against targets that are none."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from receiver import receiving as receiving_anything
from running_service import free_port

from loadtest.answers import answering
from loadtest.dialect_cost import KEY, SCENES, serving
from loadtest.flood import Scene
from loadtest.openloop.interruption import SIGNALS
from loadtest.openloop.letterbox import Letterbox, receiving
from loadtest.openloop.order import Order
from loadtest.openloop.profile import Profile, Steady
from loadtest.openloop.record import Book, End
from loadtest.openloop.run import Load, UnusableTarget, perform
from loadtest.openloop.search import Search
from loadtest.openloop.slo import parse_slo
from loadtest.openloop.speech import Ask, State
from loadtest.openloop.wavespeed import WaveSpeed
from loadtest.openloop.wire import connected
from loadtest.ssrf.authority import Authority

ROOT = Path(__file__).parents[2]
TINY = Order(at_s=0, tenant="a", width=512, height=512, steps=1)
#: Two replicas that take 20 ms for ten steps.
SCENE = replace(SCENES["carried out"], task_s=0.02)


def load_of(orders: Sequence[Order], target: str, **changes: Any) -> Load:
    """Make a load that reads often and is given up after 20 s."""
    plain: dict[str, Any] = {"orders": orders, "target": target, "keys": [KEY], "poll_s": 0.05, "patience_s": 20}
    return Load(**(plain | changes))


def unseen(_book: Book) -> None:
    """Look away."""


@asynccontextmanager
async def served(folder: Path, scene: Scene = SCENE) -> AsyncIterator[str]:
    """Serve on a port of our own, with files below a folder."""
    os.chdir(folder)  # where the service keeps its pictures
    port = free_port()
    async with serving(f"sqlite:///{folder / 'uxo.db'}", scene, port=port):
        yield f"http://127.0.0.1:{port}"


@pytest.fixture(autouse=True)
def _come_back() -> Iterator[None]:
    """Leave the working folder as it was."""
    before = Path.cwd()
    yield
    os.chdir(before)


async def test_every_dialect_is_carried_out(tmp_path: Path) -> None:
    """Orders of three dialects succeed, bad ones do not, and the ledger is sound."""
    orders = [
        replace(TINY, at_s=number / 50, dialect=dialect, is_bad=is_bad, model="uso" if dialect == "fal" else "uno")
        for number, (dialect, is_bad) in enumerate(
            (dialect, is_bad) for dialect in ("wavespeed", "fal", "runware") for is_bad in (False, False, True)
        )
    ]

    async with served(tmp_path) as target:
        result = await perform(load_of(orders, target), watch=unseen)

    assert result.ledger.is_sound
    assert not any(record.is_error for record in result.records), [record.error for record in result.records]
    assert Counter(record.end for record in result.records) == {End.SUCCEEDED: 6, End.REJECTED: 2, End.FAILED: 1}
    assert {record.pictures for record in result.records if record.end is End.SUCCEEDED} == {1}
    found = result.found(parse_slo("p95=20s,errors=0%"))
    assert [each["is_met"] for each in found["slo"]] == [True, True]


async def test_what_is_taken_back_is_cancelled(tmp_path: Path) -> None:
    """Behind a task that takes long, those taken back at once are cancelled, and the ledger is sound."""
    orders = [replace(TINY, steps=50, images=4), *[replace(TINY, at_s=0.05, cancel_after_s=0.0)] * 3]

    async with served(tmp_path, replace(SCENE, replicas=1, task_s=0.2)) as target:
        result = await perform(load_of(orders, target), watch=unseen)

    assert [record.end for record in result.records] == [End.SUCCEEDED, *[End.CANCELLED] * 3]
    assert result.ledger.is_sound


async def test_a_server_without_replicas_is_unfinished_work(tmp_path: Path) -> None:
    """What is accepted and never done is given up when patience ends; the ledger and the goals say so."""
    async with served(tmp_path, replace(SCENE, replicas=0)) as target:
        result = await perform(load_of([TINY] * 3, target, patience_s=1.0), watch=unseen, clears=True)

    assert [record.end for record in result.records] == [End.UNFINISHED] * 3
    assert len(result.ledger.unfinished) == 3
    assert not result.found(parse_slo("p50=1000s"))["slo"][0]["is_met"]


async def test_a_run_that_is_to_leave_nothing_waits_for_what_cannot_be_taken_back(tmp_path: Path) -> None:
    """Runware has no words for the end of a task: when such a run is over, every task of it has ended all the same."""
    orders = [replace(TINY, dialect="runware", steps=40)] * 3

    async with served(tmp_path, replace(SCENE, replicas=1, task_s=0.5)) as target:
        result = await perform(load_of(orders, target, patience_s=1.5), watch=unseen, clears=True)
        with sqlite3.connect(tmp_path / "uxo.db") as connection:
            states = [state for (state,) in connection.execute("select state from tasks")]

    assert [record.end for record in result.records] == [End.UNFINISHED] * 3
    assert states == ["succeeded"] * 3


async def test_a_run_that_is_to_leave_nothing_waits_for_what_was_not_answered(tmp_path: Path) -> None:
    """Nobody knows the names of tasks whose acceptance was never heard of; they have been begun, too."""
    orders = [replace(TINY, dialect="runware")] * 3

    async with served(tmp_path, replace(SCENE, replicas=1, task_s=0.3)) as target:
        result = await perform(load_of(orders, target, patience_s=0.001), watch=unseen, clears=True)
        with sqlite3.connect(tmp_path / "uxo.db") as connection:
            states = [state for (state,) in connection.execute("select state from tasks")]

    assert End.UNANSWERED in {record.end for record in result.records}
    assert "queued" not in states
    assert "succeeded" in states


async def test_ctrl_c_counts_what_was_in_flight(tmp_path: Path) -> None:
    """Ctrl-C ends the driving, and the orders under way and those never sent are counted."""
    orders = [TINY, TINY, replace(TINY, at_s=600)]

    async with served(tmp_path, replace(SCENE, replicas=0)) as target:
        result = await perform(load_of(orders, target, patience_s=900), watch=interrupting(accepted=2))

    assert result.was_stopped
    assert (result.ledger.in_flight, result.not_sent) == (2, 1)
    assert result.ledger.is_sound


async def test_after_a_load_signals_mean_what_they_meant(tmp_path: Path) -> None:
    """A run of many loads is interrupted between two of them as it is before the first."""
    before = [signal.getsignal(number) for number in SIGNALS]

    async with served(tmp_path) as target:
        await perform(load_of([TINY], target), watch=unseen)

    assert [signal.getsignal(number) for number in SIGNALS] == before


async def test_a_wrong_key_ends_it_at_once(tmp_path: Path) -> None:
    """A key that is refused is named by its number, not by itself."""
    async with served(tmp_path) as target:
        with pytest.raises(UnusableTarget, match=r"refuses key number 2 with 401") as refused:
            await perform(load_of([TINY], target, keys=[KEY, "a-wrong-key"]), watch=unseen)

    assert "a-wrong-key" not in str(refused.value)


async def test_another_server_is_no_target() -> None:
    """A web server that speaks something else is told apart by its first answer."""
    async with saying(b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno") as target:
        with pytest.raises(UnusableTarget, match="speaks no wavespeed; it answered 404 and no JSON object"):
            await perform(load_of([TINY], target), watch=unseen)


@pytest.mark.parametrize("status", ["429 Too Many Requests", "500 Internal Server Error", "503 Service Unavailable"])
async def test_a_server_that_is_down_for_a_while_is_not_taken_for_another(status: str) -> None:
    """What it answered is said, and nothing of a language that it may well speak."""
    answer = f"HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\n{{}}"

    async with saying(answer.encode()) as target:
        with pytest.raises(UnusableTarget, match=rf"answered {status[:3]} to /.*; it is overloaded or broken before"):
            await perform(load_of([TINY], target), watch=unseen)


async def test_a_target_that_says_nothing_is_given_up() -> None:
    """A server that takes calls and answers none is left by itself; it takes no Ctrl-C."""
    with socket.create_server(("127.0.0.1", 0)) as mute:
        target = f"http://127.0.0.1:{mute.getsockname()[1]}"
        with pytest.raises(UnusableTarget, match="no answer in time"):
            await perform(load_of([TINY], target, greeting_s=0.2), watch=unseen)


async def test_a_certificate_that_nobody_knows_is_told_as_such(tmp_path: Path) -> None:
    """Who signed their server's certificate themselves is told how to have it believed."""
    tls = Authority(tmp_path).serving(["load.test"])

    async with receiving_anything(tls=tls) as receiver:
        target = receiver.url("", scheme="https")
        with pytest.raises(UnusableTarget, match=r"its certificate is not trusted \(.*\); SSL_CERT_FILE names a file"):
            await perform(load_of([TINY], target), watch=unseen)


async def test_a_target_without_tls_is_told_as_such() -> None:
    """One letter too many in the address is no server that is down."""

    async def refuse(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
        target = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        with pytest.raises(UnusableTarget, match="no TLS is spoken there; write http://"):
            await perform(load_of([TINY], target), watch=unseen)


async def test_a_taken_port_for_webhooks_is_one_line() -> None:
    """Where somebody else listens, no webhook can come; nothing is sent."""
    with socket.create_server(("0.0.0.0", 0)) as taken:  # noqa: S104 -- the port that a load would take
        port = taken.getsockname()[1]
        load = load_of([TINY], "http://127.0.0.1:9", webhooks_at=f"http://127.0.0.1:{port}")
        with pytest.raises(UnusableTarget, match=rf":{port}: nothing can be received at that port here \(Address al"):
            await perform(load, watch=unseen)


@pytest.mark.parametrize("target", ["nonsense", "localhost:1", "http://127.0.0.1:99999"])
async def test_what_is_no_address_is_said_to_be_none(target: str) -> None:
    """Who forgets the beginning of the address is told how one looks."""
    with pytest.raises(UnusableTarget, match=r"no address that can be called; write http://HOST:PORT"):
        await perform(load_of([TINY], target), watch=unseen)


def test_ctrl_c_at_a_target_that_never_answers(tmp_path: Path) -> None:
    """A target that takes the call and says nothing can be left before the first order; the command says so."""
    with socket.create_server(("127.0.0.1", 0)) as mute:
        target = f"http://127.0.0.1:{mute.getsockname()[1]}"
        process = loading("run", "poisson", "--key", "k", "--target", target, cwd=tmp_path)
        connection, _ = mute.accept()
        with connection:
            assert connection.recv(1)
            process.send_signal(signal.SIGINT)
            said, complaints = process.communicate(timeout=60)

    assert process.returncode == 130, said
    assert said.splitlines()[-1] == "stopped before the first order"
    assert "Traceback" not in complaints


async def test_where_everything_goes_wrong_the_exit_says_so(tmp_path: Path) -> None:
    """A server that greets and then refuses every order is a failed run, also without a goal, and has its report."""
    profile = tmp_path / "short.yaml"
    profile.write_text("seconds: 0.5\narrivals: {kind: steady, rate: 10}\n", encoding="utf-8")
    gone = b'{"code": 404, "message": "no such task"}'
    answer = b"HTTP/1.1 404 Not Found\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"

    async with saying(answer % (len(gone), gone)) as target:
        words = ("run", str(profile), "--key", "k", "--target", target, "--output", "found")
        found = await asyncio.to_thread(command, *words, cwd=tmp_path)

    assert found.returncode == 1
    assert "nothing succeeded: every order went wrong" in found.stdout
    assert f"5 errors: HTTP 404, such as: {gone.decode()}" in found.stdout
    assert "nothing succeeded" in (tmp_path / "found/report.html").read_text(encoding="utf-8")


async def test_a_search_remembers_what_it_tried() -> None:
    """Each rate that was offered is kept with its verdict and its figures, the warming is not."""
    profile = Profile(seconds=1, arrivals=Steady(kind="steady", rate=1), poll_s=0.05)

    with answering(free_port()) as target:
        search = Search(profile=profile, goals=parse_slo("p95=20s,errors=0%"), target=target, keys=["k"], tell=print)
        await search.warm(5.0)
        is_carried = await search.carries(5.0, 0)
        strict = replace(search, goals=parse_slo("p50=0ms"), tries=search.tries)
        is_too_much = not await strict.carries(5.0, 1)

    assert (is_carried, is_too_much) == (True, True)
    assert [(each["rate"], each["number"], each["is_carried"]) for each in search.tries] == [
        (5, 0, True),
        (5, 1, False),
    ]
    assert [each["orders"] for each in search.tries] == [5, 5]


def test_a_target_that_is_down_is_one_line(tmp_path: Path) -> None:
    """The command says that there is no connection, and ends with 2 and without a trace."""
    found = command("run", "poisson", "--key", "k", "--target", f"http://127.0.0.1:{free_port()}", cwd=tmp_path)

    assert found.returncode == 2
    assert found.stdout.splitlines()[-1].endswith("no connection")
    assert "Traceback" not in found.stderr


def test_a_wrong_goal_is_one_line(tmp_path: Path) -> None:
    """A goal that cannot be read is named before anything is sent."""
    found = command("run", "poisson", "--key", "k", "--slo", "p95=fast", cwd=tmp_path)

    assert found.returncode == 2
    assert "'p95=fast' is no goal" in found.stdout.splitlines()[-1]


@pytest.mark.parametrize("reads", [1, 3])
async def test_the_server_that_does_nothing_is_one_to_the_load(reads: int) -> None:
    """The generator is measured against what answers as a server of the first dialect does, after so many reads."""
    with answering(free_port(), reads=reads) as target:
        result = await perform(load_of([TINY] * 20, target), watch=unseen)

    assert [record.end for record in result.records] == [End.SUCCEEDED] * 20
    assert [record.reads for record in result.records] == [reads] * 20
    assert result.found([])["series"]["begins_seen"] == (reads > 1)
    assert result.ledger.is_sound


def test_the_ceiling_of_a_taken_port_is_one_line(tmp_path: Path) -> None:
    """A server that cannot be started is told with what to do about it."""
    with answering(port := free_port()):
        ended = command("ceiling", "--port", str(port), cwd=tmp_path)

    assert ended.returncode == 2
    assert f"nothing can be served at port {port}; choose another with --port" in ended.stdout


def test_a_search_that_is_stopped_writes_what_it_tried(tmp_path: Path) -> None:
    """After Ctrl-C every rate that was judged is in the JSON, and that nothing is settled."""
    quick = "{seconds: 0.2, poll_s: 0.05, arrivals: {kind: steady, rate: 10}}"
    (tmp_path / "quick.yaml").write_text(quick, encoding="utf-8")

    with answering(free_port()) as target:
        words = ["quick.yaml", "--key", "k", "--slo", "errors=0%", "--target", target, "--start", "20"]
        searching = loading("find-capacity", *words, "--output", "found.json", cwd=tmp_path)
        assert any(" a second, " in line for line in searching.stdout or ())
        searching.send_signal(signal.SIGINT)
        said, complaints = searching.communicate(timeout=60)

    found = json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))
    assert (searching.returncode, complaints) == (130, "")
    assert said.splitlines()[-1].startswith("stopped before an end was found; until then carried ")
    assert found["carried_per_s"] >= found["tries"][0]["rate"]
    assert (found["missed_per_s"], found["is_settled"]) == (None, False)


def test_a_made_trace_can_be_run(tmp_path: Path) -> None:
    """What ``trace make`` writes is read by ``run``, which then finds nobody to send it to."""
    made = command("trace", "make", "--output", "day.jsonl", "--seconds", "60", cwd=tmp_path)
    target = f"http://127.0.0.1:{free_port()}"
    found = command("run", "day.jsonl", "--speed", "10", "--key", "k", "--target", target, cwd=tmp_path)

    assert made.returncode == 0
    assert found.stdout.splitlines()[-1].endswith("no connection")


async def test_webhooks_are_ends() -> None:
    """A webhook wakes who waits for its task, and one that comes again is the same event."""
    letterbox = Letterbox("http://load.test", {"wavespeed": WaveSpeed()})
    port = free_port()
    body = json.dumps({"id": "1", "status": "completed"}).encode()

    async with receiving(letterbox, host="127.0.0.1", port=port), connected(f"http://127.0.0.1:{port}") as wire:
        answers = [await wire.send(Ask(method="POST", path="/wavespeed", body=body), authorization="") for _ in "12"]
        wrong = await wire.send(Ask(method="POST", path="/wavespeed", body=b"{"), authorization="")
        seen = await letterbox.first("wavespeed", "1")

    assert [answer.status for answer in answers] == [200, 200]
    assert wrong.status == 400
    assert seen.state is State.SUCCEEDED
    assert letterbox.ends_told() == {"1": {"succeeded"}}


def interrupting(*, accepted: int) -> Callable[[Book], None]:
    """Press Ctrl-C once, when so many orders have been accepted."""
    pressed: list[None] = []

    def look(book: Book) -> None:
        if not pressed and sum(bool(record.task_id) for record in book.records) == accepted:
            pressed.append(None)
            os.kill(os.getpid(), signal.SIGINT)

    return look


@asynccontextmanager
async def saying(answer: bytes) -> AsyncIterator[str]:
    """Serve one answer to whatever is asked."""

    async def reply(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer.replace(b"\r\n", b"\r\nConnection: close\r\n", 1))
            await writer.drain()
        writer.close()

    async with await asyncio.start_server(reply, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def command(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run ``python -m loadtest`` to its end."""
    process = loading(*words, cwd=cwd)
    said, complaints = process.communicate(timeout=60)
    return subprocess.CompletedProcess(words, process.returncode, said, complaints)


def loading(*words: str, cwd: Path) -> subprocess.Popen[str]:
    """Start ``python -m loadtest``."""
    return subprocess.Popen(
        [sys.executable, "-m", "loadtest", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT)},  # noqa: TID251 -- handed to a child, not read
    )
