"""A few processes that decode, each of which may be lost: to a file it is the file's fault, to the service nothing.

    decode ──► wait for a place ──► take an idle process, or start one ──► ask ──► keep it, or replace it

A process is replaced when it dies, hangs, answers nonsense or is worn out, and when its caller is cancelled half-way.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Self

import structlog
from PIL import Image

from deployments.decoding.decoder import Decoder, DecoderLost, Pixels
from deployments.decoding.rules import MAX_BYTES, NoDecoder, PictureRefused, Refusal
from deployments.picture_files import recognised

log = structlog.get_logger()


class DecoderPool:
    """Decodes pictures in processes of its own, for the length of an ``async with``."""

    def __init__(self, *, processes: int = 2, most_waiting: int = 256) -> None:
        """Start nothing yet.

        Args:
            processes: how many decode side by side.
            most_waiting: how many pictures may wait for one; their bytes are held meanwhile.
        """
        self._places = asyncio.Semaphore(processes)
        self._processes = processes
        self._most_waiting = most_waiting
        self._waiting = 0
        self._is_open = True
        self._idle: list[Decoder] = []
        self._ending: set[asyncio.Task[None]] = set()
        #: How many processes were lost to a picture so far.
        self.lost = 0

    def __repr__(self) -> str:
        """Say how busy it is."""
        return f"<DecoderPool [{self._processes} processes | {len(self._idle)} idle | {self._waiting} pictures wait]>"

    async def __aenter__(self) -> Self:
        """Start the first process, so that one that cannot start is noticed now, and say so if it is not cut off.

        Raises:
            NoDecoder: when it does not start.
        """
        decoder = await _start()
        if not decoder.is_cut_off:
            log.warning("decoders_share_the_network", reason="this system lets no process leave it by itself")
        self._idle.append(decoder)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End every process."""
        self._is_open = False
        while self._idle:
            self._retire(self._idle.pop())
        await asyncio.gather(*self._ending)

    async def decode(self, content: bytes) -> Image.Image:
        """Decode a PNG, JPEG or WebP file.

        Returns:
            The first frame in RGB, upright, without metadata. Transparency is dropped, not composited.

        Raises:
            PictureRefused: when the format is another, the size out of bounds, the file broken or cut short, or
                decoding it takes more time or memory than a picture gets.
            NoDecoder: when too many wait already, or no process can be started.
        """
        if recognised(content) is None:
            raise PictureRefused(Refusal.UNKNOWN)
        if len(content) > MAX_BYTES:
            raise PictureRefused(Refusal.TOO_HEAVY)
        async with self._place():
            answer = await self._ask(content)
        if isinstance(answer, Refusal):
            raise PictureRefused(answer)
        pixels, width, height = answer
        # In a thread: the library lays every pixel out anew, and lets others run meanwhile.
        return await asyncio.to_thread(Image.frombytes, "RGB", (width, height), pixels)

    @asynccontextmanager
    async def _place(self) -> AsyncIterator[None]:
        if self._waiting >= self._most_waiting:
            raise NoDecoder("more pictures wait to be decoded than there is room for")
        self._waiting += 1
        try:
            await self._places.acquire()
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            self._places.release()

    async def _ask(self, content: bytes) -> Pixels | Refusal:
        decoder = await self._decoder()
        try:
            return await decoder.decode(content)
        except DecoderLost as error:
            self.lost += 1
            log.warning("decoder_lost", decoder=repr(decoder), reason=error.message)
            return Refusal.TOO_COSTLY
        finally:
            # Also when this is cancelled: a half-read answer would be taken for the next one.
            if decoder.is_usable and self._is_open:
                self._idle.append(decoder)
            else:
                self._retire(decoder)

    async def _decoder(self) -> Decoder:
        while self._idle:
            decoder = self._idle.pop()
            if decoder.is_usable:
                return decoder
            self._retire(decoder)
        return await _start()

    def _retire(self, decoder: Decoder) -> None:
        """End a process beside what goes on."""
        ending = asyncio.create_task(_end(decoder))
        self._ending.add(ending)
        ending.add_done_callback(self._ending.discard)


async def _start() -> Decoder:
    try:
        return await Decoder.start()
    except (OSError, DecoderLost) as error:
        raise NoDecoder from error


async def _end(decoder: Decoder) -> None:
    status = await decoder.end()
    log.info("decoder_ended", decoder=repr(decoder), status=status)
