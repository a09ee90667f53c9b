"""The product's outbox with times that fit into a run: what is lost or put off is due again within it.

Tries, their order and their fences are the product's own.
"""

from __future__ import annotations

from deployments.tasks.outbox import Outbox, Room
from deployments.tasks.webhook import DueWebhook

#: Seconds that a send may take.
SEND_S = 2.0
#: Seconds for which a webhook stays taken: longer than a send, and shorter than a process is stopped.
LEASE_S = 3.0


def pause_s(attempt: int) -> float:
    """Return how long to wait after a failed try, in seconds."""
    return 0.2 * attempt


class BriskOutbox(Outbox):
    """Webhooks that do not stay taken for long."""

    async def claim_due(self, room: Room, *, lease_s: float) -> list[DueWebhook]:
        """Take webhooks that are due, for a shorter time than the sender asks for."""
        return await super().claim_due(room, lease_s=min(lease_s, LEASE_S))
