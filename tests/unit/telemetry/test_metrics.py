"""The metrics: what the documentation says of them, and what their labels can be."""

from __future__ import annotations

from pathlib import Path

import pytest

from deployments.telemetry import metrics
from deployments.telemetry.instruments import Counter, Gauge, Histogram, Instrument, value_of
from deployments.telemetry.metrics import METRICS, shape_label

OPERATING = Path(__file__).parents[3] / "docs" / "operating.md"
#: Labels that would hold as many values as there are callers, or what callers say.
UNBOUNDED = {"tenant", "tenant_id", "task_id", "id", "path", "url", "host", "prompt", "replica", "key"}


def row_of(instrument: Instrument) -> str:
    """Write a metric as the documentation does."""
    kind, labels = type(instrument).__name__.lower(), ", ".join(instrument.labels) or "-"
    return f"| `{instrument.name}` | {kind} | {labels} | {instrument.help} |"


def test_the_documentation_lists_every_metric() -> None:
    """docs/operating.md has a row for each, with its kind, labels and meaning, and for none that is not there."""
    rows = [line for line in OPERATING.read_text(encoding="utf-8").splitlines() if line.startswith("| `uxo_")]

    assert rows == [row_of(instrument) for instrument in METRICS]


def test_every_metric_that_is_defined_is_listed() -> None:
    """No metric of the module is left out of the list, and no two share a name."""
    defined = [value for value in vars(metrics).values() if isinstance(value, Instrument)]

    assert sorted(defined, key=id) == sorted(METRICS, key=id)
    assert len({instrument.name for instrument in METRICS}) == len(METRICS)


@pytest.mark.parametrize("instrument", METRICS, ids=lambda one: one.name)
def test_names_and_labels_are_as_prometheus_wants_them(instrument: Instrument) -> None:
    """Counters end in ``_total`` and others do not; no label can take any number of values."""
    assert instrument.name.startswith("uxo_")
    assert instrument.name.endswith("_total") is isinstance(instrument, Counter)
    assert not UNBOUNDED & set(instrument.labels)


def test_values_are_what_was_noted() -> None:
    """Counts add up, a gauge is what was said last, and a histogram knows how many there were and how much."""
    counter = Counter(name="uxo_test_total", help="A test's.", labels=("kind",))
    gauge = Gauge(name="uxo_test_now", help="A test's.", merged="livesum")
    histogram = Histogram(name="uxo_test_seconds", help="A test's.", buckets=(1.0, 2.0))

    for value in (1.0, 2.5):
        counter.add(value, kind="a")
        gauge.set(value)
        histogram.observe(value)

    assert (value_of(counter, kind="a"), value_of(counter, kind="b"), value_of(gauge)) == (3.5, 0, 2.5)
    assert (value_of(histogram, "_count"), value_of(histogram, "_sum")) == (2, 3.5)


@pytest.mark.parametrize(
    ("tokens", "rows", "label"),
    [(1, 1, "1"), (1024, 1, "1024"), (1025, 1, "2048"), (4608, 1, "8192"), (4608, 2, "8192x2")],
)
def test_shapes_are_told_apart_by_powers_of_two(tokens: int, rows: int, label: str) -> None:
    """A sequence is named by the power of two that it fits in, and by its rows where there are more than one."""
    assert shape_label(tokens, rows=rows) == label
