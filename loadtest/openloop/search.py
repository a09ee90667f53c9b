"""One search for a server's capacity: offers a profile at one rate after another, and judges each."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from loadtest.openloop.capacity import Bracket, bracket_of
from loadtest.openloop.due import due_times
from loadtest.openloop.profile import Profile
from loadtest.openloop.run import Result, perform
from loadtest.openloop.slo import Goal
from loadtest.openloop.source import profile_load

#: A rate is offered for so many times the longest goal at least: in less, a queue that grows is not seen to.
WINDOWS = 3
#: A look lasts until so many orders came that are judged, for one without any says nothing of the server; a look that
#: is too short for them is made longer by this factor, again and again.
FEWEST, LONGER = 3, 1.25
#: Seconds of the first rate that nobody judges: a server that was just started is slow at first.
WARMING_S = 5.0
#: Seconds for which a server that the look before has overloaded is waited for: limits of calls are often a minute's.
RECOVERY_S = 90.0
#: How many looks a search takes from a guess that is less than four times off to both ends seen twice, at least, and
#: where some of them contradict each other.
LOOKS = (8, 16)
#: In what a search's length is told, with its seconds, up to how many seconds.
_UNITS = (("s", 1, 180.0), ("min", 60, 7200.0), ("h", 3600, math.inf))
#: Where the generator's own lateness at p99 exceeds this share of the longest goal, a goal is missed by its fault, too.
LATE_SHARE = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """One search, which remembers every rate that was tried."""

    #: What is offered, at another rate each time.
    profile: Profile
    #: What has to be met.
    goals: Sequence[Goal]
    #: Start of every address.
    target: str
    #: Keys of tenants.
    keys: Sequence[str]
    #: Hears what came of each rate, in a line.
    tell: Callable[[str], None]
    #: What came of each rate.
    tries: list[Mapping[str, Any]] = field(default_factory=list)
    #: When the search began, on the monotonic clock.
    started: float = field(default_factory=time.monotonic)

    async def warm(self, rate: float) -> None:
        """Offer a rate for a while, and judge nothing."""
        seconds = min(WARMING_S, self.profile.seconds)
        await self._offered(self._asked(rate, seed=-1).model_copy(update={"seconds": seconds}), recovery_s=0.0)

    async def carries(self, rate: float, number: int) -> bool:
        """Offer a rate, and say whether every goal was met and every accepted task kept."""
        asked = with_orders(self._asked(rate, seed=number))
        if asked.seconds > self.profile.seconds:
            self.tell(f"{rate:8.3f} a second is offered for {asked.seconds:.0f} s, until {FEWEST} orders came")
        result = await self._offered(asked, recovery_s=RECOVERY_S)
        look = {"rate": rate, "number": number, "seconds": asked.seconds}
        self.tries.append({**look, **judged(result, self.goals)})
        self.tell(line_of(self.tries[-1]))
        return bool(self.tries[-1]["is_carried"])

    def was_late_at(self, rate: float) -> bool:
        """Say whether a look at a rate was one at the generator's own lateness, too."""
        return any(each["is_late"] for each in self.tries if each["rate"] == rate)

    def known(self) -> Bracket:
        """Return what is known of a search that did not come to its end."""
        found = bracket_of([(each["rate"], each["is_carried"]) for each in self.tries])
        return replace(found, is_late=self.was_late_at(found.missed))

    def _asked(self, rate: float, *, seed: int) -> Profile:
        # What takes twice as long as it may has missed its goal; waiting on would only keep the next rate waiting.
        patience_s = min(self.profile.patience_s, 2 * longest(self.goals, default=60.0) + 1)
        changes = {"seed": self.profile.seed + seed, "patience_s": patience_s}
        return self.profile.at_rate(rate).model_copy(update=changes)

    async def _offered(self, asked: Profile, *, recovery_s: float) -> Result:
        load = profile_load(asked, speed=1.0, target=self.target, keys=self.keys)
        load = replace(load, recovery_s=recovery_s)
        result = await perform(load, watch=lambda _book: None, tell=self.tell, clears=True)
        if result.was_stopped:
            raise KeyboardInterrupt
        return result


def judged(result: Result, goals: Sequence[Goal]) -> dict[str, Any]:
    """Return what is kept of a look at one rate: its figures, and whether the server carried it."""
    found = result.found(goals)
    ledger = result.ledger
    # What has no end yet is a matter of the goals; what was promised and is gone is not carried by any goal.
    is_broken = bool(ledger.breaches)
    late_s = found["lateness_s"]["p99"] or 0.0
    return {
        "is_carried": bool(result.records) and all(each["is_met"] for each in found["slo"]) and not is_broken,
        "is_broken": is_broken,
        "is_late": late_s > LATE_SHARE * longest(goals, default=math.inf),
        "ledger": str(ledger),
        "goals": [each["text"] for each in found["slo"]],
        **{name: found[name] for name in ("orders", "latency_s", "lateness_s", "error_share")},
    }


def line_of(look: Mapping[str, Any]) -> str:
    """Say in a line what came of a look at one rate."""
    late_ms = 1e3 * (look["lateness_s"]["p99"] or 0.0)
    verdicts = [*look["goals"], *[f"ledger {look['ledger']}"] * look["is_broken"]]
    doubt = ", which is the generator's own fault and no longer small beside the goals" if look["is_late"] else ""
    said = f"{look['rate']:8.3f} a second, {look['orders']} orders: {'; '.join(verdicts)}"
    return f"{said}; sent {late_ms:.0f} ms late{doubt}"


def long_enough(profile: Profile, goals: Sequence[Goal]) -> Profile:
    """Return a profile that lasts long enough for a queue that grows to miss the goals."""
    seconds = max(profile.seconds, profile.warm_up_s + WINDOWS * longest(goals, default=0.0))
    return profile.model_copy(update={"seconds": seconds})


def with_orders(profile: Profile) -> Profile:
    """Return a profile that lasts until there are a few orders to judge, however seldom they come.

    Raises:
        TooManyOrders: when there would be more than fit into memory.
    """
    profile.check_count()
    while sum(at_s >= profile.warm_up_s for at_s in due_times(profile)) < FEWEST:
        profile = profile.model_copy(update={"seconds": profile.seconds * LONGER})
    return profile


def takes(seconds: float) -> str:
    """Say in a line how long a search takes whose looks take so many seconds each."""
    fewest, most = (looks * seconds for looks in LOOKS)
    name, unit = next((name, unit) for name, unit, until in _UNITS if most <= until)
    return (
        f"each rate takes {seconds:g} s and the time that its last orders need; {LOOKS[0]} to {LOOKS[1]} of them take "
        f"about {fewest / unit:.2g} to {most / unit:.2g} {name}, and more where --start is far off"
    )


def longest(goals: Sequence[Goal], *, default: float) -> float:
    """Return the seconds of the goal that allows most; ``default`` where none is of a time."""
    return max((each.limit for each in goals if each.rank), default=default)
