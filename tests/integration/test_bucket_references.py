"""Results in a bucket, sent back as references: read from the bucket for their own tenant, and for nobody else."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace

import pytest
from s3_server import S3Server

from deployments.delivery.bucket import BucketSink, Place
from deployments.delivery.files import FilesSink
from deployments.delivery.inline import InlineSink
from deployments.delivery.sink import EncodedImage, Sink
from deployments.operations.caller import Caller
from deployments.operations.doors import Doors
from deployments.operations.operation import Submit
from deployments.operations.operations import Operations
from deployments.outbound.client import GuardedClient
from deployments.outbound.references import ReferenceFetcher
from deployments.outbound.refused import ReferenceRefused
from deployments.outbound.rules import Rules
from deployments.references import References
from deployments.tasks.task import Claim
from models.request import GenerationRequest, Reference, Role

JPEG = EncodedImage(content=b"\xff\xd8\xff jpeg", content_type="image/jpeg", extension="jpg")
ALICE = Caller(tenant_id="alice", dialect="wavespeed", base_url="https://here.example")


@pytest.fixture
def bucket(s3: S3Server) -> BucketSink:
    """Return an empty bucket."""
    return BucketSink(s3.client(), Place(bucket=s3.create_bucket()), ttl_s=60)


@pytest.fixture
def sinks(files: FilesSink, bucket: BucketSink) -> dict[str, Sink]:
    """Return every sink by its kind."""
    return {"files": files, "inline": InlineSink(), "bucket": bucket}


@pytest.fixture
def references(files: FilesSink, sinks: Mapping[str, Sink]) -> References:
    """Return what a replica fetches with: no private address is open to it."""
    return References(files, ReferenceFetcher(GuardedClient(Rules())), sinks=sinks)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_an_own_result_is_read_from_the_bucket(
    bucket: BucketSink,
    references: References,
    make_doors: Callable[[], Doors],
    make_request: Callable[..., GenerationRequest],
    claim_next: Callable[[], Awaitable[Claim]],
) -> None:
    """The tenant's own link becomes a key, whatever address the bucket has; another tenant's stays a web address."""
    link = bucket.link(await bucket.put("task-1-0", JPEG, tenant_id="alice"), base_url="")
    request = make_request(references=(Reference(role=Role.SUBJECT, source=link),))
    operations, claims = Operations(make_doors(), wait_s=20), []
    for caller in (ALICE, replace(ALICE, tenant_id="bob")):
        await operations.submit(Submit(request=request, dialect="wavespeed"), caller)
        claims.append(await claim_next())

    own, others = [claim.request.references[0].source for claim in claims]

    assert own.startswith("bucket:tenant-alice/task-1-0-")
    assert await references.fetch(own, tenant_id="alice") == JPEG.content
    assert others == link
    with pytest.raises(ReferenceRefused):
        await references.fetch(others, tenant_id="bob")


async def test_a_result_that_is_gone_is_said_to_be(
    bucket: BucketSink, references: References, files: FilesSink
) -> None:
    """A deleted picture, and a bucket that is no longer set up, are the caller's clear refusals."""
    value = await bucket.put("task-1-0", JPEG, tenant_id="alice")
    await bucket.remove(value)

    for each in (references, References(files, ReferenceFetcher(GuardedClient(Rules())))):
        with pytest.raises(ReferenceRefused, match="is not there, or no longer"):
            await each.fetch(f"bucket:{value}", tenant_id="alice")
