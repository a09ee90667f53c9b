"""Writes the tables of a finished comparison into its page, between two marks; the words around them stay. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from loadtest.figures import markdown
from loadtest.peers.peer import PEERS

#: What the tables stand between.
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"

_FIGURES = {
    "server": "peer",
    "good/s": "goodput_per_s",
    "in time": "goodput",
    "p50 ms": "p50_ms",
    "p95 ms": "p95_ms",
    "p99 ms": "p99_ms",
    "CPU ms": "cpu_ms",
    "group": "group",
    "failed neighbours": "failed_neighbours",
    "turned away": "turned_away",
    "unanswered": "unanswered",
    "load before": "load_average",
}
_DECIMALS = {"goodput_per_s": 1, "p50_ms": 0, "p95_ms": 0, "p99_ms": 0, "cpu_ms": 1, "group": 1, "load_average": 1}


class NoMarks(ValueError):
    """The page has no two marks to write between."""


def with_figures(page: str, report: Mapping[str, Any]) -> str:
    """Return a page with the figures of a report.

    Raises:
        NoMarks: when it has no place for them.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise NoMarks(f"the page needs {BEGIN} and {END}, each on a line")
    return f"{before}{BEGIN}\n{figures_of(report)}\n{END}{after}"


def figures_of(report: Mapping[str, Any]) -> str:
    """Write everything that was measured, and on what."""
    findings: Sequence[Mapping[str, Any]] = report["findings"]
    parts = [_circumstances(report), markdown(_servers(report))]
    if report["not_run"]:
        parts.append(
            "\n".join(
                f"- **{name}** could not be measured to the end: {why}" for name, why in report["not_run"].items()
            )
        )
    for load in dict.fromkeys(finding["load"] for finding in findings):
        parts += _at(load, findings)
    return "\n\n".join(parts)


def _circumstances(report: Mapping[str, Any]) -> str:
    machine = report["machine"]
    late_ms = max((finding["late_p99_ms"] for finding in report["findings"]), default=0.0)
    return (
        f"**Machine.** {machine['cores']} cores of {machine['cpu']}, {machine['memory_gib']} GiB, "
        f"Python {machine['python']}; {report['measured_at'][:10]}, commit `{report['commit']}`, "
        f"`{report['command']}`: {report['seconds']:g} s at each rate. "
        f"In time is within {report['slo_s'] * 1000:g} ms. "
        f"The one-minute load was {machine['load_average_at_start']} before the first server started, and "
        f"stands for each rate below. "
        f"Of the wishes, 99 in 100 were sent at most {late_ms:g} ms late, at the worst of all rates."
    )


def _servers(report: Mapping[str, Any]) -> list[list[str]]:
    idle = {finding["peer"]: finding["idle_cores"] for finding in report["findings"]}
    heading = ["server", "version", "set up as", "cores when idle", "what it lacks here"]
    return [
        heading,
        *(
            [name, report["versions"][name], PEERS[name].setting, f"{cores:.2f}", PEERS[name].lacks]
            for name, cores in idle.items()
        ),
    ]


def _at(load: float, findings: Sequence[Mapping[str, Any]]) -> list[str]:
    here = [finding for finding in findings if finding["load"] == load]
    one = here[0]
    title = (
        f"**{load:.0%} of full groups**: {one['offered_per_s']:.1f} wishes per second, {one['wishes']} in all, "
        f"{one['poisoned']} of them poisoned."
    )
    return [
        title,
        markdown([list(_FIGURES), *([_cell(finding, key) for key in _FIGURES.values()] for finding in here)]),
    ]


def _cell(finding: Mapping[str, Any], key: str) -> str:
    value = finding.get(key)  # what is measured by now may not have been when a file was written
    if value is None:
        return "-"
    if key == "goodput":
        return f"{value:.1%}"
    return f"{value:.{_DECIMALS[key]}f}" if key in _DECIMALS else str(value)
