"""The fleet: gateways, replicas and a housekeeper in slots; what dies is started again after a short pause."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from acceptance.chaos.orders import Orders, environment

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

#: Seconds between a death and the next life of a slot.
PAUSE_S = 0.3


@dataclass(slots=True, kw_only=True)
class Slot:
    """A place in the fleet."""

    #: What stands there.
    orders: Orders
    #: The process that is there now; 0 between two lives.
    pid: int = 0
    #: Whether it was stopped by us and has not been continued.
    is_frozen: bool = False
    #: Processes that have stood there so far.
    lives: int = 0

    @property
    def role(self) -> str:
        """Return what stands there."""
        return self.orders.role


class NurseryLost(Exception):
    """The process that starts all others has ended."""


#: Makes the orders of a slot's next life.
Arm = Callable[[Orders], Orders]


class Fleet:
    """All processes under test."""

    def __init__(self, nursery: asyncio.subprocess.Process, *, arm: Arm) -> None:
        """Take the running nursery, and what changes orders before each life."""
        self._nursery = nursery
        self._arm = arm
        self._slots: dict[str, Slot] = {}
        self._is_over = False
        self._restarts: set[asyncio.Task[None]] = set()

    def __repr__(self) -> str:
        """Say who lives."""
        alive = sum(slot.pid > 0 for slot in self._slots.values())
        return f"<Fleet [{alive} of {len(self._slots)} alive]>"

    @property
    def lives(self) -> int:
        """Return how many processes there have been."""
        return sum(slot.lives for slot in self._slots.values())

    def check(self) -> None:
        """Return while new processes can be started.

        Raises:
            NurseryLost: when they cannot; its log says why.
        """
        if self._nursery.returncode is not None:
            raise NurseryLost(f"the nursery has ended with {self._nursery.returncode}; nursery.log says why")

    def alive(self, role: str) -> list[Slot]:
        """Return the slots of a role in which a process runs that is not frozen."""
        return [slot for slot in self._slots.values() if slot.role == role and slot.pid and not slot.is_frozen]

    def frozen(self) -> list[Slot]:
        """Return the slots whose process is stopped."""
        return [slot for slot in self._slots.values() if slot.pid and slot.is_frozen]

    def start(self, orders: Orders) -> None:
        """Fill a new slot."""
        slot = Slot(orders=orders)
        self._slots[orders.name] = slot
        self._begin_life(slot)

    def kill(self, slot: Slot) -> None:
        """End a process as the kernel does when memory is short."""
        self._signal(slot, signal.SIGKILL)

    def freeze(self, slot: Slot) -> None:
        """Stop a process in whatever it is doing."""
        slot.is_frozen = True
        self._signal(slot, signal.SIGSTOP)

    def thaw(self, slot: Slot) -> None:
        """Let a process that was stopped go on."""
        slot.is_frozen = False
        self._signal(slot, signal.SIGCONT)

    def end(self) -> None:
        """End every process for good."""
        self._is_over = True
        for slot in self._slots.values():
            self._signal(slot, signal.SIGKILL)

    async def watch(self) -> None:
        """Follow what the nursery tells, and start again what died, until cancelled."""
        assert self._nursery.stdout is not None
        async for line in self._nursery.stdout:
            told = json.loads(line)
            if "started" in told:
                self._slots[told["name"]].pid = told["started"]
            else:
                self._note_end(told["ended"])

    def _note_end(self, pid: int) -> None:
        slot = next((slot for slot in self._slots.values() if slot.pid == pid), None)
        if slot is None:
            return
        slot.pid, slot.is_frozen = 0, False
        restart = asyncio.create_task(self._restart(slot))
        self._restarts.add(restart)
        restart.add_done_callback(self._restarts.discard)

    async def _restart(self, slot: Slot) -> None:
        await asyncio.sleep(PAUSE_S)
        if not self._is_over:
            self._begin_life(slot)

    def _begin_life(self, slot: Slot) -> None:
        assert self._nursery.stdin is not None
        slot.lives += 1
        self._nursery.stdin.write(f"{self._arm(slot.orders).to_line()}\n".encode())

    def _signal(self, slot: Slot, number: int) -> None:
        if slot.pid:
            with suppress(ProcessLookupError):
                os.kill(slot.pid, number)


@asynccontextmanager
async def open_fleet(logs: Path, *, arm: Arm) -> AsyncIterator[Fleet]:
    """Start a nursery; when the block ends, it and all its processes are gone."""
    command = [sys.executable, "-m", "acceptance.chaos.nursery", str(logs)]
    with (logs / "nursery.log").open("ab") as log:
        nursery = await asyncio.create_subprocess_exec(
            *command,
            env=environment(),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
            start_new_session=True,  # Ctrl-C is for the harness alone
        )
    fleet = Fleet(nursery, arm=arm)
    watching = asyncio.create_task(fleet.watch())
    try:
        yield fleet
    finally:
        fleet.end()
        watching.cancel()
        with suppress(ProcessLookupError):
            nursery.kill()
        await nursery.wait()


def free_ports(number: int, random: Random) -> Sequence[int]:
    """Find ports below those that outgoing connections get, so that nobody takes one between two lives of a gateway."""
    found: list[int] = []
    while len(found) < number:
        port = random.randrange(10_000, 19_000)
        if port not in found and _is_free(port):
            found.append(port)
    return found


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
