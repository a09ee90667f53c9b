"""Do hostile pictures harm anybody? Thousands of them against the real processes that decode, two at a time.

    10,000 mutations, then files made by hand ──► decoded or refused, in time ──► a sound picture still comes out right

The process that asks stands for the service: it must live, and go on giving right answers to others.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import psutil
import typer

from deployments.decoding.pool import DecoderPool
from deployments.decoding.rules import PictureRefused
from deployments.telemetry.logs import configure_logging
from loadtest.figures import markdown, percentile
from loadtest.findings import write_findings
from loadtest.hostile_files import Hostile, drawn_by_dice, hostile_files, mutated, saved
from loadtest.machine import commit, machine

#: Pictures under way at once, one for each process.
HANDS = 2
#: After so many pictures a sound one has to come out right.
SOUND_EVERY = 100
#: Seconds between two looks at the memory of the processes.
LOOK_EVERY_S = 0.02
MIB = 1024**2

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@dataclass(slots=True, kw_only=True)
class Findings:
    """What came of the pictures of one kind."""

    #: How many were decoded, and how many refused, by the words of the refusal.
    outcomes: Counter[str] = field(default_factory=Counter)
    #: What should not have happened.
    wrong: list[str] = field(default_factory=list)
    #: Milliseconds from the question to the picture or its refusal.
    took_ms: list[float] = field(default_factory=list)
    #: Sound pictures that came out right in between.
    sound: int = 0

    def figures(self) -> dict[str, Any]:
        """Return what is written down."""
        return {
            "pictures": len(self.took_ms),
            "outcomes": dict(self.outcomes.most_common()),
            "wrong": self.wrong,
            "sound_in_between": self.sound,
            "p50_ms": round(percentile(self.took_ms, 0.5), 2),
            "p99_ms": round(percentile(self.took_ms, 0.99), 2),
            "longest_ms": round(max(self.took_ms), 2),
        }


@app.command()
def hostile_pictures(
    *,
    output: Annotated[Path, typer.Option(help="Where the JSON goes.")] = Path("var/bench/hostile_pictures.json"),
    pictures: Annotated[int, typer.Option(min=1, help="Mutations.")] = 10_000,
    seed: Annotated[int, typer.Option(help="Of the mutations.")] = 5,
) -> None:
    """Throw hostile pictures at the processes that decode."""
    configure_logging(level=logging.ERROR)
    facts = {"benchmark": "hostile_pictures", "commit": commit(), "machine": machine(), "seed": seed}
    found = asyncio.run(throw_all(pictures, seed=seed))
    write_findings(output, facts | found)
    sys.stdout.write(table(found) + "\n")
    raise SystemExit(any(kind["wrong"] for kind in found["kinds"].values()))


async def throw_all(pictures: int, *, seed: int) -> dict[str, Any]:
    """Throw both kinds of pictures, and watch the memory of all processes meanwhile."""
    kinds, by_hand = {}, hostile_files()
    service = psutil.Process()
    async with DecoderPool(processes=HANDS) as pool:
        await throw(pool, mutated(SOUND_EVERY, seed=seed + 1))  # what is loaded once is no growth
        rss_before, peaks = service.memory_info().rss, Peaks(service)
        watching = asyncio.create_task(peaks.watch())
        kinds["mutated"] = (await throw(pool, mutated(pictures, seed=seed))).figures()
        rss_after = service.memory_info().rss
        kinds["made by hand"] = (await throw(pool, by_hand)).figures()
        watching.cancel()
        lost = pool.lost
    return {
        "kinds": kinds,
        "decoders_lost": lost,
        "decoder_peak_mib": round(peaks.highest_bytes / MIB, 1),
        "service_rss_growth_mib": round((rss_after - rss_before) / MIB, 1),
        "service_restarts": 0,  # whoever writes this has lived through it
    }


async def throw(pool: DecoderPool, files: Iterable[Hostile]) -> Findings:
    """Throw pictures, as many at a time as there are hands, and sound ones in between."""
    findings, left = Findings(), iter(files)
    async with asyncio.TaskGroup() as hands:
        for _ in range(HANDS):
            hands.create_task(_throw_on(pool, left, findings))
    return findings


async def _throw_on(pool: DecoderPool, left: Iterator[Hostile], findings: Findings) -> None:
    for hostile in left:
        started = time.perf_counter()
        outcome = await outcome_of(pool, hostile.content)
        findings.took_ms.append((time.perf_counter() - started) * 1000)
        findings.outcomes[outcome] += 1
        if not is_right(outcome, hostile.must):
            findings.wrong.append(f"{hostile.name}: {outcome}")
        if len(findings.took_ms) % SOUND_EVERY == 0:
            await _try_sound(pool, findings)


async def outcome_of(pool: DecoderPool, content: bytes) -> str:
    """Return "decoded", the words of a refusal, or the name of an error that should not have been."""
    try:
        image = await pool.decode(content)
    except PictureRefused as refusal:
        return refusal.message
    except Exception as error:  # noqa: BLE001 -- every other error is a finding
        return f"error {error!r}"
    return "decoded" if image.mode == "RGB" else f"error: {image.mode}"


def is_right(outcome: str, must: str) -> bool:
    """Whether an outcome may be: errors never, the others as the file demands it."""
    if outcome.startswith("error"):
        return False
    return must == "either" or (outcome == "decoded") == (must == "decode")


async def _try_sound(pool: DecoderPool, findings: Findings) -> None:
    image = drawn_by_dice(128, 96)
    if (await pool.decode(saved(image, "PNG"))).tobytes() == image.tobytes():
        findings.sound += 1
    else:
        findings.wrong.append("a sound picture came out wrong")


class Peaks:
    """The most resident memory that any process below one had; the kernel remembers it until the process ends."""

    def __init__(self, parent: psutil.Process) -> None:
        self._parent = parent
        self.highest_bytes = 0

    async def watch(self) -> None:
        """Look until cancelled."""
        while True:
            self.highest_bytes = max(self.highest_bytes, *await asyncio.to_thread(self._look), 0)
            await asyncio.sleep(LOOK_EVERY_S)

    def _look(self) -> list[int]:
        return [peak_bytes(child.pid) for child in self._parent.children()]


def peak_bytes(pid: int) -> int:
    """Return the most resident memory that a process has had so far; 0 when it has ended."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0


def table(found: dict[str, Any]) -> str:
    """Write the findings as a table, and the memory below it."""
    rows = [["pictures", "number", "decoded", "refused", "wrong", "p50 ms", "p99 ms", "longest ms"]]
    for name, kind in found["kinds"].items():
        decoded = kind["outcomes"].get("decoded", 0)
        counts = [kind["pictures"], decoded, kind["pictures"] - decoded, len(kind["wrong"])]
        rows.append([name, *map(str, counts), *(f"{kind[key]:.0f}" for key in ("p50_ms", "p99_ms", "longest_ms"))])
    memory = f"{found['decoder_peak_mib']} MiB at most in a process that decodes"
    growth = f"{found['service_rss_growth_mib']} MiB more in the service"
    lost = f"{found['decoders_lost']} processes lost, {found['service_restarts']} restarts of the service"
    return f"{markdown(rows)}\n\n{memory}, {growth}; {lost}."


if __name__ == "__main__":
    app()
