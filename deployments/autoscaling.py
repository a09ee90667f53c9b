"""How many replicas a deployment wants, from what waits for its models; Serve's own policy counts calls.

    what runs  +  what waits in work units / (measured speed * aimed wait)  ->  needed now  ->  most needed lately

Up at once; down only to the most that was needed within the calm time, so that it never flaps. The rule is pure; only
the ``Lookout`` meets a database, on a thread of its own: policies live in Serve's controller, where nothing may block.
"""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import structlog

from deployments.background import Background
from deployments.database.database import Database, open_database
from deployments.rounds import Round, forever, run_until
from deployments.settings import read_settings
from deployments.tasks.backlog import Backlog, Run, read_backlog
from deployments.telemetry.logs import log_as

log = structlog.get_logger()

#: Seconds between two looks at the backlog.
LOOK_EVERY_S = 2.0
#: Seconds after which what was read last says nothing of now; as long as the database is away, nothing changes.
STALE_S = 30.0
#: Seconds of devices' time that have to be seen before their speed is believed.
ENOUGH_S = 10.0
#: Seconds after which a backlog that no policy asks for is looked at no more; Serve asks several times a second.
UNASKED_S = 60.0
#: Seconds in which a look that is under way may end.
CLOSE_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Aim:
    """What an operator wants of a deployment."""

    #: Seconds that what waits now should take at most.
    wait_s: float = 30.0
    #: Seconds for which fewer replicas have to be enough before there are fewer.
    calm_s: float = 300.0
    #: Tasks that run and are the work of one replica. It holds more, but steps one while the others' references come.
    #: Source: docs/benchmarks/autoscaling.md.
    capacity: int = 1
    #: Work units that a replica does in a second, until it is measured.
    units_per_s: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """How many replicas were needed at a moment."""

    #: Seconds on a clock that only grows.
    at_s: float
    #: How many.
    replicas: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """A backlog as it was at a moment."""

    #: Seconds on a clock that only grows.
    at_s: float
    #: What there was to do.
    backlog: Backlog


class Scaled(Protocol):
    """What Serve tells a policy, as far as this one listens."""

    @property
    def current_num_replicas(self) -> int:
        """Return how many replicas are up; what starts is none of them."""

    @property
    def target_num_replicas(self) -> int:
        """Return how many replicas there are to be at present."""


def needed(backlog: Backlog, *, aim: Aim, units_per_s: float, up: int) -> int:
    """Return how many replicas step what runs and, beside it, work off what waits in time; 0 only for nothing.

    What waits and is less than one replica's work asks for none beside those that are busy. Those are no more than are
    up: one that steps has another task fetched, so counted in full, what runs would ask for more the more there are.

    Args:
        backlog: what there is to do.
        aim: what the operator wants.
        units_per_s: what a replica does in a second.
        up: replicas that can work.
    """
    for_waiting = backlog.queued_units / (units_per_s * aim.wait_s)
    for_running = min(math.ceil(backlog.running / aim.capacity), up)
    least = int(backlog.queued + backlog.running > 0)
    return max(math.ceil(for_waiting), for_running + math.floor(for_waiting), least)


def speed(runs: Sequence[Run]) -> float | None:
    """Return the work units that a device does in a second of its own time; None when too little was seen.

    Args:
        runs: what ended lately; those that shared a device have shared its time.
    """
    device_s = sum(run.device_s for run in runs)
    return sum(run.units for run in runs) / device_s if device_s >= ENOUGH_S else None


def remembered(needs: Sequence[Need], new: Need, *, calm_s: float) -> tuple[Need, ...]:
    """Return the needs of the calm time with a new one; what a later and greater one hides is left out."""
    kept = [need for need in needs if need.at_s > new.at_s - calm_s and need.replicas > new.replicas]
    return (*kept, new)


def wanted(needs: Sequence[Need]) -> int:
    """Return the most that was needed within the calm time."""
    return max(need.replicas for need in needs)


class Lookout:
    """Looks at the backlogs that somebody asks for, on a thread that ends when nobody asks any more.

    Serve makes a new policy with every update and tells no old one of its end, so policies own nothing.
    """

    def __init__(self, *, every_s: float = LOOK_EVERY_S, unasked_s: float = UNASKED_S) -> None:
        """Look at nothing yet.

        Args:
            every_s: seconds between two looks.
            unasked_s: what nobody has asked for in so many seconds is looked at no more.
        """
        #: Set after every look.
        self.has_looked = threading.Event()
        self._every_s = every_s
        self._unasked_s = unasked_s
        self._asked_s: dict[tuple[str, ...], float] = {}
        self._seen: dict[tuple[str, ...], Sight] = {}
        self._background: Background | None = None
        self._lock = threading.Lock()

    def __reduce__(self) -> str:
        """Name the one of the process that reads this: Serve hands its controller the policy's module by value."""
        return "LOOKOUT"

    def __repr__(self) -> str:
        """Say what it looks at."""
        return f"<Lookout [{'; '.join(', '.join(models) for models in self._asked_s) or 'idle'}]>"

    def ask(self, models: tuple[str, ...]) -> Sight | None:
        """Return what waited for some models at the last look; None as long as there was none. Never waits."""
        with self._lock:
            self._asked_s[models] = time.monotonic()
            if self._background is None:
                self._background = Background("backlog", self._look)
            return self._seen.get(models)

    def close(self) -> None:
        """Look no more until somebody asks again."""
        with self._lock:
            background, self._background = self._background, None
            self._asked_s.clear()
        if background is not None:
            background.close(timeout_s=CLOSE_S)

    async def _look(self, stopping: asyncio.Event) -> None:
        database: Database | None = None

        async def look_once() -> None:
            nonlocal database
            if self._is_over():
                stopping.set()
                return
            database = database or await _open()
            for models in list(self._asked_s):
                self._seen[models] = Sight(at_s=time.monotonic(), backlog=await read_backlog(database, models))
            self.has_looked.set()

        try:
            await run_until(stopping, forever(Round.BACKLOG, look_once, every_s=self._every_s))
        finally:
            if database is not None:
                await database.close()

    def _is_over(self) -> bool:
        """Forget what nobody asks for; when that is all, the next who asks finds no thread and starts one."""
        with self._lock:
            until_s = time.monotonic() - self._unasked_s
            self._asked_s = {models: at_s for models, at_s in self._asked_s.items() if at_s > until_s}
            self._seen = {models: sight for models, sight in self._seen.items() if models in self._asked_s}
            if not self._asked_s:
                self._background = None
            return not self._asked_s


async def _open() -> Database:
    """Open the database of the settings; a process that is Serve's own, and logs as nobody says, logs as they do."""
    settings = read_settings()
    if not structlog.is_configured():
        log_as(settings)
    return await open_database(settings.store_url)


#: The one of this process, which is Serve's controller.
LOOKOUT = Lookout()


class BacklogPolicy:
    """Tells Serve how many replicas of one deployment there are to be; ``serve_config.yaml`` names it."""

    def __init__(self, *, models: list[str], lookout: Lookout = LOOKOUT, **aim: Any) -> None:
        """Remember no need yet.

        Args:
            models: which the deployment holds.
            lookout: what says how much waits for them.
            aim: the fields of ``Aim``.
        """
        self._lookout = lookout
        self._models = tuple(models)
        self._aim = Aim(**aim)
        self._needs: tuple[Need, ...] = ()
        self._told: int | None = None

    def __repr__(self) -> str:
        """Say what it wants."""
        most = wanted(self._needs) if self._needs else "nothing yet"
        return f"<BacklogPolicy [{', '.join(self._models)} | wants {most}]>"

    def __call__(self, scaled: Scaled) -> tuple[int, dict[str, Any]]:
        """Return how many replicas there are to be, and no state; while the backlog cannot be read, as many as now."""
        now_s, sight = time.monotonic(), self._lookout.ask(self._models)
        if sight is None or now_s - sight.at_s > STALE_S:
            return scaled.target_num_replicas, {}
        units_per_s = speed(sight.backlog.runs) or self._aim.units_per_s
        replicas = needed(sight.backlog, aim=self._aim, units_per_s=units_per_s, up=scaled.current_num_replicas)
        need = Need(at_s=now_s, replicas=replicas)
        # What there is now counts as needed at first: a controller that has just started knows of no past.
        before = self._needs or (Need(at_s=now_s, replicas=scaled.target_num_replicas),)
        self._needs = remembered(before, need, calm_s=self._aim.calm_s)
        self._tell(scaled, sight.backlog, units_per_s=units_per_s)
        return wanted(self._needs), {}

    def _tell(self, scaled: Scaled, backlog: Backlog, *, units_per_s: float) -> None:
        """Say how many replicas are wanted, and by what, whenever that is another number than before."""
        before, self._told = self._told, wanted(self._needs)
        if self._told != before:
            log.info(
                "replicas_wanted",
                models=list(self._models),
                replicas=self._told,
                needed_now=self._needs[-1].replicas,
                up=scaled.current_num_replicas,
                queued=backlog.queued,
                queued_units=round(backlog.queued_units, 1),
                running=backlog.running,
                units_per_s=round(units_per_s, 3),
            )
