"""A process that has every metric there is, and counts on with each line of its standard input."""

from __future__ import annotations

import sys
from pathlib import Path

from deployments.telemetry.exposition import join_node
from deployments.telemetry.instruments import Counter, Gauge, Histogram
from deployments.telemetry.metrics import METRICS

#: Values by label, of those that expressions ask for.
LABELS = {
    "status": ("200", "402", "503"),
    "outcome": ("failed", "hit", "succeeded"),
    "move": ("quarantined",),
    "round": ("rescue",),
}


def note_everything() -> None:
    """Note something of every metric."""
    for each in METRICS:
        for turn in range(3):
            labels = {name: (of := LABELS.get(name, ("some",)))[turn % len(of)] for name in each.labels}
            match each:
                case Counter():
                    each.add(1, **labels)
                case Histogram():
                    each.observe(0.5, **labels)
                case Gauge():
                    each.set(20_000, **labels)


def main(folder: str, port: str) -> None:
    """Answer for the metrics of this process until its standard input ends."""
    join_node(Path(folder), host="127.0.0.1", port=int(port))
    note_everything()
    print("noted", flush=True)  # noqa: T201 -- whoever started it waits for this
    for _ in sys.stdin:
        note_everything()


if __name__ == "__main__":
    main(*sys.argv[1:])
