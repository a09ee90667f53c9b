"""What each reference picture of an order is to its model; a style costs less than a picture of content. Pure."""

from __future__ import annotations

from functools import cache

from models.catalog import CATALOG
from models.request import Role


@cache
def roles_of(model: str, dialect: str) -> tuple[Role, ...]:
    """Return the roles of all references that a request may have, in the order in which its dialect takes them."""
    allowed = CATALOG[model].max_references
    if dialect == "wavespeed" and Role.STYLE in allowed:  # its USO takes styles and nothing else
        return (Role.STYLE,) * allowed[Role.STYLE]
    return tuple(role for role in Role for _ in range(allowed.get(role, 0)))
