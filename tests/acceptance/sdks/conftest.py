"""What the tests of the providers' own packages share: a letterbox for webhooks, TLS, and a way to play a user."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

import httpx
import pytest
from acceptance.sdks.deployed import Deployed, can_deploy, deploying
from acceptance.sdks.letterbox import Letterbox, open_letterbox
from acceptance.sdks.script import Given
from acceptance.sdks.tls_front import HOST, fronting, make_authority
from acceptance.sdks.told import Play, Told, play
from anyio.from_thread import start_blocking_portal
from missing_service import must_be_there
from postgresql_server import PostgresServer
from running_service import ALICE, BOB, Served
from s3_server import S3Server


@pytest.fixture(scope="package")
def deployed(postgresql: PostgresServer, s3: S3Server) -> Iterator[Deployed]:
    """Return the chart's application on a cluster of this machine."""
    with deploying(postgresql, s3) as deployed:
        yield deployed


@pytest.fixture(scope="package")
def service(request: pytest.FixtureRequest) -> Served:
    """Return what the packages are pointed at: the application on a cluster, or ``uxo run`` where a part is missing.

    Where every service must be there, as before landing, it is always the cluster.
    """
    on_cluster = can_deploy() or must_be_there()
    return cast("Served", request.getfixturevalue("deployed" if on_cluster else "laptop"))


@pytest.fixture(scope="session")
def letterbox() -> Iterator[Letterbox]:
    """Return a server that takes webhooks and remembers their raw calls."""
    with open_letterbox() as letterbox:
        yield letterbox


@pytest.fixture(scope="package")
def tls_front(service: Served, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """Return where the service is reached by TLS, as host and port, and the file of the authority behind it."""
    authority, context = make_authority(tmp_path_factory.mktemp("tls"))
    port = urlsplit(service.base_url).port
    assert port is not None
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(fronting(port, context)) as front:
        yield f"{HOST}:{front}", authority


@pytest.fixture(scope="session")
def picture(references: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a picture as a file."""
    path = tmp_path_factory.mktemp("picture") / "picture.png"
    path.write_bytes(httpx.get(references[0], trust_env=False).raise_for_status().content)
    return path


@pytest.fixture(scope="package")
def play_user(
    service: Served,
    references: list[str],
    picture: Path,
    letterbox: Letterbox,
    tmp_path_factory: pytest.TempPathFactory,
) -> Play:
    """Return what runs an SDK's script and tells what came of it."""

    def play_one(name: str, variables: Mapping[str, str]) -> Told:
        given = Given(
            base_url=service.base_url,
            alice=ALICE,
            bob=BOB,
            references=references,
            picture=picture,
            receiver=letterbox.base_url,
            folder=tmp_path_factory.mktemp(name),
        )
        return play(name, given, variables)

    return play_one
