"""What may stand in ``serve_config.yaml``: how many of what, and on what. Holds no secret and no address of a store.

Ray Serve's own schema takes fields that it does not know and more replicas at least than at most, and is silent about
both. Here every field has to be one that this service understands, and the file has to agree with itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from deployments.errors import UxoError
from models.catalog import CATALOG

#: Seconds of the grace that are kept for handing back what is unfinished.
HAND_BACK_S = 4.0
#: The deployments that are always there; the others hold models.
HTTP_SIDE, HOUSEKEEPER = "ingress", "housekeeper"

Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0)]


class ServeConfigInvalid(UxoError):
    """The Serve config cannot be used; says which field is wrong, and what may stand there."""


class Part(BaseModel):
    """A mapping in the file, with no other fields than its own."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    #: Fields that Ray Serve knows here, and where this file says the same.
    elsewhere: ClassVar[Mapping[str, str]] = MappingProxyType({})

    @model_validator(mode="before")
    @classmethod
    def _knows_its_fields(cls, values: Any) -> Any:
        unknown = [str(name) for name in values if name not in cls.model_fields] if isinstance(values, dict) else []
        if unknown:
            instead = [cls.elsewhere[name] for name in unknown if name in cls.elsewhere]
            there_are = f"{', '.join(instead)} says that" if instead else f"there are {', '.join(cls.model_fields)}"
            raise ValueError(f"there is no field {', '.join(unknown)}; {there_are}")
        return values


class Arguments(Part):
    """The ``args`` of the application."""

    #: Which models each replica deployment holds, by the deployment's name.
    replicas: dict[str, Annotated[list[str], Field(min_length=1)]] = {"uno": ["uno"], "uso": ["uso"]}
    #: Tasks a replica holds at once.
    capacity: Annotated[int, Field(ge=1)] = 4
    #: Seconds in which a deployment that is told to stop finishes what it holds, and hands back the rest.
    grace_s: Annotated[float, Field(gt=HAND_BACK_S)] = 10.0

    @model_validator(mode="after")
    def _holds_models_there_are(self) -> Self:
        unknown = {name for models in self.replicas.values() for name in models} - set(CATALOG)
        if unknown:
            raise ValueError(f"there is no model {', '.join(sorted(unknown))}; there are {', '.join(CATALOG)}")
        twice = [name for name, models in self.replicas.items() if len(set(models)) < len(models)]
        if twice:
            raise ValueError(f"{', '.join(twice)} names a model twice")
        taken = {HTTP_SIDE, HOUSEKEEPER} & set(self.replicas)
        if taken:
            raise ValueError(f"{', '.join(sorted(taken))} is another deployment; give these replicas another name")
        return self


class HttpOptions(Part):
    """Where Serve's proxies listen."""

    #: Address; ``uxo run`` puts that of its settings here.
    host: str = "127.0.0.1"
    #: TCP port.
    port: Annotated[int, Field(ge=1, le=65535)] = 8000
    #: Seconds after which a proxy gives a call up; None means never.
    request_timeout_s: Positive | None = None
    #: Seconds for which an idle connection stays open.
    keep_alive_timeout_s: Annotated[int, Field(ge=1)] = 90


class Logging(Part):
    """How Serve's own processes log; ours log as ``UXO_LOG_LEVEL`` says."""

    #: Of the least important records.
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] = "INFO"
    #: One line of text each, or one of JSON.
    encoding: Literal["TEXT", "JSON"] = "TEXT"
    #: Whether every call leaves a line, which names its path.
    enable_access_log: bool = True


class ActorOptions(Part):
    """What each replica reserves."""

    #: Processor cores.
    num_cpus: Share | None = None
    #: GPUs.
    num_gpus: Share | None = None
    #: Bytes.
    memory: Positive | None = None
    #: Ray's custom resources, which say on which nodes a replica may be.
    resources: dict[str, Share] = {}


class Aims(Part):
    """What our policy aims at; ``deployments.autoscaling.Aim`` says what holds without."""

    #: The models whose backlog counts: those that the deployment holds.
    models: Annotated[list[str], Field(min_length=1)]
    #: Seconds that what waits now should take at most.
    wait_s: Positive = 30.0
    #: Seconds for which fewer replicas have to be enough before there are fewer.
    calm_s: Positive = 300.0
    #: Tasks that run and are the work of one replica, however many more it holds.
    capacity: Annotated[int, Field(ge=1)] = 1
    #: Work units that a replica does in a second, until it is measured.
    units_per_s: Positive = 1.0


class Policy(Part):
    """Who says how many replicas there are to be."""

    #: Ours: replicas get no calls, so a policy that counts them would never start one.
    policy_function: Literal["deployments.autoscaling:BacklogPolicy"]
    #: What it aims at.
    policy_kwargs: Aims


class Autoscaling(Part):
    """Between how many replicas a deployment has."""

    #: At least so many.
    min_replicas: Annotated[int, Field(ge=0)]
    #: At most so many.
    max_replicas: Annotated[int, Field(ge=1)]
    #: Serve waits no longer than our policy does, which is up at once and down after its calm time.
    upscale_delay_s: Literal[0]
    #: The same.
    downscale_delay_s: Literal[0]
    #: Who says how many.
    policy: Policy

    @model_validator(mode="after")
    def _least_is_not_most(self) -> Self:
        if self.min_replicas > self.max_replicas:
            raise ValueError(f"min_replicas {self.min_replicas} is more than max_replicas {self.max_replicas}")
        return self


class Deployment(Part):
    """How many replicas a deployment has, and on what; how long each takes to stop is the ``grace_s`` of ``args``."""

    elsewhere = MappingProxyType({"graceful_shutdown_timeout_s": "grace_s of args"})

    #: Whose they are.
    name: str
    #: How many; not beside ``autoscaling_config``.
    num_replicas: Annotated[int, Field(ge=0)] | None = None
    #: Between how many, by what waits; for deployments that hold models.
    autoscaling_config: Autoscaling | None = None
    #: What each of them reserves.
    ray_actor_options: ActorOptions | None = None
    #: At most so many on a node.
    max_replicas_per_node: Annotated[int, Field(ge=1, le=100)] | None = None
    #: Calls in flight in each of them.
    max_ongoing_requests: Annotated[int, Field(ge=1)] | None = None
    #: Seconds between two looks at its health.
    health_check_period_s: Positive | None = None
    #: Seconds after which a look that brought no answer counts as a failed one.
    health_check_timeout_s: Positive | None = None
    #: The part of the replicas that an update stops at once.
    rolling_update_percentage: Annotated[float, Field(gt=0, le=1)] | None = None

    @model_validator(mode="after")
    def _has_one_number(self) -> Self:
        if self.num_replicas is not None and self.autoscaling_config is not None:
            raise ValueError("give num_replicas or autoscaling_config, not both")
        return self


class Application(Part):
    """The one application that this service is."""

    #: What ``serve status`` calls it.
    name: Annotated[str, Field(min_length=1)] = "default"
    #: Our paths begin at the root: the providers' packages know no other place.
    route_prefix: Literal["/"] = "/"
    #: What composes it.
    import_path: Literal["deployments.app:build"]
    #: What composes it, is told.
    args: Arguments = Arguments()
    #: Its deployments; one that is missing here has one replica.
    deployments: list[Deployment] = []

    @property
    def is_updated_in_turns(self) -> bool:
        """Whether it has several ingresses, so that one goes on while another is replaced."""
        return any((each.num_replicas or 1) > 1 for each in self.deployments if each.name == HTTP_SIDE)

    @model_validator(mode="after")
    def _names_its_deployments_once(self) -> Self:
        there_are = [HTTP_SIDE, HOUSEKEEPER, *self.args.replicas]
        names = [each.name for each in self.deployments]
        unknown = [name for name in names if name not in there_are]
        if unknown:
            raise ValueError(f"there is no deployment {', '.join(unknown)}; there are {', '.join(there_are)}")
        if len(set(names)) < len(names):
            raise ValueError("a deployment stands there twice")
        for each in filter(lambda one: one.autoscaling_config, self.deployments):
            self._counts_its_own(each)
        return self

    def _counts_its_own(self, deployment: Deployment) -> None:
        held = self.args.replicas.get(deployment.name, [])
        scaling = deployment.autoscaling_config
        counted = scaling.policy.policy_kwargs.models if scaling else []
        if sorted(counted) != sorted(held):
            holds = f"holds {', '.join(held)}" if held else "holds no models"
            raise ValueError(f"{deployment.name} is to count the work of {', '.join(counted)}, but {holds}")


class ServeConfig(Part):
    """The whole file."""

    #: On which nodes something listens: the head, or every node that has a replica.
    proxy_location: Literal["HeadOnly", "EveryNode", "Disabled"] = "EveryNode"
    #: Where it listens.
    http_options: HttpOptions = HttpOptions()
    #: How Serve's processes log.
    logging_config: Logging = Logging()
    #: What is served; this service is one application.
    applications: Annotated[list[Application], Field(min_length=1, max_length=1)]


def read_serve_config(path: Path) -> dict[str, Any]:
    """Read a Serve config file as it stands.

    Raises:
        ServeConfigInvalid: when it cannot be read, or is no mapping.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        reason = f"cannot read {path} ({error.strerror}); run this where serve_config.yaml lies"
        raise ServeConfigInvalid(reason) from error
    except (ValueError, yaml.YAMLError) as error:
        raise ServeConfigInvalid(no_config(path, str(error))) from error
    if not isinstance(content, dict):
        raise ServeConfigInvalid(no_config(path, "it holds no mapping"))
    return content


def check_serve_config(content: dict[str, Any], path: Path) -> ServeConfig:
    """Return what a Serve config says.

    Args:
        content: as ``read_serve_config`` read it.
        path: where it was read.

    Raises:
        ServeConfigInvalid: naming the first field that is wrong, and what may stand there.
    """
    try:
        return ServeConfig.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        place = "".join(f"{part}." for part in first["loc"]).rstrip(".")
        reason = first["msg"].removeprefix("Value error, ")
        raise ServeConfigInvalid(no_config(path, f"{place}: {reason}" if place else reason)) from None


def no_config(path: Path, reason: str) -> str:
    """Say in one line why a file is no Serve config."""
    return f"{path} is no Serve config: {' '.join(reason.split())}"
