"""The composition root: the one place that knows every concrete class, and which of them Ray Serve runs.

``serve_config.yaml`` points at ``build``. Each deployment reads its own settings from its environment and opens
its own doors; nothing but plain values crosses from here into a replica, and no secret passes through Ray.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from importlib.metadata import version
from typing import Any

import psutil
from fastapi import FastAPI
from ray import serve
from ray.exceptions import RayError
from ray.serve import Application
from ray.serve.context import _get_global_client
from ray.serve.handle import DeploymentHandle
from ray.serve.schema import DeploymentStatusOverview

from deployments.background import Background
from deployments.before_start import check_grace, look_from_afar
from deployments.checking import Checker
from deployments.database.database import Database, open_database
from deployments.database.signals import open_signal
from deployments.decoding.pool import DecoderPool
from deployments.delivering import Check, no_check
from deployments.delivery.files import FilesSink
from deployments.delivery.kept_space import KeptSpace
from deployments.delivery.presigned_put import SealedUpload
from deployments.delivery.sink import Sink, open_sinks
from deployments.dialects import open_dialects
from deployments.dialects.dialect import Dialect
from deployments.erasing import Eraser
from deployments.gauging import Gauging
from deployments.housekeeper import Housekeeper
from deployments.ingress.application import make_ingress
from deployments.ingress.parts import Parts
from deployments.ingress.replicas import Kind, Replicas
from deployments.leaving import Node
from deployments.operations.doors import Doors as OperationsDoors
from deployments.operations.operations import Operations
from deployments.outbound.client import GuardedClient
from deployments.outbound.references import ReferenceFetcher
from deployments.outbound.rules import Rules
from deployments.references import References
from deployments.replica.doors import Doors
from deployments.replica.limits import Limits
from deployments.replica.read_weights import ReadWeights
from deployments.replica.replica import Replica
from deployments.replica.starting import load_engine
from deployments.serve_config import HAND_BACK_S, HOUSEKEEPER, HTTP_SIDE, Arguments
from deployments.settings import Settings, has_collector, read_settings
from deployments.staffing import Staffing, Targets
from deployments.tasks.contents import ContentStore
from deployments.tasks.outbox import Outbox
from deployments.tasks.store import TaskStore
from deployments.telemetry.exposition import folder_of, join_node
from deployments.telemetry.logs import log_as
from deployments.telemetry.metrics import BUILD, FROM_ZERO, REPLICA_UP
from deployments.telemetry.tracing import flush_spans, open_tracing
from deployments.tenants.directory import TenantDirectory
from deployments.tenants.keys import KeyRing, configured_keys, server_secret
from deployments.tenants.seal import Seal
from deployments.tenants.webhook_keys import WebhookSigner
from deployments.webhooks import Scribe, WebhookSender
from models.catalog import CATALOG
from models.engine import Engine

#: Calls one ingress holds at once; synchronous ones wait here for their pictures, streams and sockets count as well.
MAX_ONGOING_CALLS = 8192
#: Seconds of its grace for which Serve waits for calls to a deployment that is told to stop, before it tells it: two,
#: usually, by which work would be cut short, for nobody calls replicas or the housekeeper.
UNCALLED_S = 0.1


def build(args: dict[str, Any]) -> Application:
    """Compose the application.

    Ray Serve does this before it touches what runs, so what is refused here leaves that as it is.

    Args:
        args: the ``args`` of ``serve_config.yaml``.

    Raises:
        UxoError: when the settings or what they name cannot be used; says which, and what would do.
    """
    arguments, settings = Arguments.model_validate(args), read_settings()
    check_grace(arguments, settings)
    asyncio.run(look_from_afar(settings))
    grace_s = arguments.grace_s
    replicas = [
        _deploy_uncalled(ReplicaDeployment, name, grace_s).bind(models, arguments.capacity, grace_s)
        for name, models in arguments.replicas.items()
    ]
    housekeeper = _deploy_uncalled(HousekeeperDeployment, HOUSEKEEPER, grace_s).bind(grace_s, arguments.replicas)
    ingress = _deploy(IngressDeployment, HTTP_SIDE, grace_s).options(max_ongoing_requests=MAX_ONGOING_CALLS)
    return ingress.bind(housekeeper, *replicas)


def _deploy(target: type, name: str, grace_s: float) -> Any:
    # Without a reservation of CPUs everything fits on a laptop; serve_config.yaml reserves what a cluster needs.
    return serve.deployment(target, name=name, ray_actor_options={"num_cpus": 0}, graceful_shutdown_timeout_s=grace_s)


def _deploy_uncalled(target: type, name: str, grace_s: float) -> Any:
    return _deploy(target, name, grace_s).options(graceful_shutdown_wait_loop_s=UNCALLED_S)


def make_ingress_app() -> FastAPI:
    """Build the web application of one ingress replica."""
    settings = read_settings()
    observe_as(settings)
    return make_ingress(list(_dialects(settings).values()), open_parts, origins=settings.origins)


def observe_as(settings: Settings) -> None:
    """Log and measure as the settings say."""
    log_as(settings)
    folder = folder_of(settings.folder, settings.metrics_port)
    join_node(folder, host=settings.metrics_host, port=settings.metrics_port)
    BUILD.set(1, version=version("uxo-serve"))
    for counter in FROM_ZERO:
        counter.add(0)
    if has_collector():
        open_tracing()


def _dialects(settings: Settings) -> Mapping[str, Dialect]:
    return open_dialects(aliases=settings.aliases, fal_hosts=settings.hosts_of_fal)


@serve.ingress(make_ingress_app)
class IngressDeployment:
    """The HTTP side."""

    def __init__(self, *_others: DeploymentHandle) -> None:
        """Take the other deployments, which makes them part of this application; none of them is ever called."""


class ReplicaDeployment:
    """One device."""

    def __init__(self, models: list[str], capacity: int, grace_s: float) -> None:
        """Load the models, then start claiming; Serve counts this replica as ready when this returns."""
        settings = read_settings()
        observe_as(settings)
        engine = load_engine(models, settings)
        check = _open_checker(settings) if settings.safety_model else no_check
        limits = Limits(
            capacity=capacity,
            lease_s=settings.lease_s,
            preview_every=settings.preview_every,
            drain_s=grace_s - HAND_BACK_S,
        )
        self._grace_s = grace_s
        self._background = Background(
            "replica", lambda stopping: run_replica(engine, limits, settings, stopping, check=check)
        )

    def check_health(self) -> None:
        """Let Serve replace this replica when its loops have ended."""
        self._background.check()

    def __del__(self) -> None:
        """Finish what there is time for, and hand back the rest."""
        self._background.close(timeout_s=self._grace_s)


class HousekeeperDeployment:
    """What must happen when nobody calls."""

    def __init__(self, grace_s: float, replicas: Mapping[str, list[str]]) -> None:
        """Start tidying; ``replicas`` says which models each deployment of replicas holds."""
        settings = read_settings()
        observe_as(settings)
        self._grace_s = grace_s
        staffing = Staffing(replicas, targets=targets_of_serve())
        self._background = Background("housekeeper", lambda stopping: run_housekeeper(settings, staffing, stopping))

    def check_health(self) -> None:
        """Let Serve replace this housekeeper when its loop has ended."""
        self._background.check()

    def __del__(self) -> None:
        """Stop."""
        self._background.close(timeout_s=self._grace_s)


@asynccontextmanager
async def open_parts() -> AsyncIterator[Parts]:
    """Open what an ingress works through."""
    settings = read_settings()
    database = await open_database(settings.store_url)
    signal = open_signal(settings.store_url)
    store, files, sinks = TaskStore(database), FilesSink.open(settings), open_sinks(settings)
    secret = server_secret(settings.secret, settings.folder)
    doors = OperationsDoors.over(
        database,
        store=store,
        signal=signal,
        files=files,
        sinks=sinks,
        references=open_references(settings, database, sinks),
        upload=open_upload(settings, database),
        secret=secret,
        max_queued=settings.max_queued,
        request_bytes=settings.request_bytes,
        costs=settings.cost_table,
        draws=Replicas(_kinds).are_up,
        rules=Rules.open(settings),
    )
    try:
        yield Parts(
            operations=Operations(doors, wait_s=settings.sync_wait_s),
            keys=await open_keys(settings, doors.directory),
            files=files,
            kept=doors.kept,
            store=store,
            base_url=settings.base_url,
        )
    finally:
        await signal.close()
        await database.close()
        await asyncio.to_thread(flush_spans)


def _kinds() -> list[Kind] | None:
    """Ask Serve how the deployments of this application do that draw; None while its controller is away."""
    name = serve.get_replica_context().app_name
    with suppress(RayError):  # Serve starts its controller anew
        found = serve.status().applications.get(name)
        deployments = found.deployments if found else {}
        return [_kind(deployments[each]) for each in deployments.keys() - {HTTP_SIDE, HOUSEKEEPER}]
    return None


def _kind(found: DeploymentStatusOverview) -> Kind:
    # Words of Serve's: plain ones at run time, members of an enumeration by their type.
    replicas = {str.__str__(each): count for each, count in found.replica_states.items()}
    return Kind(status=str.__str__(found.status), replicas=replicas)


async def open_keys(settings: Settings, directory: TenantDirectory) -> KeyRing:
    """Open the key ring, and make sure that the tenants whose keys the settings name are there."""
    configured = configured_keys(settings.bootstrap_keys, settings.folder)
    await directory.ensure_all(configured)
    return KeyRing(configured, directory=directory, secret=server_secret(settings.secret, settings.folder))


def open_references(settings: Settings, database: Database, sinks: Mapping[str, Sink]) -> References:
    """Open what brings references, our own pictures and what is on the web."""
    web = ReferenceFetcher(open_client(settings, database))
    return References(FilesSink.open(settings), web, sinks=sinks)


def open_client(settings: Settings, database: Database) -> GuardedClient:
    """Open what calls the addresses that tenants give."""
    return GuardedClient(Rules.open(settings), openings_of=TenantDirectory(database).openings_of)


def open_upload(settings: Settings, database: Database) -> SealedUpload:
    """Open what sends pictures to where their tenants want them."""
    return SealedUpload(open_client(settings, database), Seal(server_secret(settings.secret, settings.folder)))


def _open_checker(settings: Settings) -> Checker:
    read = ReadWeights()
    checker = Checker.open(settings, read=read.note)
    read.warn(settings.safety_model)
    return checker


async def run_replica(
    engine: Engine, limits: Limits, settings: Settings, stopping: asyncio.Event, *, check: Check
) -> None:
    """Open what a replica works through, and run it until told to stop."""
    database = await open_database(settings.store_url)
    store = TaskStore(database)
    signal = open_signal(settings.store_url)
    decoders, sinks = DecoderPool(), open_sinks(settings)
    doors = Doors(
        store=store,
        signal=signal,
        fetcher=open_references(settings, database, sinks),
        decode=decoders.decode,
        sinks=sinks,
        upload=open_upload(settings, database),
        check=check,
        discloses=settings.disclose_ai,
    )
    name = serve.get_replica_context().replica_tag
    started_s = psutil.Process(os.getppid()).create_time()  # Ray's own process of this node
    try:
        async with decoders, Node.of(settings.folder).staying(stopping, since_s=started_s) as ending:
            _show_up(engine, 1)
            await Replica(name, engine=engine, doors=doors, limits=limits).run(ending)
        _show_up(engine, 0)
        await stopping.wait()  # where the node goes: an end would only have Serve start another one here
    finally:
        _show_up(engine, 0)
        await signal.close()
        await database.close()
        await asyncio.to_thread(flush_spans)


def _show_up(engine: Engine, replicas: int) -> None:
    for model in engine.models:
        REPLICA_UP.set(replicas, model=model)


async def run_housekeeper(settings: Settings, staffing: Staffing, stopping: asyncio.Event) -> None:
    """Open what the housekeeper tidies, counts and sends webhooks through, and run it all until told to stop."""
    database = await open_database(settings.store_url)
    signal = open_signal(settings.store_url)
    sinks = open_sinks(settings)
    housekeeper = Housekeeper(
        store=TaskStore(database),
        files=FilesSink.open(settings),
        space=KeptSpace(database),
        eraser=Eraser(ContentStore(database), sinks, keep_s=settings.output_ttl_s),
        keep_s=max(settings.task_ttl_s, settings.output_ttl_s),
    )
    sender = WebhookSender(
        outbox=Outbox(database),
        signal=signal,
        client=open_client(settings, database),
        scribe=open_scribe(settings, sinks),
    )
    gauging = Gauging(database, models=CATALOG, max_queued=settings.max_queued)
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(housekeeper.run(stopping))
            group.create_task(sender.run(stopping))
            group.create_task(gauging.run(stopping))
            group.create_task(staffing.run(stopping))
    finally:
        await signal.close()
        await database.close()
        await asyncio.to_thread(flush_spans)


def targets_of_serve() -> Targets:
    """Return what asks Ray Serve how many replicas there are to be in the application that this process is part of.

    The controller is found now, while Ray's head lives: it has just started this process. Looking for it while the head
    is away would end the process. A question that is not answered waits for the head, and no other is asked meanwhile.
    """
    controller = _get_global_client()._controller  # noqa: SLF001 -- `serve.status()` leaves the number out
    name = serve.get_replica_context().app_name

    async def ask() -> Mapping[str, int]:
        details = await controller.get_serve_instance_details.remote()
        deployments = details["applications"][name]["deployments"]
        return {each: told["target_num_replicas"] for each, told in deployments.items()}

    return ask


def open_scribe(settings: Settings, sinks: Mapping[str, Sink]) -> Scribe:
    """Open what webhooks are written and signed with."""
    signer = WebhookSigner(server_secret(settings.secret, settings.folder))
    return Scribe(dialects=_dialects(settings), sinks=sinks, signer=signer)
