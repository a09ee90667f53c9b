"""Ports for servers that are told where to listen: free, and below those that the system deals out by itself.

A service binds its port tens of seconds after it was told which, and Ray opens some twenty listeners meanwhile,
wherever the system puts them: a port from there may be gone by then. And a client that calls a stopped server could
reach itself if the server's port were one of those that outgoing connections get.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import cycle, islice

#: Where they lie. Linux deals out those from 32768 on, Serve puts ingresses on those from 30000 on, and ``ray start``
#: puts workers on those up to 19999.
PORTS = range(20_000, 30_000)
#: The golden section of so many ports: processes whose ids differ by 30 or less begin 200 ports apart or more.
STRIDE = 6_179


def ports_of(pid: int) -> Iterator[int]:
    """Yield all ports again and again, in the order in which a process is to try them."""
    first = pid * STRIDE % len(PORTS)
    yield from cycle([*PORTS[first:], *PORTS[:first]])


# Goes on where it was: a port is not returned again while others are left, for its server may only have stopped.
_untried = ports_of(os.getpid())


def free_ports(number: int) -> Sequence[int]:
    """Return so many ports in a row that nobody holds."""
    for _ in range(0, len(PORTS), number):
        ports = list(islice(_untried, number))
        if ports[-1] - ports[0] == number - 1 and _are_free(ports):
            return ports
    raise OSError(f"no {number} ports in a row are free")


def _are_free(ports: Sequence[int]) -> bool:
    with ExitStack() as held:
        try:
            for port in ports:
                held.enter_context(socket.socket()).bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
