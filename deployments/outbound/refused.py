"""The one error of this folder: a tenant's reference is not used, and the tenant may know why."""

from __future__ import annotations

from deployments.errors import UxoError


class ReferenceRefused(UxoError):
    """A reference may not or cannot be used.

    Args:
        reason: a predicate such as "answered 404"; whoever knows which reference it was puts "reference 2" before it.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
