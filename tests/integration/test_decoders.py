"""Decoding in processes of its own: what they answer, what they cannot do, and that losing one costs nobody else."""

from __future__ import annotations

import ast
import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from io import BytesIO
from pathlib import Path

import psutil
import pytest
from PIL import Image

from deployments.decoding.decoder import COMMAND, MOST_PICTURES, Decoder, DecoderLost
from deployments.decoding.pixels import decode
from deployments.decoding.pool import DecoderPool
from deployments.decoding.rules import MAX_BYTES, NoDecoder, PictureRefused, Refusal

NOISE = Image.effect_noise((300, 200), 90).convert("RGB")


def saved(file_format: str = "PNG", image: Image.Image = NOISE) -> bytes:
    """Write a picture as a file."""
    file = BytesIO()
    image.save(file, file_format)
    return file.getvalue()


def script(code: str) -> tuple[str, ...]:
    """Return a command that runs some lines."""
    return (sys.executable, "-I", "-S", "-c", f"import sys, time; sys.path += {list(COMMAND[-2:])!r}; {code}")


#: Begins a process that says it is ready, and may then answer as it likes.
READY = "out = sys.stdout.buffer; out.write(b'r'); out.flush(); sys.stdin.buffer.read(1); "


def networks_of(*pids: int) -> list[str]:
    """Name the network namespaces that processes are in."""
    return [str(Path(f"/proc/{pid}/ns/net").readlink()) for pid in pids]


@pytest.fixture
async def pool() -> AsyncIterator[DecoderPool]:
    """Return a pool of one process."""
    async with DecoderPool(processes=1) as pool:
        yield pool


@pytest.fixture
async def decoder() -> AsyncIterator[Decoder]:
    """Return a process."""
    decoder = await Decoder.start()
    yield decoder
    await decoder.end()


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "WEBP"])
async def test_the_pixels_are_those_of_the_library(pool: DecoderPool, file_format: str) -> None:
    """A picture comes out of a process exactly as it would be decoded here."""
    content = saved(file_format)

    image = await pool.decode(content)

    assert (image.mode, image.size, image.tobytes()) == ("RGB", (300, 200), decode(content).tobytes())


async def test_more_pictures_than_processes(pool: DecoderPool) -> None:
    """Those that wait come in turn, each to its own caller."""
    contents = [saved(image=Image.new("RGB", (16 + n, 16))) for n in range(20)]

    images = await asyncio.gather(*(pool.decode(content) for content in contents))

    assert [image.width for image in images] == [16 + n for n in range(20)]
    assert pool.lost == 0


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"text", Refusal.UNKNOWN),
        (saved() + bytes(MAX_BYTES), Refusal.TOO_HEAVY),
        (saved()[:999], Refusal.BROKEN),
        (saved(image=Image.new("RGB", (8, 8))), Refusal.TOO_SMALL),
    ],
    ids=["text", "heavy", "broken", "small"],
)
async def test_a_refusal_comes_back(pool: DecoderPool, content: bytes, why: Refusal) -> None:
    """What a process refuses, and what is not worth asking it, is refused with the reason, and it goes on."""
    [before] = pool._idle

    with pytest.raises(PictureRefused) as refusal:
        await pool.decode(content)

    assert refusal.value.why is why
    assert pool._idle == [before]


async def test_a_death_is_the_pictures_fault_and_nobody_elses(pool: DecoderPool) -> None:
    """The picture at which a process dies is refused; the next one finds a fresh process."""
    [doomed] = pool._idle
    os.kill(doomed.pid, signal.SIGSTOP)
    refused = asyncio.create_task(pool.decode(saved()))
    await asyncio.sleep(0)
    os.kill(doomed.pid, signal.SIGKILL)

    with pytest.raises(PictureRefused, match="takes too much time or memory"):
        await refused

    assert pool.lost == 1
    assert (await pool.decode(saved())).size == (300, 200)


async def test_who_is_cancelled_leaves_nothing_behind(pool: DecoderPool) -> None:
    """A half-answered question is not answered to the next caller."""
    [stopped] = pool._idle
    os.kill(stopped.pid, signal.SIGSTOP)
    cancelled = asyncio.create_task(pool.decode(saved()))
    await asyncio.sleep(0)
    cancelled.cancel()

    image = await pool.decode(saved(image=Image.new("RGB", (32, 32))))

    assert image.size == (32, 32)
    assert stopped not in pool._idle


async def test_an_idle_process_that_dies_is_nobodys_fault(pool: DecoderPool) -> None:
    """It is replaced before anything is asked of it."""
    [dead] = pool._idle
    await dead.end()

    assert (await pool.decode(saved())).size == (300, 200)
    assert pool.lost == 0


async def test_a_process_is_replaced_after_some_pictures(pool: DecoderPool) -> None:
    """No process outlives its share of pictures."""
    [first] = pool._idle
    content = saved(image=Image.new("RGB", (16, 16)))

    for _ in range(MOST_PICTURES):
        await pool.decode(content)

    assert first not in pool._idle
    assert (await pool.decode(content)).size == (16, 16)


async def test_waiting_is_bounded() -> None:
    """Beyond the bound a picture is turned away, and not as one that is bad."""
    async with DecoderPool(processes=1, most_waiting=0) as pool:
        with pytest.raises(NoDecoder):
            await pool.decode(saved())


async def test_nothing_is_left_when_a_pool_closes() -> None:
    """The end of the block is the end of its processes."""
    async with DecoderPool() as pool:
        [decoder] = pool._idle

    assert not psutil.pid_exists(decoder.pid)


@pytest.mark.parametrize(
    "answer",
    [
        "out.write(bytes([0]) + b'\\xff' * 8)",
        "out.write(bytes([99]) + bytes(8))",
        "out.write(b'\\x01')",
        "out.write(bytes([0, 0, 0, 0, 16, 0, 0, 0, 16]) + bytes(100))",
        "",
    ],
    ids=["too large a picture", "an unknown reason", "half an answer", "too few pixels", "nothing"],
)
async def test_nonsense_is_not_believed(answer: str) -> None:
    """A process that was taken over cannot do more than get itself lost."""
    decoder = await Decoder.start(script(READY + answer))

    with pytest.raises(DecoderLost):
        await decoder.decode(saved())

    assert not decoder.is_usable
    await decoder.end()


async def test_a_process_that_hangs_is_lost() -> None:
    """No answer within the time for one is as bad as none."""
    decoder = await Decoder.start(script(READY + "time.sleep(60)"), answer_s=0.1)

    with pytest.raises(DecoderLost):
        await decoder.decode(saved())

    await decoder.end()


@pytest.mark.parametrize("code", ["", "print('no')"])
async def test_a_process_that_does_not_start_is_noticed(code: str) -> None:
    """One that says nothing or something else is no decoder."""
    with pytest.raises(DecoderLost, match="did not start"):
        await Decoder.start(script(code))


async def test_a_process_knows_nothing(decoder: Decoder) -> None:
    """It has no environment, and no open files but the three that it is spoken to through."""
    process = psutil.Process(decoder.pid)

    assert process.environ() == {}
    assert process.num_fds() == 3


async def test_a_process_is_in_no_network(decoder: Decoder) -> None:
    """It is in another network namespace than this process, a new and empty one."""
    if not decoder.is_cut_off:
        pytest.skip("this system lets no process leave the network by itself")

    here, there = networks_of(os.getpid(), decoder.pid)

    assert here != there


async def test_a_process_ends_with_its_service(decoder: Decoder) -> None:
    """When nobody is left to ask, it ends by itself."""
    decoder._questions.close()

    assert await asyncio.wait_for(decoder._process.wait(), 20) == 0


async def test_a_process_loads_little() -> None:
    """Besides the standard library it knows Pillow and our own code, so it is soon there and stays small."""
    listed = "import deployments.decoding.process; print({name.partition('.')[0] for name in sys.modules})"
    process = await asyncio.create_subprocess_exec(*script(listed), stdout=asyncio.subprocess.PIPE)

    output, _ = await process.communicate()

    assert ast.literal_eval(output.decode()) - sys.stdlib_module_names == {"__main__", "PIL", "deployments"}


CONFINED = "from deployments.decoding.confinement import confine, grant_cpu; import os, socket; confine(); "


@pytest.mark.parametrize(
    "code",
    ["open('/etc/hostname')", "socket.socket()", "bytearray(512 * 2**20)"],
)
async def test_what_is_confined_cannot(code: str) -> None:
    """Neither files nor sockets nor more memory are there for one who is confined."""
    tried = f"""
{CONFINED}
try:
    {code}
except (OSError, MemoryError):
    raise SystemExit(17)
"""
    process = await asyncio.create_subprocess_exec(*script(tried))

    status = await asyncio.wait_for(process.wait(), 20)

    assert status == 17


async def test_processor_time_is_bounded() -> None:
    """The kernel ends who uses more than was granted."""
    process = await asyncio.create_subprocess_exec(*script(f"{CONFINED}grant_cpu(1)\nwhile True: pass"))

    assert await asyncio.wait_for(process.wait(), 60) == -signal.SIGXCPU
