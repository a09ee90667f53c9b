"""The virtual device does every step it is asked for, in every order, and the figures mean what they say."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from loadtest.scheduler.__main__ import app, compared
from loadtest.scheduler.aims import GOODPUT, INFLATION, aims_of
from loadtest.scheduler.arrivals import MIXES, NOISY, Arrival, Mix, arrivals_of
from loadtest.scheduler.bound import Claim, reach
from loadtest.scheduler.decisions import decision_us
from loadtest.scheduler.device import work_of
from loadtest.scheduler.measures import Played, figures_of, played, reach_of
from loadtest.scheduler.orders import FIFO, ORDERS, OURS, SHORTEST
from loadtest.scheduler.page import order_rows
from loadtest.scheduler.reasons import reasons
from loadtest.scheduler.replica import EngineReplica, play
from loadtest.scheduler.tuning import margin_replica, policy_replica
from models.cost import cost_table
from models.policy import MARGIN

COSTS = cost_table()


def drawn(name: str, *, requests: int = 30, seed: int = 3) -> list[Arrival]:
    """Draw one of the traces."""
    return arrivals_of(MIXES[name], costs=COSTS, requests=requests, seed=seed)


@pytest.mark.parametrize("order", ORDERS)
def test_every_order_ends_all_work(order: str) -> None:
    """Every request ends once, no sooner than it could have, and the device worked exactly as long as it had to."""
    arrivals = drawn("Poisson, load 0.95, estimates off by 20 %")

    run = played(arrivals, ORDERS[order], COSTS)

    assert [each.arrival.number for each in run.outcomes] == list(range(30))
    assert all(each.arrival.at_s < each.ended_s < math.inf for each in run.outcomes)
    assert set(run.device.spent_s) == set(range(30))
    assert sum(run.device.spent_s.values()) == pytest.approx(run.device.now_s - run.device.idle_s)
    if "8" not in order:
        assert all(each.slowdown > 1 - 1e-9 for each in run.outcomes)
        assert run.device.spent_s == pytest.approx({each.arrival.number: each.work_s for each in run.outcomes})


@pytest.mark.parametrize("order", ORDERS)
def test_what_is_taken_back_ends_no_more(order: str) -> None:
    """Of a request that is taken back at once nothing but its encoding is done, where an order can stop at a step."""
    first, *others = drawn("Poisson, load 0.95", requests=10)
    hasty = replace(first, cancel_at_s=first.at_s + 1e-6)

    run = played([hasty, *others], ORDERS[order], COSTS)

    assert run.outcomes[0].ended_s == math.inf
    assert all(each.ended_s < math.inf for each in run.outcomes[1:])
    assert run.device.spent_s[hasty.number] <= work_of(hasty, COSTS).encode_s + 1e-9


def test_a_trace_is_the_same_every_time_and_has_its_flood() -> None:
    """One seed means one trace; the noisy one is the calm one and a tenant more."""
    calm, again = (drawn("calm, load 0.5", requests=40) for _ in range(2))

    loud = drawn("calm and one that floods", requests=40)

    assert calm == again
    assert [each.at_s for each in loud if each.tenant != NOISY] == [each.at_s for each in calm]
    assert any(each.tenant == NOISY for each in loud)


def test_a_mix_changes_only_what_it_names() -> None:
    """Estimates that are off and callers who lose patience come at the same moments with the same wishes."""
    plain, off = drawn("Poisson, load 0.8"), drawn("Poisson, load 0.8, estimates off by 20 %")
    cancelled = drawn("cancels, load 0.8", requests=200)

    assert [replace(each, error=1.0) for each in off] == plain
    assert len({each.error for each in off}) == 30
    assert all(0.8 <= each.error <= 1.2 for each in off)
    assert 5 <= sum(each.cancel_at_s < math.inf for each in cancelled) <= 40
    assert all(each.cancel_at_s > each.at_s for each in cancelled)


def test_bursts_come_faster_than_the_calm_between() -> None:
    """The rate changes, and over a long time it is the one that was asked for."""
    bursts = drawn("bursts, load 0.8", requests=4000)

    due = [each.at_s for each in bursts]
    spans = [due[number + 50] - due[number] for number in range(0, 3950, 50)]
    mean_s = sum(work_of(each, COSTS).total_s for each in bursts) / 4000 / 0.8
    assert due == sorted(due)
    assert due[-1] == pytest.approx(4000 * mean_s, rel=0.25)
    assert max(spans) > 3 * min(spans)


def test_one_alone_is_not_slowed_down() -> None:
    """A request that has the device for itself takes what it takes alone, in the engine as without one."""
    arrivals = drawn("calm, load 0.5", requests=1)
    runs = [played(arrivals, ORDERS[order], COSTS) for order in (OURS, FIFO)]

    figures = [figures_of([run], [reach_of(arrivals, COSTS)]) for run in runs]

    assert figures[0] == figures[1]
    assert {figures[0][name] for name in ("goodput", "of_bound", "of_reached", "slowdown_mean", "fairness")} == {1.0}


def test_a_flood_and_what_was_taken_back_are_in_no_figure() -> None:
    """Goodput is over those who stay and do not flood, and what was spent on the others counts as wasted."""
    arrivals = drawn("cancels, load 0.8", requests=40)
    run = played(arrivals, ORDERS[OURS], COSTS)
    left_out = {each.number for each in arrivals if each.cancel_at_s < math.inf}
    late = [replace(each, ended_s=1e9) if each.arrival.number in left_out else each for each in run.outcomes]

    figures = figures_of([run], [reach_of(arrivals, COSTS)])
    again = figures_of([Played(outcomes=late, device=run.device)], [reach_of(arrivals, COSTS)])

    assert left_out
    assert figures["wasted"] > 0
    assert {name: again[name] for name in ("goodput", "slowdown_p99")} == {
        name: figures[name] for name in ("goodput", "slowdown_p99")
    }


@pytest.mark.parametrize(
    ("claims", "at_most", "at_least"),
    [
        ([(0, 2, 2)], 1.0, 1),
        ([(0, 2, 2), (0, 2, 2)], 1.0, 1),
        # The second may only be done where the first leaves room: half of it fits.
        ([(0, 2, 1), (0, 2, 2)], 1.5, 1),
        # Interrupted for the short one, the long one is in time, too.
        ([(0, 10, 8), (4, 6, 2)], 2.0, 2),
        ([(0, 2, 1), (1, 3, 1), (2, 4, 1), (0, 4, 1)], 4.0, 4),
        ([(0, 2, 1), (1, 3, 1), (2, 4, 1), (0, 4, 2)], 3.5, 3),
    ],
)
def test_a_bound_by_hand(claims: list[tuple[float, float, float]], at_most: float, at_least: int) -> None:
    """Spans that overlap share their time, and what fits in part counts in part."""
    found = reach([Claim(from_s=start, until_s=end, work_s=work) for start, end, work in claims])

    assert found.at_most == pytest.approx(at_most)
    assert (found.at_least, found.of) == (at_least, len(claims))


@pytest.mark.parametrize("trace", ["Poisson, load 0.95", "bursts, load 0.8", "cancels, load 0.8"])
@pytest.mark.parametrize("order", [FIFO, OURS, SHORTEST])
def test_nobody_exceeds_the_bound(trace: str, order: str) -> None:
    """What is in time in any order, one picture at a time, is no more than the bound."""
    arrivals = drawn(trace, requests=60)

    figures = figures_of([played(arrivals, ORDERS[order], COSTS)], [reach_of(arrivals, COSTS)])

    assert figures["of_bound"] <= 1


def test_orders_rank_as_they_must() -> None:
    """Under load, ours is more often in time than first come, first served; nobody's mean is below shortest first's."""
    found = compared("Poisson, load 0.95", COSTS, requests=80, seeds=[1])["orders"]

    means = {order: figures["latency_mean_s"] for order, figures in found.items() if "8" not in order}
    assert found[OURS]["goodput"] > found[FIFO]["goodput"]
    assert found[OURS]["slowdown_p99"] < found[FIFO]["slowdown_p99"]
    assert min(means, key=lambda order: means[order]) == SHORTEST


def test_a_flood_is_hardly_felt() -> None:
    """The others' slowdowns grow less by a flood under ours than under first come, first served."""
    traces = [drawn(name, requests=150) for name in ("calm, load 0.5", "calm and one that floods")]

    runs = {order: [played(trace, ORDERS[order], COSTS) for trace in traces] for order in (FIFO, OURS)}

    reaches = [reach_of(traces[0], COSTS)]
    p95 = {order: [figures_of([run], reaches)["slowdown_p95"] for run in each] for order, each in runs.items()}
    # Of these few requests: what is promised, a twentieth more, is held against many in docs/benchmarks/scheduler.md.
    assert p95[OURS][1] / p95[OURS][0] <= INFLATION + 0.05
    assert p95[FIFO][1] / p95[FIFO][0] > 1.5


def test_as_many_are_in_time_as_is_promised() -> None:
    """At a load of 0.8, the goodput of few requests is what is promised of many."""
    arrivals = drawn("Poisson, load 0.8", requests=150)

    run = played(arrivals, ORDERS[OURS], COSTS)

    assert figures_of([run], [reach_of(arrivals, COSTS)])["goodput"] >= GOODPUT["Poisson, load 0.8"]


def test_sharing_calls_does_more_where_pictures_are_small() -> None:
    """All at once, small pictures by eight are done sooner than one by one, and ours wastes no place of a group."""
    found = compared("small only, all at once", COSTS, requests=80, seeds=[1])["orders"]

    rates = {order: figures["pictures_per_s"] for order, figures in found.items()}
    assert rates[OURS] == pytest.approx(rates[FIFO])
    assert rates["ours, groups of 8"] > 1.1 * rates[OURS]


@pytest.mark.parametrize("trace", ["Poisson, load 0.95", "calm and one that floods"])
def test_the_policy_is_tuned_as_the_engine_plays_it(trace: str) -> None:
    """Without the engine, the policy with its usual constants ends every request when the engine does."""
    arrivals = drawn(trace, requests=40)

    engine, alone = (played(arrivals, start, COSTS).outcomes for start in (EngineReplica, policy_replica))

    assert [each.ended_s for each in engine] == pytest.approx([each.ended_s for each in alone])


def test_a_replica_is_played_the_same_every_time() -> None:
    """The clock is virtual: nothing depends on how fast this machine is."""
    arrivals = drawn("Poisson, load 0.95, estimates off by 20 %")

    first, second = (play(arrivals, EngineReplica(COSTS)) for _ in range(2))

    assert first == second


def test_what_a_request_takes_is_learned_from_its_own_steps() -> None:
    """Where estimates are off by half, no more than one in twenty is late: nobody is judged by anybody else's steps."""
    arrivals = arrivals_of(Mix(load=0.8, error=0.5), costs=COSTS, requests=60, seed=1)

    run = played(arrivals, ORDERS[OURS], COSTS)

    assert figures_of([run], [reach_of(arrivals, COSTS)])["goodput"] >= 0.95


def test_a_decision_takes_some_time() -> None:
    """The clock of the decision runs."""
    assert decision_us(max_group=8, samples=1000, rounds=3) > 0


def test_decisions_are_timed_anew_without_the_rest(tmp_path: Path) -> None:
    """What a decision takes is put into the file with its machine and its commit, and held against its aim again."""
    figures = tmp_path / "scheduler.json"
    before = json.loads(Path("docs/benchmarks/scheduler.json").read_text(encoding="utf-8"))
    figures.write_text(json.dumps(before | {"decisions": {}, "aims": []}), encoding="utf-8")

    result = CliRunner().invoke(app, ["decisions", "--figures", str(figures)])

    after = json.loads(figures.read_text(encoding="utf-8"))
    assert result.exit_code == 0
    assert after["decisions"].keys() == before["decisions"].keys()
    assert [(aim["aim"], aim["trace"]) for aim in after["aims"]] == [
        (aim["aim"], aim["trace"]) for aim in before["aims"]
    ]
    assert after["traces"] == before["traces"]


def test_the_command_writes_figures_and_holds_them_against_aims(tmp_path: Path) -> None:
    """One run of a few requests fills the file, and every aim in it names a trace, a value, and whether it is met."""
    output = tmp_path / "scheduler.json"

    result = CliRunner().invoke(app, ["--requests", "4", "--seeds", "1", "--output", str(output)])

    found: dict[str, Any] = json.loads(output.read_text(encoding="utf-8"))
    assert result.exit_code == 0
    assert list(found["traces"]) == list(MIXES)
    assert set(found["decisions"]["us"]) == {"exact", "groups of 8"}
    assert all(list(trace["orders"]) == list(ORDERS) for trace in found["traces"].values())
    assert {aim["trace"] for aim in found["aims"]} <= {*MIXES, ""}
    assert "| aim | trace |" in result.stdout


def test_the_page_is_made_of_the_files_alone(tmp_path: Path) -> None:
    """The page has the command, every trace, what was missed, and a figure with a line for every order."""
    figures, tuning = Path("docs/benchmarks/scheduler.json"), Path("docs/benchmarks/scheduler_tuning.json")

    result = CliRunner().invoke(app, ["page", "--output", str(tmp_path)])

    text = (tmp_path / "scheduler.md").read_text(encoding="utf-8")
    assert result.exit_code == 0
    assert text == Path("docs/benchmarks/scheduler.md").read_text(encoding="utf-8")
    assert json.loads(figures.read_text(encoding="utf-8"))["command"] in text
    assert json.loads(tuning.read_text(encoding="utf-8"))["command"] in text
    assert (tmp_path / "scheduler.svg").read_text(encoding="utf-8").count("<path fill") == len(ORDERS)


def test_tuning_writes_a_row_for_every_try(tmp_path: Path) -> None:
    """The usual constants come first, then others, each with its figures of every trace."""
    output = tmp_path / "tuning.json"

    result = CliRunner().invoke(app, ["tune", "--requests", "2", "--seeds", "1", "--output", str(output)])

    found = json.loads(output.read_text(encoding="utf-8"))
    rows, margins = found["rows"], found["margins"]
    assert result.exit_code == 0
    assert [row["rush"] for row in rows[:2]] == [30.0, 15.0]
    assert [row["margin"] for row in margins[:2]] == [f"{MARGIN:g}", "1"]
    assert result.stdout.count("| ") > len(rows) + len(margins)


def test_a_margin_is_tried_as_the_engine_has_it() -> None:
    """With the usual margin all plays as in the engine's groups; with an infinite one no strangers share a call."""
    arrivals = drawn("small only, all at once", requests=80)

    usual, groups, none = (
        [each.ended_s for each in played(arrivals, start, COSTS).outcomes]
        for start in (
            partial(margin_replica, margin=MARGIN),
            ORDERS["ours, groups of 8"],
            partial(margin_replica, margin=math.inf),
        )
    )

    assert usual == groups
    assert none != groups


def test_a_flood_is_held_against_a_calm_like_it() -> None:
    """What estimates that are off cost even without a flood is not counted as the flood's."""
    p95 = {
        "calm, load 0.5": 1.0,
        "calm, load 0.5, estimates off by 20 %": 2.0,
        "calm and one that floods": 1.1,
        "calm and one that floods, estimates off by 20 %": 2.3,
    }
    figures = {"slowdown_p99": 1.0, "pictures_per_s": 1.0}
    traces = {name: {"orders": {OURS: {**figures, "slowdown_p95": each}, FIFO: figures}} for name, each in p95.items()}

    grown = [aim["value"] for aim in aims_of(traces, decision_us={}) if aim["aim"].startswith("growth")]

    assert grown == [pytest.approx(1.1), pytest.approx(1.15)]


def test_an_aim_that_is_missed_is_said_to_be() -> None:
    """Where ours is no better than first come, first served, the aims say so."""
    traces = {name: compared(name, COSTS, requests=4, seeds=[1]) for name in ("calm, load 0.5", "Poisson, load 0.8")}
    fifo = {**traces["Poisson, load 0.8"]["orders"][FIFO], "goodput": 0.5}
    same = {order: fifo for order in ORDERS}  # noqa: C420 -- nobody changes the one that all share
    traces["Poisson, load 0.8"] = {**traces["Poisson, load 0.8"], "orders": same}

    missed = {aim["aim"] for aim in aims_of(traces, decision_us={"exact": 201.0}) if not aim["is_met"]}

    assert {"goodput", "slowdown_mean / FIFO's", "µs for a decision among 1,000, exact"} <= missed
    assert "throughput / FIFO's" not in missed


def aim(what: str, trace: str, value: float, *, least: float = 0.97, error: float | None = 0.01) -> dict[str, Any]:
    """Return an aim that is kept by values of at least so much."""
    is_met = value >= least
    return {
        "aim": what,
        "trace": trace,
        "value": value,
        "least": least,
        "most": None,
        "error": error,
        "is_met": is_met,
    }


def facts_of(*aims: dict[str, Any], reached: float = 0.9, load: float = 0.5) -> dict[str, Any]:
    """Return the figures of two traces with aims that came of them."""
    traces = {name: {"bound": 1.0, "reached": reached} for name in ("T", "T, estimates off by 20 %")}
    machine = {"load_average_at_start": load, "cores": 2}
    return {"aims": aims, "traces": traces, "decisions": {"machine": machine}}


@pytest.mark.parametrize(
    ("facts", "told"),
    [
        (facts_of(aim("goodput / bound", "T", 0.98)), ""),
        (facts_of(aim("goodput / bound", "T", 0.8)), "Who knows the future stays below 0.97 of the bound, too, of *T*"),
        (
            facts_of(aim("goodput / bound", "T", 0.8), reached=0.98),
            "reaches 0.97 of the bound of *T* (0.980)",
        ),
        (facts_of(aim("goodput / who knows the future", "T", 0.8)), "of what who knows the future does in *T* (0.800)"),
        (facts_of(aim("goodput / bound", "T", 0.965)), "no more than a standard error: goodput / bound of *T*"),
        (
            facts_of(aim("goodput", "T", 1.0), aim("goodput", "T, estimates off by 20 %", 0.9)),
            "missed only where they are off: goodput of *T*",
        ),
        (facts_of(aim("µs for a decision among 1,000, exact", "", 0, error=None)), "not for want of a free core"),
        (
            facts_of(aim("µs for a decision among 1,000, exact", "", 0, error=None), load=2.5),
            "2.50 on 2 cores, so other",
        ),
    ],
)
def test_a_reason_hangs_on_the_figures(facts: dict[str, Any], told: str) -> None:
    """What is given as a reason is what the figures say, and nothing is explained that was kept."""
    found = reasons(facts)

    assert told in found
    assert bool(told) is bool(found)


def test_what_says_nothing_of_an_order_is_left_empty() -> None:
    """Orders that share calls have no share of the bound, which counts on one picture at a time."""
    found = compared("small only, load 0.8", COSTS, requests=8, seeds=[1])["orders"]

    heading, *rows = order_rows(found)

    bound = heading.index("of the bound")
    assert {row[0] for row in rows if not row[bound]} == {order for order in ORDERS if "8" in order}
    assert {bool(row[bound]) for row in rows} == {bool(row[bound + 1]) for row in rows} == {True, False}
