"""One request that comes in at a set time: what profiles draw, what traces hold, and what a run sends. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from models.catalog import MAX_SIDE, MAX_STEPS, MIN_SIDE


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One request of a load; it holds neither a prompt nor a picture."""

    #: When it is due, in seconds after the start.
    at_s: float
    #: Whose it is; tenants are given the run's keys in the order of their names.
    tenant: str
    #: In which dialect it is asked.
    dialect: str = "wavespeed"
    #: Catalog name of the model.
    model: str = "uno"
    #: Pixels.
    width: int = 1024
    #: Pixels.
    height: int = 1024
    #: How many reference pictures.
    references: int = 1
    #: Denoising steps per picture.
    steps: int = 28
    #: Pictures.
    images: int = 1
    #: What its pictures show: orders of one motif have the same prompt and the same references.
    motif: int = 0
    #: What its first picture is drawn from.
    seed: int = 7
    #: Seconds after acceptance at which it is cancelled; None means never.
    cancel_after_s: float | None = None
    #: Whether it is asked in a way that has to be refused.
    is_bad: bool = False


def hurried(orders: Sequence[Order], speed: float) -> list[Order]:
    """Let orders come ``speed`` times as fast; what happens between an order and its cancel takes as long as before."""
    return [replace(order, at_s=order.at_s / speed) for order in orders]


def bounded(order: Order, *, images: int, references: tuple[int, int]) -> Order:
    """Bring what an order asks for into what the engine takes, and a dialect.

    Args:
        order: any order.
        images: the most pictures that the dialect makes at once.
        references: the fewest and the most that it takes.
    """
    fewest, most = references
    return replace(
        order,
        width=min(max(order.width, MIN_SIDE), MAX_SIDE),
        height=min(max(order.height, MIN_SIDE), MAX_SIDE),
        steps=min(order.steps, MAX_STEPS),
        images=min(order.images, images),
        references=min(max(order.references, fewest), most),
    )


def tenants_of(orders: Sequence[Order]) -> list[str]:
    """Return who asks, each once, sorted by name."""
    return sorted({order.tenant for order in orders})
