"""Counts the calls that callers keep open, synchronous ones and streams, so that no tenant takes all the room."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from deployments.errors import Overloaded

#: Calls that one tenant may hold in one process.
PER_TENANT = 512


class Held:
    """What is held open in one process."""

    def __init__(self, *, per_tenant: int = PER_TENANT) -> None:
        """Begin with nothing; the bound is per tenant."""
        self._per_tenant = per_tenant
        self._by_tenant: Counter[str] = Counter()

    def __repr__(self) -> str:
        """Say how much is held, and for how many."""
        return f"<Held [{self._by_tenant.total()} calls of {len(self._by_tenant)} tenants]>"

    @contextmanager
    def one_of(self, tenant_id: str) -> Iterator[None]:
        """Count one call of a tenant for the length of the block.

        Raises:
            Overloaded: when the tenant holds as many as it may.
        """
        if self._by_tenant[tenant_id] >= self._per_tenant:
            raise Overloaded("you hold as many calls open as you may; end some, or poll")
        self._by_tenant[tenant_id] += 1
        try:
            yield
        finally:
            self._by_tenant[tenant_id] -= 1
            if not self._by_tenant[tenant_id]:
                del self._by_tenant[tenant_id]
