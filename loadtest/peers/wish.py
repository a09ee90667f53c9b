"""What the comparison asks for: drawn from a seed, so that every server is asked the same at the same moments. Pure."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from loadtest.peers.servers.fake_model import GROUP_S, ITEM_S, MAX_GROUP

#: Shapes with their width and height in pixels; only wishes of one shape may share a call of the model.
SHAPES: Mapping[str, tuple[int, int]] = MappingProxyType(
    {"square": (512, 512), "portrait": (768, 1024), "landscape": (1024, 576)}
)
#: How often each of them is asked for, in parts of ten.
SHARES = (5, 3, 2)
#: Which part of the wishes is poisoned.
POISONED = 0.01
#: Wishes per second that the model can do in full groups of one shape.
CAPACITY_PER_S = MAX_GROUP / (GROUP_S + MAX_GROUP * ITEM_S)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """One request of the load."""

    #: Counted from 0, in the order of their due times.
    number: int
    #: When it is due, in seconds after the start.
    at_s: float
    #: One of ``SHAPES``.
    shape: str
    #: Whether it makes every call of the model fail that it is part of.
    is_poisoned: bool


def draw_wishes(*, rate: float, seconds: float, seed: int, poisoned: float = POISONED) -> list[Wish]:
    """Draw wishes that come as a Poisson process, the same for the same arguments.

    Args:
        rate: wishes per second.
        seconds: how long they come.
        seed: of the draw.
        poisoned: which part of them is, in [0, 1].
    """
    draw, wishes, at_s = random.Random(seed), list[Wish](), 0.0  # noqa: S311 -- a load, not a secret
    while (at_s := at_s + draw.expovariate(rate)) < seconds:
        [shape] = draw.choices(list(SHAPES), SHARES)
        wishes.append(Wish(number=len(wishes), at_s=at_s, shape=shape, is_poisoned=draw.random() < poisoned))
    return wishes
