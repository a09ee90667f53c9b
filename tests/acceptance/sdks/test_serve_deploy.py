"""What is special about the application on a cluster, besides that it serves the providers' own packages."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

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


@pytest.fixture
def scaling(deployed: Deployed) -> Iterator[Deployed]:
    """Return the application with as many replicas as what waits needs, from none to two."""
    [config] = versions(deployed.config, 1)  # as the update has left it, so that nothing has to start anew
    deployed.cluster.tell(scaled(config))
    yield deployed
    deployed.cluster.tell(config)
    deployed.cluster.wait_until_staffed("flux", replicas=2)


def scaled(config: dict[str, Any]) -> dict[str, Any]:
    """Return the same config with our policy in the place of a number of replicas."""
    [application] = config["applications"]
    flux = next(each for each in application["deployments"] if each["name"] == "flux")
    aims = {"models": ["uno", "uso"], "wait_s": 0.1, "calm_s": 1.0}
    policy = {"policy_function": "deployments.autoscaling:BacklogPolicy", "policy_kwargs": aims}
    numbers = {"min_replicas": 0, "max_replicas": 2, "upscale_delay_s": 0, "downscale_delay_s": 0}
    others = [each for each in application["deployments"] if each is not flux]
    flux = {name: value for name, value in flux.items() if name != "num_replicas"}
    flux |= {"autoscaling_config": numbers | {"policy": policy}}
    return {**config, "applications": [{**application, "deployments": [*others, flux]}]}


def test_replicas_come_and_go_with_the_work(scaling: Deployed, references: list[str]) -> None:
    """Ray Serve itself, told by our policy, has no replica while nothing waits, and then as many as the work needs.

    Why is in its controller's log: what waited when more were wanted.
    """
    wish = {"images": references[:1], "prompt": "a mug", "size": "256*256"}
    scaling.cluster.wait_until_staffed("flux", replicas=0)

    with client_of(scaling) as client:
        calls = [client.post("/api/v3/wavespeed-ai/uno", json=wish).raise_for_status() for _ in range(6)]
        scaling.cluster.wait_until_staffed("flux", replicas=2)
        scaling.cluster.wait_until_staffed("flux", replicas=0)

    ids = [call.json()["data"]["id"] for call in calls]
    told = scaling.cluster.logged("replicas_wanted")
    assert [scaling.states("wavespeed", task_id=each) for each in ids] == [["succeeded"]] * len(ids)
    assert [each["replicas"] for each in told][-1] == 0
    assert any(each["replicas"] >= 2 and each["queued"] and each["up"] == 0 for each in told)
