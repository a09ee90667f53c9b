"""How many GPUs does a load need? ``python -m loadtest.plan TRACE``: the load, on a fleet that is only thought of.

    trace or profile + cost table ─► work ─► smallest fleet that meets the goals, or the one asked for ─► what if …

The order, the scaling and the costs are the service's own; see ``loadtest.virtual``. Nothing is started.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import shorten
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from deployments.clock import utc_now
from deployments.settings import SettingsInvalid, read_settings
from loadtest.exits import MISSED, UNUSABLE
from loadtest.findings import write_findings
from loadtest.machine import commit
from loadtest.openloop.slo import UnreadableSlo, parse_needed_slo
from loadtest.openloop.source import UnreadableLoad, load_of
from loadtest.options import finite
from loadtest.place import NoPlace, check_folder
from loadtest.virtual.calibration import UnreadablePace, calibrated, paced_costs
from loadtest.virtual.fleet_words import FleetWords, UnreadableFleet, parse_fleet
from loadtest.virtual.outcome import series
from loadtest.virtual.plan_page import COLUMNS, cells_of, plan_page
from loadtest.virtual.planning import Answer, Question, answer, smallest, what_ifs
from loadtest.virtual.work import Work, works_of
from models.cost import CostTable, UnreadableCosts, find_costs

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
#: Columns that the table of fleets never needs. A terminal that has fewer than it needs breaks its lines, no cell.
WIDE = 500
console = Console(highlight=False, soft_wrap=True, width=WIDE)
#: Letters that the answer has for where its cost table is from; the plan's JSON has all of it.
MOST_TOLD = 120


class NothingToPlan(ValueError):
    """There is no load to plan for; the message says why in one line."""


#: What may be wrong with what was asked.
REFUSED = (
    NoPlace,
    NothingToPlan,
    SettingsInvalid,
    UnreadableCosts,
    UnreadableFleet,
    UnreadableLoad,
    UnreadablePace,
    UnreadableSlo,
)


@app.command()
def plan(
    trace: Annotated[str, typer.Argument(help="A trace, a file that ends in .jsonl; or a profile.")],
    *,
    costs: Annotated[str, typer.Option(help="A cost table, written as UXO_COSTS, which else counts.")] = "",
    slo: Annotated[str, typer.Option(help="What has to hold, such as p95=20s,errors=0.1%.")] = "p95=20s,errors=0.1%",
    fleet: Annotated[str, typer.Option(help="Words such as replicas=4 or scaling=backlog,wait=30,cold=60.")] = "",
    gpu_hour: Annotated[float, typer.Option(min=0, callback=finite, help="Price of a GPU for an hour.")] = 2.5,
    output: Annotated[Path, typer.Option(help="Folder for the plan.")] = Path("var/plan"),
) -> None:
    """Say how many GPUs a load needs and what they cost; exit with 1 when the goals are missed, 2 when it cannot."""
    try:
        check_folder(output)
        table = find_costs(costs or read_settings().costs)
        words = calibrated(parse_fleet(fleet), table)
        table = paced_costs(table, slower=words.pace, once_s=words.once)
        works = _works(trace, table, group=words.group)
        question = Question(works=works, costs=table, goals=parse_needed_slo(slo), gpu_hour=gpu_hour)
    except REFUSED as error:
        console.print(str(error), markup=False)
        sys.exit(UNUSABLE)
    costs_of = {"costs": table.device, "costs_source": table.source}
    facts = {"trace": trace, **costs_of, "slo": slo, "fleet": fleet, "gpu_hour": gpu_hour}
    answers = _answers(question, words)
    report = _report(question, answers, facts=facts, words=words)
    _write(output, report)
    _tell(report, output)
    sys.exit(0 if report["is_met"] else MISSED)


def _works(trace: str, costs: CostTable, *, group: int) -> list[Work]:
    orders = load_of(trace, speed=1.0, target="", keys=[""]).orders
    works = works_of(orders, costs, group=group)
    if not works:
        raise NothingToPlan(f"{trace}: nothing in it asks for a picture")
    return works


def _answers(question: Question, words: FleetWords) -> list[Answer]:
    """Return the fleet that was asked for or looked for, and others beside it."""
    if words.replicas or words.scaling != "fixed":
        return [answer(question, words, name="as asked for")]
    found = smallest(question, words, name="the smallest")
    if found is None:
        largest = words.model_copy(update={"replicas": words.most})
        return [answer(question, largest, name="the largest")]
    return [found, *what_ifs(question, found)]


def _report(
    question: Question, answers: Sequence[Answer], *, facts: Mapping[str, Any], words: FleetWords
) -> dict[str, Any]:
    first = answers[0]
    rows = [each.row(question.gpu_hour) for each in answers]
    is_searched = not words.replicas and words.scaling == "fixed"
    return {
        **facts,
        "planned_at": utc_now().isoformat(timespec="seconds"),
        "commit": commit(),
        "command": _command(sys.argv[1:]),
        "is_met": first.meets_all,
        "answer": f"{_sentence(first, rows[0], is_searched=is_searched)}. {_believed(question.costs, words)}",
        "verdicts": [str(each) for each in first.verdicts],
        "device_hours": round(sum(work.device_s for work in question.works) / 3600, 4),
        "fleets": rows,
        "over_time": series(first.lived),
    }


def _command(words: Sequence[str]) -> str:
    """Write down how it was asked for, by either of its names."""
    name = "python -m loadtest" if words[:1] == ["plan"] else "python -m loadtest.plan"
    return shlex.join([*name.split(), *words])


def _sentence(first: Answer, row: Mapping[str, Any], *, is_searched: bool) -> str:
    goals = "; ".join(map(str, first.verdicts))
    price = "-" if row["per_1000_images"] is None else f"{row['per_1000_images']:.2f}"
    told = f"{row['replicas_mean']:.1f} replicas on average, {price} per 1,000 images. {goals}"
    if not is_searched:
        return f"This fleet: {told}"
    if not first.meets_all:
        return f"No fleet of up to {first.words.replicas} replicas meets the goals. {goals}"
    fewest = "1 replica is" if first.words.replicas == 1 else f"{first.words.replicas} replicas are"
    return f"{fewest} the fewest that meet the goals: {told}"


def _believed(costs: CostTable, words: FleetWords) -> str:
    """Say whose word the answer is: it is no better than its table and what was measured beside it."""
    times = "" if words.pace == 1 else f", {words.pace:.3g} times as long"
    times += f" and {words.once:.3g} s for every order" if words.once else ""
    source = shorten(costs.source or "nobody said where from", MOST_TOLD)
    return f"By the cost table of {costs.device}{times}: {source}"


def _write(folder: Path, report: Mapping[str, Any]) -> None:
    write_findings(folder / "plan.json", report)
    (folder / "plan.html").write_text(plan_page(report), encoding="utf-8")


def _tell(report: Mapping[str, Any], folder: Path) -> None:
    shown = Table(*COLUMNS, box=None)
    for row in report["fleets"]:
        shown.add_row(*[f"{cell:.4g}" if isinstance(cell, float) else str(cell) for cell in cells_of(row)])
    console.print(report["answer"], markup=False)
    console.print(shown)
    console.print(f"plan in {folder / 'plan.html'}")


if __name__ == "__main__":
    app()
