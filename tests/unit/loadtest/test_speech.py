"""What a load says in each dialect, held against what the service itself understands by it."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import product

import pytest
from dialect_golden import made_call

from deployments.dialects import DIALECTS
from deployments.operations.operation import Batch, Submit
from loadtest.openloop.order import Order
from loadtest.openloop.source import askable
from loadtest.openloop.speech import SPEECHES, Ask, speech_of
from loadtest.virtual.work import wish_of
from models.cost import cost_table, work_units
from models.request import GenerationRequest

#: Orders of every shape that a profile or a trace may hold, also such as no dialect has words for.
ORDERS = [
    Order(
        at_s=0,
        tenant="a",
        model=model,
        width=width,
        height=height,
        references=references,
        steps=steps,
        images=images,
    )
    for model, (width, height), references, steps, images in product(
        ("uno", "uso"), ((512, 512), (768, 768), (1024, 680), (99, 9999)), (0, 1, 3, 9), (4, 99), (1, 4, 50)
    )
]


def understood(ask: Ask, dialect: str) -> GenerationRequest:
    """Return what the service would draw."""
    written = {"method": ask.method, "path": ask.path, "json": json.loads(ask.body)}
    route, call = made_call(DIALECTS[dialect], written)
    operation = DIALECTS[dialect].parse(route, replace(call, headers={"authorization": "Bearer KEY"}))
    if isinstance(operation, Batch):
        [part] = operation.parts
        assert isinstance(part.operation, Submit), part
        operation = part.operation
    assert isinstance(operation, Submit), operation
    return operation.request


@pytest.mark.parametrize("dialect", SPEECHES)
def test_an_order_is_what_is_sent(dialect: str) -> None:
    """Whatever a profile or trace wishes for, the service understands exactly what the order then says."""
    speech = speech_of(dialect)
    orders = askable([replace(order, dialect=dialect) for order in ORDERS])

    sent = [understood(speech.submission(order, reference="data:,x", webhook=""), dialect) for order in orders]

    assert [
        (wish.model, wish.width, wish.height, len(wish.references), wish.num_inference_steps, wish.num_images)
        for wish in sent
    ] == [(order.model, order.width, order.height, order.references, order.steps, order.images) for order in orders]


@pytest.mark.parametrize("dialect", SPEECHES)
def test_what_can_be_asked_for_stays_as_it_is(dialect: str) -> None:
    """An order that a dialect has words for is not changed, and one that was changed once has such words."""
    usual = Order(at_s=3, tenant="b", dialect=dialect, model="uso", cancel_after_s=1.0)
    orders = askable([usual, *[replace(order, dialect=dialect) for order in ORDERS]])

    assert orders[0] == usual
    assert askable(orders) == orders


@pytest.mark.parametrize("dialect", SPEECHES)
def test_the_planner_counts_what_the_service_counts(dialect: str) -> None:
    """References are to the planner what they are to the service, styles among them: an order costs both the same."""
    orders = askable([replace(order, dialect=dialect) for order in ORDERS])

    sent = [
        understood(speech_of(dialect).submission(order, reference="data:,x", webhook=""), dialect) for order in orders
    ]

    costs = cost_table()
    assert [costs.request(wish_of(order)) for order in orders] == [costs.request(wish) for wish in sent]
    assert [work_units(wish_of(order)) for order in orders] == [work_units(wish) for wish in sent]
