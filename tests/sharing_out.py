"""A pytest plugin: how tests are shared out among workers (``pytest -n 2``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xdist.scheduler import LoadFileScheduling

if TYPE_CHECKING:
    import pytest
    from xdist.remote import Producer

#: Tests that are served by one running service, which only one worker is to start.
OF_ONE_SERVICE = "tests/acceptance/"
#: Tests among them that start everything they need.
ON_THEIR_OWN = "tests/acceptance/chaos/"


class ByFileAndService(LoadFileScheduling):  # type: ignore[misc]  # xdist has no types
    """Gives a file's tests to one worker, and all those to one that share the running service."""

    def _split_scope(self, nodeid: str) -> str:
        if nodeid.startswith(OF_ONE_SERVICE) and not nodeid.startswith(ON_THEIR_OWN):
            return OF_ONE_SERVICE
        return str(super()._split_scope(nodeid))


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> ByFileAndService:
    """Share out by ``ByFileAndService``."""
    return ByFileAndService(config, log)
