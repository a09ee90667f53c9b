"""fal's language: a synchronous run, a queue, uploads, and a proxy address for its JavaScript package."""

from __future__ import annotations

from deployments.dialects.fal.fal import Fal

__all__ = ["Fal"]
