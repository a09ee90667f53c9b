"""Where things are and with which secrets: the ``UXO_*`` environment, read and checked once per process."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import unquote, urlsplit

from pydantic import AfterValidator, Field, HttpUrl, StringConstraints, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from deployments.errors import UxoError
from deployments.setting_forms import (
    check_aliases,
    check_costs,
    check_hosts,
    check_labels,
    check_networks,
    check_origins,
    check_ports,
    check_sizes,
    entries_of,
    pairs_of,
    sizes_of,
)
from models.catalog import Size
from models.cost import USUAL_TABLE, CostTable, find_costs
from models.options import Attention, Precision, SpeedOptions, TextDevice
from models.sharing import Mode

#: Variables whose values are not repeated in messages: a database URL may hold a password.
HOLD_SECRETS = frozenset({"UXO_DATABASE_URL", "UXO_BOOTSTRAP_KEYS", "UXO_SECRET"})
#: Variables that begin as settings do and are none: a caller's key, what tests need, and what Kubernetes says of
#: Services whose names begin so.
NO_SETTINGS = re.compile(r"UXO_KEY|UXO_TEST_\w+|UXO_\w+_(SERVICE_HOST|SERVICE_PORT\w*|PORT(_\d+_\w+)?)")


class SettingsInvalid(UxoError):
    """An environment variable has a value that cannot be used."""


class Settings(BaseSettings):
    """Every setting; with nothing set, one machine serves the tiny models under ``var/``."""

    model_config = SettingsConfigDict(env_prefix="UXO_", env_ignore_empty=True, frozen=True, extra="ignore")

    #: SQLAlchemy URL of the task store; ``sqlite:///<UXO_FOLDER>/uxo.db`` when empty.
    database_url: Annotated[str, StringConstraints(pattern=r"^((sqlite(\+\w+)?:///|postgresql\+asyncpg://).+)?$")] = ""
    #: Start of every absolute link; empty means: as the caller addressed us.
    public_url: HttpUrl | None = None
    #: Address that ``uxo run`` listens on.
    host: str = "127.0.0.1"
    #: Port that ``uxo run`` listens on.
    port: Annotated[int, Field(ge=1, le=65535)] = 8000
    #: Which weights: ``tiny`` for small random ones, a folder of released ones, or a hub id that is in the cache.
    weights: Annotated[str, StringConstraints(min_length=1)] = "tiny"
    #: A torch device name.
    device: Annotated[str, StringConstraints(min_length=1)] = "cpu"
    #: Whether a picture's bytes may depend on its neighbours (``throughput``) or never do (``exact``).
    engine_mode: Mode = Mode.EXACT
    #: How many pictures share a call of the transformer at most; None means 4, and 1 for ``exact`` on a CPU.
    max_group: Annotated[int | None, Field(ge=1, le=16)] = None
    #: GB of a device's memory that one request may take at most, beside the weights; None sets no bound.
    request_gb: Annotated[float | None, Field(gt=0)] = None
    #: What steps take on the devices: the name of a cost table that comes with this, a file ``*.json``, or a table's
    #: own JSON; ingresses and replicas need the same.
    costs: Annotated[str, AfterValidator(check_costs)] = USUAL_TABLE
    #: What computes attention; ``auto`` leaves it to torch.
    attention: Attention = "auto"
    #: What the weights of the transformer's blocks are kept in; ``fp8`` is faster where the GPU has it, and lossy.
    precision: Precision = "bf16"
    #: Whether the blocks are compiled, for ``throughput`` alone; what was compiled is kept under ``UXO_FOLDER``.
    compile_blocks: bool = False
    #: ``1024x1024,768x1024``: sizes that every replica steps once before it is ready.
    warm_sizes: Annotated[str, AfterValidator(check_sizes)] = ""
    #: Where T5 lies and computes: on the same device as the rest, or on the CPU.
    text_device: TextDevice = "same"
    #: ``name=model,name=model``: further names under which callers of Runware's dialect may ask for a model.
    model_aliases: Annotated[str, AfterValidator(check_aliases)] = ""
    #: ``host=role,host=role``: host names under which fal's ``run``, ``queue``, ``rest`` or ``cdn`` stands at the root.
    fal_hosts: Annotated[str, AfterValidator(check_hosts)] = ""
    #: Where the embedded database, the pictures and the demo key live.
    folder: Path = Path("var")
    #: Whether references, webhooks and uploads may reach loopback and private addresses; for development and tests.
    allow_private_networks: bool = False
    #: Whether a Ray that asks nobody for a token will do, as on a machine of one's own; ``uxo run`` says so by itself.
    allow_open_ray: bool = False
    #: ``10.42.0.0/16,10.43.0.0/16``: ranges that they never reach, such as those of the cluster itself.
    denied_networks: Annotated[str, AfterValidator(check_networks)] = ""
    #: TCP ports that they reach, separated by commas.
    outbound_ports: Annotated[str, AfterValidator(check_ports)] = "80,443,8443"
    #: ``tenant:key,tenant:key``; empty means a demo tenant with its key under ``UXO_FOLDER``, ``none`` nobody.
    bootstrap_keys: str = ""
    #: What API keys are hashed with, at least 32 characters, the same for every process; empty means: one made at
    #: random and kept under ``UXO_FOLDER``.
    secret: str = ""
    #: Tasks that may wait, over all tenants; beyond it calls are refused with 429.
    max_queued: Annotated[int, Field(ge=1)] = 100_000
    #: Whether the files of pictures say that a model has drawn them, in the words of the IPTC, alike in all of them.
    disclose_ai: bool = False
    #: What looks at finished pictures: a folder that holds an image classifier of transformers, or a hub id that is in
    #: the cache, as ``owner/name`` or ``owner/name@revision``; nothing looks at them when empty.
    safety_model: str = ""
    #: ``nsfw,porn``: the classes of that classifier that should not be shown.
    safety_labels: Annotated[str, AfterValidator(check_labels)] = "nsfw"
    #: From which probability of those classes on a picture is flagged.
    safety_threshold: Annotated[float, Field(gt=0, le=1)] = 0.5
    #: Whether callers have a say, each as its dialect has it, or every picture is looked at, and black when flagged.
    safety_rule: Literal["dialect", "always"] = "dialect"
    #: Whether a picture that could not be looked at is made black (``closed``), or leaves as it is (``open``).
    safety_failure: Literal["closed", "open"] = "closed"
    #: How long a finished picture can be fetched, and what its caller sent is kept, in seconds.
    output_ttl_s: Annotated[float, Field(gt=0)] = 7 * 24 * 3600.0
    #: How long an ended task can be read, without its pictures in the end, in seconds; no shorter than they live.
    task_ttl_s: Annotated[float, Field(gt=0)] = 30 * 24 * 3600.0
    #: Name of the S3 bucket for finished pictures; empty means that they are kept in ``folder``.
    bucket: Annotated[str, StringConstraints(pattern=r"^([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])?$")] = ""
    #: How the keys of the bucket begin: folders that end in ``/``.
    bucket_prefix: Annotated[str, StringConstraints(pattern=r"^([A-Za-z0-9_-][A-Za-z0-9._-]*/)*$")] = ""
    #: Where S3 is spoken; empty means Amazon's own.
    s3_endpoint: HttpUrl | None = None
    #: The region that calls are signed for; empty means boto3's own choice.
    s3_region: Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]*$")] = ""
    #: Whether the bucket's name stands in the path or the host of its addresses; ``auto`` leaves it to boto3.
    s3_addressing: Literal["auto", "path", "virtual"] = "auto"
    #: Steps of a picture between two previews of it for those who follow its task; 0 makes none.
    preview_every: Annotated[int, Field(ge=0, le=50)] = 0
    #: How long a synchronous call is held before it is told to poll, in seconds.
    sync_wait_s: Annotated[float, Field(gt=0)] = 300.0
    #: How long a claim lasts without a sign of life, in seconds.
    lease_s: Annotated[float, Field(gt=0)] = 20.0
    #: ``https://shop.example,https://admin.example``: origins of the sites whose pages may ask from a browser; ``*``
    #: means any; none may when empty.
    cors_origins: Annotated[str, AfterValidator(check_origins)] = ""
    #: TCP port at which the processes of this machine answer ``/metrics``; 0 means none.
    metrics_port: Annotated[int, Field(ge=0, le=65535)] = 9464
    #: Address at which they do.
    metrics_host: Annotated[str, StringConstraints(min_length=1)] = "127.0.0.1"
    #: Of the least important events that are logged.
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    #: Whether fields that hold prompts are logged.
    log_prompts: bool = False

    @property
    def pictures_per_call(self) -> int:
        """Return how many pictures share a call of the transformer at most."""
        if self.max_group is not None:
            return self.max_group
        # On a CPU sharing gains next to nothing, and rehearsing it would keep a laptop waiting at every start.
        return 1 if self.engine_mode is Mode.EXACT and self.device.startswith("cpu") else 4

    @property
    def request_bytes(self) -> int | None:
        """Return the bytes of a device that one request may take; None sets no bound."""
        return None if self.request_gb is None else int(self.request_gb * 1e9)

    @property
    def cost_table(self) -> CostTable:
        """Return what steps take on the devices."""
        return find_costs(self.costs)

    @property
    def sizes_to_warm(self) -> tuple[Size, ...]:
        """Return the sizes that are stepped before a replica is ready."""
        return sizes_of(self.warm_sizes)

    @property
    def own_costs(self) -> CostTable | None:
        """Return what the operator says that steps take; None for what comes with this."""
        return None if self.costs == USUAL_TABLE else self.cost_table

    def check_device(self, free_bytes: int | None) -> None:
        """Hold what one request may take against what the weights have left of a device.

        Args:
            free_bytes: None where nobody counts them.

        Raises:
            SettingsInvalid: when a request that was accepted might find no memory.
        """
        if self.request_bytes is not None and free_bytes is not None and self.request_bytes > free_bytes:
            left = f"{free_bytes / 1e9:.1f} GB of {self.device}"
            raise SettingsInvalid(f"UXO_REQUEST_GB is {self.request_gb:g}, and the weights leave {left}")

    @property
    def aliases(self) -> Mapping[str, str]:
        """Return the catalog names of models by the further names that they have."""
        return dict(pairs_of(self.model_aliases))

    @property
    def hosts_of_fal(self) -> Mapping[str, str]:
        """Return which of fal's hosts each further host name stands for; names in lower case."""
        return {host.lower(): role for host, role in pairs_of(self.fal_hosts)}

    @property
    def networks_denied(self) -> tuple[IPv4Network | IPv6Network, ...]:
        """Return the ranges that no outgoing call reaches."""
        return tuple(map(ip_network, entries_of(self.denied_networks)))

    @property
    def ports_out(self) -> frozenset[int]:
        """Return the ports that outgoing calls reach."""
        return frozenset(int(each) for each in self.outbound_ports.split(","))

    @property
    def origins(self) -> tuple[str, ...]:
        """Return the origins of the sites whose pages may ask."""
        return tuple(entries_of(self.cors_origins))

    @property
    def unsafe_labels(self) -> tuple[str, ...]:
        """Return the classes of pictures that should not be shown."""
        return tuple(entries_of(self.safety_labels))

    @property
    def known_secrets(self) -> tuple[str, ...]:
        """Return the secrets that the environment holds: what keys are hashed with, keys, and a database's password."""
        keys = (entry.strip().partition(":")[2] for entry in self.bootstrap_keys.split(","))
        password = urlsplit(self.database_url).password or ""
        return tuple(filter(None, (self.secret, *keys, password, unquote(password))))

    @property
    def speed(self) -> SpeedOptions:
        """Return what was chosen about speed."""
        return SpeedOptions(
            attention=self.attention,
            precision=self.precision,
            compiles=self.compile_blocks,
            compile_cache=self.folder / "compiled",
            text=self.text_device,
        )

    @property
    def store_url(self) -> str:
        """Return the database to use."""
        return self.database_url or f"sqlite:///{(self.folder / 'uxo.db').resolve()}"

    @property
    def base_url(self) -> str | None:
        """Return the public address without a trailing slash, if one is set."""
        return str(self.public_url).rstrip("/") if self.public_url else None


class _Ray(BaseSettings):
    """What Ray is told by the names that it has for it."""

    model_config = SettingsConfigDict(env_prefix="RAY_", frozen=True)

    #: Who may reach Ray's own ports: ``token`` or ``disabled``. Where a token is found, Ray itself says ``token``.
    auth_mode: str = "disabled"


def check_ray(settings: Settings) -> None:
    """Refuse a Ray that asks nobody for a token: whoever reaches its ports runs code with all that is ours.

    Raises:
        SettingsInvalid: naming the variable and what may stand there.
    """
    mode = _Ray().auth_mode
    if mode.lower() != "token" and not settings.allow_open_ray:
        raise SettingsInvalid(
            f"RAY_AUTH_MODE={mode!r} lets whoever reaches Ray's ports run code here: start Ray with RAY_AUTH_MODE=token"
            " on every node, or set UXO_ALLOW_OPEN_RAY=true where nobody else reaches it"
        )


class _Collector(BaseSettings):
    """Where traces are sent, by the name that every program has for it."""

    model_config = SettingsConfigDict(env_prefix="OTEL_EXPORTER_OTLP_", env_ignore_empty=True, frozen=True)

    #: The collector's address; no traces are made when empty.
    endpoint: HttpUrl | None = None


def has_collector() -> bool:
    """Whether ``OTEL_EXPORTER_OTLP_ENDPOINT`` says where traces are sent.

    Raises:
        SettingsInvalid: when it is no address.
    """
    try:
        return _Collector().endpoint is not None
    except ValidationError as error:
        reason = error.errors(include_url=False)[0]["msg"]
        raise SettingsInvalid(f"OTEL_EXPORTER_OTLP_ENDPOINT cannot be used: {reason}") from None


def check_names(names: Iterable[str]) -> None:
    """Refuse names of variables that begin as settings do and are none: a value that nobody reads is a mistake.

    Raises:
        SettingsInvalid: naming the variable, and the setting that it is nearest to.
    """
    known = [f"UXO_{name.upper()}" for name in Settings.model_fields]
    for name in sorted(map(str.upper, names)):
        if name.startswith("UXO_") and name not in known and not NO_SETTINGS.fullmatch(name):
            near = get_close_matches(name, known, n=1)
            raise SettingsInvalid(f"{name} is no setting; {f'is {near[0]} meant?' if near else 'the README lists all'}")


def read_settings() -> Settings:
    """Read the environment.

    Raises:
        SettingsInvalid: naming the variable and what is wrong with it.
    """
    check_names(os.environ)  # noqa: TID251 -- this is where it is read
    try:
        settings = Settings()
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        variable = f"UXO_{'_'.join(str(part) for part in first['loc'])}".upper()
        shown = "" if variable in HOLD_SECRETS else f"={first['input']!r}"
        # Not chained: pydantic's own error shows every value.
        raise SettingsInvalid(f"{variable}{shown} cannot be used: {first['msg']}") from None
    if settings.compile_blocks and settings.engine_mode is Mode.EXACT:
        raise SettingsInvalid(
            "UXO_COMPILE_BLOCKS=true cannot be used with UXO_ENGINE_MODE='exact': what is compiled for a length"
            " depends on what came before, and with it a picture's last bits; set UXO_ENGINE_MODE=throughput"
        )
    _check_together(settings, "bucket", ("bucket_prefix", "s3_endpoint", "s3_region", "s3_addressing"))
    _check_together(settings, "safety_model", ("safety_labels", "safety_threshold", "safety_rule", "safety_failure"))
    if settings.safety_rule == "always" and settings.preview_every:
        raise SettingsInvalid(
            "UXO_SAFETY_RULE=always and UXO_PREVIEW_EVERY are both set, but nothing looks at previews; leave out one"
        )
    return settings


def _check_together(settings: Settings, needed: str, names: tuple[str, ...]) -> None:
    """Refuse settings that say something of another one that is not set."""
    without = [name for name in names if name in settings.model_fields_set]
    if without and not getattr(settings, needed):
        raise SettingsInvalid(f"UXO_{without[0].upper()} is set, but UXO_{needed.upper()} is not; set both or neither")
