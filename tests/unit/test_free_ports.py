"""Ports that are searched for: free ones, each once, and apart from those that a process beside this one searches."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from itertools import islice

from free_ports import PORTS, free_ports, ports_of

#: More than a run of all tests asks for in one process.
MANY = 200


def test_ports_are_free_and_in_a_row() -> None:
    """All can be held at once, and the system deals out none of them."""
    ports = free_ports(5)

    with ExitStack() as held:
        for port in ports:
            held.enter_context(socket.socket()).bind(("127.0.0.1", port))
    assert list(ports) == list(range(ports[0], ports[0] + 5))
    assert set(ports) <= set(PORTS)


def test_a_port_that_is_held_is_passed_over() -> None:
    """Where the next of them is somebody else's, they lie behind it."""
    [last] = free_ports(1)
    with socket.socket() as held:
        held.bind(("127.0.0.1", last + 2))

        ports = free_ports(2)

    assert last + 2 not in ports


def test_a_port_is_returned_once() -> None:
    """Ports that nobody has bound yet are not returned again."""
    ports = [free_ports(1)[0] for _ in range(MANY)]

    assert len(set(ports)) == MANY


def test_processes_side_by_side_search_apart() -> None:
    """Neighbours by id, as the workers of one run are, never come to each other's ports."""
    searched = [set(islice(ports_of(pid), MANY)) for pid in range(1_000, 1_031)]

    assert sum(map(len, searched)) == len(set.union(*searched))
