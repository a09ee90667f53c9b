"""The bucket without a server: what it opens with, and which links it signs."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import boto3
import pytest

from deployments.delivery.bucket import MAX_LINK_S, BucketSink, Patience, Place, s3_config
from deployments.delivery.names import new_name
from deployments.delivery.sink import OutOfReach, open_sinks, placed_in
from deployments.settings import Settings, SettingsInvalid

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


def sink() -> BucketSink:
    """Return a sink that can sign, and whose clock stands at noon."""
    client: S3Client = boto3.session.Session().client(
        "s3",
        endpoint_url="https://s3.example",
        aws_access_key_id="AK",
        aws_secret_access_key="SK",
        region_name="eu-1",
        config=s3_config(Patience(), addressing="path"),
    )
    return BucketSink(client, Place(bucket="pictures", prefix="uxo/"), ttl_s=60, clock=lambda: NOON)


def key_of(tenant_id: str, *, lives_s: float) -> str:
    """Make a key of a picture."""
    return f"uxo/tenant-{tenant_id}/" + new_name("task-1-0", "jpg", expiry_s=NOON.timestamp() + lives_s)


def test_credentials_have_to_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bucket without credentials is refused at the start, with what to do."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")

    with pytest.raises(SettingsInvalid, match="set AWS_ACCESS_KEY_ID"):
        open_sinks(Settings(bucket="pictures"))


def test_a_bucket_is_there_where_it_is_set_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the setting there is none; with it, it takes the place of the folder."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AK")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "SK")

    without, with_one = open_sinks(Settings()), open_sinks(Settings(bucket="pictures"))

    assert (set(without), set(with_one)) == ({"files", "inline"}, {"files", "inline", "bucket"})
    assert [placed_in("files", each) for each in (without, with_one)] == ["files", "bucket"]


@pytest.mark.parametrize(("lives_s", "signed_s"), [(90, 90), (MAX_LINK_S * 2, MAX_LINK_S), (-5, 1)])
def test_a_link_lives_as_long_as_its_picture(lives_s: float, signed_s: int) -> None:
    """A link is signed for the rest of a picture's time, at most for what S3 allows."""
    link = urlsplit(sink().link(key_of("alice", lives_s=lives_s), base_url=""))

    assert parse_qs(link.query)["X-Amz-Expires"] == [str(signed_s)]
    assert (link.scheme, link.netloc) == ("https", "s3.example")
    assert re.fullmatch(r"/pictures/uxo/tenant-alice/task-1-0-\d+-[0-9a-f]{32}\.jpg", link.path)


def test_a_tenant_is_led_to_its_own_pictures_alone() -> None:
    """Another tenant's link, another host's and another bucket's are no links of ours for this tenant."""
    key = key_of("alice", lives_s=60)
    link = sink().link(key, base_url="")
    asked = [
        (link, "alice"),
        (link, "bob"),
        (link.replace("s3.example", "s3.evil"), "alice"),
        (link.replace("/pictures/", "/others/"), "alice"),
        (link.replace("/tenant-alice/", "/tenant-bob/../tenant-alice/"), "alice"),
    ]

    found = [sink().value_of(each, base_url="", tenant_id=tenant_id) for each, tenant_id in asked]

    assert found == [key, None, None, None, None]


@pytest.mark.parametrize("folder", ["tenant-alice/", "old/tenant-alice/", "uxo/old/tenant-alice/"])
async def test_a_picture_of_another_prefix_is_said_to_be_out_of_reach(folder: str) -> None:
    """After the prefix was changed, what lies below the old one is not taken for gone."""
    value = folder + key_of("alice", lives_s=60).rpartition("/")[2]

    with pytest.raises(OutOfReach, match="below another UXO_BUCKET_PREFIX"):
        await sink().remove(value)
