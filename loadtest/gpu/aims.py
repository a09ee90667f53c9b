"""What this project wants of an H100, and whether what was measured reaches it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from loadtest.gpu.geometry import Shape

#: The pictures that the aims are about.
PLAIN, WITH_ONE = Shape(side=1024, references=0).name, Shape(side=1024, references=1).name


@dataclass(frozen=True, slots=True, kw_only=True)
class Aim:
    """One of them."""

    #: What is wanted.
    aim: str
    #: What was measured; None where it was not.
    value: float | None
    #: What it may be at most or has to be at least; the other one is None.
    most: float | None = None
    least: float | None = None

    @property
    def verdict(self) -> str:
        """Say what came of it."""
        if self.value is None:
            return "not measured"
        is_met = self.value <= self.most if self.most is not None else self.value >= (self.least or 0.0)
        return "met" if is_met else "missed"

    @property
    def line(self) -> str:
        """Say what is wanted, what was measured and what came of it."""
        limit = f"≤ {self.most:g}" if self.most is not None else f"≥ {self.least:g}"
        measured = "" if self.value is None else f", measured {self.value:.2f}"
        return f"{self.verdict}: {self.aim} {limit}{measured}"


def aims_of(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Hold what was measured against every aim."""
    return [{**asdict(aim), "verdict": aim.verdict} for aim in _aims(found["pictures"])]


def _aims(pictures: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> Iterator[Aim]:
    def of(system: str, picture: str, figure: str) -> float | None:
        return pictures.get(system, {}).get(picture, {}).get(figure)

    exact_s, eager_s = (of(system, PLAIN, "picture_s") for system in ("ours, exact", "diffusers, eager"))
    yield Aim(aim="1024x1024, exact, s", value=exact_s, most=3.3)
    yield Aim(aim="the same with one reference, s", value=of("ours, exact", WITH_ONE, "picture_s"), most=4.2)
    yield Aim(aim="1024x1024, FP8, s", value=of("ours, compiled, FP8", PLAIN, "picture_s"), most=2.9)
    yield Aim(aim="1024x1024, exact, share of the ceiling", value=of("ours, exact", PLAIN, "share"), least=0.8)
    faster = eager_s / exact_s if eager_s and exact_s else None
    yield Aim(aim="1024x1024, eager diffusers / ours, exact", value=faster, least=2.0)


def told(found: Mapping[str, Any]) -> list[str]:
    """Write a line for every aim."""
    return [aim.line for aim in _aims(found["pictures"])]
