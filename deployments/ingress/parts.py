"""What the ingress works through, opened when its application starts."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deployments.delivery.files import FilesSink
    from deployments.delivery.kept import KeptPictures
    from deployments.operations.operations import Operations
    from deployments.tasks.store import TaskStore
    from deployments.tenants.keys import KeyRing


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What the ingress works through."""

    #: Carries out what callers ask for.
    operations: Operations
    #: Says who a caller is.
    keys: KeyRing
    #: Holds the pictures that are served from here.
    files: FilesSink
    #: Takes the pictures that callers send.
    kept: KeptPictures
    #: Asked for its health.
    store: TaskStore
    #: Start of every absolute link; None means: as the caller addressed us.
    base_url: str | None = None


#: Opens the parts when the application starts and closes them when it ends.
OpenParts = Callable[[], AbstractAsyncContextManager[Parts]]
