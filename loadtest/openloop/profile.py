"""A profile: what a load is made of, as a YAML file says it. Unknown keys are refused; knows no server.

seconds: 60                          arrivals: {kind: poisson, rate: 5}
tenants: 3                           noisy: {rate: 50, from_s: 20, for_s: 10}
dialects: {wavespeed: 3, fal: 1}     cancels: {share: 0.1, within_s: 2}
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    model_validator,
)

from loadtest.openloop.motif import REPEATS
from loadtest.scheduler.arrivals import PICTURES, REFERENCES, SIZES, STEPS

#: Where profiles lie that are asked for by name.
PROFILES = Path(__file__).parents[1] / "profiles"
#: Orders of one load. Each takes some hundred bytes until the report is written, so more would fill a usual memory.
MOST_ORDERS = 2_000_000
#: Tenants of one load; each has a line of its own in the report.
MOST_TENANTS = 100_000

Share = Annotated[float, Field(ge=0, le=1)]
#: How often one thing is drawn beside others; the sum of a few has to be a number, too.
Weight = Annotated[float, Field(gt=0, le=1e9)]
DialectName = Literal["wavespeed", "fal", "runware"]


class UnreadableProfile(ValueError):
    """The file is no profile; the message says where and why in one line."""


class TooManyOrders(UnreadableProfile):
    """A profile asks for more orders than are drawn; the message says how many."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Steady(_Strict):
    """Arrivals at even distances."""

    kind: Literal["steady"]
    #: Per second.
    rate: PositiveFloat


class Poisson(_Strict):
    """Arrivals that know nothing of one another, as those of many callers within an hour."""

    kind: Literal["poisson"]
    #: Per second.
    rate: PositiveFloat


class Burst(_Strict):
    """Poisson arrivals that change between a calm rate and a peak; how long each lasts is drawn, too."""

    kind: Literal["burst"]
    #: Per second, while it is calm.
    rate: PositiveFloat
    #: Per second, in a burst.
    peak: PositiveFloat
    #: Mean seconds of calm.
    calm_s: PositiveFloat = 30.0
    #: Mean seconds of a burst.
    peak_s: PositiveFloat = 5.0


class Noisy(_Strict):
    """One tenant more, who floods for a while."""

    #: Per second.
    rate: PositiveFloat
    #: When the flood begins.
    from_s: NonNegativeFloat = 0.0
    #: How long it lasts.
    for_s: PositiveFloat


class Cancels(_Strict):
    """Orders that are taken back."""

    #: How many of all orders.
    share: Share
    #: They are cancelled between 0 and so many seconds after they were accepted.
    within_s: NonNegativeFloat = 2.0


def _shares(choice: tuple[tuple[int, ...], tuple[int, ...]]) -> dict[int, float]:
    return dict(zip(*choice, strict=True))


class Wishes(_Strict):
    """What is asked for, each thing with its weight; where nothing is said, as in the synthetic trace."""

    #: Models of the catalog.
    models: dict[Literal["uno", "uso"], Weight] = {"uno": 1.0}
    #: Width by height, such as ``512x512``.
    sizes: dict[Annotated[str, Field(pattern=r"^[1-9]\d{1,4}x[1-9]\d{1,4}$")], Weight] = {
        f"{width}x{height}": share for (width, height), share in zip(*SIZES, strict=True)
    }
    #: Steps per picture.
    steps: dict[PositiveInt, Weight] = _shares(STEPS)
    #: Pictures of one order.
    images: dict[PositiveInt, Weight] = _shares(PICTURES)
    #: Reference pictures of one order.
    references: dict[Annotated[int, Field(ge=0)], Weight] = _shares(REFERENCES)


def _with_a_port(address: str) -> str:
    if address and not 1 <= int(address.rpartition(":")[2]) <= 65535:
        raise ValueError("ports are 1 to 65535")
    return address


class Profile(_Strict):
    """What a load is made of."""

    #: Seconds in which orders come.
    seconds: PositiveFloat
    #: Seconds at the beginning whose orders are sent and not judged.
    warm_up_s: NonNegativeFloat = 0.0
    #: When they come.
    arrivals: Annotated[Steady | Poisson | Burst, Field(discriminator="kind")]
    #: Everything is drawn from it.
    seed: int = 7
    #: How many tenants ask, each less than the one before.
    tenants: Annotated[int, Field(ge=1, le=MOST_TENANTS)] = 1
    #: One tenant more, who floods.
    noisy: Noisy | None = None
    #: In which dialects, each with its weight.
    dialects: dict[DialectName, Weight] = {"wavespeed": 1.0}
    #: What is asked for.
    wishes: Wishes = Wishes()
    #: How many of all orders show what their tenant's order before, or one not long before, has shown.
    repeats: Share = REPEATS
    #: What is taken back.
    cancels: Cancels | None = None
    #: How many of all orders have to be refused.
    bad_input: Share = 0.0
    #: Where ends are received as webhooks, as the server reaches it; empty means that they are read.
    webhooks_at: Annotated[str, Field(pattern=r"^(http://[^/:]+:\d{1,5})?$"), AfterValidator(_with_a_port)] = ""
    #: Seconds between two reads; None means as each provider's own package does it.
    poll_s: PositiveFloat | None = None
    #: Seconds after its due time at which an order is given up.
    patience_s: PositiveFloat = 120.0

    @model_validator(mode="after")
    def _judge_something(self) -> Self:
        if self.warm_up_s >= self.seconds:
            raise ValueError("warm_up_s has to end before seconds do, or nothing is judged")
        return self

    def at_rate(self, rate: float) -> Profile:
        """Return the same load at another rate; the peak of a burst and the flood of a noisy tenant move with it."""
        factor = rate / self.arrivals.rate
        changes = {"rate": rate}
        if isinstance(self.arrivals, Burst):
            changes["peak"] = self.arrivals.peak * factor
        noisy = self.noisy and self.noisy.model_copy(update={"rate": self.noisy.rate * factor})
        return self.model_copy(update={"arrivals": self.arrivals.model_copy(update=changes), "noisy": noisy})

    def check_count(self) -> None:
        """Refuse a load before it is drawn that would take all memory.

        Raises:
            TooManyOrders: when more than ``MOST_ORDERS`` are to be expected.
        """
        expected = self.seconds * _drawn_per_s(self.arrivals) + (
            self.noisy.rate * self.noisy.for_s if self.noisy else 0
        )
        if expected > MOST_ORDERS:
            raise TooManyOrders(
                f"about {expected:.4g} orders are more than the {MOST_ORDERS:,} of one load; lower its rate or seconds"
            )


def read_profile(name: str) -> Profile:
    """Read a profile from a file, or one of ours by its name.

    Raises:
        UnreadableProfile: when there is none, it is no YAML, or a key is unknown, missing or wrong.
    """
    ours = PROFILES / f"{name}.yaml"
    path = ours if ours.is_file() else Path(name)
    try:
        return Profile.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        raise UnreadableProfile(f"{name}: {_in_one_line(error)}") from error
    except yaml.YAMLError as error:
        raise UnreadableProfile(f"{name}: no YAML: {' '.join(str(error).split())}") from error
    except (OSError, UnicodeDecodeError) as error:
        known = ", ".join(sorted(each.stem for each in PROFILES.glob("*.yaml")))
        raise UnreadableProfile(f"{name}: cannot be read ({error}); ours are {known}") from error


def _drawn_per_s(arrivals: Steady | Poisson | Burst) -> float:
    """Return how many draws a second of the load takes on average; each change between calm and burst is two."""
    if not isinstance(arrivals, Burst):
        return arrivals.rate
    drawn = arrivals.rate * arrivals.calm_s + arrivals.peak * arrivals.peak_s + 2
    return drawn / (arrivals.calm_s + arrivals.peak_s)


def _in_one_line(error: ValidationError) -> str:
    return "; ".join(f"{'.'.join(map(str, each['loc'])) or 'the file'}: {each['msg']}" for each in error.errors())
