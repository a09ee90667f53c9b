"""Made-up arrivals with the statistics of real ones: sizes, steps, references, pictures, tenants, and when they come.

Pictures per request, capped at four, follow a published trace of an image service (Alibaba GenTD26, 26,823 requests,
snapshot of 2026-04); so does that arrivals are Poisson within an hour, wild across hours, and that tenants are very
unequal. No public trace counts references: that mix is an assumption.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TypeVar

from models.cost import CostTable
from models.request import GenerationRequest, Reference, Role

Drawn = TypeVar("Drawn")

#: What is drawn, and in which shares.
SIZES = ((512, 512), (768, 768), (1024, 1024), (768, 1024), (1024, 680)), (35, 15, 30, 10, 10)
STEPS = (12, 25, 28, 50), (10, 60, 20, 10)
PICTURES = (1, 2, 4), (58, 8, 34)
REFERENCES = (0, 1, 2, 3, 4), (5, 50, 25, 10, 10)
#: Small pictures without references, of which several fill a device better than one.
SMALL_SIZES, NO_REFERENCES = (((256, 256), (512, 512)), (40, 60)), ((0,), (1,))
#: Tenants, each of which asks less than the one before: Zipf with this exponent.
TENANTS, EXPONENT = 30, 0.9
#: Who floods in the noisy trace, how much it asks for, and in which part of the time.
NOISY, FLOOD_LOAD, FLOOD_FROM, FLOOD_FOR = "noisy", 0.9, 0.4, 0.25
#: How much busier a burst is than the calm, and how many seconds both last on average.
PEAK, CALM_S, PEAK_S = 5.0, 300.0, 60.0
#: How late somebody loses patience who does, in times of the work alone.
PATIENCE = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """One request that comes in."""

    #: Counted from 0 over the trace.
    number: int
    #: Seconds after the start.
    at_s: float
    #: Whose it is.
    tenant: str
    #: The wish.
    request: GenerationRequest
    #: How many times longer it takes than the cost table says.
    error: float = 1.0
    #: Seconds after the start at which it is taken back if it has not ended; never, where nobody loses patience.
    cancel_at_s: float = math.inf


@dataclass(frozen=True, slots=True, kw_only=True)
class Mix:
    """What a trace is made of."""

    #: Device time asked for, per second, one picture at a time.
    load: float
    #: Width and height with their shares.
    sizes: tuple[Sequence[tuple[int, int]], Sequence[int]] = SIZES
    #: Pictures of one request with their shares.
    pictures: tuple[Sequence[int], Sequence[int]] = PICTURES
    #: References of one request with their shares.
    references: tuple[Sequence[int], Sequence[int]] = REFERENCES
    #: Whether the rate changes between a calm and a peak.
    is_bursty: bool = False
    #: Whether one tenant more floods.
    is_noisy: bool = False
    #: Share of requests whose caller loses patience.
    cancels: float = 0.0
    #: How far the cost table may be off for a request, either way.
    error: float = 0.0
    #: Of the requests that a run asks for, as many come.
    share: float = 1.0


#: Every trace by name.
MIXES: Mapping[str, Mix] = MappingProxyType(
    {
        "Poisson, load 0.6": Mix(load=0.6),
        "Poisson, load 0.8": Mix(load=0.8),
        "Poisson, load 0.95": Mix(load=0.95),
        "Poisson, load 0.8, estimates off by 20 %": Mix(load=0.8, error=0.2),
        "Poisson, load 0.95, estimates off by 20 %": Mix(load=0.95, error=0.2),
        "bursts, load 0.6": Mix(load=0.6, is_bursty=True),
        "bursts, load 0.8": Mix(load=0.8, is_bursty=True),
        "bursts, load 0.8, estimates off by 20 %": Mix(load=0.8, is_bursty=True, error=0.2),
        "calm, load 0.5": Mix(load=0.5),
        "calm, load 0.5, estimates off by 20 %": Mix(load=0.5, error=0.2),
        "calm and one that floods": Mix(load=0.5, is_noisy=True),
        "calm and one that floods, estimates off by 20 %": Mix(load=0.5, is_noisy=True, error=0.2),
        "four pictures each, load 0.8": Mix(load=0.8, pictures=((4,), (1,))),
        "cancels, load 0.8": Mix(load=0.8, cancels=0.1),
        "small only, load 0.8": Mix(load=0.8, sizes=SMALL_SIZES, references=NO_REFERENCES),
        "all at once": Mix(load=1e6, share=0.25),
        "small only, all at once": Mix(load=1e6, sizes=SMALL_SIZES, references=NO_REFERENCES, share=0.25),
    }
)


def arrivals_of(mix: Mix, *, costs: CostTable, requests: int, seed: int) -> list[Arrival]:
    """Draw a trace; the same seed draws the same wishes at the same moments, whatever else a mix says of them.

    Args:
        mix: what it is made of.
        costs: how long everything takes.
        requests: how many come, without those of the flood, where the mix does not want fewer.
        seed: everything is drawn from it.
    """
    requests = math.ceil(requests * mix.share)
    calm = _steady(mix, costs=costs, requests=requests, seed=seed)
    if not mix.is_noisy:
        return calm
    end_s = calm[-1].at_s
    flood = _steady(replace(mix, load=FLOOD_LOAD), costs=costs, requests=requests, seed=seed + 1000)
    loud = [
        replace(each, at_s=each.at_s + end_s * FLOOD_FROM, tenant=NOISY)
        for each in flood
        if each.at_s < end_s * FLOOD_FOR
    ]
    together = sorted([*calm, *loud], key=lambda each: each.at_s)
    return [replace(each, number=number) for number, each in enumerate(together)]


def _steady(mix: Mix, *, costs: CostTable, requests: int, seed: int) -> list[Arrival]:
    draw = random.Random(seed)  # noqa: S311 -- a load, not a secret
    wishes = [_wish(draw, mix) for _ in range(requests)]
    tenants = draw.choices(range(TENANTS), [1 / (rank + 1) ** EXPONENT for rank in range(TENANTS)], k=requests)
    mean_s = sum(map(costs.request, wishes)) / 1e3 / requests / mix.load
    due = _due(draw, mean_s=mean_s, count=requests, is_bursty=mix.is_bursty)
    return [
        _arrival(draw, mix, costs, Arrival(number=number, at_s=at_s, tenant=f"tenant {tenant}", request=wish))
        for number, (at_s, tenant, wish) in enumerate(zip(due, tenants, wishes, strict=True))
    ]


def _due(draw: random.Random, *, mean_s: float, count: int, is_bursty: bool) -> list[float]:
    """Draw when requests come, in seconds from the start; a Poisson process may begin anew where its rate changes."""
    calm = (CALM_S + PEAK_S) / (CALM_S + PEAK * PEAK_S) if is_bursty else 1.0
    due: list[float] = []
    at_s, until_s, factor = 0.0, math.inf, calm
    if is_bursty:
        until_s = draw.expovariate(1 / CALM_S)
    while len(due) < count:
        at_s += draw.expovariate(factor / mean_s)
        if at_s <= until_s:
            due.append(at_s)
            continue
        at_s, factor = until_s, calm * PEAK if factor == calm else calm
        until_s = at_s + draw.expovariate(1 / (CALM_S if factor == calm else PEAK_S))
    return due


def _arrival(draw: random.Random, mix: Mix, costs: CostTable, arrival: Arrival) -> Arrival:
    # All three are drawn each time, so that what one mix says more than another moves no other draw.
    error, is_cancelled, patience = draw.uniform(-1, 1), draw.random() < mix.cancels, draw.random() * PATIENCE
    patience_s = patience * costs.request(arrival.request) / 1e3
    cancel_at_s = arrival.at_s + patience_s if is_cancelled else math.inf
    return replace(arrival, error=1 + mix.error * error, cancel_at_s=cancel_at_s)


def _wish(draw: random.Random, mix: Mix) -> GenerationRequest:
    def one_of(choice: tuple[Sequence[Drawn], Sequence[int]]) -> Drawn:
        return draw.choices(*choice)[0]

    width, height = one_of(mix.sizes)
    return GenerationRequest(
        model="uno",
        prompt="",
        references=(Reference(role=Role.SUBJECT, source=""),) * one_of(mix.references),
        width=width,
        height=height,
        num_images=one_of(mix.pictures),
        num_inference_steps=one_of(STEPS),
        guidance_scale=3.5,
        seed=0,
    )
