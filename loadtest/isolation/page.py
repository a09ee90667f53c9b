"""What was found about isolation, as a page. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from loadtest.figures import markdown

PAGE = """# One bad request harms no other, and none stays in memory

**What.** Groups of four requests through one engine with the real UNO pipeline (small random weights,
{side}x{side}, two steps), {groups} groups in each way of sharing calls. One member of each is bad: its latents are no
numbers, or have a shape that no kernel takes; it comes at once or a step later. Every good one has to end, and in
`exact` mode with the very bytes of a run alone. Where `exact` shares calls it may only do so for what was rehearsed as
equal; here {equal} of this size were. Then {requests} requests of {small_side}x{small_side} through one engine, every
third of them followed by a cancel and every tenth bad, while the process's resident memory is looked at.

**Command.** `{command}`; [isolation.json](isolation.json) is beside this page, which
`python -m loadtest.isolation page` made from it.

**Machine.** {cores} cores of {cpu}, {memory_gib} GiB, Python {python}, torch {torch}, one thread; commit `{commit}`;
the load average was {load_average_at_start} before it began.

{verdict}

## Groups with one bad member

{groups_table}

## Memory

{memory}

{memory_table}
"""


def page(facts: Mapping[str, Any]) -> str:
    """Write the whole page."""
    return PAGE.format(
        **{
            **facts["machine"],
            **facts,
            "equal": _several(facts["equal_together"]),
            "groups": facts["ways"][0]["groups"],
            "verdict": verdict(facts),
            "groups_table": groups_table(facts["ways"]),
            "memory": memory(facts),
            "memory_table": memory_table(facts["looks"]),
        }
    )


def verdict(facts: Mapping[str, Any]) -> str:
    """Say whether every promise was kept."""
    broken = [*(each["way"] for each in facts["ways"] if not is_kept(each)), *(["memory"] * (not facts["is_flat"]))]
    return f"**Broken: {', '.join(broken)}.**" if broken else "Every promise was kept."


def is_kept(way: Mapping[str, Any]) -> bool:
    """Whether all good members ended as they should, and every bad one failed by itself."""
    ended = way["good"] == way["succeeded"] and way["groups"] == way["bad_failed"]
    return bool(ended and (not way["is_exact"] or way["good"] == way["bit_equal"]))


def groups_table(ways: Sequence[Mapping[str, Any]]) -> str:
    """Write a line for each way of sharing calls."""
    heading = [
        "way",
        "groups",
        "good members",
        "succeeded",
        "bit-equal to alone",
        "bad failed alone",
        "samples in a call",
    ]
    return markdown([heading, *(_row(each) for each in ways)])


def _row(way: Mapping[str, Any]) -> list[str]:
    counts = [f"{way[name]:,}" for name in ("groups", "good", "succeeded", "bit_equal", "bad_failed")]
    sizes = ", ".join(f"{size}: {count:,}" for size, count in way["calls_by_samples"].items())
    return [way["way"], *counts, sizes]


def memory(facts: Mapping[str, Any]) -> str:
    """Say by how much memory has grown."""
    return (
        f"From a quarter of the way to the end it grew by {facts['grown_bytes'] / 1e6:+.1f} MB; up to"
        f" {facts['flat_bytes'] / 1e6:.0f} MB, which libraries' own pools may take, count as flat."
    )


def memory_table(looks: Sequence[Mapping[str, float]]) -> str:
    """Write a bar for every look, as long as the memory is large."""
    most = max(look["resident_mb"] for look in looks)
    rows = [[f"{look['requests']:,}", f"{look['resident_mb']:.1f}", _bar(look["resident_mb"] / most)] for look in looks]
    return markdown([["requests so far", "resident, MB", ""], *rows])


def _bar(share: float) -> str:
    return "█" * round(40 * share)


def _several(count: int) -> str:
    return "none" if count == 1 else f"groups of up to {count}"
