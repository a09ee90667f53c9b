"""What a load says in each dialect, held against what the service itself understands by it."""

from __future__ import annotations

import base64
import io
import json
from dataclasses import replace
from itertools import product

import pytest
from dialect_golden import made_call
from PIL import Image

from deployments.dialects import DIALECTS
from deployments.operations.operation import Batch, Submit
from loadtest.openloop.motif import pictures_of, varied
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

    sent = [understood(speech.submission(order, webhook=""), dialect) for order in orders]

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

    sent = [understood(speech_of(dialect).submission(order, webhook=""), dialect) for order in orders]

    costs = cost_table()
    assert [costs.request(wish_of(order)) for order in orders] == [costs.request(wish) for wish in sent]
    assert [work_units(wish_of(order), costs) for order in orders] == [work_units(wish, costs) for wish in sent]


@pytest.mark.parametrize("dialect", SPEECHES)
def test_what_is_new_to_the_load_is_new_to_the_server(dialect: str) -> None:
    """Two motifs share neither prompt nor picture; a tenant who repeats sends both again, with another seed."""
    order = Order(at_s=0, tenant="a", dialect=dialect, model="uso", references=3, motif=1, seed=5)
    speech = speech_of(dialect)

    first, again, other = (
        understood(speech.submission(each, webhook=""), dialect)
        for each in (order, replace(order, seed=6), replace(order, motif=2))
    )

    assert (again.prompt, again.references) == (first.prompt, first.references)
    assert (first.seed, again.seed) == (5, 6)
    assert other.prompt != first.prompt
    assert len({each.source for each in (*first.references, *other.references)}) == 6


def test_a_load_repeats_as_often_as_it_says() -> None:
    """About so many orders show what their own tenant had before; no tenant has another's, and seeds never repeat."""
    orders = [Order(at_s=number, tenant="abc"[number % 3]) for number in range(3000)]

    given = varied(orders, repeats=0.4, seed="x")

    assert 0.57 < len({order.motif for order in given}) / 3000 < 0.63
    assert len({(order.tenant, order.motif) for order in given}) == len({order.motif for order in given})
    assert len({order.seed for order in given}) == 3000
    assert varied(orders, repeats=0.4, seed="x") == given


def test_references_are_pictures() -> None:
    """Every reference can be opened, has as many colours as squares, and is unlike all others."""
    pictures = [opened(uri) for motif in (1, 2) for uri in pictures_of(motif, 2)]

    assert {picture.size for picture in pictures} == {(64, 64)}
    assert [len(picture.getcolors() or []) for picture in pictures] == [16] * 4
    assert len({picture.tobytes() for picture in pictures}) == 4


def opened(uri: str) -> Image.Image:
    """Decode a data URI."""
    return Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2], validate=True))).convert("RGB")
