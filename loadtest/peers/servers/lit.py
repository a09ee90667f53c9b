"""LitServe: ``predict`` is given a list of up to ``max_batch_size`` requests.

Source: LitServe documentation, "Batching" and the reference of LitAPI, seen 2026-11.
"""

import sys

import litserve

from loadtest.peers.servers.fake_model import MAX_GROUP, WAIT_S, Answer, Item, run_mixed


class FakeApi(litserve.LitAPI):  # type: ignore[misc]  # the package lies in an environment of its own
    """The fake model."""

    def setup(self, device: str) -> None:
        """Load nothing."""

    def decode_request(self, request: dict) -> Item:  # type: ignore[type-arg]  # the package reads the type
        """Take the body as it is."""
        return request

    def predict(self, items: list[Item]) -> list[Answer]:
        """Run a batch, which the server takes from its queue whatever the shapes are."""
        return run_mixed(items)

    def encode_response(self, answer: Answer) -> dict:  # type: ignore[type-arg]  # as above
        """Answer with it as it is."""
        return answer


def main() -> None:
    """Serve on the port that the command line names."""
    api = FakeApi(max_batch_size=MAX_GROUP, batch_timeout=WAIT_S)
    server = litserve.LitServer(api, accelerator="cpu", devices=1, workers_per_device=1)
    server.run(host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False, log_level="warning")


if __name__ == "__main__":
    main()
