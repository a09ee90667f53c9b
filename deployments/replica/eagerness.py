"""How soon an idle replica asks for work after the store has changed; knows no store.

Every change wakes all who are idle, and one of them is enough. Nobody knows how many they are, but each knows how often
it has asked in vain: the more are idle, the more often. So each waits for a random time that grows with that. Of many,
one asks about as soon as of few, and all together ask little more often.
"""

from __future__ import annotations

import random

#: Seconds that are added, at most, for each time that a replica has asked in vain since it found work or had peace.
STEP_S = 0.002
#: Seconds for which a busy replica leaves a new task to those that are idle, if any is: half as long again as 99 of 100
#: of them needed to hear of it on a machine with much else to do, 67 ms; at rest it is 18 ms. Source: ``python -m
#: loadtest.wake_up`` on PostgreSQL, docs/benchmarks/store.md.
POLITE_S = 0.1
#: Seconds after which it asks at the latest, however often it was in vain, so that it comes before those. Below, about
#: 25 idle replicas ask the store 500 times a second together; beyond, each asks about eighteen times a second where the
#: store changes all the time.
MOST_S = POLITE_S


class Eagerness:
    """What an idle replica remembers of its asking.

    Args:
        seed: from which it draws; another one for each replica, or they would all ask at once again.
    """

    def __init__(self, seed: str) -> None:
        self._draw = random.Random(seed)  # noqa: S311 -- spreads load, keeps no secret
        self._in_vain = 0

    def __repr__(self) -> str:
        """Say how often it was in vain."""
        return f"<Eagerness [{self._in_vain} times in vain]>"

    def pause_s(self) -> float:
        """Return the seconds to wait before asking, from 0 to ``MOST_S``."""
        return self._draw.uniform(0.0, min(self._in_vain * STEP_S, MOST_S))

    def note(self, *, was_in_vain: bool) -> None:
        """Remember that it asked after a change and found nothing; or that it found work, or nothing has changed."""
        self._in_vain = self._in_vain + 1 if was_in_vain else 0
