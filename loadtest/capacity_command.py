"""``python -m loadtest find-capacity``: the highest rate of a profile at which a server meets its goals."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from loadtest.exits import STOPPED, UNUSABLE

if TYPE_CHECKING:
    from loadtest.openloop.profile import Profile
    from loadtest.openloop.slo import Goal


console = Console(highlight=False, soft_wrap=True)


def find_capacity(
    profile: Annotated[str, typer.Argument(help="A profile: one of ours by name, or a YAML file.")],
    *,
    key: Annotated[str, typer.Option("--key", "--tenants", help="Keys of tenants, with commas between.")],
    slo: Annotated[str, typer.Option(help="What has to be met.")] = "p95=20s,errors=0.1%",
    target: Annotated[str, typer.Option(help="Start of every address.")] = "http://127.0.0.1:8000",
    start: Annotated[float, typer.Option(min=0.01, help="A guess, in orders per second.")] = 1.0,
) -> None:
    """Search the highest rate at which a server meets the goals; each rate takes as long as the profile says."""
    console.print(f"{profile} against {target}: looking for the highest rate with {slo}")
    sys.exit(_searched(profile, target=target, keys=key.split(","), slo=slo, start=start))


def _searched(name: str, *, target: str, keys: Sequence[str], slo: str, start: float) -> int:
    from loadtest.openloop.capacity import highest_rate  # noqa: PLC0415 -- brings the HTTP client
    from loadtest.openloop.profile import UnreadableProfile, read_profile  # noqa: PLC0415 -- as above
    from loadtest.openloop.run import UnusableTarget  # noqa: PLC0415 -- as above
    from loadtest.openloop.slo import UnreadableSlo, parse_slo  # noqa: PLC0415 -- as above

    try:
        profile, goals = read_profile(name), parse_slo(slo)

        async def carries(rate: float, number: int) -> bool:
            return await _carries(profile, goals, rate, number, target=target, keys=keys)

        found = asyncio.run(highest_rate(carries, start=start))
    except (UnreadableProfile, UnreadableSlo, UnusableTarget) as error:
        console.print(str(error), markup=False)
        return UNUSABLE
    except KeyboardInterrupt:
        console.print("stopped before an end was found")
        return STOPPED
    console.print(f"carried {found.carried:.3f} orders a second, missed at {found.missed:.3f}")
    return 0 if found.carried else 1


async def _carries(
    profile: Profile, goals: Sequence[Goal], rate: float, number: int, *, target: str, keys: Sequence[str]
) -> bool:
    from loadtest.openloop.run import perform  # noqa: PLC0415 -- as above
    from loadtest.openloop.source import profile_load  # noqa: PLC0415 -- as above

    # What takes twice as long as it may has missed its goal; waiting on would only keep the next rate waiting.
    patience_s = min(profile.patience_s, 2 * max((each.limit for each in goals if each.rank), default=60.0) + 1)
    asked = profile.at_rate(rate).model_copy(update={"seed": profile.seed + number, "patience_s": patience_s})
    load = profile_load(asked, speed=1.0, target=target, keys=keys)
    result = await perform(load, watch=lambda _book: None, clears=True)
    if result.was_stopped:
        raise KeyboardInterrupt
    judged = result.found(goals)["slo"]
    is_carried = bool(result.records) and all(each["is_met"] for each in judged)
    verdict = "; ".join(each["text"] for each in judged)
    console.print(f"  {rate:8.3f} a second, {len(load.orders)} orders: {verdict}", markup=False)
    return is_carried
