"""What operations work through: the store, the sinks, and all else that is outside of them."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from deployments.delivery.kept import KeptPictures
from deployments.delivery.kept_space import KeptSpace
from deployments.erasing import Eraser
from deployments.operations.callbacks import Callbacks
from deployments.operations.redelivering import Redelivering
from deployments.tasks.bound import QueueBound
from deployments.tasks.contents import ContentStore
from deployments.tasks.views import TaskViews
from deployments.tenants.directory import TenantDirectory
from deployments.tenants.seal import Seal
from deployments.tenants.webhook_keys import WebhookSigner
from models.cost import CostTable, cost_table

if TYPE_CHECKING:
    from deployments.database.database import Database
    from deployments.database.signals import StoreSignal
    from deployments.delivery.files import FilesSink
    from deployments.delivery.sink import Sink
    from deployments.references import References
    from deployments.tasks.store import TaskStore


async def always() -> bool:
    """Say that replicas are up, where nobody knows of any."""
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Doors:
    """What operations work through."""

    #: Where tasks are accepted, read and cancelled.
    store: TaskStore
    #: What a tenant may see of its tasks besides.
    views: TaskViews
    #: Says when the store has changed.
    signal: StoreSignal
    #: Make the links of pictures, by kind.
    sinks: Mapping[str, Sink]
    #: Keeps what callers send.
    kept: KeptPictures
    #: Brings what callers want to be kept.
    references: References
    #: Knows what tenants may spend.
    directory: TenantDirectory
    #: Knows the secrets of webhooks.
    signer: WebhookSigner
    #: Closes upload addresses, which are permissions, before they are written down.
    seal: Seal
    #: Sends pictures again.
    redelivering: Redelivering
    #: Says when too much waits.
    bound: QueueBound
    #: Says which addresses may not be called.
    callbacks: Callbacks
    #: Erases what deleted tasks held.
    eraser: Eraser
    #: Bytes of a device that one request may take at its worst moment; None sets no bound.
    request_bytes: int | None = None
    #: What fair shares count work by; the same as the replicas'.
    costs: CostTable = field(default_factory=cost_table)
    #: Says whether replicas are up that draw.
    draws: Callable[[], Awaitable[bool]] = always

    @classmethod
    def over(cls, database: Database, *, store: TaskStore, signal: StoreSignal, files: FilesSink, **rest: Any) -> Self:
        """Open the doors that stand on one database and one folder.

        Args:
            database: open and migrated.
            store: the tasks in it.
            signal: says when it has changed.
            files: the folder.
            rest: ``sinks``, ``references``, ``upload``, ``secret`` (the server's), ``max_queued``, ``rules``,
                ``request_bytes`` where there is such a bound, ``costs`` where they are not the usual ones, and
                ``draws`` where somebody knows of replicas.
        """
        directory = TenantDirectory(database)
        return cls(
            store=store,
            views=TaskViews(database),
            signal=signal,
            sinks=rest["sinks"],
            kept=KeptPictures(files, KeptSpace(database), secret=rest["secret"]),
            references=rest["references"],
            directory=directory,
            signer=WebhookSigner(rest["secret"]),
            seal=Seal(rest["secret"]),
            redelivering=Redelivering(database, store=store, sinks=rest["sinks"], upload=rest["upload"]),
            bound=QueueBound(store, max_queued=rest["max_queued"]),
            callbacks=Callbacks(rest["rules"], directory),
            # What is erased here was asked for by its tenant; what has aged is the housekeeper's.
            eraser=Eraser(ContentStore(database), rest["sinks"], keep_s=math.inf),
            request_bytes=rest.get("request_bytes"),
            costs=rest.get("costs") or cost_table(),
            draws=rest.get("draws", always),
        )
