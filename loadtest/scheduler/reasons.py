"""Why a promise was missed, as far as the figures say so; what they do not say is not said. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from loadtest.scheduler.aims import BOUND_AIM, DECISION, OF_BOUND, REACHED_AIM

#: How a trace is named whose estimates are off; without that, it is the same trace with exact ones.
OFF = ", estimates off"

Aims = Sequence[Mapping[str, Any]]


def reasons(facts: Mapping[str, Any]) -> str:
    """Write a sentence for each reason that the figures give."""
    missed = [aim for aim in facts["aims"] if not aim["is_met"]]
    found = [
        *_bound(missed, facts["traces"]),
        *_future(missed),
        *_estimates(missed, facts["aims"]),
        *_chance(missed),
        *_decisions(missed, facts["decisions"]["machine"]),
    ]
    return " ".join(found)


def _bound(missed: Aims, traces: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Say where the bound is so loose that the share of it cannot be had, and where it can."""
    shares = {
        aim["trace"]: traces[aim["trace"]]["reached"] / traces[aim["trace"]]["bound"]
        for aim in missed
        if aim["aim"] == BOUND_AIM
    }
    out = {name: share for name, share in shares.items() if share < OF_BOUND}
    within = {name: share for name, share in shares.items() if share >= OF_BOUND}
    if out:
        yield f"Who knows the future stays below {OF_BOUND:g} of the bound, too, of {_named(out)}."
    if within:
        yield f"Who knows the future reaches {OF_BOUND:g} of the bound of {_named(within)}; ours cannot know it."


def _future(missed: Aims) -> Iterator[str]:
    behind = {aim["trace"]: aim["value"] for aim in missed if aim["aim"] == REACHED_AIM}
    if behind:
        yield f"Ours reaches less than {OF_BOUND:g} of what who knows the future does in {_named(behind)}."


def _estimates(missed: Aims, aims: Aims) -> Iterator[str]:
    """Say what is kept with exact estimates and missed where they are off."""
    met = {(aim["aim"], aim["trace"]) for aim in aims if aim["is_met"]}
    off = [aim for aim in missed if OFF in aim["trace"] and (aim["aim"], aim["trace"].partition(OFF)[0]) in met]
    if off:
        named = "; ".join(f"{aim['aim']} of *{aim['trace'].partition(OFF)[0]}*" for aim in off)
        yield f"Kept with exact estimates, and missed only where they are off: {named}."


def _chance(missed: Aims) -> Iterator[str]:
    """Say which misses are smaller than the standard error of the share."""
    near = [aim for aim in missed if aim["error"] and aim["least"] - aim["value"] <= aim["error"]]
    if near:
        named = "; ".join(f"{aim['aim']} of *{aim['trace']}*" for aim in near)
        yield f"Missed by no more than a standard error: {named}."


def _decisions(missed: Aims, machine: Mapping[str, Any]) -> Iterator[str]:
    if not any(aim["aim"].startswith(DECISION) for aim in missed):
        return
    load, cores = machine["load_average_at_start"], machine["cores"]
    busy = "so other work kept every core busy" if load >= cores else "so it was not for want of a free core"
    yield f"Decisions were timed with a load average of {load:.2f} on {cores} cores, {busy}."


def _named(shares: Mapping[str, float]) -> str:
    return ", ".join(f"*{name}* ({share:.3f})" for name, share in shares.items())
