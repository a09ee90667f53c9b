"""Plans of runs: how much is asked for, who serves it, and what goes wrong meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from acceptance.chaos.bugs import Bug
from acceptance.chaos.crash_points import CrashPoint
from acceptance.chaos.dice import dice
from acceptance.chaos.killer import Pace, Span
from acceptance.chaos.wishes import PICTURE_PRICE, Kind, Wish, draw_wishes

from deployments.tenants.tenant import Tenant

#: How long a claim lasts without a beat, in seconds; short, so that much can be lost in little time.
LEASE_S = 2.0
#: Alice may do anything, Bob little at once; Carol, who has little money, comes with each plan.
TENANTS: Sequence[Tenant] = (
    Tenant(id="alice", max_queued=None),
    Tenant(id="bob", max_running=2, max_queued=30),
)
#: What happens to processes when nothing else does.
ONLY_PROCESSES = Pace(process_every_s=(0.5, 2.0), freeze_s=LEASE_S + 1.5)
#: What happens when everything does; the database goes away as often as in DBOS's chaos test, seen 2026-11.
EVERYTHING = Pace(
    process_every_s=(1.0, 4.0), database_every_s=(5.0, 40.0), proxy_every_s=(2.0, 8.0), freeze_s=LEASE_S + 1.5
)
#: The same, so often that a short run sees it all.
EVERYTHING_SOON = Pace(
    process_every_s=(0.8, 3.2), database_every_s=(6.0, 14.0), proxy_every_s=(2.0, 5.0), freeze_s=LEASE_S + 1.5
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One run."""

    #: What it is called in tables.
    name: str
    #: What is asked for, in this order.
    wishes: Sequence[Wish]
    #: Over how many seconds that is spread.
    over_s: float
    #: What goes wrong, and how often.
    pace: Pace
    #: At which points gateways die, each life at the next of them.
    crash_points: Sequence[CrashPoint] = tuple(CrashPoint)
    #: Bounds of how long a gateway lives before it dies at its point, in seconds.
    crash_after_s: Span = (3.0, 12.0)
    #: Who asks.
    tenants: Sequence[Tenant]
    #: How many replicas there are.
    replicas: int = 4
    #: How many gateways there are.
    gateways: int = 2
    #: How many housekeepers there are.
    housekeepers: int = 1
    #: Wishes that are being sent at once, at most.
    at_once: int = 30
    #: How long a claim lasts without a beat, in seconds.
    lease_s: float = LEASE_S
    #: How long the fake engine takes for a step, in seconds.
    step_s: float = 0.005
    #: Replicas stop themselves before every so manieth good end; 0 means never.
    stop_every: int = 0
    #: The planted bug, if any.
    bug: str = ""
    #: How often a call is made before its caller loses heart.
    max_calls: int = 1000
    #: Seconds after calm within which all tasks have to end.
    calm_s: float = 120.0
    #: Decides about everything that is left to chance, but for the scheduling of processes.
    seed: int = 1


def chaos(tasks: int, *, over_s: float, pace: Pace, seed: int = 1) -> Plan:
    """Plan the run in which everything is asked for and everything goes wrong."""
    killers = 1 + tasks // 2000
    # Some are malformed, some beyond the budget, some given up: about as many as are asked for become tasks.
    wishes = draw_wishes(round(1.1 * tasks), dice(seed), killers=killers)
    carols = sum(wish.images for wish in wishes if wish.tenant == "carol")
    tenants = (*TENANTS, Tenant(id="carol", budget=carols // 2 * PICTURE_PRICE))
    return Plan(
        name=f"chaos, about {tasks:,} tasks",
        wishes=wishes,
        over_s=over_s,
        pace=pace,
        tenants=tenants,
        # A rollout runs two for a moment; here they contend for every webhook.
        housekeepers=2,
        seed=seed,
    )


def racing_keys(keys: int, *, over_s: float, seed: int = 2) -> Plan:
    """Plan five racing copies of every call, while processes die."""
    plain = draw_wishes(keys, dice(seed), mix={}, tenants=("alice",))
    wishes = [_copied(wish, 5) for wish in plain]
    name = f"{keys:,} keys x 5 racing copies"
    return Plan(name=name, wishes=wishes, over_s=over_s, pace=ONLY_PROCESSES, tenants=TENANTS, seed=seed)


def racing_submits(submits: int, *, over_s: float, seed: int = 3) -> Plan:
    """Plan submits that race for a budget which covers a tenth of them."""
    wishes = draw_wishes(submits, dice(seed), mix={}, tenants=("carol",))
    tenants = (Tenant(id="carol", budget=submits // 10 * PICTURE_PRICE, max_queued=None),)
    return Plan(
        name=f"{submits:,} racing submits against a budget",
        wishes=[_copied(wish, 1) for wish in wishes],
        over_s=over_s,
        pace=ONLY_PROCESSES,
        tenants=tenants,
        seed=seed,
    )


def zombies(trials: int, *, seed: int = 4) -> Plan:
    """Plan replicas that stop with a write in hand, for longer than their lease, and then go on."""
    # Every third end is stopped and done again, so a little more than twice as many wishes make that many trials.
    wishes = draw_wishes(9 * trials // 4, dice(seed), mix={}, tenants=("alice",))
    return Plan(
        name=f"{trials} zombies",
        wishes=[replace(wish, copies=1, steps=5, images=1) for wish in wishes],
        over_s=0.7 * trials,
        pace=Pace(freeze_s=2.6),
        tenants=TENANTS,
        crash_points=(),
        replicas=6,
        lease_s=1.0,
        step_s=0.06,
        stop_every=3,
        seed=seed,
    )


def planted(bug: Bug | None, *, wishes: int = 50, over_s: float = 6.0, seed: int = 5) -> Plan:
    """Plan a short run that has to find a bug, and nothing without one."""
    fates = MappingProxyType({("replica", "frozen"): 1.0})
    pace = Pace(process_every_s=(0.6, 1.2), freeze_s=2.2, victims=fates)
    drawn = draw_wishes(wishes, dice(seed), mix={Kind.CANCEL: 25}, webhook_every=2)
    return Plan(
        name=f"planted: {bug or 'nothing'}",
        wishes=[_copied(wish, 4) for wish in drawn],
        over_s=over_s,
        pace=pace,
        tenants=(*TENANTS, Tenant(id="carol", budget=wishes // 8 * PICTURE_PRICE)),
        crash_points=(CrashPoint.AFTER_ANSWER,),
        crash_after_s=(2.0, 4.0),
        replicas=3,
        lease_s=1.0,
        step_s=0.1,
        stop_every=3,
        bug=bug or "",
        # Some bugs keep tasks from ending, which is not worth waiting for; a blind delivery shows once one has ended.
        calm_s=3.0 if bug not in {None, Bug.BLIND_DELIVERY} else 60.0,
        max_calls=12 if bug else 1000,
        seed=seed,
    )


def _copied(wish: Wish, copies: int) -> Wish:
    return replace(wish, copies=copies)
