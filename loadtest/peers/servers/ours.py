"""Ours: the real ingress, store, housekeeper and replica; only the pipeline is the fake model.

The service is composed as ``deployments.app`` composes it in the mode throughput, with one replica whose engine runs
``FakePipeline``: strangers share a call where it pays by a cost table of the fake model's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from PIL import Image
from ray import serve
from ray.serve import Application

from deployments.app import MAX_ONGOING_CALLS, HousekeeperDeployment, IngressDeployment, observe_as, run_replica
from deployments.background import Background
from deployments.delivering import no_check
from deployments.replica.limits import Limits
from deployments.settings import read_settings
from loadtest.paced import samples_of
from loadtest.peers.peer import POISON
from loadtest.peers.servers.fake_model import GROUP_S, ITEM_S, MAX_GROUP, run_alike
from models.cost import cost_table
from models.engine import Engine
from models.request import GeneratedImage, GenerationRequest
from models.resident import shared_part
from models.sample import Sample, ShapeKey
from models.sharing import Sharing

#: Tasks that the replica holds at once: a full group of each of the load's three shapes.
CAPACITY = 3 * MAX_GROUP
#: What a call of the fake model takes, whatever its shape.
COSTS = replace(cost_table(), step_ms=GROUP_S * 1e3, row_ms=ITEM_S * 1e3, kilotoken_ms=0.0, megapair_ms=0.0)
#: Seconds in which a deployment ends what it holds.
GRACE_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class FakeSample(Sample):
    """A sample that may be poisoned."""

    #: Whether every step fails that it takes part in.
    is_poisoned: bool


class FakePipeline:
    """The fake model as a pipeline: every picture is one step, which is one call."""

    def prepare(self, request_id: str, request: GenerationRequest, images: Sequence[Image.Image]) -> list[Sample]:
        """Make a sample of the request."""
        shape = ShapeKey(
            model=request.model, target_tokens=request.width * request.height, reference_tokens=len(images), styles=0
        )
        return [
            FakeSample(
                request_id=request_id,
                index=sample.index,
                seed=sample.seed,
                shape=shape,
                num_inference_steps=sample.num_inference_steps,
                is_poisoned=request.prompt == POISON,
            )
            for sample in samples_of(request_id, request, shape=shape)
        ]

    def step(self, group: Sequence[Sample]) -> list[Sample]:
        """Run the call."""
        run_alike(len(group), is_poisoned=any(isinstance(one, FakeSample) and one.is_poisoned for one in group))
        return [replace(sample, steps_done=sample.steps_done + 1) for sample in group]

    def decode(self, samples: Sequence[Sample]) -> list[GeneratedImage]:
        """Paint a small grey picture for each."""
        return [GeneratedImage(seed=sample.seed, image=Image.new("RGB", (16, 16), "grey")) for sample in samples]

    def preview(self, sample: Sample) -> Image.Image | None:
        """Show nothing."""


class FakeReplica:
    """One device."""

    def __init__(self) -> None:
        """Start claiming."""
        settings = read_settings()
        observe_as(settings)
        shared = partial(shared_part, costs=COSTS)
        engine = Engine({"uno": FakePipeline()}, sharing=Sharing(MAX_GROUP), costs=COSTS, shared=shared)
        limits = Limits(capacity=CAPACITY, lease_s=settings.lease_s, drain_s=1.0)
        self._background = Background(
            "replica", lambda stopping: run_replica(engine, limits, settings, stopping, check=no_check)
        )

    def check_health(self) -> None:
        """Let Serve replace this replica when its loops have ended."""
        self._background.check()

    def __del__(self) -> None:
        """Stop."""
        self._background.close(timeout_s=GRACE_S)


def build(_args: dict[str, Any]) -> Application:
    """Compose the application."""
    options = {"ray_actor_options": {"num_cpus": 0}, "graceful_shutdown_timeout_s": GRACE_S}
    replica = serve.deployment(FakeReplica, name="fake", **options).bind()
    housekeeper = serve.deployment(HousekeeperDeployment, name="housekeeper", **options)
    ingress = serve.deployment(IngressDeployment, name="ingress", max_ongoing_requests=MAX_ONGOING_CALLS, **options)
    return ingress.bind(housekeeper.bind(GRACE_S, {"fake": ["uno"]}), replica)
