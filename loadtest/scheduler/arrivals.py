"""Made-up arrivals with the statistics of real ones: sizes, steps, references, pictures, tenants, and when they come.

Pictures per request, capped at four, follow a published trace of an image service (Alibaba GenTD26, 26,823 requests,
snapshot of 2026-04); so does that arrivals are Poisson within an hour and that tenants are very unequal. No public
trace counts references: that mix is an assumption.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from models.cost import CostTable
from models.request import GenerationRequest, Reference, Role

Drawn = TypeVar("Drawn")

#: What is drawn, and in which shares.
SIZES = ((512, 512), (768, 768), (1024, 1024), (768, 1024), (1024, 680)), (35, 15, 30, 10, 10)
STEPS = (12, 25, 28, 50), (10, 60, 20, 10)
PICTURES = (1, 2, 4), (58, 8, 34)
REFERENCES = (0, 1, 2, 3, 4), (5, 50, 25, 10, 10)
#: Tenants, each of which asks less than the one before: Zipf with this exponent.
TENANTS, EXPONENT = 30, 0.9
#: Who floods in the noisy trace.
NOISY = "noisy"


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


def poisson(costs: CostTable, *, load: float, requests: int, seed: int) -> list[Arrival]:
    """Draw arrivals that keep a device busy for ``load`` of its time, one picture at a time."""
    draw = random.Random(seed)  # noqa: S311 -- a load, not a secret
    wishes = [_wish(draw) for _ in range(requests)]
    tenants = draw.choices(range(TENANTS), [1 / (rank + 1) ** EXPONENT for rank in range(TENANTS)], k=requests)
    mean_s = sum(map(costs.request, wishes)) / 1e3 / requests / load
    at_s, arrivals = 0.0, []
    for number, (wish, tenant) in enumerate(zip(wishes, tenants, strict=True)):
        at_s += draw.expovariate(1 / mean_s)
        arrivals.append(Arrival(number=number, at_s=at_s, tenant=f"tenant {tenant}", request=wish))
    return arrivals


def noisy(costs: CostTable, *, load: float, requests: int, seed: int) -> list[Arrival]:
    """Draw arrivals of load ``load``, and one tenant more that adds 0.9 for a quarter of the time."""
    calm = poisson(costs, load=load, requests=requests, seed=seed)
    end_s = calm[-1].at_s
    flood = poisson(costs, load=0.9, requests=requests, seed=seed + 1000)
    start_s = end_s * 0.4
    loud = [replace(each, at_s=each.at_s + start_s, tenant=NOISY) for each in flood if each.at_s < end_s / 4]
    return numbered(sorted([*calm, *loud], key=lambda each: each.at_s))


def numbered(arrivals: Sequence[Arrival]) -> list[Arrival]:
    """Count arrivals from 0 in their order."""
    return [replace(each, number=number) for number, each in enumerate(arrivals)]


def _wish(draw: random.Random) -> GenerationRequest:
    def one_of(choice: tuple[Sequence[Drawn], Sequence[int]]) -> Drawn:
        return draw.choices(*choice)[0]

    width, height = one_of(SIZES)
    return GenerationRequest(
        model="uno",
        prompt="",
        references=(Reference(role=Role.SUBJECT, source=""),) * one_of(REFERENCES),
        width=width,
        height=height,
        num_images=one_of(PICTURES),
        num_inference_steps=one_of(STEPS),
        guidance_scale=3.5,
        seed=0,
    )
