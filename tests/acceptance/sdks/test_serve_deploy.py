"""The chart's application, deployed for real by ``serve deploy``, scaled down to this machine, and updated under load.

Two ingresses, two replicas, a housekeeper, HAProxy in front and Ray's token on; PostgreSQL and an S3 server behind. One
node has what all pods would have.
"""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
import wavespeed
from acceptance.sdks.script import Given
from acceptance.sdks.tls_front import HOST, fronting, make_authority
from acceptance.sdks.told import play, seen
from anyio.from_thread import start_blocking_portal
from helm_chart import render, serve_config_of
from postgresql_server import PostgresServer
from running_service import ALICE, BOB, ROOT
from s3_server import ACCESS_KEY, SECRET_KEY, S3Server

from loadtest.cluster import PORTS_PER_CLUSTER, Cluster, clustered
from loadtest.rolling_update import on_one_node, roll, versions

#: Two cores that are shared with other work are slow to start so many processes.
pytestmark = pytest.mark.timeout(900)

#: What the chart is asked for; the autoscaler would need a Kubernetes to ask for pods.
VALUES: dict[str, Any] = {
    "gateway": {"pods": 2},
    "gpuGroups": {"flux": {"pods": 2}},
    "serve": {"graceS": 60},
    "autoscaler": {"enabled": False},
}
#: The package, the case of its script that asks for a picture, and what comes before that one.
CASES = {
    "fal": ["run"],
    "openai": ["run"],
    "runware": ["connect", "run"],
    "runware_sdk": ["rest_connect", "rest_run"],
    "tritonclient": ["run"],
}
SQUARE = ("PNG", (512, 512))


@pytest.fixture(scope="module")
def config() -> dict[str, Any]:
    """Return the Serve config that the chart renders, on one node of this machine."""
    return on_one_node(serve_config_of(render(VALUES)), free_ports())


@pytest.fixture(scope="module")
def database(postgresql: PostgresServer) -> str:
    """Return the name of an empty database."""
    return postgresql.create_database()


@pytest.fixture(scope="module")
def cluster(config: Mapping[str, Any], postgresql: PostgresServer, database: str, s3: S3Server) -> Iterator[Cluster]:
    """Return a cluster that runs the config."""
    environment = {
        "UXO_DATABASE_URL": postgresql.url(database),
        "UXO_SECRET": "a secret of tests, long enough for all",
        "UXO_BOOTSTRAP_KEYS": f"alice:{ALICE},bob:{BOB}",
        "UXO_ALLOW_PRIVATE_NETWORKS": "true",
        "UXO_SYNC_WAIT_S": "30",  # within the grace, so that an update cuts off no call that is held
        "UXO_BUCKET": s3.create_bucket(),
        "UXO_S3_ENDPOINT": s3.url,
        "UXO_S3_REGION": "us-east-1",
        "UXO_S3_ADDRESSING": "path",
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        # Half a minute for each ingress is for HAProxies on other nodes to hear that it goes.
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "5",
    }
    with clustered(config["http_options"]["port"], **environment) as cluster:
        migrate = [str(Path(sys.executable).with_name("uxo")), "migrate"]
        subprocess.run(migrate, cwd=ROOT, env=cluster.environment, check=True, capture_output=True)
        cluster.deploy(config)
        yield cluster


@pytest.fixture(scope="module")
def given(cluster: Cluster, references: list[str], tmp_path_factory: pytest.TempPathFactory) -> Given:
    """Return what the packages' scripts work with."""
    folder = tmp_path_factory.mktemp("cluster")
    return Given(
        base_url=cluster.base_url,
        alice=ALICE,
        bob=BOB,
        references=references,
        picture=folder / "picture.png",
        receiver="http://127.0.0.1:9",
        folder=folder,
    )


@pytest.fixture(scope="module")
def variables(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, str]]:
    """Return the variables that lead fal's package to the cluster, which it calls by TLS alone."""
    authority, context = make_authority(tmp_path_factory.mktemp("tls"))
    with ExitStack() as stack:
        portal = stack.enter_context(start_blocking_portal())
        port = stack.enter_context(portal.wrap_async_context_manager(fronting(cluster.port, context)))
        hosts = {"FAL_RUN_HOST": f"{HOST}:{port}/fal/run", "FAL_QUEUE_RUN_HOST": f"{HOST}:{port}/fal/queue"}
        yield hosts | {"SSL_CERT_FILE": str(authority)}


def free_ports() -> int:
    """Return the first of so many free ports as a cluster needs, below those that outgoing connections get."""
    for first in range(20_000, 32_000, PORTS_PER_CLUSTER):
        with ExitStack() as held, suppress(OSError):
            for port in range(first, first + PORTS_PER_CLUSTER):
                held.enter_context(socket.socket()).bind(("127.0.0.1", port))
            return first
    raise OSError("no ports are free")


@pytest.mark.parametrize("package", CASES)
def test_the_providers_packages_get_their_pictures(given: Given, variables: Mapping[str, str], package: str) -> None:
    """Each provider's own Python package asks for a picture and gets it."""
    told = play(package, given, variables, only=CASES[package])

    assert told.seen(CASES[package][-1]) == [SQUARE]


def test_wavespeeds_package_gets_its_picture(given: Given) -> None:
    """WaveSpeed's own as well."""
    client = wavespeed.Client(api_key=ALICE, base_url=given.base_url)
    wish = {"images": given.references[:1], "prompt": "a cup", "image_size": "square", "output_format": "png"}

    [output] = client.run("wavespeed-ai/uno", wish, poll_interval=0.2, timeout=200)["outputs"]

    assert seen(httpx.get(output, trust_env=False).raise_for_status().content) == SQUARE


def test_an_update_fails_no_call_and_loses_no_task(
    cluster: Cluster, config: Mapping[str, Any], postgresql: PostgresServer, database: str
) -> None:
    """While every replica of every deployment is replaced, each call is answered and each task succeeds, once."""
    rolled = asyncio.run(roll(cluster, versions(config, 1), rate=10.0, calm_s=2.0, key=ALICE))

    assert not rolled.failed
    assert rolled.ledger.is_sound, str(rolled.ledger)
    assert set(rolled.ends) == {"succeeded"}
    elsewhere = "SELECT count(*) FROM tasks WHERE dialect IN ('wavespeed', 'fal') AND outputs NOT LIKE '%\"bucket\"%'"
    assert postgresql.run_sql(elsewhere, database=database).strip() == "0"
