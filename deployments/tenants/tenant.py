"""A tenant: who is billed and scheduled fairly, and what they may have. A plain value; knows no key and no store."""

from __future__ import annotations

import re
from dataclasses import dataclass

#: What a tenant may be called: it becomes part of listings, logs and keys of files.
TENANT_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
#: Tasks that may wait for one tenant when nothing else is said.
DEFAULT_MAX_QUEUED = 1000
#: Bytes of pictures that one tenant may keep when nothing else is said; migrations say the same.
DEFAULT_MAX_KEPT = 2_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenant:
    """Who asks, and how much they may ask for; None means no limit, and nothing opened."""

    #: Its name.
    id: str
    #: Share of the machines while others wait too; twice the weight, twice the share.
    weight: float = 1.0
    #: Catalog names of the models it may use.
    models: frozenset[str] | None = None
    #: Tasks that may wait at once.
    max_queued: int | None = DEFAULT_MAX_QUEUED
    #: Work units that may wait at once.
    max_queued_units: float | None = None
    #: Tasks that may run at once; further ones wait.
    max_running: int | None = None
    #: Submissions within any minute.
    requests_per_minute: int | None = None
    #: What it may spend in all, in millionths of a dollar.
    budget: int | None = None
    #: Names and ranges that its references, webhooks and uploads may reach besides the public internet; None for none.
    openings: frozenset[str] | None = None
    #: Seconds for which its pictures and what it sent are kept after the end of a task, if that is shorter than the
    #: server keeps them by itself.
    lifetime_s: float | None = None
    #: Bytes of the pictures that it may keep at once for its requests to refer to.
    max_kept: int | None = DEFAULT_MAX_KEPT
    #: What its unfinished tasks may still cost, in millionths of a dollar.
    held: int = 0
    #: What its ended tasks have cost, in millionths of a dollar.
    spent: int = 0
    #: Until when its requests per minute are used up at an even pace, in seconds since the epoch.
    paced_until_s: float = 0.0

    @property
    def left(self) -> int | None:
        """Return what it can still spend, in millionths of a dollar."""
        return None if self.budget is None else self.budget - self.spent - self.held
