"""A private S3 server for tests: Ceph's radosgw over one monitor and one store in memory, in a folder of its own.

    this process ──► monitor, store, gateway      which would live on, were this process killed
          └────────► watch                        waits at a pipe for the end of this process, and ends what is left

It checks signatures, digests and expiry for real. Needs the programs, which are found where Debian puts them.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.request  # noqa: TID251 -- for what this test itself has started
from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import boto3
import psutil
from free_ports import free_ports
from missing_service import give_up

from deployments.delivery.bucket import Patience, s3_config

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

#: How a missing server is got, for people to read.
HOW_TO_GET = "Ceph's S3 gateway is not installed; apt-get install radosgw ceph-mon ceph-osd"
#: What has to be there.
PROGRAMS = ("radosgw", "radosgw-admin", "ceph", "ceph-mon", "ceph-osd", "monmaptool")
#: The key that it knows.
ACCESS_KEY, SECRET_KEY = "tests-access-key", "tests-secret-key"
#: How long it may take to start or stop, in seconds.
PATIENCE_S = 120

# What a watch does: each process leaves its number in a file of the folder.
_WATCH = 'read -r _; cat "$1"/run/*.pid 2>/dev/null | xargs -r kill -9; rm -rf "$1"'
# What cost minutes to find: monitor links are encrypted unless told otherwise and then hang without authentication;
# without the two paxos lines a start takes 16 s; without a cluster address the store listens on every interface.
_SETTINGS = """
[global]
fsid = {cluster}
mon host = {monitor}
public addr = 127.0.0.1
cluster addr = 127.0.0.1
auth cluster required = none
auth service required = none
auth client required = none
ms mon client mode = crc
paxos propose interval = 0.02
paxos min wait = 0
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 4
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon max pg per osd = 1000
run dir = {folder}/run
admin socket = {folder}/run/$name.asok
pid file = {folder}/run/$name.pid
log file = {folder}/log/$name.log
keyring = {folder}/keyring
[mon.a]
mon data = {folder}/mon
[osd.0]
osd data = {folder}/osd
osd objectstore = memstore
memstore device bytes = 1073741824
[client.rgw.t]
rgw frontends = beast endpoint=127.0.0.1:{port}
rgw data = {folder}/rgw
"""


def require_s3() -> None:
    """Skip the test that needs a server where there is none; where every service must be there, fail it."""
    if not all(shutil.which(program) for program in PROGRAMS):
        give_up(HOW_TO_GET)


class S3Server:
    """A server with one key and no bucket; it does not outlive this process, however that ends."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="uxo-s3-"))
        self._environment = {**_environment(), "CEPH_CONF": str(self._folder / "ceph.conf")}
        self._watch = self._begin_watch()
        self._port = 0
        self._names = count(1)

    def start(self) -> None:
        """Start and return once calls are taken."""
        monitor_port, self._port = free_ports(2)
        self._write_settings(monitor_port)
        self._start_monitor(monitor_port)
        self._start_store()
        self._run(
            "radosgw-admin",
            *("user", "create", "--uid=tests", "--display-name=tests"),
            *(f"--access-key={ACCESS_KEY}", f"--secret-key={SECRET_KEY}"),
        )
        self._run("radosgw", "-n", "client.rgw.t")
        self._await_answer()

    def client(self, *, url: str | None = None, patience: Patience | None = None) -> S3Client:
        """Return what speaks to it as the service does, through another address if one is given."""
        client: S3Client = boto3.session.Session().client(
            "s3",
            endpoint_url=url or self.url,
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
            region_name="us-east-1",
            config=s3_config(patience or Patience(), addressing="path"),
        )
        return client

    def create_bucket(self) -> str:
        """Make a bucket and return its name."""
        name = f"test-{next(self._names)}"
        self.client().create_bucket(Bucket=name)
        return name

    @property
    def url(self) -> str:
        """Return its address."""
        return f"http://127.0.0.1:{self._port}"

    def close(self) -> None:
        """Kill it, since its memory is not worth the wait of an orderly stop, and leave nothing behind."""
        processes = list(self._processes())
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGKILL)
        psutil.wait_procs(processes, timeout=PATIENCE_S)
        shutil.rmtree(self._folder, ignore_errors=True)
        self._watch.kill()
        self._watch.communicate()

    def _write_settings(self, monitor_port: int) -> None:
        for name in ("mon", "osd", "run", "log", "rgw"):
            (self._folder / name).mkdir()
        (self._folder / "keyring").touch()
        monitor = _monitor_at(monitor_port)
        text = _SETTINGS.format(cluster=uuid4(), monitor=monitor, folder=self._folder, port=self._port)
        (self._folder / "ceph.conf").write_text(text, encoding="ascii")

    def _start_monitor(self, port: int) -> None:
        map_file = str(self._folder / "monmap")
        settings = (self._folder / "ceph.conf").read_text(encoding="ascii")
        cluster = settings.partition("fsid = ")[2].split(maxsplit=1)[0]
        self._run("monmaptool", "--create", "--fsid", cluster, "--addv", "a", _monitor_at(port), map_file)
        self._run("ceph-mon", "-i", "a", "--mkfs", "--monmap", map_file)
        self._run("ceph-mon", "-i", "a")

    def _start_store(self) -> None:
        # The same number for both: a store that was made under another one never counts as started.
        number = str(uuid4())
        self._run("ceph", "osd", "new", number, "0")
        self._run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", number)
        self._run("ceph-osd", "-i", "0")

    def _await_answer(self) -> None:
        until_s = time.monotonic() + PATIENCE_S
        while time.monotonic() < until_s:
            with suppress(OSError), urllib.request.urlopen(self.url, timeout=5):  # noqa: S310, TID251 -- our own address
                return
            time.sleep(0.05)
        raise OSError("the S3 server does not answer")

    def _processes(self) -> Iterator[psutil.Process]:
        for path in (self._folder / "run").glob("*.pid"):
            with suppress(psutil.NoSuchProcess):
                yield psutil.Process(int(path.read_text(encoding="ascii")))

    def _begin_watch(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            ["sh", "-c", _WATCH, "watch", str(self._folder)],  # noqa: S607 -- the shell of this machine
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is not for it
        )

    def _run(self, program: str, *arguments: str) -> None:
        # To a file: what a daemon inherits it holds open, and a pipe of ours would never end.
        with (self._folder / "output").open("w+b") as output:
            ended = subprocess.run(
                [program, *arguments],
                cwd=self._folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=PATIENCE_S,
                check=False,
            )
            if ended.returncode:
                output.seek(0)
                raise OSError(f"{program} failed: {output.read().decode(errors='replace')}")


def _environment() -> dict[str, str]:
    return dict(os.environ)  # noqa: TID251 -- programs need the path and the language of this machine


def _monitor_at(port: int) -> str:
    return f"[v2:127.0.0.1:{port}]"
