"""How much a replica takes on, and for how long it waits for what."""

from __future__ import annotations

from dataclasses import dataclass

from deployments.replica.eagerness import POLITE_S

#: How many times as long as it usually takes a step may last.
STEPS_UNTIL_STUCK = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much a replica takes on, and for how long."""

    #: Tasks it holds at once: one that steps, the others being fetched, waiting or delivered.
    capacity: int
    #: Seconds of stepping that it keeps in hand, which is time to fetch what comes next. What it holds beyond that
    #: would stand before a task of another tenant that comes in later.
    ahead_s: float = 0.25
    #: Seconds for which it leaves what is new to idle replicas while it is busy itself.
    polite_s: float = POLITE_S
    #: Seconds after which it asks the store again without a signal.
    poll_s: float = 1.0
    #: Steps of a picture between two previews of it; 0 makes none.
    preview_every: int = 0
    #: How long a claim lasts without a sign of life, in seconds.
    lease_s: float
    #: Seconds after which a device that has not answered is given up, and this replica with it; or ten times as long as
    #: such a step takes, where that is more.
    stuck_s: float = 30.0
    #: Seconds in which it may finish what it holds once it is told to stop; the rest is handed back.
    drain_s: float = 5.0

    @property
    def beat_s(self) -> float:
        """Seconds between signs of life: three may be lost before the lease is."""
        return self.lease_s / 4

    def doubt_s(self, usual_s: float) -> float:
        """Return after how many seconds of a call that usually takes so many what it works for has no more beats."""
        return max(STEPS_UNTIL_STUCK * usual_s, self.lease_s) / 2

    def given_up_s(self, usual_s: float) -> float:
        """Return after how many seconds a call to the device is given up that usually takes so many."""
        return max(STEPS_UNTIL_STUCK * usual_s, self.stuck_s)
