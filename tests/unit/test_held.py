"""What callers keep open, bounded for each tenant."""

from __future__ import annotations

import pytest

from deployments.errors import Overloaded
from deployments.ingress.held import Held


def test_a_tenant_holds_so_many_and_no_more() -> None:
    """One more is refused, another tenant's is not, and what has ended makes room."""
    held = Held(per_tenant=2)

    with held.one_of("alice"), held.one_of("alice"):
        with pytest.raises(Overloaded), held.one_of("alice"):
            pass
        with held.one_of("bob"):
            pass

    with held.one_of("alice"):
        assert "1 calls of 1 tenants" in repr(held)
