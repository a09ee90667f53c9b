"""What a rolling update is, and what is said of it afterwards."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from deployments.serve_config import check_serve_config, read_serve_config
from loadtest.openloop.ledger import reckon
from loadtest.rolling_update import Rolled, doubled, markdown, on_one_node, phases, versions, written
from loadtest.steady import Call

OURS = Path(__file__).parents[3] / "serve_config.yaml"
SUBMIT, READ = Call(at_s=1.0, kind="submit", took_s=0.02), Call(at_s=6.0, kind="read", took_s=0.01)
ROLLED = Rolled(calls=[SUBMIT, READ], updates=[(5.0, 9.0)], ledger=reckon([], again={}), ends={"succeeded": 1})


def test_there_are_two_of_each() -> None:
    """What is updated has two ingresses and two replicas, and is a Serve config that we take."""
    config = on_one_node(doubled(read_serve_config(OURS)), 18900)

    [application] = check_serve_config(config, OURS).applications
    assert {each.name: each.num_replicas for each in application.deployments} == {
        "ingress": 2,
        "housekeeper": 1,
        "flux": 2,
    }
    assert config["http_options"] == {"host": "127.0.0.1", "port": 18900}


def test_one_node_holds_all_replicas() -> None:
    """What the chart spreads over nodes stands on one."""
    config = {"applications": [{"deployments": [{"name": "ingress", "max_replicas_per_node": 1, "num_replicas": 2}]}]}

    [application] = on_one_node(config, 18900)["applications"]

    assert application["deployments"] == [{"name": "ingress", "num_replicas": 2}]


def test_every_version_is_another_one() -> None:
    """Each config differs from the one before in the arguments of the application, and is one that we take."""
    first = doubled(read_serve_config(OURS))

    configs = [first, *versions(first, 2)]

    assert [config["applications"][0]["args"]["capacity"] for config in configs] == [4, 5, 6]
    assert all(check_serve_config(config, OURS) for config in configs)


def test_calls_are_told_apart_by_when_they_were_due() -> None:
    """A call counts to the update within which it was due, or to the calm around it."""
    counted = {(row["phase"], row["kind"]): row["calls"] for row in phases(ROLLED) if row["calls"]}

    assert counted == {("calm", "submit"): 1, ("update", "read"): 1}


def test_good_is_said_to_be_good() -> None:
    """Without a failed call or a lost task, the text says so."""
    assert ROLLED.is_good
    assert "2 calls, none failed; updates took 4 s; ledger sound" in markdown(ROLLED)
    assert written(ROLLED)["failed"] == {}


@pytest.mark.parametrize(
    ("bad", "text"),
    [
        (replace(ROLLED, calls=[SUBMIT, replace(READ, error="HTTP 503")]), "1 x read: HTTP 503"),
        (replace(ROLLED, ends={"succeeded": 1, "failed": 1}), "none failed"),
    ],
)
def test_bad_is_not_good(bad: Rolled, text: str) -> None:
    """One failed call, or one task that failed, is enough."""
    assert not bad.is_good
    assert text in markdown(bad)
