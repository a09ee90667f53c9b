"""A process of a node: notes metrics as it is told to on standard input, until that ends."""

from __future__ import annotations

import sys
from pathlib import Path

from deployments.telemetry import metrics
from deployments.telemetry.exposition import join_node
from deployments.telemetry.logs import configure_logging


def main(folder: str, port: str) -> None:
    """Join the node, then note whatever the lines say."""
    configure_logging()
    join_node(Path(folder), host="127.0.0.1", port=int(port))
    print("joined", flush=True)  # noqa: T201 -- whoever started it waits for this
    for line in sys.stdin:
        if line == "count\n":
            metrics.WEBHOOKS.add(outcome="delivered")
        else:
            metrics.RESIDENT_SAMPLES.set(float(line))
        print("noted", flush=True)  # noqa: T201 -- the same


if __name__ == "__main__":
    main(*sys.argv[1:])
