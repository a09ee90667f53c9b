"""Many requests through one engine, some of them cancelled or bad: what the process has resident on the way."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping

import psutil

from loadtest.isolation.spoiled import Spoiled, wish
from models.engine import Engine
from models.resident import Standing
from models.sharing import Sharing

#: Looks at the memory over a whole run.
LOOKS = 20
#: Wishes of those that come; what is encoded for them is kept from the first look on.
WISHES = 8
#: Pixels a side: one token, so that a request is quick.
SIDE = 64
#: Which part of the run is over when memory is first held against its end: torch's and Python's own pools have grown.
SETTLED = 0.25
#: Bytes by which resident memory may grow from then on, and still count as flat.
FLAT_BYTES = 16 << 20


def run_requests(pipeline: Spoiled, *, requests: int) -> Iterator[Mapping[str, float]]:
    """Let requests come one at a step, a cancel after every third and every tenth bad; look at the memory in between.

    Yields:
        ``requests`` that came so far, and ``resident_mb`` of this process after what nobody refers to was let go.
    """
    engine = Engine({"uno": pipeline}, sharing=Sharing(2))
    every = max(requests // LOOKS, 1)
    for number in range(requests):
        prompt = "nan" if number % 10 == 9 else ""
        standing = Standing(rank=number % 3, tenant=f"tenant {number % 40}")
        engine.admit(str(number), wish(number % WISHES, prompt=prompt, side=SIDE), [], standing=standing)
        engine.step()
        if number % 3 == 2:
            engine.evict(str(number - number % 2))
        if (number + 1) % every == 0:
            while not engine.is_idle:
                engine.step()
            gc.collect()
            yield {"requests": number + 1, "resident_mb": round(psutil.Process().memory_info().rss / 1e6, 1)}


def grown_bytes(looks: list[Mapping[str, float]]) -> float:
    """Return by how many bytes memory has grown since it settled; less than 0 where it shrank."""
    settled = looks[int(len(looks) * SETTLED)]
    return round((looks[-1]["resident_mb"] - settled["resident_mb"]) * 1e6)
