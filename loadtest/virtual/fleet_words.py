"""What a planned fleet is to be, in words such as ``scaling=backlog,wait=30,cold=60``. Pure."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    model_validator,
)

from deployments.autoscaling import Aim
from loadtest.virtual.lived import Setting
from loadtest.virtual.replica import Habits
from loadtest.virtual.scaling import ByBacklog, ByCalls, Fixed, Scaling
from models.cost import UNIT_TOKENS, CostTable


class UnreadableFleet(ValueError):
    """The words say no fleet; the message says which and why in one line."""


class FleetWords(BaseModel):
    """A fleet as it is asked for."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    #: How many replicas; 0 means that the fewest are looked for.
    replicas: NonNegativeInt = 0
    #: Who says how many there are: nobody, our rule, or Ray Serve's usual policy.
    scaling: Literal["fixed", "backlog", "calls"] = "fixed"
    #: The fields of our rule's ``Aim``: wait and calm in seconds.
    wait: PositiveFloat = 30.0
    calm: PositiveFloat = 300.0
    #: Calls for a replica, with Serve's policy.
    calls: PositiveFloat = 2.0
    #: Bounds of what is scaled; there are as many as ``least`` at the start.
    least: NonNegativeInt = 0
    most: PositiveInt = 2000
    #: Seconds until a new replica can work.
    cold: NonNegativeFloat = 60.0
    #: Tasks that one replica holds.
    capacity: PositiveInt = 4
    #: Seconds that a task needs before the device, and after it.
    fetch: NonNegativeFloat = 0.0
    deliver: NonNegativeFloat = 0.0
    #: How many times as long as by its table a device takes.
    pace: PositiveFloat = 1.0
    #: Seconds of a device that every order takes besides, whatever it asks for.
    once: NonNegativeFloat = 0.0
    #: A file of ``loadtest.plan_check`` whose pace and seconds, of a device and beside it, hold where none is said.
    like: str = ""
    #: Pictures of one request that share a call of the transformer, at most; ``UXO_MAX_GROUP`` where they do.
    group: Annotated[int, Field(ge=1, le=16)] = 1
    #: How often callers look for their pictures, in seconds; 0 means that they are told.
    poll: NonNegativeFloat = 0.0
    #: Nodes lost per hour, and replicas of each.
    losses: NonNegativeFloat = 0.0
    node: PositiveInt = 8
    #: How many times as fast requests come.
    growth: PositiveFloat = 1.0
    #: From which losses are drawn.
    seed: int = 7

    @model_validator(mode="after")
    def _say_one_fleet(self) -> Self:
        if self.least > self.most:
            raise ValueError(f"least={self.least} is more than most={self.most}")
        if self.replicas and self.scaling != "fixed":
            raise ValueError(
                f"replicas={self.replicas} says how many, and scaling={self.scaling} that they change; say one of them"
            )
        return self

    def setting(self) -> Setting:
        """Return what the fleet is made of."""
        is_fixed = self.scaling == "fixed"
        habits = Habits(capacity=self.capacity, fetch_s=self.fetch, deliver_s=self.deliver)
        return Setting(
            habits=habits,
            warm=self.replicas if is_fixed else self.least,
            least=0 if is_fixed else self.least,
            most=max(self.most, self.replicas),
            cold_s=self.cold,
            per_node=self.node,
            losses_per_h=self.losses,
            seed=self.seed,
        )

    def rule(self, costs: CostTable) -> Scaling:
        """Return who says how many replicas there are to be."""
        if self.scaling == "calls":
            return ByCalls(target_calls=self.calls)
        if self.scaling == "backlog":
            # Until it has measured, the rule believes what the operator knows: how fast the device is by its table.
            units_per_s = 1e3 / costs.step(UNIT_TOKENS)
            return ByBacklog(aim=Aim(wait_s=self.wait, calm_s=self.calm, units_per_s=units_per_s))
        return Fixed(replicas=self.replicas)


def parse_fleet(text: str) -> FleetWords:
    """Read words that are set apart by commas.

    Raises:
        UnreadableFleet: when one is unknown, comes without a value or twice, or has a wrong one.
    """
    parts = [part.strip().partition("=") for part in text.split(",") if part.strip()]
    said = [(name.strip(), value.strip()) for name, _, value in parts]
    if twice := [name for name, times in Counter(name for name, _ in said).items() if times > 1]:
        raise UnreadableFleet(f"{text!r} says no fleet: said twice: {', '.join(twice)}")
    try:
        return FleetWords.model_validate(dict(said))
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, each['loc'])) or 'together'}: {each['msg']}" for each in error.errors())
        known = ", ".join(FleetWords.model_fields)
        raise UnreadableFleet(f"{text!r} says no fleet: {wrong} (words: {known})") from error
