"""Groups with one bad member each: whether every good one ends, and to the last bit as it ends alone."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from loadtest.isolation.spoiled import SPOILS, Spoiled, wish
from models.engine import Engine
from models.sample import ShapeKey
from models.sharing import Sharing

#: Members of a group, and wishes that its good ones are drawn from.
MEMBERS, WISHES = 4, 8
#: The name under which a group's bad member is spoken of.
BAD = "bad"

#: Pixels of what finished, and what went wrong with what failed.
Ended = tuple[Mapping[str, bytes], Mapping[str, Exception]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """A way for samples to share calls."""

    #: What it is called.
    name: str
    #: How many share at most.
    max_group: int
    #: Which shapes share without a trace; None: all share.
    proven: Mapping[ShapeKey, int] | None
    #: Whether every picture has to be what it is alone.
    is_exact: bool


@dataclass(slots=True, kw_only=True)
class Tally:
    """What came of the groups of one way."""

    #: Groups that were run.
    groups: int = 0
    #: Good members, and how many of them ended with a picture.
    good: int = 0
    succeeded: int = 0
    #: How many of those are bit-equal to running alone.
    bit_equal: int = 0
    #: Bad members that failed, by themselves and as themselves.
    bad_failed: int = 0
    #: Seconds that all of it took.
    seconds: float = 0.0


def made_alone(pipeline: Spoiled) -> dict[int, bytes]:
    """Return the pixels of every wish's picture, made one at a time."""
    engine = Engine({"uno": pipeline})
    for seed in range(WISHES):
        engine.admit(str(seed), wish(seed), [])
    finished, _ = _run_dry(engine)
    return {int(name): pixels for name, pixels in finished.items()}


def run_groups(pipeline: Spoiled, way: Way, *, alone: Mapping[int, bytes], groups: int) -> Iterator[Mapping[str, Any]]:
    """Run groups one after another in one engine; yield what there is to say after each, the last one all of it.

    The bad member comes at once or a step later, when the others are on their way.

    Args:
        pipeline: what the engine runs.
        way: how samples share calls.
        alone: the pixels of every wish's picture, made alone.
        groups: how many.
    """
    engine = Engine({"uno": pipeline}, sharing=Sharing(way.max_group, proven=way.proven))
    draw = random.Random(groups)  # noqa: S311 -- a repeatable order, not a secret
    tally = Tally()
    pipeline.group_sizes.clear()
    started_s = time.monotonic()
    for number in range(groups):
        seeds = draw.sample(range(WISHES), MEMBERS - 1)
        kind = draw.choice(list(SPOILS))
        finished, failed = _run(engine, seeds, kind=kind, steps_before=number % 2)
        _count(tally, seeds, finished, alone=alone)
        tally.bad_failed += list(failed) == [BAD]
        tally.seconds = round(time.monotonic() - started_s, 1)
        sizes = {str(size): count for size, count in sorted(pipeline.group_sizes.items())}
        yield {"way": way.name, "is_exact": way.is_exact, **asdict(tally), "calls_by_samples": sizes}


def _run(engine: Engine, seeds: Sequence[int], *, kind: str, steps_before: int) -> Ended:
    for seed in seeds:
        engine.admit(str(seed), wish(seed), [])
    for _ in range(steps_before):
        engine.step()
    engine.admit(BAD, wish(0, prompt=kind), [])
    return _run_dry(engine)


def _run_dry(engine: Engine) -> Ended:
    finished: dict[str, bytes] = {}
    failed: dict[str, Exception] = {}
    while not engine.is_idle:
        report = engine.step()
        finished |= {name: images[0].image.tobytes() for name, images in report.finished.items()}
        failed |= report.failed
    return finished, failed


def _count(tally: Tally, seeds: Sequence[int], finished: Mapping[str, bytes], *, alone: Mapping[int, bytes]) -> None:
    tally.groups += 1
    tally.good += len(seeds)
    tally.succeeded += sum(str(seed) in finished for seed in seeds)
    tally.bit_equal += sum(finished.get(str(seed)) == alone[seed] for seed in seeds)
