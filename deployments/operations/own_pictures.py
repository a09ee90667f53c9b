"""Finds our own pictures among the references of a request, so that they are read from where they lie.

Fetching them through our own address would cost a connection, and would be refused where that address is private.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from deployments.references import KEPT, OWN
from models.request import GenerationRequest, Reference

if TYPE_CHECKING:
    from deployments.delivery.kept import KeptPictures
    from deployments.delivery.sink import Sink
    from deployments.operations.caller import Caller

#: How a dialect refers to a picture that its tenant keeps under a UUID.
UPLOAD = "upload:"


def own_sources(
    request: GenerationRequest, caller: Caller, *, kept: KeptPictures, sinks: Mapping[str, Sink]
) -> GenerationRequest:
    """Write own links and UUIDs among the references of a request as what they lead to."""
    references = tuple(
        Reference(role=each.role, source=_own_source(each.source, caller, kept=kept, sinks=sinks))
        for each in request.references
    )
    return replace(request, references=references)


def own_link(source: str, caller: Caller, *, sinks: Mapping[str, Sink]) -> str:
    """Write a link to a picture of ours that the caller may read as what it leads to; leave any other as it is."""
    read = [
        (scheme, sinks[kind].value_of(source, base_url=caller.base_url, tenant_id=caller.tenant_id))
        for scheme, kind in OWN.items()
        if kind in sinks
    ]
    return next((scheme + value for scheme, value in read if value is not None), source)


def _own_source(source: str, caller: Caller, *, kept: KeptPictures, sinks: Mapping[str, Sink]) -> str:
    if source.startswith(UPLOAD):
        return KEPT + kept.name_of(source.removeprefix(UPLOAD), tenant_id=caller.tenant_id)
    return own_link(source, caller, sinks=sinks)
