"""What a process under test is told when it starts, and who may call it; plain values that fit on one line of text."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType

#: Tenants and the key each of them shows.
KEYS: Mapping[str, str] = MappingProxyType(
    {name: f"chaos-key-of-{name}-0123456789" for name in ("alice", "bob", "carol")}
)

#: What keys are hashed with, and what webhooks are signed with.
SECRET = "a secret of the chaos harness, 32+"

TESTS = Path(__file__).parents[2]


def environment() -> dict[str, str]:
    """Return the environment in which processes find the harness and the product."""
    return {**os.environ, "PYTHONPATH": f"{TESTS}:{TESTS.parent}"}  # noqa: TID251 -- handed on, not read


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """What one process is to be."""

    #: ``gateway``, ``replica`` or ``housekeeper``.
    role: str
    #: Its slot in the fleet, e.g. ``replica-2``.
    name: str
    #: The database as this process is to reach it, perhaps through the fault proxy.
    database_url: str
    #: Where pictures, the server's secret and the journals lie.
    folder: str
    #: How long a claim lasts without a beat, in seconds.
    lease_s: float
    #: How long the fake engine takes for a step, in seconds.
    step_s: float = 0.005
    #: Tasks a replica holds at once.
    capacity: int = 4
    #: A replica stops itself before every so manieth good end, as if by SIGSTOP from outside; 0 means never.
    stop_every: int = 0
    #: Port of a gateway.
    port: int = 0
    #: The planted bug, if any.
    bug: str = ""
    #: The crash point at which a gateway kills itself, if any.
    crash_point: str = ""
    #: It dies at the first passing of that point when it has lived so long, in seconds.
    crash_after_s: float = 0.0

    def to_line(self) -> str:
        """Write the orders as one line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_line(cls, line: str) -> Orders:
        """Read orders from a line."""
        return cls(**json.loads(line))
