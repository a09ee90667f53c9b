"""Does the planner foretell what happens? ``python -m loadtest.plan_check``: one load, lived through and thought of.

``paced``: real accept, store, claims, replicas and engines in this process; the device sleeps for as long as the cost
table says. ``live``: a server with one replica, over HTTP. A few orders, first one after the other and then several at
a time, say how fast this machine is alone and in company, which devices on machines of their own would not feel. Then
the load is lived through and planned, and the figures stand side by side.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import isfinite
from pathlib import Path
from statistics import fmean, linear_regression
from typing import Annotated, Any

import typer
from PIL import Image

from deployments.operations.operation import Submit
from deployments.operations.operations import Operations
from loadtest.exits import UNUSABLE
from loadtest.figures import markdown, percentile
from loadtest.findings import write_findings
from loadtest.flood import POLITE, Scene, caller_of, service
from loadtest.machine import commit, machine
from loadtest.openloop.due import orders_of
from loadtest.openloop.order import Order
from loadtest.openloop.profile import Poisson, Profile, Wishes
from loadtest.openloop.run import Load, UnusableTarget, perform
from loadtest.openloop.slo import latencies_of
from loadtest.paced import samples_of
from loadtest.virtual.calibration import Pace, hurried_costs, paced_costs
from loadtest.virtual.fleet import live as virtually
from loadtest.virtual.lived import Lived, Setting
from loadtest.virtual.replica import Habits
from loadtest.virtual.scaling import Fixed
from loadtest.virtual.work import wish_of, works_of
from models.cost import USUAL_TABLE, CostTable, UnreadableCosts, cost_table, find_costs, target_tokens, tokens_of
from models.request import GeneratedImage, GenerationRequest
from models.resident import tokens_of as tokens_of_shape
from models.sample import Sample, ShapeKey

#: The usual mix without references, which would be the decoders' work; and one of a size, for a tiny model's time does
#: not grow with it as a large one's does.
WISHES = Wishes(references={0: 1.0})
LIVE_WISHES = Wishes(sizes={"512x512": 1}, steps={6: 1, 12: 1, 24: 1}, images={1: 1}, references={1: 1})
#: How many orders are asked for alone and in company, to see how fast this machine is.
FEW, FEW_S = 12, 1000.0
#: The same of a server whose device is fast; half of them come two at once.
FEW_LIVE = 24
#: How many of them are asked for before anything is measured: a server that was just started is slow at first.
COLD = 4
#: How far off the plan may be, as a share.
AIM = 0.15
#: Seconds between two looks at a task.
POLL_S = 0.1

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class CostedPipeline:
    """Sleeps for as long as a table says that a device would work."""

    #: How long.
    costs: CostTable

    def prepare(self, request_id: str, request: GenerationRequest, images: Sequence[Image.Image]) -> list[Sample]:
        """Wait as for encoding, and make a sample per picture."""
        tokens, target = tokens_of(request), target_tokens(request)
        shape = ShapeKey(model=request.model, target_tokens=target, reference_tokens=tokens - target - 512, styles=0)
        _sleep(self.costs.text_ms + self.costs.reference_ms * len(images))
        return samples_of(request_id, request, shape=shape)

    def step(self, group: Sequence[Sample]) -> list[Sample]:
        """Wait, and count one step for each."""
        _sleep(self.costs.step(tokens_of_shape(group[0].shape), rows=len(group)))
        return [replace(sample, steps_done=sample.steps_done + 1) for sample in group]

    def decode(self, samples: Sequence[Sample]) -> list[GeneratedImage]:
        """Wait, and paint a small grey picture for each."""
        _sleep(sum(self.costs.decode(sample.shape.target_tokens * 256) for sample in samples))
        return [GeneratedImage(seed=sample.seed, image=Image.new("RGB", (16, 16), "grey")) for sample in samples]

    def preview(self, sample: Sample) -> Image.Image | None:
        """Show nothing."""


@app.command()
def paced(
    *,
    output: Annotated[Path, typer.Option(help="Where the JSON goes.")] = Path("var/bench/plan_paced.json"),
    seconds: Annotated[float, typer.Option(min=1)] = 240.0,
    replicas: Annotated[int, typer.Option(min=1)] = 4,
    load: Annotated[float, typer.Option(min=0.01, help="Share of what the replicas can do.")] = 0.7,
    faster: Annotated[float, typer.Option(min=0.01, help="How much faster than its table the device is.")] = 1.0,
) -> None:
    """Live through a load on replicas of this process whose devices sleep, plan it, and print both."""
    costs = cost_table()
    if faster != 1:  # a pace beside this table says nothing beside the one that it was made of
        costs = replace(hurried_costs(costs, faster), device=f"{costs.device}, {faster:g} times as fast")
    begun = facts_at_start(costs, command_of(sys.argv[1:]))
    orders = drawn(costs, seconds=seconds, rate=replicas * load, wishes=WISHES)
    few = drawn(costs, seconds=FEW_S, rate=1.0, wishes=WISHES)[:FEW]
    with tempfile.TemporaryDirectory(dir=".") as folder:
        url = f"sqlite:///{Path(folder).resolve() / 'uxo.db'}"
        alone, together, real = asyncio.run(lived_through(few, orders, costs, url=url, replicas=replicas))
    device_s = [device_s_of(order, costs) for order in few]
    pace = pace_of(device_s, alone)
    # As many at a time as there are replicas, so that none waits for another.
    pace = pace.in_company(sum(device_s), sum(together) - FEW * pace.beside_s, load=load)
    write_both(output, begun, found=compared(real, orders=orders, costs=costs, pace=pace, replicas=replicas))


@app.command()
def live(
    *,
    key: Annotated[str, typer.Option(envvar="WAVESPEED_API_KEY", help="Key of a tenant.")],
    target: Annotated[str, typer.Option(help="Start of every address.")] = "http://127.0.0.1:8000",
    output: Annotated[Path, typer.Option(help="Where the JSON goes.")] = Path("var/bench/plan_live.json"),
    seconds: Annotated[float, typer.Option(min=1)] = 120.0,
    load: Annotated[float, typer.Option(min=0.01, help="Share of what its one replica can do.")] = 0.6,
    costs: Annotated[str, typer.Option(help="The cost table of its device, by name or a JSON file.")] = USUAL_TABLE,
) -> None:
    """Put a load on a server with one replica, plan it, and print both; ``loadtest.plan`` believes the pace."""
    try:
        table = find_costs(costs)
        begun = facts_at_start(table, command_of(sys.argv[1:], key=key))
        found = _asked_and_planned(table, target=target, key=key, seconds=seconds, load=load)
    except (UnreadableCosts, UnusableTarget) as error:
        sys.stdout.write(f"{error}\n")
        sys.exit(UNUSABLE)
    write_both(output, begun, found=found)


def _asked_and_planned(costs: CostTable, *, target: str, key: str, seconds: float, load: float) -> Mapping[str, Any]:
    few = [replace(order, at_s=0.0) for order in drawn(costs, seconds=FEW_S, rate=1.0, wishes=LIVE_WISHES)[:FEW_LIVE]]
    device_s = [device_s_of(order, costs) for order in few]
    for order in few[:COLD]:
        _answered([order], target=target, key=key)
    alone_s = [_answered([order], target=target, key=key).latencies_s[0] for order in few]
    spans_s = [_answered(pair, target=target, key=key).span_s for pair in zip(*[iter(few)] * 2, strict=True)]
    pace = pace_of_pairs(device_s, alone_s, spans_s)
    here = paced_costs(costs, slower=pace.slower, once_s=pace.once_s)
    orders = drawn(here, seconds=seconds, rate=load, wishes=LIVE_WISHES)
    real = _answered(orders, target=target, key=key)
    return compared(real, orders=orders, costs=costs, pace=pace, replicas=1)


def device_s_of(order: Order, costs: CostTable) -> float:
    """Return the seconds of a device that an order needs by the table."""
    [work] = works_of([order], costs)
    return work.device_s


def pace_of(device_s: Sequence[float], latencies_s: Sequence[float]) -> Pace:
    """Fit a line through what orders took that were alone; where it falls with the work, chance alone drew it."""
    slower, beside_s = linear_regression(device_s, latencies_s)
    if slower <= 0:
        return Pace(slower=sum(latencies_s) / sum(device_s), beside_s=0.0)
    return Pace(slower=slower, beside_s=max(beside_s, 0.0))


def pace_of_pairs(device_s: Sequence[float], alone_s: Sequence[float], spans_s: Sequence[float]) -> Pace:
    """Tell what occupies the one device of a server from what does not.

        alone          beside + device
        two at once    beside + both devices, since one of them waits for the other

    Args:
        device_s: what some orders need of it by the table, two and two.
        alone_s: what each took alone.
        spans_s: what each two took that came at once, until both had ended.
    """
    together_s = zip(alone_s[::2], alone_s[1::2], spans_s, strict=True)
    beside_s = max(fmean(first + second - span for first, second, span in together_s), 0.0)
    occupied_s = [latency - beside_s for latency in alone_s]
    if sum(occupied_s) <= 0:  # two at once were done as soon as one alone: nothing of the device is seen by that
        return pace_of(device_s, alone_s)
    slower, once_s = linear_regression(device_s, occupied_s)
    if slower <= 0 or once_s < 0:  # where it falls with the work, or begins below nothing, chance alone drew it
        slower, once_s = sum(occupied_s) / sum(device_s), 0.0
    return Pace(slower=slower, once_s=once_s, beside_s=beside_s)


def command_of(words: Sequence[str], *, key: str = "") -> str:
    """Write down how it was asked for, without the key of a tenant."""
    return " ".join(["python -m loadtest.plan_check", *(word.replace(key or "KEY", "KEY") for word in words)])


def facts_at_start(costs: CostTable, command: str) -> Mapping[str, Any]:
    """Say what is about to be measured on what; asked for first, for a load that is lived through loads the machine.

    Args:
        costs: of what is measured.
        command: how it was asked for.
    """
    return {
        "benchmark": "plan_check",
        "commit": commit(),
        "command": command,
        "machine": machine(),
        "costs": costs.device,
    }


def compared(
    real: Measured, *, orders: Sequence[Order], costs: CostTable, pace: Pace, replicas: int
) -> Mapping[str, Any]:
    """Plan what was lived through; return the figures of both, what one is of the other, and the pace."""
    habits = Habits(capacity=4, deliver_s=pace.deliver_s)
    works = works_of(orders, paced_costs(costs, slower=pace.slower, once_s=pace.once_s))
    lived = virtually(works, Setting(warm=replicas, habits=habits), Fixed(replicas=replicas))
    seen, thought = figures_of(real), figures_of(planned(lived))
    ratios = {name: thought[name] / value for name, value in seen.items()}
    both = {"lived_through": seen, "planned": thought, "planned_per_lived": ratios}
    return {"pace": asdict(pace), **both, "off_by_more": far_off(ratios, share=AIM)}


def far_off(ratios: Mapping[str, float], *, share: float) -> list[str]:
    """Return the figures that were foretold worse than a share allows, e.g. 0.15: 1.15 times as much, or as little."""
    return [name for name, ratio in ratios.items() if not 1 / (1 + share) <= ratio <= 1 + share]


def write_both(output: Path, facts: Mapping[str, Any], *, found: Mapping[str, Any]) -> None:
    """Write and print what was lived through and what is planned."""
    write_findings(output, {**facts, **found})
    missed = ", ".join(found["off_by_more"]) or "none"
    sys.stdout.write(f"{Pace(**found['pace'])}\n{markdown(rows_of(found))}\noff by more than {AIM:.0%}: {missed}\n")


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What came of a load."""

    #: Seconds from the due time to the end of every order.
    latencies_s: Sequence[float]
    #: Seconds until the last one ended.
    span_s: float


def drawn(costs: CostTable, *, seconds: float, rate: float, wishes: Wishes) -> list[Order]:
    """Draw orders that keep ``rate`` devices busy."""
    some = Profile(seconds=1000, arrivals=Poisson(kind="poisson", rate=1.0), tenants=len(POLITE), wishes=wishes)
    works = works_of(orders_of(some), costs)
    mean_s = sum(work.device_s for work in works) / len(works)
    asked = some.model_copy(update={"seconds": seconds, "arrivals": Poisson(kind="poisson", rate=rate / mean_s)})
    return orders_of(asked)


async def lived_through(
    few: Sequence[Order], orders: Sequence[Order], costs: CostTable, *, url: str, replicas: int
) -> tuple[Sequence[float], Sequence[float], Measured]:
    """Submit a few orders alone, the same in company, and every order when it is due, to real replicas; devices sleep.

    Returns:
        The seconds that the few took alone; those in company, as many at a time as there are replicas; and the rest.
    """
    scene = Scene(replicas=replicas, capacity=4, task_s=1.0, polite_load=0, flood_load=0, seconds=0)
    few = [replace(order, at_s=0.0) for order in few]
    async with service(url, scene, pipeline=CostedPipeline(costs=costs)) as (operations, _):
        alone = [latency for order in few for latency in await _all(operations, [order])]
        together = [
            latency
            for first in range(0, len(few), replicas)
            for latency in await _all(operations, few[first : first + replicas])
        ]
        started = time.monotonic()
        latencies = await _all(operations, orders)
        span_s = time.monotonic() - started
    return alone, together, Measured(latencies_s=latencies, span_s=span_s)


async def _all(operations: Operations, orders: Sequence[Order]) -> list[float]:
    """Submit every order when it is due; return the seconds from then to their ends."""
    started, latencies = time.monotonic(), list[float]()
    async with asyncio.TaskGroup() as asked:
        for order in orders:
            await asyncio.sleep(max(started + order.at_s - time.monotonic(), 0))
            asked.create_task(_one(operations, order, started=started, latencies=latencies))
    return latencies


def _answered(orders: Sequence[Order], *, target: str, key: str) -> Measured:
    load = Load(orders=orders, target=target, keys=[key], poll_s=POLL_S, patience_s=600.0)
    records = asyncio.run(perform(load, watch=lambda _book: None)).records
    latencies = latencies_of(records)
    if len(latencies) < len(orders) or not all(map(isfinite, latencies)):
        well = sum(map(isfinite, latencies))
        raise UnusableTarget(f"{target}: {well} of {len(orders)} orders ended well, so there is nothing to compare")
    return Measured(latencies_s=latencies, span_s=max(record.ended_s or 0.0 for record in records))


async def _one(operations: Operations, order: Order, *, started: float, latencies: list[float]) -> None:
    caller = caller_of(POLITE[int(order.tenant.rpartition("-")[2]) - 1])
    submit = Submit(request=wish_of(order), dialect="wavespeed", sinks=("inline",))
    await operations.wait(await operations.submit(submit, caller), caller)
    latencies.append(time.monotonic() - started - order.at_s)


def planned(lived: Lived) -> Measured:
    """Return what a virtual fleet did, as it would have been measured."""
    return Measured(
        latencies_s=[(fate.ended_s or 0.0) - fate.work.at_s for fate in lived.fates],
        span_s=lived.span_s,
    )


def figures_of(measured: Measured) -> dict[str, float]:
    """Sum up."""
    return {
        "orders": len(measured.latencies_s),
        "latency_mean_s": sum(measured.latencies_s) / len(measured.latencies_s),
        "latency_p50_s": percentile(measured.latencies_s, 0.5),
        "latency_p95_s": percentile(measured.latencies_s, 0.95),
        "per_s": len(measured.latencies_s) / measured.span_s,
    }


def rows_of(found: Mapping[str, Any]) -> list[list[str]]:
    """Write both beside each other."""
    columns = [found[name] for name in ("lived_through", "planned", "planned_per_lived")]
    lines = [[name, *(f"{column[name]:.3f}" for column in columns)] for name in columns[0]]
    return [["figure", "lived through", "planned", "planned / lived"], *lines]


def _sleep(milliseconds: float) -> None:
    time.sleep(milliseconds / 1e3)


if __name__ == "__main__":
    app()
