"""mosec: ``forward`` is given a list of up to ``max_batch_size`` requests; its HTTP side is written in Rust.

Source: mosec documentation, "Server" and "Worker", and its example of dynamic batching, seen 2026-11.
"""

from __future__ import annotations

import mosec

from loadtest.peers.servers.fake_model import MAX_GROUP, WAIT_S, Answer, Item, run_mixed


class FakeWorker(mosec.Worker):  # type: ignore[misc]  # the package lies in an environment of its own
    """The fake model."""

    def forward(self, items: list[Item]) -> list[Answer]:
        """Run a batch, which the server takes from its queue whatever the shapes are."""
        return run_mixed(items)


def main() -> None:
    """Serve where the command line says, which mosec reads itself."""
    server = mosec.Server()
    server.append_worker(FakeWorker, num=1, max_batch_size=MAX_GROUP, max_wait_time=round(WAIT_S * 1000))
    server.run()


if __name__ == "__main__":
    main()
