"""What a request asks of a fleet: work units for its place in order, seconds of a device. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from loadtest.openloop.order import Order
from loadtest.roles import roles_of
from models.cost import CostTable, rows_of, tokens_of, work_units
from models.request import GenerationRequest, Reference


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """One request that comes in at a set time."""

    #: Counted from 0 in the order of arrival.
    number: int
    #: When it comes, in seconds after the start.
    at_s: float
    #: Whose it is.
    tenant: str
    #: Catalog name of the model.
    model: str
    #: What fair order counts.
    units: float
    #: Seconds of a device, from prompt to pixels, when it is alone there.
    device_s: float
    #: Pictures.
    images: int
    #: Seconds after it came at which it is taken back; None means never.
    cancel_after_s: float | None = None


def works_of(orders: Sequence[Order], costs: CostTable, *, group: int = 1) -> list[Work]:
    """Return what orders ask of devices of one kind; bad ones ask for nothing, for they are refused.

    Args:
        orders: in any order.
        costs: how long everything takes.
        group: how many pictures of one request share a call of the transformer at most.
    """
    works: list[Work] = []
    for order in sorted(orders, key=lambda each: each.at_s):
        if not order.is_bad:
            units, device_s = _cost(wish_of(order), costs, group)
            works.append(_work(order, number=len(works), units=units, device_s=device_s))
    return works


def grown(works: Sequence[Work], factor: float) -> list[Work]:
    """Let work come ``factor`` times as fast."""
    return [replace(each, at_s=each.at_s / factor) for each in works]


def _work(order: Order, *, number: int, units: float, device_s: float) -> Work:
    return Work(
        number=number,
        at_s=order.at_s,
        tenant=order.tenant,
        model=order.model,
        units=units,
        device_s=device_s,
        images=order.images,
        cancel_after_s=order.cancel_after_s,
    )


@lru_cache(maxsize=10_000)
def _cost(wish: GenerationRequest, costs: CostTable, group: int) -> tuple[float, float]:
    return work_units(wish, costs), (costs.request(wish) - _shared_ms(wish, costs, group)) / 1e3


def _shared_ms(wish: GenerationRequest, costs: CostTable, group: int) -> float:
    """Return the milliseconds that a request is spared where its pictures share calls.

    Its own are all that do: strangers share from seven waiting requests on, and a replica holds four.
    """
    tokens, rows = tokens_of(wish), rows_of(wish)
    full, rest = divmod(wish.num_images, group)
    # The first ones of a request step together until they are done, then the next.
    groups = [group] * full + [rest] * bool(rest)
    alone_ms = wish.num_images * costs.step(tokens, rows=rows)
    together_ms = sum(costs.step(tokens, rows=rows * pictures) for pictures in groups)
    return wish.num_inference_steps * (alone_ms - together_ms)


def wish_of(order: Order) -> GenerationRequest:
    """Return what an order asks for, without prompt and pictures."""
    roles = roles_of(order.model, order.dialect)
    return GenerationRequest(
        model=order.model,
        prompt="",
        references=tuple(Reference(role=role, source="") for role in roles[: order.references]),
        width=order.width,
        height=order.height,
        num_images=order.images,
        num_inference_steps=order.steps,
        guidance_scale=3.5,
        seed=0,
    )
