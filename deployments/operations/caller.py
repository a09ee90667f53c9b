"""Who asks for an operation."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who asks, and how they reached us."""

    #: Their tenant; empty where everybody may ask.
    tenant_id: str
    #: In which dialect; tasks of another one are not there.
    dialect: str
    #: Start of every absolute link, without a trailing slash.
    base_url: str
    #: The trace that what they ask for belongs to, as the W3C's header of this name says it.
    traceparent: str | None = None
