"""What a replica does before it claims anything: load its models, and find out what its device does with them."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import structlog

from deployments.replica.read_weights import ReadWeights
from deployments.replica.room import check_room
from deployments.replica.step_metrics import note_encoding
from deployments.telemetry.metrics import SHARED_DIFFERENCE
from models.catalog import CATALOG
from models.engine import Engine
from models.loading import free_bytes, load_pipelines, resident_bytes_of
from models.rehearsal import SIZES, rehearse, warm_up
from models.resident import shared_part
from models.sharing import Mode, Sharing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deployments.settings import Settings

log = structlog.get_logger()


def load_engine(models: Sequence[str], settings: Settings) -> Engine:
    """Load the pipelines of one device and find out which pictures may share a call; say in the log what came of it.

    Every file of weights is logged with its digest, and those that nobody has recorded once more. Compiled blocks are
    compiled here: a step that was waited for would pass for a device that hangs.

    Raises:
        UnusableWeights: when there are none that can be loaded.
        UnusableChoice: when the device, or this machine's compiler, cannot do what was chosen about speed.
    """
    specs = [CATALOG[name] for name in models]
    read = ReadWeights()
    pipelines = load_pipelines(
        specs,
        weights=settings.weights,
        device=settings.device,
        options=settings.speed,
        read=read.note,
        encoded=note_encoding,
    )
    read.warn(settings.weights)
    sizes = (*(SIZES if settings.compile_blocks else ()), *settings.sizes_to_warm)
    warmed = warm_up(pipelines, sizes=sizes)
    rehearsed = rehearse(pipelines, max_group=settings.pictures_per_call)
    proven = rehearsed.proven if settings.engine_mode is Mode.EXACT else None
    free = free_bytes(settings.device)
    check_room(settings, free, models)
    max_bytes = resident_bytes_of(free)
    engine = Engine(
        pipelines,
        sharing=Sharing(settings.pictures_per_call, proven=proven),
        max_bytes=max_bytes,
        costs=settings.cost_table,
        shared=partial(shared_part, costs=settings.cost_table),
    )
    SHARED_DIFFERENCE.set(rehearsed.largest_difference if proven is None else 0.0)
    log.info(
        "engine_ready",
        mode=settings.engine_mode,
        max_group=settings.pictures_per_call,
        equal_together={repr(shape): count for shape, count in rehearsed.proven.items() if count > 1},
        largest_difference=rehearsed.largest_difference,
        request_bytes=max_bytes,
        warmed=[repr(shape) for shape in warmed],
        costs=settings.cost_table.device,
    )
    return engine
