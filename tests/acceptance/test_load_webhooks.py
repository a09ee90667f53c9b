"""A load whose ends come as webhooks, from the whole service, in every dialect that a load speaks."""

from __future__ import annotations

from collections import Counter

from running_service import ALICE, Service, free_port

from loadtest.openloop.order import Order
from loadtest.openloop.record import End
from loadtest.openloop.run import Load, perform

#: The dialect and the model of each order; fal has one model.
SPOKEN = {"wavespeed": "uno", "fal": "uso", "runware": "uno"}


async def test_ends_are_told_in_every_dialect(service: Service) -> None:
    """Every order that is accepted has its end by a webhook, none by a read, and the ledger is sound."""
    orders = [
        Order(at_s=0, tenant="a", dialect=dialect, model=model, width=512, height=512, steps=1, is_bad=is_bad)
        for dialect, model in SPOKEN.items()
        for is_bad in (False, True)
    ]
    load = Load(
        orders=orders,
        target=service.base_url,
        keys=[ALICE],
        poll_s=None,
        patience_s=120.0,
        webhooks_at=f"http://127.0.0.1:{free_port()}",
    )

    result = await perform(load, watch=lambda _book: None)

    assert result.ledger.is_sound, str(result.ledger)
    # fal accepts what is bad and tells of it; the others refuse it.
    assert Counter(record.end for record in result.records) == {End.SUCCEEDED: 3, End.REJECTED: 2, End.FAILED: 1}
    assert not any(record.reads for record in result.records)
