"""The metrics of a running service: one address, what every process of it has measured."""

from __future__ import annotations

import time

import pytest
from running_service import Service

from deployments.rounds import TIDYING

#: Seconds until what must come has come: the housekeeper looks every 5.
PATIENCE_S = 90
#: What only one kind of process can know, and how it begins.
BY_PROCESS = {
    "ingress": 'uxo_http_requests_total{dialect="wavespeed",operation="submit_uno",status="200"}',
    "uno's replica": 'uxo_replica_up{model="uno"} 1.0',
    "uso's replica": 'uxo_replica_up{model="uso"} 1.0',
    "a replica that stepped": 'uxo_step_seconds_count{model="uno",shape=',
    "a replica that encoded": 'uxo_encodings_total{kind="text",outcome="miss"}',
    "a replica that delivered": 'uxo_deliveries_total{outcome="placed",sink="files"}',
    "housekeeper": 'uxo_queue_tasks{model="uso",tenant_class="usual"}',
    "housekeeper that asked Serve": 'uxo_replicas_wanted{model="uso"} 1.0',
    **{f"housekeeper, {each}": f'uxo_round_ended_timestamp_seconds{{round="{each}"}}' for each in sorted(TIDYING)},
    "any": 'uxo_build_info{version="',
}


@pytest.fixture(scope="module")
def metrics(service: Service, references: list[str]) -> str:
    """Return what the service measured, once a picture was made and everybody has said something."""
    wish = {"images": references[:1], "prompt": "a mug", "size": "256*256", "enable_sync_mode": True}
    with service.client() as client:
        client.post("/api/v3/wavespeed-ai/uno", json=wish).raise_for_status()
    deadline = time.monotonic() + PATIENCE_S
    while any(beginning not in (answered := service.metrics()) for beginning in BY_PROCESS.values()):
        assert time.monotonic() < deadline, answered
    return answered


@pytest.mark.parametrize("beginning", BY_PROCESS.values(), ids=BY_PROCESS.keys())
def test_every_process_is_heard(metrics: str, beginning: str) -> None:
    """What each kind of process measures stands in the one answer."""
    assert any(line.startswith(beginning) for line in metrics.splitlines())
