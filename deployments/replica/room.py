"""Whether a device has the memory for whatever may be asked of it, beside the weights; looked at once, at the start."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import structlog

from models.plan import largest_bytes, whole_gb

if TYPE_CHECKING:
    from deployments.settings import Settings

log = structlog.get_logger()


def check_room(settings: Settings, free_bytes: int | None, models: Iterable[str]) -> None:
    """Refuse a promise that the device cannot keep; log what would keep out requests that find no memory.

    Args:
        settings: what one request may take.
        free_bytes: what the weights have left of the device; None where nobody counts them.
        models: those that the device holds.

    Raises:
        SettingsInvalid: when a request that was accepted might find no memory.
    """
    settings.check_device(free_bytes)
    if settings.request_bytes is not None or free_bytes is None:
        return
    most = largest_bytes(models)
    if most > free_bytes:
        log.warning(
            "large_requests_may_fail",
            largest_request_gb=round(most / 1e9, 1),
            free_gb=round(free_bytes / 1e9, 1),
            remedy=f"UXO_REQUEST_GB={whole_gb(free_bytes):g}",
        )
