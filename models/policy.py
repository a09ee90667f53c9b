"""Which samples step next: pure, told everything it needs.

    named first  >  lower rank  >  pressed  >  more urgent          and those of its shape that may share its call

Urgency is a moment, in seconds of any clock: from when a request counts as waiting, plus how long it may well wait,
plus what is left of it, many times over; so what is nearly done goes first. What can no longer be in time is postponed
by its work, many times over, since its haste would only make others late. And before the most urgent there goes what
would be late after it, as long as the most urgent is in time all the same: it is pressed.

Nobody starves: who comes late enough is behind whoever was there, whatever either of them wants, and is not pressed
before it. ``patience_s`` says how late is late enough.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from heapq import nsmallest
from typing import TypedDict

from models.sample import ShapeKey

#: How late a request may end without being called slow: three times as late as alone, and never within 2 s of that.
#: Source: the promise to which docs/benchmarks/scheduler.md holds every order.
SLACK_FACTOR, SLACK_S = 3.0, 2.0
#: Of how many tenants each counts as one: what a tenant asks for beyond that share counts as if it had come later.
#: Source: docs/benchmarks/scheduler.md, "How the constants were chosen".
SHARE = 3.0
#: How many times as much as strangers cost those whose call they share they must spare all others.
#: Source: docs/benchmarks/scheduler.md, "How the constants were chosen"; less has bursts and floods felt more, and more
#: wastes what sharing spares where much waits.
MARGIN = 4.0
#: Seconds after its arrival from which a request counts as waiting at the latest, however much its tenant asked for
#: before: what follows an endless flood waits for this long, then for its patience, and no longer.
MOST_DEBT_S = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """Seconds of waiting that weigh as much as a second of something else."""

    #: Of work that is left.
    rush: float
    #: Of all work, of what can no longer be in time.
    postponing: float


#: Source: docs/benchmarks/scheduler.md, "How the constants were chosen".
USUAL = Weights(rush=30.0, postponing=60.0)


class Outlook(TypedDict):
    """What a request can expect, until one of its samples has stepped. See ``Candidate``."""

    counts_from_s: float
    left_s: float
    begin_by_s: float
    urgent_s: float
    postponed_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A request that has steps to take, and its outlook."""

    #: What it is called.
    request_id: str
    #: Which of its pictures have steps to take, from 0; at least one.
    samples: Sequence[int]
    #: What these can step together with.
    shape: ShapeKey
    #: What has a low rank steps before what has a higher one.
    rank: int
    #: Since when it counts as waiting; see ``Accounts``.
    counts_from_s: float
    #: Seconds of the device that it still needs.
    left_s: float
    #: From when its request can no longer be in time, even if it is not left alone any more.
    begin_by_s: float
    #: The lower, the sooner, while it can be in time.
    urgent_s: float
    #: The same, from when it no longer can.
    postponed_s: float


def choose_group(
    waiting: Sequence[Candidate],
    *,
    max_group: int,
    now_s: float,
    first: Collection[str] = (),
    shared: Callable[[ShapeKey], float] | None = None,
) -> list[tuple[Candidate, int]]:
    """Choose the samples of the next step.

    The most urgent or pressed of the lowest rank leads and its likes follow, so no shape can starve another. FLUX fills
    a GPU with one large picture; finishing one early beats advancing all of them evenly.

    Args:
        waiting: requests that still have steps to take, the longest resident first; at least one.
        max_group: how many may share one transformer call.
        now_s: what the clock says by which requests are urgent.
        first: requests that step before all others, whatever their rank, e.g. because they are about to end.
        shared: which part of a lone sample's step another one of its shape would not add, in [0, 1]; then strangers
            share only where it pays. None: whoever is alike shares.

    Returns:
        At least one sample, all of one shape, the leader's own first: its request, and which picture of that.
    """
    leader = _leader(_foremost(waiting, first), now_s)
    group = [(leader, index) for index in leader.samples[:max_group]]
    slots, shape = max_group - len(group), leader.shape
    if not slots:
        return group
    alike = [one for one in waiting if one.shape == shape and one is not leader]
    if shared is None:
        return [*group, *_samples(alike)[:slots]]
    room = int(len(waiting) * shared(shape) / MARGIN)
    return [*group, *_worthwhile(leader, alike, most=min(room, slots), now_s=now_s)]


def _samples(waiting: Sequence[Candidate]) -> list[tuple[Candidate, int]]:
    return [(one, index) for one in waiting for index in one.samples]


def _worthwhile(
    leader: Candidate, alike: Sequence[Candidate], *, most: int, now_s: float
) -> list[tuple[Candidate, int]]:
    """Return the strangers for whom there is room, the most urgent first.

    Pictures of one request are waited for together, so sharing delays none of them. A stranger delays everybody who is
    in the group already by what it adds to the call, and spares everybody else who waits what calls have in common;
    the two are equal where strangers are as large a part of all requests as that is of a lone step. There is room for
    the ``MARGIN``th part of it, and for none where the leader would be late for their sake.
    """
    coming = min(most, sum(len(one.samples) for one in alike[:most]))
    spare_s = leader.begin_by_s - now_s
    if coming <= 0 or 0 <= spare_s < coming * leader.left_s:
        return []
    places = _places(alike, now_s)
    nearest = nsmallest(coming, range(len(places)), key=places.__getitem__)
    return _samples([alike[number] for number in nearest])[:coming]


def _foremost(waiting: Sequence[Candidate], first: Collection[str]) -> Sequence[Candidate]:
    if first:
        waiting = [one for one in waiting if one.request_id in first] or waiting
    # Pass by pass, here and below: the interpreter looks through a thousand in the time of a kernel launch or two.
    ranks = {one.rank for one in waiting}
    lowest = min(ranks)
    return waiting if len(ranks) == 1 else [one for one in waiting if one.rank == lowest]


def _leader(waiting: Sequence[Candidate], now_s: float) -> Candidate:
    moments = _moments(waiting, now_s)
    leader = waiting[moments.index(min(moments))]
    return _pressed(waiting, leader, now_s=now_s) or leader


def _moments(waiting: Sequence[Candidate], now_s: float) -> list[float]:
    return [one.urgent_s if one.begin_by_s >= now_s else one.postponed_s for one in waiting]


def _places(waiting: Sequence[Candidate], now_s: float) -> Sequence[float] | Sequence[tuple[int, float]]:
    """Return by what they stand in a queue: their moments, and before these their ranks where they differ."""
    moments, ranks = _moments(waiting, now_s), [one.rank for one in waiting]
    return moments if len({*ranks}) == 1 else list(zip(ranks, moments, strict=True))


def _pressed(waiting: Sequence[Candidate], leader: Candidate, *, now_s: float) -> Candidate | None:
    """Return what would be late the soonest of all that can be in time and for which the leader can wait."""
    # The leader itself is never among them: who is late after as much work as its own cannot wait for as much.
    spare_s, ends_s, urgent_s = leader.begin_by_s - now_s, now_s + leader.left_s, leader.urgent_s
    if spare_s < 0:
        return None
    fit = [
        one
        for one in waiting
        if one.begin_by_s < ends_s
        and one.begin_by_s >= now_s
        and one.left_s <= spare_s
        and one.counts_from_s < urgent_s
    ]
    due_s = [one.begin_by_s + one.left_s for one in fit]
    return fit[due_s.index(min(due_s))] if fit else None


def outlook_of(
    counts_from_s: float, *, asked_s: float, work_s: float, left_s: float, weights: Weights = USUAL
) -> Outlook:
    """Say what a request can expect.

    Args:
        counts_from_s: since when it counts as waiting; see ``Accounts``.
        asked_s: when it was asked for.
        work_s: seconds of the device that it needs in all.
        left_s: those that are still to come, at most ``work_s``.
        weights: what counts how much.
    """
    slack_s = in_time_s(work_s)
    urgent_s = counts_from_s + slack_s + weights.rush * left_s
    return Outlook(
        counts_from_s=counts_from_s,
        left_s=left_s,
        begin_by_s=asked_s + slack_s - left_s,
        urgent_s=urgent_s,
        postponed_s=urgent_s + weights.postponing * work_s,
    )


def in_time_s(work_s: float) -> float:
    """Return the seconds from its asking within which a request of so much work ends in time."""
    return max(SLACK_FACTOR * work_s, work_s + SLACK_S)


def patience_s(work_s: float) -> float:
    """Return after how many seconds no newcomer of its rank is put before a request of so much work.

    That is the bound on waiting: a request waits for what counts as waiting no later than this after it, and for steps
    of a lower rank, of which there are few (a replica lets none of its claims be overtaken more than ten times).
    """
    return outlook_of(0.0, asked_s=0.0, work_s=work_s, left_s=work_s)["postponed_s"]


class Accounts:
    """How far each tenant has reached into the time that is its own.

    A tenant counts as asking for one thing after the other, each ``SHARE`` times as long as it takes: what it asks for
    beyond that share of the device is urgent as if it had come later, and a flood makes way for whoever floods less.
    Nobody saves up for idle time, and a debt is forgotten once its time has passed; none exceeds ``MOST_DEBT_S``.
    """

    def __init__(self, *, share: float = SHARE) -> None:
        self._share = share
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
        self._until_s[tenant] = counts_from_s + self._share * work_s
        return counts_from_s
