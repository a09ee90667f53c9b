"""The chart's application, deployed for real by ``serve deploy``, scaled down to this machine.

Two ingresses, two replicas, a housekeeper, HAProxy in front and Ray's token on; PostgreSQL and an S3 server behind. One
node has what all pods would have.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import asyncpg
from free_ports import free_ports
from helm_chart import HELM_3, render, serve_config_of
from postgresql_server import PostgresServer, binaries
from running_service import ALICE, BOB
from s3_server import ACCESS_KEY, PROGRAMS, SECRET_KEY, S3Server

from loadtest.cluster import PORTS_PER_CLUSTER, Cluster, clustered
from loadtest.rolling_update import on_one_node

#: Seconds for which a call is held: within the grace, so that an update cuts off none of them.
SYNC_WAIT_S, GRACE_S = 60, 90
#: What the chart is asked for; the autoscaler would need a Kubernetes to ask for pods.
VALUES: dict[str, Any] = {
    "gateway": {"pods": 2},
    "gpuGroups": {"flux": {"pods": 2}},
    "serve": {"graceS": GRACE_S},
    "settings": {"UXO_SYNC_WAIT_S": str(SYNC_WAIT_S)},
    "autoscaler": {"enabled": False},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployed:
    """The application on its cluster."""

    #: What runs it.
    cluster: Cluster
    #: What the chart renders of it, on one node.
    config: Mapping[str, Any]
    #: Its database, as settings write it.
    database_url: str

    @property
    def base_url(self) -> str:
        """Return the start of every address of it."""
        return self.cluster.base_url

    def states(self, dialect: str, *, noted: str = "", task_id: str = "") -> Sequence[str]:
        """Return the states of a dialect's tasks, those in whose notes stands ``noted``, or the one of an id."""
        query = "SELECT state FROM tasks WHERE dialect = $1 AND notes::text LIKE $2 AND id LIKE $3"
        return [state for (state,) in self.rows(query, dialect, f"%{noted}%", task_id or "%")]

    def rows(self, query: str, *values: str) -> Sequence[Sequence[str]]:
        """Ask the database."""
        return asyncio.run(self._rows(query, *values))

    async def _rows(self, query: str, *values: str) -> Sequence[Sequence[str]]:
        connection = await asyncpg.connect(self.database_url.replace("+asyncpg", ""))
        try:
            rows: Sequence[Sequence[str]] = await connection.fetch(query, *values)
            return rows
        finally:
            await connection.close()


def can_deploy() -> bool:
    """Whether all is installed that a deployed application needs."""
    return HELM_3.is_file() and binaries() is not None and all(map(shutil.which, PROGRAMS))


@contextmanager
def deploying(postgresql: PostgresServer, s3: S3Server) -> Iterator[Deployed]:
    """Run the application for the length of a ``with`` block, with an empty database and an empty bucket."""
    config = on_one_node(serve_config_of(render(VALUES)), free_ports(PORTS_PER_CLUSTER)[0])
    database_url = postgresql.url(postgresql.create_database())
    port = config["http_options"]["port"]
    environment = {
        "UXO_DATABASE_URL": database_url,
        "UXO_SECRET": "a secret of tests, long enough for all",
        "UXO_BOOTSTRAP_KEYS": f"alice:{ALICE},bob:{BOB}",
        "UXO_ALLOW_PRIVATE_NETWORKS": "true",
        "UXO_SYNC_WAIT_S": str(SYNC_WAIT_S),
        "UXO_METRICS_PORT": "0",
        "UXO_BUCKET": s3.create_bucket(),
        "UXO_S3_ENDPOINT": s3.url,
        "UXO_S3_REGION": "us-east-1",
        "UXO_S3_ADDRESSING": "path",
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        # Half a minute for each ingress is for HAProxies on other nodes to hear that it goes.
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "5",
    }
    with clustered(port, **environment) as cluster:
        cluster.migrate()
        cluster.deploy(config)
        yield Deployed(cluster=cluster, config=config, database_url=database_url)
