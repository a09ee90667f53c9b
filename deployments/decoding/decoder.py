"""One process that decodes, seen from the service: start it, ask it, and know when it is of no more use.

What it answers is believed as little as the file it was given: every length is checked before it is used.
"""

from __future__ import annotations

import asyncio
import sys
from asyncio import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import PIL

from deployments.decoding.rules import Refusal
from deployments.decoding.wire import ANSWER, CHANNELS, READY, READY_AND_CUT_OFF, NotAnAnswer, answered, question
from deployments.errors import UxoError

if TYPE_CHECKING:
    from asyncio.subprocess import Process

#: Pictures after which a process is replaced, whatever they have left in its memory.
MOST_PICTURES = 200
#: Seconds from a question to the whole answer; its processor time is bounded by itself, and this machine may be busy.
ANSWER_S = 15.0
#: Seconds until a new process says that it is ready.
START_S = 30.0
#: Bytes that are written and read at once, so that no copy of a large picture holds up the event loop.
PIECE_BYTES = 1 << 18

_START = "import sys; sys.path += sys.argv[1:]; from deployments.decoding.process import main; main()"
#: Nothing of this process's environment, its site folders or its working directory gets in; what has to be found is
#: named.
COMMAND = (
    sys.executable,
    *("-I", "-S", "-c", _START),
    str(Path(__file__).parents[2]),
    str(Path(PIL.__file__).parents[1]),
)

#: Pixels, row by row, with width and height.
Pixels = tuple[bytearray, int, int]


class DecoderLost(UxoError):
    """A process that decodes has died, hangs, or answers nonsense."""


class Decoder:
    """One process, one picture at a time."""

    def __init__(self, process: Process, *, answer_s: float = ANSWER_S) -> None:
        """Take a process that was started; ``start`` does both."""
        assert process.stdin is not None  # noqa: S101 -- both are pipes
        assert process.stdout is not None  # noqa: S101
        self._process = process
        self._questions, self._answers = process.stdin, process.stdout
        self._answer_s = answer_s
        self._pictures = 0
        self._is_sound = True
        self.is_cut_off = False

    def __repr__(self) -> str:
        """Say which process it is, and how much it has done."""
        return f"<Decoder {self.pid} [{self._pictures} of {MOST_PICTURES} pictures]>"

    @classmethod
    async def start(cls, command: Sequence[str] = COMMAND, *, answer_s: float = ANSWER_S) -> Decoder:
        """Start a process and wait until it is ready.

        Raises:
            DecoderLost: when it does not become so.
            OSError: when the system has no room for one more.
        """
        process = await subprocess.create_subprocess_exec(
            *command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={},
            cwd="/",
            limit=4 * PIECE_BYTES,
        )
        decoder = cls(process, answer_s=answer_s)
        try:
            await decoder._greet()
        except BaseException:
            await decoder.end()
            raise
        return decoder

    @property
    def pid(self) -> int:
        """Return the id of its process."""
        return self._process.pid

    @property
    def is_usable(self) -> bool:
        """Whether it can be asked once more: it lives, the last answer was whole, and it is not worn out."""
        return self._is_sound and self._pictures < MOST_PICTURES and self._process.returncode is None

    async def decode(self, content: bytes) -> Pixels | Refusal:
        """Ask for the pixels of a file.

        Returns:
            The pixels, or why there are none. When this is cancelled or raises, the process is of no more use.

        Raises:
            DecoderLost: when no whole answer comes.
        """
        self._pictures += 1
        self._is_sound = False
        try:
            async with asyncio.timeout(self._answer_s):
                await self._ask(content)
                answer = await self._answer()
        except (TimeoutError, NotAnAnswer, asyncio.IncompleteReadError, ConnectionError) as error:
            raise DecoderLost(f"no answer: {error!r}") from error
        # Memory that ran short once may be in pieces.
        self._is_sound = answer is not Refusal.TOO_COSTLY
        return answer

    async def end(self) -> int:
        """End the process, whatever it is doing.

        Returns:
            Its exit status, or the signal that ended it as a negative number.
        """
        with suppress(ProcessLookupError):
            self._process.kill()
        self._questions.close()
        return await self._process.wait()

    async def _greet(self) -> None:
        try:
            async with asyncio.timeout(START_S):
                word = await self._answers.readexactly(1)
        except (TimeoutError, asyncio.IncompleteReadError) as error:
            raise DecoderLost(f"did not start: {error!r}") from error
        if word not in {READY, READY_AND_CUT_OFF}:
            raise DecoderLost(f"did not start: it said {word!r}")
        self.is_cut_off = word == READY_AND_CUT_OFF

    async def _ask(self, content: bytes) -> None:
        self._questions.write(question(content))
        view = memoryview(content)
        for start in range(0, len(content), PIECE_BYTES):
            self._questions.write(view[start : start + PIECE_BYTES])
            await self._questions.drain()

    async def _answer(self) -> Pixels | Refusal:
        answer = answered(await self._answers.readexactly(ANSWER.size))
        if isinstance(answer, Refusal):
            return answer
        width, height = answer
        pixels = bytearray(width * height * CHANNELS)
        await self._read_into(memoryview(pixels))
        return pixels, width, height

    async def _read_into(self, space: memoryview) -> None:
        while space:
            piece = await self._answers.read(min(len(space), PIECE_BYTES))
            if not piece:
                raise asyncio.IncompleteReadError(b"", len(space))
            space[: len(piece)] = piece
            space = space[len(piece) :]
