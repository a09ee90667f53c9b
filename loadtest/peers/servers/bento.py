"""BentoML: an API that is ``batchable`` is given the lists of several calls as one.

``bentoml serve`` finds the service here by its name. Its batch size and its waiting adapt themselves to the load.
Source: BentoML documentation, "Adaptive batching", seen 2026-11.
"""

# Its annotations are read when the service is defined, so they are no strings here.
import bentoml

from loadtest.peers.servers.fake_model import MAX_GROUP, run_mixed


@bentoml.service(workers=1)
class FakeService:
    """The fake model."""

    @bentoml.api(batchable=True, max_batch_size=MAX_GROUP)  # type: ignore[untyped-decorator]  # the package lies in an environment of its own
    def run(self, items: list[dict]) -> list[dict]:  # type: ignore[type-arg]  # the package reads the types
        """Run a batch, which the dispatcher takes from its queue whatever the shapes are."""
        return run_mixed(items)
