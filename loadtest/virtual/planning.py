"""The smallest fleet that meets goals, and what others would do. Pure; the work is given."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from loadtest.openloop.slo import Goal, Verdict
from loadtest.virtual.fleet import live
from loadtest.virtual.fleet_words import FleetWords
from loadtest.virtual.lived import Lived
from loadtest.virtual.outcome import figures, verdicts
from loadtest.virtual.work import Work, grown
from models.cost import CostTable


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is planned for."""

    #: What comes in.
    works: Sequence[Work]
    #: How long that takes.
    costs: CostTable
    #: What has to hold.
    goals: Sequence[Goal]
    #: The price of a GPU for an hour.
    gpu_hour: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What one fleet would do."""

    #: What is different about it.
    name: str
    #: The fleet.
    words: FleetWords
    #: What happened to it.
    lived: Lived
    #: Whether the goals were met.
    verdicts: Sequence[Verdict]

    @property
    def meets_all(self) -> bool:
        """Whether every goal was met."""
        return all(each.is_met for each in self.verdicts)

    def row(self, gpu_hour: float) -> dict[str, Any]:
        """Return its figures."""
        found = figures(self.lived, gpu_hour=gpu_hour, poll_s=self.words.poll)
        return {
            "fleet": self.name,
            "words": self.words.model_dump(exclude_defaults=True),
            "meets": self.meets_all,
            **found,
        }


def answer(question: Question, words: FleetWords, *, name: str) -> Answer:
    """Let the work come to one fleet."""
    works = grown(question.works, words.growth) if words.growth != 1 else question.works
    lived = live(works, words.setting(), words.rule(question.costs))
    return Answer(name=name, words=words, lived=lived, verdicts=verdicts(question.goals, lived, poll_s=words.poll))


def smallest(question: Question, words: FleetWords, *, name: str) -> Answer | None:
    """Search the fixed fleet with the fewest replicas that meets every goal; None when as many as may be do not."""
    # The first try is a guess: where it meets, fewer may do, and what counts as missed was tried and missed.
    missed, tried = 0, min(_first_try(question.works, words.growth), words.most)
    found = answer(question, _of(words, tried), name=name)
    while not found.meets_all:
        if tried >= words.most:
            return None
        missed, tried = tried, min(tried * 2, words.most)
        found = answer(question, _of(words, tried), name=name)
    while found.words.replicas - missed > 1:
        middle = (found.words.replicas + missed) // 2
        other = answer(question, _of(words, middle), name=name)
        if other.meets_all:
            found = other
        else:
            missed = middle
    return found


def what_ifs(question: Question, found: Answer) -> list[Answer]:
    """Answer what an operator asks next: fewer, more, growth, and scaling with cold starts of several lengths."""
    words, replicas = found.words, found.words.replicas
    counts = sorted({max(replicas - 1, 1), replicas + 1, math.ceil(replicas * 1.5)} - {replicas})
    answers = [answer(question, _of(words, each), name=f"{each} replicas") for each in counts]
    larger = smallest(question, _changed(words, growth=words.growth * 1.5), name="1.5x the load")
    answers += [larger] if larger else []
    for rule in ("backlog", "calls"):
        for cold in (0.0, 60.0, 300.0):
            scaled = _changed(words, scaling=rule, cold=cold, replicas=0)
            answers.append(answer(question, scaled, name=f"by {rule}, cold {cold:.0f} s"))
    return answers


def _first_try(works: Sequence[Work], growth: float) -> int:
    """Return a third of the devices that the work keeps busy: where it comes for long, fewer never do."""
    span_s = max((works[-1].at_s if works else 0.0) / growth, 1.0)
    return max(math.ceil(sum(work.device_s for work in works) / span_s / 3), 1)


def _of(words: FleetWords, replicas: int) -> FleetWords:
    return _changed(words, scaling="fixed", replicas=replicas)


def _changed(words: FleetWords, **changes: object) -> FleetWords:
    return words.model_copy(update=changes)
