"""Finds our own pictures among the references of a request, so that they are read from where they lie.

Fetching them through our own address would cost a connection, and would be refused where that address is private.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from deployments.references import FILE, KEPT
from models.request import GenerationRequest, Reference

if TYPE_CHECKING:
    from deployments.delivery.kept import KeptPictures

#: How a dialect refers to a picture that its tenant keeps under a UUID.
UPLOAD = "upload:"


def own_sources(request: GenerationRequest, base_url: str, tenant_id: str, kept: KeptPictures) -> GenerationRequest:
    """Write own links and UUIDs among the references of a request as what they lead to."""
    references = tuple(
        Reference(role=each.role, source=_own_source(each.source, base_url, tenant_id, kept))
        for each in request.references
    )
    return replace(request, references=references)


def own_link(source: str, base_url: str) -> str:
    """Write a link to a picture that this service serves as what it leads to; leave any other source as it is."""
    served = f"{base_url}/files/"
    return FILE + source.removeprefix(served) if base_url and source.startswith(served) else source


def _own_source(source: str, base_url: str, tenant_id: str, kept: KeptPictures) -> str:
    if source.startswith(UPLOAD):
        return KEPT + kept.name_of(source.removeprefix(UPLOAD), tenant_id=tenant_id)
    return own_link(source, base_url)
