"""How long the policy takes to choose among a thousand: the only figure here that depends on the machine."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any

from loadtest.machine import commit, machine
from loadtest.scheduler.orders import MAX_GROUP
from models.cost import cost_table
from models.policy import Candidate, choose_group, outlook_of
from models.resident import shared_part
from models.sample import ShapeKey

#: How many samples share a call, by the way of deciding: as replicas decide, which always say what strangers share.
WAYS: Mapping[str, int] = MappingProxyType({"exact": 1, "groups of 8": MAX_GROUP})

#: What the clock says at the decision, in seconds.
NOW_S = 0.1


def decisions(*, rounds: int = 300) -> Mapping[str, Any]:
    """Return what a decision takes in every way, with the command, the commit and the machine."""
    return {
        "command": "python -m loadtest.scheduler decisions",
        "commit": commit(),
        "machine": machine(),
        "us": {way: decision_us(max_group=most, rounds=rounds) for way, most in WAYS.items()},
    }


def decision_us(*, max_group: int, samples: int = 1000, rounds: int = 300) -> float:
    """Return the median of microseconds of process time in which the policy chooses among so many lone samples."""
    waiting, shared = _waiting(samples), partial(shared_part, costs=cost_table())
    taken = []
    for _ in range(rounds):
        started = time.process_time_ns()
        choose_group(waiting, max_group=max_group, now_s=NOW_S, shared=shared)
        taken.append((time.process_time_ns() - started) / 1e3)
    return round(statistics.median(taken), 1)


def _waiting(samples: int) -> Sequence[Candidate]:
    """Return requests of one sample, of which a third is pressed and has time for company: what takes the longest."""
    draw = random.Random(1)  # noqa: S311 -- a load, not a secret
    return [_candidate(str(number), draw) for number in range(samples)]


def _candidate(name: str, draw: random.Random) -> Candidate:
    # A flood of little work, which counts from later and would be late after the large work that is there.
    work_s, counts_from_s = draw.choice(((0.2, 560.0), (9.0, 0.0), (9.0, 0.0)))
    # Each has a shape of its own, as requests have, which is equal to others and not the same.
    shape = ShapeKey(model="uno", target_tokens=draw.choice((256, 1024, 4096)), reference_tokens=0, styles=0)
    outlook = outlook_of(counts_from_s, asked_s=0.0, work_s=work_s, left_s=work_s - draw.random() / 100)
    return Candidate(request_id=name, samples=(0,), shape=shape, rank=0, **outlook)
