"""A bucket that misbehaves: nothing is said to be done that is not, and nothing is drawn twice because of it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from s3_faults import FAULTS
from s3_matrix import run_fault
from s3_server import S3Server

from deployments.delivery.bucket import BucketFailed, BucketSink, Patience, Place
from deployments.delivery.sink import EncodedImage
from deployments.errors import NotStored

PICTURE = EncodedImage(content=b"\xff\xd8\xff jpeg", content_type="image/jpeg", extension="jpg")
HASTY = Patience(connect_s=0.2, read_s=0.2, try_s=0.5, give_up_s=0.3, max_pause_s=0.05)


@pytest.mark.parametrize("fault", FAULTS)
async def test_every_task_is_drawn_once_and_its_bytes_are_there(s3: S3Server, fault: str, tmp_path: Path) -> None:
    """Whatever goes wrong at first, every task ends well, with bytes in the bucket that hash right, drawn once."""
    line = await run_fault(s3, fault, tasks=3, folder=tmp_path)

    assert (line.succeeded, line.wrong, line.drawn_again) == (3, 0, 0)
    assert line.misdeeds >= 3


@pytest.fixture
async def nobody() -> AsyncIterator[str]:
    """Return an address at which connections are refused."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # bound and not listening, so nobody else gets the port
        yield f"http://127.0.0.1:{held.getsockname()[1]}"


@pytest.mark.parametrize("host", ["refused", "http://no-such-name.invalid"])
async def test_in_the_end_a_picture_is_given_up(s3: S3Server, nobody: str, host: str) -> None:
    """When nobody is there for as long as a picture is worth, the task's own fault says so; a read says it at once."""
    url = nobody if host == "refused" else host
    sink = BucketSink(s3.client(url=url, patience=HASTY), Place(bucket="pictures"), ttl_s=60, patience=HASTY)

    with pytest.raises(NotStored):
        await asyncio.wait_for(sink.put("task-1-0", PICTURE, tenant_id="alice"), 20)
    with pytest.raises(BucketFailed):
        await sink.read(f"tenant-alice/task-1-0-9999999999-{'0' * 32}.jpg")


async def test_a_bucket_that_is_not_there_is_told_apart_from_a_picture(s3: S3Server) -> None:
    """A missing bucket is a failure to place, with S3's own word for it."""
    sink = BucketSink(s3.client(), Place(bucket="nobody-made-it"), ttl_s=60, patience=HASTY)

    with pytest.raises(NotStored) as failure:
        await sink.put("task-1-0", PICTURE)

    assert str(failure.value.__cause__) == "it answered NoSuchBucket"
