"""The outside things that a replica works through."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deployments.delivering import Check, Upload, no_check, no_upload
from models.request import Safety

if TYPE_CHECKING:
    from deployments.database.signals import StoreSignal
    from deployments.delivery.sink import Sink
    from deployments.replica.bringing import Decode, Fetcher
    from deployments.tasks.store import TaskStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Doors:
    """The outside things a replica works through."""

    #: Where tasks are claimed and finished.
    store: TaskStore
    #: Says when the store has changed.
    signal: StoreSignal
    #: Brings the bytes of references.
    fetcher: Fetcher
    #: Turns them into pictures.
    decode: Decode
    #: Take the pictures, by kind.
    sinks: Mapping[str, Sink]
    #: Sends pictures to where their tenants want them.
    upload: Upload = no_upload
    #: Says whether a picture should not be shown.
    check: Check = no_check
    #: Whether the files of pictures say that a model has drawn them.
    discloses: bool = False

    def may_preview(self, safety: Safety) -> bool:
        """Whether a picture may be seen on its way: nobody looks at previews, so none that may have to be covered."""
        return self.check is no_check or safety is not Safety.COVER
