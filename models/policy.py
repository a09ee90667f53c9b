"""Which samples step next: pure, told everything it needs.

    named first  >  lower rank  >  more urgent          and those of its shape that may share its call

Urgency is a moment, in seconds of any clock: from when a request counts as waiting, plus how long it may well wait,
plus what is left of it, many times over. It changes only where a step was taken, so nothing is sorted again because
time went by; and who comes late enough is behind whoever was there, whatever either of them wants: that is the ageing,
and ``patience_s`` says how late is late enough.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import islice

from models.sample import ShapeKey

#: How late a request may end without being called slow: three times as late as alone, and never within 2 s of that.
#: Source: the promise to which docs/benchmarks/scheduler.md holds every order.
SLACK_FACTOR, SLACK_S = 3.0, 2.0
#: Seconds of waiting that weigh as much as a second of work that is left: what is nearly done goes first.
#: Source: docs/benchmarks/scheduler.md; 30 to 100 do nearly as well.
RUSH = 60.0
#: Of how many tenants each counts as one: what a tenant asks for beyond that share counts as if it had come later.
#: Source: docs/benchmarks/scheduler.md; at 2 a flood is felt, at 8 the busiest of ordinary tenants is held back.
SHARE = 4.0
#: Seconds after its arrival from which a request counts as waiting at the latest, however much its tenant asked for
#: before: what follows an endless flood waits for this long, then for its patience, and no longer.
MOST_DEBT_S = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One sample that has steps to take."""

    #: The request it belongs to.
    request_id: str
    #: Which picture of that request, from 0.
    index: int
    #: What it can step together with.
    shape: ShapeKey
    #: What has a low rank steps before what has a higher one.
    rank: int
    #: The lower, the sooner; see ``urgency_s``.
    urgency_s: float


def choose_group(waiting: Sequence[Candidate], *, max_group: int, first: Collection[str] = ()) -> list[Candidate]:
    """Choose the samples of the next step.

    The most urgent of the lowest rank leads and the first of its likes follow, so no shape can starve another. FLUX
    fills a GPU with one large picture; finishing one early beats advancing all of them evenly.

    Args:
        waiting: samples that still have steps to take, the longest resident first; at least one.
        max_group: how many may share one transformer call.
        first: requests that step before all others, whatever their rank, e.g. because they are about to end.

    Returns:
        At least one sample, all of one shape, the leader first.
    """
    leader = _leader(waiting, first)
    shape = leader.shape
    company = (one for one in waiting if one.shape == shape and one is not leader)
    return [leader, *islice(company, max_group - 1)]


def _leader(waiting: Sequence[Candidate], first: Collection[str]) -> Candidate:
    if first:
        waiting = [one for one in waiting if one.request_id in first] or waiting
    # List by list: the interpreter looks through a thousand candidates in the time of a kernel launch or two.
    ranks = [one.rank for one in waiting]
    lowest = min(ranks)
    if ranks.count(lowest) < len(ranks):
        waiting = [one for one in waiting if one.rank == lowest]
    moments = [one.urgency_s for one in waiting]
    return waiting[moments.index(min(moments))]


def urgency_s(counts_from_s: float, *, work_s: float, left_s: float) -> float:
    """Return the moment by which a request is urgent.

    Args:
        counts_from_s: since when it counts as waiting; see ``Accounts``.
        work_s: seconds of the device that it needs in all.
        left_s: those that are still to come, at most ``work_s``.
    """
    return counts_from_s + max(SLACK_FACTOR * work_s, work_s + SLACK_S) + RUSH * left_s


def patience_s(work_s: float) -> float:
    """Return after how many seconds no newcomer of its rank is put before a request of so much work.

    That is the bound on waiting: a request waits for what counts as waiting no later than this after it, and for steps
    of a lower rank, of which there are few (a replica lets none of its claims be overtaken more than ten times).
    """
    return urgency_s(0.0, work_s=work_s, left_s=work_s)


class Accounts:
    """How far each tenant has reached into the time that is its own.

    A tenant counts as asking for one thing after the other, each ``SHARE`` times as long as it takes: what it asks for
    beyond that share of the device is urgent as if it had come later, and a flood makes way for whoever floods less.
    Nobody saves up for idle time, and a debt is forgotten once its time has passed; none exceeds ``MOST_DEBT_S``.
    """

    def __init__(self) -> None:
        self._until_s: dict[str, float] = {}

    def arrive(self, tenant: str, *, arrived_s: float, work_s: float) -> float:
        """Enter a request; return the moment from which it counts as waiting.

        That is not before it arrived, and no more than ``MOST_DEBT_S`` after.

        Args:
            tenant: whose it is.
            arrived_s: when it was asked for; on one clock with all others, and roughly in their order.
            work_s: seconds of the device that it needs.
        """
        self._until_s = {other: until for other, until in self._until_s.items() if until > arrived_s}
        counts_from_s = min(max(arrived_s, self._until_s.get(tenant, arrived_s)), arrived_s + MOST_DEBT_S)
        self._until_s[tenant] = counts_from_s + SHARE * work_s
        return counts_from_s
