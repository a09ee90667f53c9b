"""What is special about the application on a cluster, besides that it serves the providers' own packages."""

from __future__ import annotations

import asyncio
import json

import pytest
from acceptance.sdks.deployed import SYNC_WAIT_S, Deployed
from running_service import ALICE, client_of

from loadtest.cluster import ClusterFailed
from loadtest.rolling_update import roll, versions

#: Two cores that are shared with other work are slow to start so many processes.
pytestmark = pytest.mark.timeout(900)


def test_an_update_fails_no_call_and_loses_no_task(deployed: Deployed) -> None:
    """While every replica of every deployment is replaced, each call is answered and each task succeeds, once."""
    rolled = asyncio.run(roll(deployed.cluster, versions(deployed.config, 1), rate=10.0, calm_s=2.0, key=ALICE))

    assert not rolled.failed
    assert rolled.ledger.is_sound, str(rolled.ledger)
    assert set(rolled.ends) == {"succeeded"}


def test_pictures_lie_in_the_bucket(deployed: Deployed) -> None:
    """No picture that was linked to lies in the folder of one node."""
    found = deployed.rows("SELECT outputs FROM tasks WHERE state = 'succeeded'")
    kinds = {output["sink"] for (outputs,) in found for output in json.loads(outputs)}

    assert "bucket" in kinds
    assert "files" not in kinds


def test_what_cannot_work_is_refused_and_what_runs_goes_on(deployed: Deployed) -> None:
    """``serve deploy`` of a grace that calls outlast says so with both numbers, and what runs answers."""
    [application] = deployed.config["applications"]
    short = application | {"args": application["args"] | {"grace_s": SYNC_WAIT_S}}

    with pytest.raises(ClusterFailed, match=f"args.grace_s is {SYNC_WAIT_S}, and calls are held"):
        deployed.cluster.deploy({**deployed.config, "applications": [short]})

    with client_of(deployed) as client:
        assert client.get("/api/v3/balance").status_code == 200
