"""From a profile to orders with their due times: pure, and the same for the same seed."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace
from itertools import accumulate
from typing import TypeVar

from loadtest.openloop.order import Order
from loadtest.openloop.profile import Burst, Profile, Steady, Wishes
from loadtest.openloop.speech import speech_of
from loadtest.scheduler.arrivals import EXPONENT, NOISY

Drawn = TypeVar("Drawn")


def orders_of(profile: Profile) -> list[Order]:
    """Draw every order of a load, in the order of their due times.

    Raises:
        TooManyOrders: when there would be more than fit into memory.
    """
    profile.check_count()
    draw = random.Random(profile.seed)  # noqa: S311 -- a load, not a secret
    names = [f"tenant-{rank + 1:03}" for rank in range(profile.tenants)]
    # Added up once: there may be ten thousand tenants, and a draw is to look through none of them.
    shares = list(accumulate(1 / (rank + 1) ** EXPONENT for rank in range(profile.tenants)))
    orders = [
        _order(draw, profile, at_s=at_s, tenant=draw.choices(names, cum_weights=shares)[0])
        for at_s in due_times(profile)
    ]
    return sorted([*orders, *_flood(profile)], key=lambda order: order.at_s)


def due_times(profile: Profile) -> list[float]:
    """Return when orders are due, in seconds from the start, without those of a noisy tenant."""
    arrivals = profile.arrivals
    draw = random.Random(f"due {profile.seed}")  # noqa: S311 -- as above
    if isinstance(arrivals, Steady):
        return [number / arrivals.rate for number in range(int(profile.seconds * arrivals.rate))]
    if isinstance(arrivals, Burst):
        return _bursts(draw, arrivals, seconds=profile.seconds)
    return _poisson(draw, rate=arrivals.rate, from_s=0.0, until_s=profile.seconds)


def _poisson(draw: random.Random, *, rate: float, from_s: float, until_s: float) -> list[float]:
    due, at = [], from_s
    while (at := at + draw.expovariate(rate)) < until_s:
        due.append(at)
    return due


def _bursts(draw: random.Random, arrivals: Burst, *, seconds: float) -> list[float]:
    due: list[float] = []
    at, is_calm = 0.0, True
    while at < seconds:
        rate, mean_s = (arrivals.rate, arrivals.calm_s) if is_calm else (arrivals.peak, arrivals.peak_s)
        until = min(at + draw.expovariate(1 / mean_s), seconds)
        # A Poisson process has no memory, so it may begin anew wherever the rate changes.
        due += _poisson(draw, rate=rate, from_s=at, until_s=until)
        at, is_calm = until, not is_calm
    return due


def _flood(profile: Profile) -> list[Order]:
    noisy = profile.noisy
    if noisy is None:
        return []
    draw = random.Random(f"noisy {profile.seed}")  # noqa: S311 -- as above
    until_s = min(noisy.from_s + noisy.for_s, profile.seconds)
    due = _poisson(draw, rate=noisy.rate, from_s=noisy.from_s, until_s=until_s)
    return [replace(_order(draw, profile, at_s=at_s, tenant=NOISY), is_bad=False, cancel_after_s=None) for at_s in due]


def _order(draw: random.Random, profile: Profile, *, at_s: float, tenant: str) -> Order:
    wishes = profile.wishes
    dialect = _one_of(draw, profile.dialects)
    width, height = map(int, _one_of(draw, wishes.sizes).split("x"))
    order = Order(
        at_s=at_s,
        tenant=tenant,
        dialect=dialect,
        # fal offers USO alone.
        model="uso" if dialect == "fal" else _one_of(draw, wishes.models),
        width=width,
        height=height,
        references=_one_of(draw, wishes.references),
        steps=_one_of(draw, wishes.steps),
        images=_one_of(draw, wishes.images),
        cancel_after_s=_cancel_after(draw, profile),
    )
    # A dialect whose USO is of a size or a number of steps that nobody wishes for is asked for UNO.
    if order.model == "uso" and "uno" in wishes.models and not _is_wished(order, wishes):
        order = replace(order, model="uno")
    is_bad = draw.random() < profile.bad_input
    return replace(order, is_bad=True, cancel_after_s=None) if is_bad else order


def _is_wished(order: Order, wishes: Wishes) -> bool:
    asked = speech_of(order.dialect).askable(order)
    is_size = f"{asked.width}x{asked.height}" in wishes.sizes
    return is_size and asked.steps in wishes.steps and asked.images in wishes.images


def _cancel_after(draw: random.Random, profile: Profile) -> float | None:
    cancels = profile.cancels
    # Both are drawn each time, so that a share that is changed moves no other draw.
    is_cancelled, after_s = draw.random(), draw.random()
    return after_s * cancels.within_s if cancels and is_cancelled < cancels.share else None


def _one_of(draw: random.Random, weights: Mapping[Drawn, float]) -> Drawn:
    return draw.choices(list(weights), list(weights.values()))[0]
